"""Eviction: which keys go when `maxmemory` is reached.

As Redis does it, each round looks at a few random keys of every database, keeps the best candidates in a small pool,
and removes the best of those.  Access times, frequencies or times to live decide, by policy; the random policies take
any key.  Source: Redis documentation, "Key eviction".
"""

from random import Random
from typing import Final

from coordkit_server.clock import Clock
from coordkit_server.keyspace.database import Database, KeyspaceState
from coordkit_server.keyspace.frequency import frequency_now, idle_ms
from coordkit_server.keyspace.table import Entry

POOL_SIZE: Final = 16
# one command spends at most so long on eviction, at maxmemory-eviction-tenacity 10; the rest follows with the next
TIME_SLICE_US: Final = 500
_DEFAULT_TENACITY: Final = 10
_CHECK_EVERY: Final = 16
_UNLIMITED: Final = 100


class Candidate:
    """A key that may go: the higher its score the sooner."""

    def __init__(self, score: int, database: Database, key: bytes) -> None:
        self.score: Final = score
        self.database: Final = database
        self.key: Final = key


class Eviction:
    """Makes room.  `policy` is one of the names of maxmemory-policy."""

    def __init__(self, clock: Clock, random: Random, state: KeyspaceState, databases: list[Database]) -> None:
        self._clock: Final = clock
        self._random: Final = random
        self._state: Final = state
        self._databases: Final = databases
        self._pool: Final[list[Candidate]] = []
        self._next_database: int = 0
        self.policy: str = "noeviction"
        self.samples: int = 5
        self.tenacity: int = _DEFAULT_TENACITY
        self.evicted_keys: int = 0

    def make_room(self) -> bool:
        """Evict until memory is below the limit; return False if the policy finds nothing to remove.

        Time is limited: what one call does not reach is left to the next, and counts as room."""
        state = self._state
        if state.expiry_paused or not state.exceeds_limit():
            return True
        if self.policy == "noeviction":
            return False
        deadline_us = self._clock.monotonic_us() + self._time_slice_us()
        removed = 0
        while state.exceeds_limit():
            entry, database = self._choose()
            if entry is None or database is None:
                return False
            database.evict(entry)
            self.evicted_keys += 1
            removed += 1
            if removed % _CHECK_EVERY == 0 and self._clock.monotonic_us() > deadline_us:
                return True
        return True

    def _time_slice_us(self) -> int:
        """Return how long one call may take: 50 us a step of tenacity up to 10, then 15 % more with each step."""
        if self.tenacity <= _DEFAULT_TENACITY:
            return TIME_SLICE_US * self.tenacity // _DEFAULT_TENACITY
        if self.tenacity >= _UNLIMITED:
            return 1 << 60
        return int(TIME_SLICE_US * 1.15 ** (self.tenacity - _DEFAULT_TENACITY))

    def _choose(self) -> tuple[Entry | None, Database | None]:
        """Return the next key to remove and its database; (None, None) if there is none."""
        volatile = self.policy.startswith("volatile-")
        if self.policy.endswith("-random"):
            return self._choose_random(volatile)
        while True:
            if not self._fill_pool(volatile):
                self._pool.clear()
                return None, None
            while self._pool:
                best = self._pool.pop()
                entry = best.database.stored(best.key)
                if entry is not None and (not volatile or entry.expire_at_ms >= 0):
                    return entry, best.database

    def _choose_random(self, volatile: bool) -> tuple[Entry | None, Database | None]:
        """Return any key of the next database that has one."""
        count = len(self._databases)
        for _ in range(count):
            database = self._databases[self._next_database % count]
            self._next_database += 1
            size = database.volatile_count() if volatile else len(database)
            if size:
                return self._entry(database, volatile), database
        return None, None

    def _entry(self, database: Database, volatile: bool) -> Entry:
        """Return some entry of all keys, or of those with a time to live."""
        if volatile:
            return database.volatile_at(int(self._random.random() * database.volatile_count()))
        return database.sample(self._random)

    def _fill_pool(self, volatile: bool) -> bool:
        """Sample every database into the pool; return False if there is no key to sample."""
        found = False
        for database in self._databases:
            size = database.volatile_count() if volatile else len(database)
            if size == 0:
                continue
            found = True
            for _ in range(min(self.samples, size)):
                self._consider(database, self._entry(database, volatile))
        return found

    def _consider(self, database: Database, entry: Entry) -> None:
        """Enter a key into the pool, sorted by score, if there is room or a worse one to push out."""
        score = self._score(entry)
        pool = self._pool
        if len(pool) >= POOL_SIZE and score <= pool[0].score:
            return
        for candidate in pool:
            if candidate.key == entry.key and candidate.database is database:
                return
        at = 0
        while at < len(pool) and pool[at].score < score:
            at += 1
        pool.insert(at, Candidate(score, database, entry.key))
        if len(pool) > POOL_SIZE:
            del pool[0]

    def _score(self, entry: Entry) -> int:
        """Return how much sooner than others `entry` should go: idle ms, rarity, or nearness of its end."""
        if self.policy == "volatile-ttl":
            return -entry.expire_at_ms
        if self._state.counts_use:
            return -frequency_now(entry.used_at, self._state.now_ms, self._state.decay_minutes)
        return idle_ms(entry.used_at, self._state.now_ms)
