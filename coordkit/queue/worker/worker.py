"""A worker: fetcher, handlers and heartbeat put together; how it starts, drains and lets go.

Order of a shutdown: `drain` stops fetching and lets running jobs end; when `drain_timeout` is over, or `release` is
called, the rest is stopped and given back to the queue, where another worker finds it at once.
"""

import contextlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from coordkit.queue.declaration import Queue
from coordkit.queue.plans import WorkerPlans
from coordkit.queue.scripts import Leased, Settlement
from coordkit.queue.worker.context import JobContext
from coordkit.queue.worker.fetcher import Fetcher
from coordkit.queue.worker.heartbeater import Heartbeater
from coordkit.queue.worker.processor import process
from coordkit.queue.worker.reporter import Attempt, LogReporter, Reporter
from coordkit.transports import loops

if TYPE_CHECKING:
    from coordkit.client import AsyncClient, Client

DEFAULT_CONCURRENCY: Final = 10
DEFAULT_DRAIN_S: Final = 25.0
"""Below the 30 s that container platforms give a process between SIGTERM and SIGKILL."""

STOP_S: Final = 1.0
"""How long a cancelled handler may take to clean up before its job is given back."""

LAST_WORDS_S: Final = 5.0
"""How long a worker that lets go tries to tell the server."""


@dataclass(slots=True)
class WorkerReport:
    """What a worker has done: attempts by how they ended, and jobs whose end it could not tell the server.

    An attempt counts when the server has taken its end.
    """

    outcomes: dict[str, int] = field(default_factory=dict)
    untold: int = 0

    def count(self, outcome: str) -> int:
        """Attempts that ended so."""
        return self.outcomes.get(outcome, 0)


@dataclass(slots=True, eq=False)
class Running:
    """An attempt under way."""

    job: Leased
    context: JobContext
    started_s: float
    task: loops.Task[None] | None = None
    released: bool = False
    """We give it back."""
    taken: bool = False
    """Its lease was lost."""


class Worker:
    """Runs the jobs of one queue, `concurrency` at a time.

    `blocking_client` is the heartbeat's own and that of handlers in threads.  It waits
    for a server that is away; with `give_up`, `run` raises after so many seconds, and whoever supervises the process
    decides what is next.  It also raises when its loop or its heartbeat has died: never does a worker live on deaf.
    """

    def __init__(
        self,
        queue: Queue,
        client: "AsyncClient",
        blocking_client: "Client",
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        drain_timeout: float = DEFAULT_DRAIN_S,
        give_up: float | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        self.id = secrets.token_hex(6)
        self.report = WorkerReport()
        self._queue = queue
        self._client = client
        self._blocking_client = blocking_client
        self._concurrency = concurrency
        self._drain_s = drain_timeout
        self._reporter: Reporter = reporter or LogReporter()
        self._running: dict[str, Running] = {}
        self._untold: dict[tuple[str, int], Attempt] = {}
        """Attempts by id and fence whose end the server has not answered yet."""
        self._draining = False
        self._changed: loops.Event | None = None
        self._releasing = False
        plans = WorkerPlans(queue, worker_id=self.id, keys=client.keys)
        lease_s = queue.lease_ms / 1000
        self._fetcher = Fetcher(
            plans, client.backend, self._reporter, free=self._free, lease_s=lease_s, give_up_s=give_up
        )
        self._heart = Heartbeater(plans, blocking_client.backend, lease_s=lease_s, on_lost=self._lost_soon)
        self._beating: loops.Future[None] | None = None
        self._loop: loops.Loop | None = None

    async def run(self) -> WorkerReport:
        """Work until drained; then what was done.

        Raises ServerUnavailable or OutcomeUnknown when the server stays away, ServerError for what it refuses.
        """
        self._loop = loops.running_loop()
        self._beating = self._loop.create_future()
        self._heart.start(on_death=self._heart_died)
        fetching = self._loop.create_task(self._fetcher.loop(self._start, self._settled))
        closing = self._loop.create_task(self._wait_for_end())
        try:
            await loops.wait((fetching, closing, self._beating), first=True)
            if self._beating.done():
                self._beating.result()
            if not fetching.done():
                await loops.wait((fetching,), LAST_WORDS_S)
        finally:
            with loops.shielded():
                await self._abandon(fetching, closing)
                self._beating.cancel()
                await loops.in_thread(self._heart.stop)
        self.report.untold = self._fetcher.unsettled
        for attempt in self._untold.values():
            unheard = f"the server has not confirmed its end ({attempt.outcome}): it may run again when its lease ends"
            self._reporter.ended(replace(attempt, outcome="untold", error=unheard))
        if fetching.done() and not fetching.cancelled():
            fetching.result()
        return self.report

    def drain(self) -> None:
        """Take no more jobs and let the running ones end, for at most `drain_timeout`."""
        if not self._draining:
            self._reporter.notice(f"draining: {len(self._running)} jobs may take up to {self._drain_s:g} s")
            self._draining = True
            self._notify()
            self._fetcher.wake()

    def release(self) -> None:
        """Stop the running jobs and give them back at once."""
        self._draining = True
        if not self._releasing:
            self._releasing = True
            self._reporter.notice(f"letting go of {len(self._running)} jobs")
        self._notify()

    # -- turns ------------------------------------------------------------------------------------------------------

    def _free(self) -> int:
        return 0 if self._draining else self._concurrency - len(self._running)

    def _start(self, jobs: Sequence[Leased], asked_s: float) -> None:
        assert self._loop is not None
        self._notify()
        for job in jobs:
            if self._releasing:
                self._fetcher.settle(Settlement(job.id, job.fence, "released"))
                continue
            context = JobContext(
                job,
                queue=self._queue.name,
                worker_id=self.id,
                client=self._client,
                blocking_client=self._blocking_client,
            )
            running = self._running[job.id] = Running(job, context, time.monotonic())
            self._heart.add(job, asked_s=asked_s)
            running.task = self._loop.create_task(self._attempt(running), name=f"job-{job.id}")

    async def _attempt(self, running: Running) -> None:
        try:
            settlement = await process(self._queue, self._client.codec, running.job, running.context)
        except loops.cancelled():
            if running.released:
                self._end(running, Settlement(running.job.id, running.job.fence, "released"))
            else:
                self._end(running, None)
        else:
            self._end(running, None if running.taken else settlement)

    def _end(self, running: Running, settlement: Settlement | None) -> None:
        """Free the slot; without a settlement the job is not ours any more."""
        job = running.job
        if self._running.get(job.id) is not running:
            return  # it was let go before its handler came to an end
        del self._running[job.id]
        self._notify()
        outcome = "lost" if settlement is None else settlement.outcome
        error = settlement.data.decode() if settlement is not None and outcome in {"failed", "rejected"} else ""
        seconds = time.monotonic() - running.started_s
        attempt = Attempt(job.id, running.context.name, job.attempt, outcome, seconds, error)
        if settlement is None:
            self._tell(attempt)
            self._fetcher.wake()
        else:
            self._untold[job.id, job.fence] = attempt
            self._fetcher.settle(settlement)

    def _settled(self, settlement: Settlement, ours: bool) -> None:  # noqa: FBT001 - a callback
        self._heart.remove(settlement.id, settlement.fence)
        attempt = self._untold.pop((settlement.id, settlement.fence), None)
        if attempt is None:
            return  # given back before it was begun
        if not ours:
            refused = f"its end ({attempt.outcome}) was refused: the job had been cancelled or taken from this worker"
            attempt = replace(attempt, outcome="lost", error=refused)
        self._tell(attempt)

    def _tell(self, attempt: Attempt) -> None:
        """Count an attempt whose end is certain, and tell of it."""
        self.report.outcomes[attempt.outcome] = self.report.count(attempt.outcome) + 1
        self._reporter.ended(attempt)

    # -- losing and letting go --------------------------------------------------------------------------------------

    def _lost_soon(self, job_id: str, fence: int) -> None:
        """Called by the heartbeat's thread."""
        running = self._running.get(job_id)
        if running is not None and running.job.fence == fence:
            running.taken = running.context.lost = True  # at once: a handler in a thread may be looking
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._lost, job_id, fence)

    def _heart_died(self, exc: BaseException) -> None:
        """Called by the heartbeat's thread, with its last breath."""

        def tell() -> None:
            if self._beating is not None and not self._beating.done():
                self._beating.set_exception(exc)

        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(tell)

    def _lost(self, job_id: str, fence: int) -> None:
        running = self._running.get(job_id)
        if running is not None and running.job.fence == fence and running.task is not None:
            running.task.cancel()

    async def _wait_for_end(self) -> None:
        """Comes back when no job is left after a drain; stops what takes too long."""
        while not self._draining:
            await self._change()
        with contextlib.suppress(TimeoutError):
            async with loops.timeout(self._drain_s):
                while (self._running or self._fetcher.expecting) and not self._releasing:
                    await self._change()
        self._releasing = True
        await self._let_go()
        self._fetcher.close()

    def _notify(self) -> None:
        """Wake whoever waits for the end, which is nobody before a drain."""
        if self._draining and self._changed is not None:
            self._changed.set()

    async def _change(self) -> None:
        """Comes back at the next notification."""
        self._changed = loops.event()
        await self._changed.wait()

    async def _let_go(self) -> None:
        """Stop every running job and give it back; a handler that does not listen is left behind."""
        for running in self._running.values():
            running.released = True
            running.context.lost = True
            if running.task is not None:
                running.task.cancel()
        tasks = {running.task for running in self._running.values() if running.task is not None}
        if tasks:
            await loops.wait(tasks, STOP_S)
        for running in list(self._running.values()):
            self._end(running, Settlement(running.job.id, running.job.fence, "released"))

    async def _abandon(self, *tasks: loops.Task[None]) -> None:
        """End everything that still runs; leases that were not told end by themselves."""
        left = [running.task for running in self._running.values() if running.task is not None]
        for task in (*tasks, *left):
            task.cancel()
        with contextlib.suppress(loops.cancelled()):
            await loops.wait((*tasks, *left), STOP_S)  # together: each may be one that catches its cancellation
