"""The loop that takes turns with the server: what has ended goes out, new leases come in, in one call.

One turn is under way at a time; what ends meanwhile goes with the next one, so a busy worker settles many jobs in a
call and an unhurried one has its answer after one round trip.  Whoever is idle is woken by a push.
"""

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import tenacity

from coordkit.errors import CoordkitError, OutcomeUnknown, ServerError, ServerUnavailable
from coordkit.queue.plans import WorkerPlans
from coordkit.queue.scripts import Leased, Settlement, Turn
from coordkit.queue.worker.reporter import Reporter
from coordkit.runner import run_async
from coordkit.transports.base import AsyncBackend, AsyncSignal

IDLE_MAX_S: Final = 10.0
"""The longest an idle worker waits without looking, should every push be lost."""

JITTER_S: Final = 0.01
RETRY_FIRST_S: Final = 0.1
RETRY_MAX_S: Final = 0.5
"""Short, because a failing call costs nothing: in an outage the guard answers it, and probes the server."""

BATCH: Final = 200
PASSING: Final = frozenset({"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "NOREPLICAS", "READONLY", "TRYAGAIN"})
"""Server errors that end by themselves."""

T = TypeVar("T")


def passing(exc: BaseException) -> bool:
    """Whether it is worth trying again: the server is away, or says that it will be there soon."""
    if isinstance(exc, ServerError):
        return exc.code in PASSING
    return isinstance(exc, ServerUnavailable | OutcomeUnknown)


class Fetcher:
    """Leases jobs for a worker and settles them.  Everything here happens on the event loop."""

    def __init__(
        self,
        plans: WorkerPlans,
        backend: AsyncBackend,
        reporter: Reporter,
        *,
        free: Callable[[], int],
        lease_s: float,
        give_up_s: float | None,
    ) -> None:
        self._plans = plans
        self._backend = backend
        self._reporter = reporter
        self._free = free
        self._idle_s = min(IDLE_MAX_S, lease_s)  # then every lease is seen before it ends
        self._give_up_s = give_up_s
        self._number = 0
        self._outbox: list[Settlement] = []
        self._signal: AsyncSignal | None = None
        self._closing = False
        self.expecting = False
        """Whether a turn that may bring jobs is under way."""

    def settle(self, settlement: Settlement) -> None:
        """Send it with the next turn."""
        self._outbox.append(settlement)
        self.wake()

    def wake(self) -> None:
        """Look again: a slot is free, or the worker has changed its state."""
        if self._signal is not None:
            self._signal.on_gap()

    @property
    def unsettled(self) -> int:
        """Settlements that the server has not answered yet."""
        return len(self._outbox)

    def close(self) -> None:
        """End the loop as soon as everything is settled."""
        self._closing = True
        self.wake()

    async def loop(
        self,
        on_leased: Callable[[Sequence[Leased], float], None],
        on_settled: Callable[[Settlement, bool], None],
    ) -> None:
        """Take turns until closed.  `on_leased` gets the new jobs of every turn and when they were asked for;
        `on_settled` whether the lease was still ours.

        Raises ServerUnavailable or OutcomeUnknown when the server has been away for too long, ServerError.
        """
        signal = self._signal = self._backend.signal()
        await self._patiently(lambda: self._backend.subscribe(self._plans.inbox, signal))
        try:
            while not (self._closing and not self._outbox):
                wanted = 0 if self._closing else self._free()
                settlements = self._outbox[:BATCH]
                if wanted <= 0 and not settlements:
                    await signal.wait(None)
                    continue
                self.expecting = wanted > 0
                asked_s, turn = await self._turn(max(wanted, 0), settlements)
                self.expecting = False
                del self._outbox[: len(settlements)]
                for settlement, ours in zip(settlements, turn.settled, strict=False):
                    on_settled(settlement, ours)
                on_leased(turn.leases, asked_s)
                if len(turn.leases) < wanted and not self._outbox:
                    await signal.wait(self._wait_s(turn.look_ms))
            await self._turn(0, ())  # takes us off the list of those who are woken for new jobs
        finally:
            self._backend.unsubscribe(self._plans.inbox, signal)

    def _wait_s(self, look_ms: int | None) -> float:
        if look_ms == 0:
            return 0.0
        wait_s = self._idle_s if look_ms is None else min(look_ms / 1000, self._idle_s)
        return wait_s + random.uniform(0.0, JITTER_S)

    async def _turn(self, wanted: int, settlements: Sequence[Settlement]) -> tuple[float, Turn]:
        """When it was asked for, and the answer.  However often it is sent, it is one turn."""
        self._number += 1
        number = self._number

        async def once() -> tuple[float, Turn]:
            asked_s = time.monotonic()
            return asked_s, await run_async(self._plans.turn(number, wanted, settlements), self._backend)

        return await self._patiently(once)

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of `attempt`, tried again with growing pauses while the server is away."""

        async def once() -> T:
            return await attempt()

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(passing),
            wait=tenacity.wait_random_exponential(multiplier=RETRY_FIRST_S, max=RETRY_MAX_S),
            stop=tenacity.stop_never if self._give_up_s is None else tenacity.stop_after_delay(self._give_up_s),
            before_sleep=self._tell,
            reraise=True,
            sleep=self._backend.sleep,
        )
        result: T = await retrying(once)
        if retrying.statistics.get("attempt_number", 1) > 1:
            self._reporter.notice("the server is back")
        return result

    def _tell(self, state: tenacity.RetryCallState) -> None:
        exc = state.outcome.exception() if state.outcome is not None else None
        pause_s = state.next_action.sleep if state.next_action is not None else 0.0
        if isinstance(exc, CoordkitError):
            self._reporter.trouble(f"{exc}; trying again in {pause_s:.1f} s")
