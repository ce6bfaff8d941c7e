"""Queues and jobs as callers have them in their hands: `client.queue(mail)`, blocking and asynchronous."""

from collections.abc import Iterable, Mapping

from coordkit.durations import Duration, to_seconds
from coordkit.plan import Plan
from coordkit.queue.declaration import Function
from coordkit.queue.plans import NewJob, QueuePlans
from coordkit.queue.scripts import JobInfo, QueueStats
from coordkit.runner import run, run_async
from coordkit.transports.base import AsyncBackend, Backend


def result_plan(plans: QueuePlans, job_id: str, timeout: Duration | None) -> Plan[object]:
    """The plan that waits for a result."""
    return plans.result(job_id, None if timeout is None else to_seconds(timeout, name="timeout"))


def many(
    plans: QueuePlans, function: Function | str, arguments: Iterable[Mapping[str, object]], delay: Duration | None
) -> list[NewJob]:
    """One job for each set of arguments."""
    return [plans.new_job(function, (), kwargs, delay=delay) for kwargs in arguments]


class Job:
    """A job in the queue.  `new` is False if its unique key was held: then it is the job that holds the key."""

    __slots__ = ("_backend", "_plans", "id", "new")

    def __init__(self, job_id: str, plans: QueuePlans, backend: Backend, *, new: bool = False) -> None:
        self.id = job_id
        self.new = new
        self._plans = plans
        self._backend = backend

    def __repr__(self) -> str:
        return f"<Job {self.id} of queue {self._plans.queue.name!r}>"

    def info(self) -> JobInfo:
        """What the server knows of it."""
        return run(self._plans.job(self.id), self._backend)

    def result(self, timeout: Duration | None = None) -> object:
        """What the handler returned, as soon as it is done.

        Raises JobFailed if it was given up, JobCancelled, JobUnknown, and ResultTimeout after `timeout` seconds.
        """
        return run(result_plan(self._plans, self.id, timeout), self._backend)

    def cancel(self) -> bool:
        """Whether it is cancelled; False if it had ended.  A running handler is stopped by its worker's next beat."""
        return run(self._plans.cancel((self.id,)), self._backend)[0]


class QueueHandle:
    """A queue on a server, for blocking callers: `Client.queue`."""

    def __init__(self, plans: QueuePlans, backend: Backend) -> None:
        self._plans = plans
        self._backend = backend

    @property
    def name(self) -> str:
        """The name of the queue."""
        return self._plans.queue.name

    def enqueue(
        self,
        function: Function | str,
        /,
        *args: object,
        delay: Duration | None = None,
        key: str | None = None,
        **kwargs: object,
    ) -> Job:
        """The job, which is in the queue now.  One round trip.

        `delay`: not before so many seconds.  `key`: while an unfinished job holds this key, no second one is made.
        A function that is declared elsewhere is named by a string.
        """
        job = self._plans.new_job(function, args, kwargs, delay=delay, key=key)
        return self._jobs([job])[0]

    def enqueue_many(
        self, function: Function | str, arguments: Iterable[Mapping[str, object]], *, delay: Duration | None = None
    ) -> list[Job]:
        """One job for each set of keyword arguments.  A round trip for every 200."""
        return self._jobs(many(self._plans, function, arguments, delay))

    def job(self, job_id: str) -> Job:
        """The job of that id; asks nothing."""
        return Job(job_id, self._plans, self._backend)

    def stats(self) -> QueueStats:
        """How many jobs are where, and what has happened so far."""
        return run(self._plans.stats(), self._backend)

    def dead(self, *, offset: int = 0, limit: int = 100) -> list[JobInfo]:
        """Jobs that were given up, the latest first."""
        return run(self._plans.dead(offset, limit), self._backend)

    def requeue(self, *job_ids: str) -> int:
        """How many of these dead letters are in the queue again."""
        return sum(run(self._plans.requeue(job_ids), self._backend))

    def requeue_all(self) -> int:
        """How many dead letters are in the queue again: all whose unique key is free."""
        return run(self._plans.requeue_all(), self._backend)

    def discard(self, *job_ids: str) -> int:
        """How many of these dead letters are gone for good."""
        return run(self._plans.discard(job_ids), self._backend)

    def _jobs(self, jobs: list[NewJob]) -> list[Job]:
        replies = run(self._plans.enqueue(jobs), self._backend)
        return [Job(job_id, self._plans, self._backend, new=new) for job_id, new in replies]


class AsyncJob:
    """A job in the queue.  `new` is False if its unique key was held: then it is the job that holds the key."""

    __slots__ = ("_backend", "_plans", "id", "new")

    def __init__(self, job_id: str, plans: QueuePlans, backend: AsyncBackend, *, new: bool = False) -> None:
        self.id = job_id
        self.new = new
        self._plans = plans
        self._backend = backend

    def __repr__(self) -> str:
        return f"<AsyncJob {self.id} of queue {self._plans.queue.name!r}>"

    async def info(self) -> JobInfo:
        """What the server knows of it."""
        return await run_async(self._plans.job(self.id), self._backend)

    async def result(self, timeout: Duration | None = None) -> object:
        """What the handler returned, as soon as it is done.

        Raises JobFailed if it was given up, JobCancelled, JobUnknown, and ResultTimeout after `timeout` seconds.
        """
        return await run_async(result_plan(self._plans, self.id, timeout), self._backend)

    async def cancel(self) -> bool:
        """Whether it is cancelled; False if it had ended.  A running handler is stopped by its worker's next beat."""
        return (await run_async(self._plans.cancel((self.id,)), self._backend))[0]


class AsyncQueueHandle:
    """A queue on a server, for asynchronous callers: `AsyncClient.queue`."""

    def __init__(self, plans: QueuePlans, backend: AsyncBackend) -> None:
        self._plans = plans
        self._backend = backend

    @property
    def name(self) -> str:
        """The name of the queue."""
        return self._plans.queue.name

    async def enqueue(
        self,
        function: Function | str,
        /,
        *args: object,
        delay: Duration | None = None,
        key: str | None = None,
        **kwargs: object,
    ) -> AsyncJob:
        """The job, which is in the queue now.  One round trip.

        `delay`: not before so many seconds.  `key`: while an unfinished job holds this key, no second one is made.
        A function that is declared elsewhere is named by a string.
        """
        job = self._plans.new_job(function, args, kwargs, delay=delay, key=key)
        return (await self._jobs([job]))[0]

    async def enqueue_many(
        self, function: Function | str, arguments: Iterable[Mapping[str, object]], *, delay: Duration | None = None
    ) -> list[AsyncJob]:
        """One job for each set of keyword arguments.  A round trip for every 200."""
        return await self._jobs(many(self._plans, function, arguments, delay))

    def job(self, job_id: str) -> AsyncJob:
        """The job of that id; asks nothing."""
        return AsyncJob(job_id, self._plans, self._backend)

    async def stats(self) -> QueueStats:
        """How many jobs are where, and what has happened so far."""
        return await run_async(self._plans.stats(), self._backend)

    async def dead(self, *, offset: int = 0, limit: int = 100) -> list[JobInfo]:
        """Jobs that were given up, the latest first."""
        return await run_async(self._plans.dead(offset, limit), self._backend)

    async def requeue(self, *job_ids: str) -> int:
        """How many of these dead letters are in the queue again."""
        return sum(await run_async(self._plans.requeue(job_ids), self._backend))

    async def requeue_all(self) -> int:
        """How many dead letters are in the queue again: all whose unique key is free."""
        return await run_async(self._plans.requeue_all(), self._backend)

    async def discard(self, *job_ids: str) -> int:
        """How many of these dead letters are gone for good."""
        return await run_async(self._plans.discard(job_ids), self._backend)

    async def _jobs(self, jobs: list[NewJob]) -> list[AsyncJob]:
        replies = await run_async(self._plans.enqueue(jobs), self._backend)
        return [AsyncJob(job_id, self._plans, self._backend, new=new) for job_id, new in replies]
