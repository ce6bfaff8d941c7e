"""CLIENT PAUSE: which commands wait, until when, and the clients that wait.

While clients are paused nothing that would change the data by itself happens either: no expiry, no eviction.
"""

from typing import Final

from coordkit_server.clock import Clock
from coordkit_server.keyspace.blocking import Blocking
from coordkit_server.keyspace.database import KeyspaceState
from coordkit_server.keyspace.waiter import Waiter
from coordkit_server.session import Session

PAUSE_NONE: Final = 0
PAUSE_WRITE: Final = 1  # what changes data, or would be propagated
PAUSE_ALL: Final = 2
POSTPONED: Final = b"postponed"  # the kind of such a wait: no key satisfies it


class Pause:
    """Whether clients are paused, and the commands that were put off."""

    def __init__(self, clock: Clock, blocking: Blocking, state: KeyspaceState) -> None:
        self._clock: Final = clock
        self._blocking: Final = blocking
        self._state: Final = state
        self.kind: int = PAUSE_NONE
        self.until_us: int = 0  # monotonic
        self._postponed: list[Session] = []

    def begin(self, kind: int, timeout_ms: int) -> None:
        """Pause for `timeout_ms`; a pause that holds already is never made shorter nor weaker."""
        self.kind = max(self.kind, kind)
        self.until_us = max(self.until_us, self._clock.monotonic_us() + timeout_ms * 1000)
        self._state.expiry_paused = True

    def end(self) -> None:
        """End the pause: what was put off runs at the end of this turn, in order."""
        self.kind = PAUSE_NONE
        self.until_us = 0
        self._state.expiry_paused = False
        postponed = self._postponed
        self._postponed = []
        for session in postponed:
            waiter = session.waiter
            if waiter is not None and waiter.kind == POSTPONED:
                argv = session.waiting_argv
                self._blocking.remove(waiter, session.db)
                session.waiter = None
                session.waiting_argv = []
                session.sink.run_later(argv)

    def end_if_due(self) -> int:
        """End the pause once its time has passed; return when (monotonic us) that is, 0 if there is none."""
        if self.kind != PAUSE_NONE and self._clock.monotonic_us() >= self.until_us:
            self.end()
        return self.until_us

    def postpone(self, session: Session, argv: list[bytes]) -> None:
        """Block `session` with the command `argv` until the pause ends."""
        waiter = Waiter(session, POSTPONED, [], 0, None)
        session.waiter = waiter
        session.waiting_argv = argv
        self._blocking.add(waiter, session.db)
        self._postponed.append(session)
