"""JobContext: what a handler gets as its first argument."""

from typing import TYPE_CHECKING

from coordkit.errors import LeaseLost
from coordkit.queue.scripts import Leased

if TYPE_CHECKING:
    from coordkit.client import AsyncClient, Client


class JobContext:
    """One attempt at one job.

    `attempt` counts from 1.  `fence` rises with every lease of the queue: pass it on to where the job writes, and
    refuse a lower one there.  `client` is the worker's own, for asynchronous handlers; the others have
    `blocking_client`.
    """

    __slots__ = (
        "attempt",
        "blocking_client",
        "client",
        "crashes",
        "failures",
        "fence",
        "id",
        "lost",
        "name",
        "queue",
        "worker_id",
    )

    def __init__(
        self, job: Leased, *, queue: str, worker_id: str, client: "AsyncClient", blocking_client: "Client"
    ) -> None:
        self.id = job.id
        self.name = ""
        """The name of the handler."""
        self.queue = queue
        self.worker_id = worker_id
        self.attempt = job.attempt
        self.failures = job.failures
        self.crashes = job.crashes
        self.fence = job.fence
        self.client = client
        self.blocking_client = blocking_client
        self.lost = False
        """True once the job is not ours any more: its lease was lost, it was cancelled, or it ran out of time."""

    def lose(self) -> None:
        """The job is not ours any more; for the worker."""
        self.lost = True

    def raise_if_lost(self) -> None:
        """Comes back while the job is ours.  Raises LeaseLost; for handlers in threads, which nobody can stop."""
        if self.lost:
            raise LeaseLost(f"job {self.id} ({self.name}) is not ours any more; stop working on it")
