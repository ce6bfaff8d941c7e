"""Active expiry: samples keys with a time to live, and goes on while many of a sample were due.

Source: Redis documentation, EXPIRE, "How Redis expires keys".
"""

from random import Random
from typing import Final

from coordkit_server.clock import Clock
from coordkit_server.keyspace.database import Database

SAMPLE: Final = 20
# another sample follows while more than a tenth of one was due, within the time budget
REPEAT_SHARE: Final = SAMPLE // 10


class ActiveExpiry:
    """Removes expired keys that nobody reads."""

    def __init__(self, clock: Clock, random: Random) -> None:
        self._clock: Final = clock
        self._random: Final = random
        self.enabled: bool = True

    def cycle(self, databases: list[Database], budget_us: int) -> int:
        """Sample every database, spending at most about `budget_us`; return how many keys were removed."""
        if not self.enabled:
            return 0
        deadline = self._clock.monotonic_us() + budget_us
        removed = 0
        for database in databases:
            while database.volatile_count() > 0:
                due = self._sample(database)
                removed += due
                if due <= REPEAT_SHARE or self._clock.monotonic_us() > deadline:
                    break
        return removed

    def _sample(self, database: Database) -> int:
        """Look at up to SAMPLE random volatile keys, remove those due; return their number."""
        now_ms = database.state.now_ms
        due = 0
        for _ in range(min(SAMPLE, database.volatile_count())):
            entry = database.volatile_at(int(self._random.random() * database.volatile_count()))
            if entry.expire_at_ms <= now_ms:
                database.expire_now(entry)
                due += 1
            if database.volatile_count() == 0:
                break
        return due
