"""What is known about a server, or a node of a cluster: may calls be tried, has an outage begun or ended?

Rules of the room: no I/O; the time is an argument.  Shared by all primitives of a client, all threads and loops.

- While all is well, nothing is written down: `troubled` is False, and a call costs one look at it.
- A call is bad if it got no answer within its deadline, or a slow one: an answer that took longer than `slow_s`.
- The breaker opens when a whole deadline passed without one good answer, or when half of the last calls were bad.
- While it is open every call fails at once; only the probe talks to the server, and closes the breaker.
"""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from coordkit.errors import ClientClosed, OutcomeForgotten, OutcomeUnknown, ServerUnavailable

log = logging.getLogger("coordkit")

SLOW_S: Final = 0.75
"""An answer that takes longer is a bad sign (or half the timeout, if that is less).  A probe waits so long too: with it
and the pause between probes an outage is over here within a second of its end."""

WINDOW: Final = 10
BAD_OF_WINDOW: Final = 5

Failure = ServerUnavailable | OutcomeUnknown


TIMER_S: Final = 0.01
"""How much too early a timer may fire."""


@dataclass(frozen=True, slots=True)
class HealthStatistics:
    """What the guard has seen of its server.

    `state`: closed (all is well), troubled (something was bad lately), open (calls fail at once), forced (a test).
    """

    state: str
    retries: int
    unavailable: int
    unknown: int
    slow: int
    rejected: int
    openings: int


STATES: Final = ("closed", "troubled", "open", "forced")
"""From well to ill."""


def together(parts: Sequence[HealthStatistics]) -> HealthStatistics:
    """The sum of several, in the worst of their states."""
    counts = (
        sum(getattr(part, name) for part in parts)
        for name in ("retries", "unavailable", "unknown", "slow", "rejected", "openings")
    )
    return HealthStatistics(max((part.state for part in parts), key=STATES.index), *counts)


class Health:
    """The breaker of one server, and its counts."""

    __slots__ = (
        *("_forced", "_good_s", "_name", "_opened_s", "_reached", "_recent", "open", "place", "slow_s", "troubled"),
        *("openings", "rejected", "retries", "slow", "unavailable", "unknown"),
    )

    def __init__(self, timeout_s: float, *, name: str = "the server", place: str | None = None) -> None:
        self.troubled = True
        """False while all that was heard of the server lately was good: then nobody needs to ask further."""
        self.open = False
        """Whether calls fail at once."""
        self.slow_s = min(SLOW_S, timeout_s / 2)
        self.place = place
        """Which of several servers this is; they are known by what one of them has said, so it is no wrong address."""
        self._name = name if place is None else place
        self._reached = place is not None
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._good_s = 0.0
        self._opened_s = 0.0
        self._forced: Failure | None = None
        self.retries = self.unavailable = self.unknown = self.slow = self.rejected = self.openings = 0

    @property
    def forced(self) -> bool:
        """Whether a test makes every call fail."""
        return self._forced is not None

    def admit(self, now_s: float) -> None:
        """Comes back if a call may be tried.  Raises ServerUnavailable while the breaker is open."""
        if self._forced is not None:
            self.rejected += 1
            raise type(self._forced)(*self._forced.args)
        if self.open:
            self.rejected += 1
            raise ServerUnavailable(
                f"{self._name} has been unavailable for {max(0.0, now_s - self._opened_s):.1f} s; "
                "it is probed in the background, and calls go on when it answers"
            )

    def may_repeat(self, failure: Failure, *, idempotent: bool) -> bool:
        """Whether a call that failed so may be sent again, if there is time left."""
        if isinstance(failure, ClientClosed):
            return False  # says nothing about the server
        self.troubled = True
        if self._forced is not None or (isinstance(failure, OutcomeUnknown) and not idempotent):
            return False
        if isinstance(failure, OutcomeForgotten):
            return False
        return self._reached  # a server that never answered is probably the wrong one

    def succeeded(self, *, started_s: float, now_s: float) -> None:
        """The server answered an attempt that began at `started_s`."""
        self._reached = True
        if now_s - started_s > self.slow_s:
            self.heard_slow(1, now_s)
            return
        self._good_s = now_s
        self._recent.append(True)
        if self.open:
            self.back(now_s)
        elif self._forced is None and all(self._recent):
            self.troubled = False

    def heard_slow(self, count: int, now_s: float) -> None:
        """So many answers took too long, or have not come yet."""
        self.slow += count
        self._bad(count, now_s)

    def gave_up(self, failure: Failure, *, started_s: float, now_s: float, deadline_s: float) -> None:
        """A call ended without an answer."""
        if isinstance(failure, OutcomeUnknown):
            self.unknown += 1
        else:
            self.unavailable += 1
        if self._forced is not None:
            return
        if now_s - started_s > self.slow_s:
            self._bad(1, now_s)
        if now_s >= deadline_s - TIMER_S and self._good_s <= started_s:
            self._open(now_s)

    def back(self, now_s: float) -> None:
        """The probe was answered."""
        if self.open:
            log.info("%s is back after %.1f s", self._name, now_s - self._opened_s, extra={"event": "breaker_closed"})
        self.open = False
        self._reached = True
        self._good_s = now_s
        self._recent.clear()
        self._recent.append(True)
        self.troubled = self._forced is not None

    def force(self, failure: Failure | None) -> None:
        """Every call fails with `failure` from now on; None: no more."""
        self._forced = failure
        self.troubled = True

    def statistics(self) -> HealthStatistics:
        """What was counted so far."""
        if self._forced is not None:
            state = "forced"
        else:
            state = "open" if self.open else "troubled" if not all(self._recent) else "closed"
        return HealthStatistics(
            state, self.retries, self.unavailable, self.unknown, self.slow, self.rejected, self.openings
        )

    def _bad(self, count: int, now_s: float) -> None:
        self.troubled = True
        self._recent.extend([False] * min(count, WINDOW))
        if self._recent.count(False) >= BAD_OF_WINDOW:
            self._open(now_s)

    def _open(self, now_s: float) -> None:
        if not self.open:
            self.open = self.troubled = True
            self.openings += 1
            self._opened_s = now_s
            log.warning(
                "%s is unavailable: calls fail at once until it answers a probe",
                self._name,
                extra={"event": "breaker_opened"},
            )
