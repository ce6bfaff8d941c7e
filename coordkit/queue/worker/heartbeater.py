"""The heartbeat: a thread that extends the leases of a worker's jobs, many in one call, three times a lease.

It has a connection of its own and needs nothing of the event loop: a handler that blocks the loop keeps its lease.
A job is lost when the server says so, or when its lease has run out here without an answer.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from coordkit.errors import CoordkitError
from coordkit.queue.plans import WorkerPlans
from coordkit.queue.scripts import Leased
from coordkit.runner import run
from coordkit.transports.base import Backend

log = logging.getLogger("coordkit.worker")

BEATS_A_LEASE: Final = 3
BATCH: Final = 200
RETRY_S: Final = 0.25


class Held(NamedTuple):
    """A lease in our hands; over here at `until_s` of the monotonic clock, no later than on the server."""

    fence: int
    until_s: float


class Heartbeater:
    """Keeps leases alive.  `on_lost(id, fence)` is called on its thread."""

    def __init__(
        self, plans: WorkerPlans, backend: Backend, *, lease_s: float, on_lost: Callable[[str, int], None]
    ) -> None:
        self._plans = plans
        self._backend = backend
        self._lease_s = lease_s
        self._on_lost = on_lost
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, *, on_death: Callable[[BaseException], None]) -> None:
        """Start the thread; `on_death` is called on it if it ends by an error."""

        def work() -> None:
            try:
                self._loop()
            except BaseException as exc:
                log.exception("the heartbeat died")
                on_death(exc)

        self._thread = threading.Thread(target=work, name="coordkit-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; leases that are still held end by themselves."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(self._lease_s)

    def add(self, job: Leased, *, asked_s: float) -> None:
        """Keep the lease of `job` alive; it was asked for at `asked_s`."""
        with self._lock:
            self._held[job.id] = Held(job.fence, asked_s + self._lease_s)

    def remove(self, job_id: str, fence: int) -> None:
        """Let the lease go: the job is settled."""
        with self._lock:
            held = self._held.get(job_id)
            if held is not None and held.fence == fence:
                del self._held[job_id]

    def _loop(self) -> None:
        pause_s = self._lease_s / BEATS_A_LEASE
        while not self._stopping.wait(pause_s):
            pause_s = self._lease_s / BEATS_A_LEASE
            try:
                self._beat_all()
            except CoordkitError as exc:
                log.warning("leases could not be extended: %s", exc)
                pause_s = min(RETRY_S, pause_s)
            self._drop_expired()

    def _beat_all(self) -> None:
        with self._lock:
            held = [(job_id, lease.fence) for job_id, lease in self._held.items()]
        for start in range(0, len(held), BATCH):
            batch = held[start : start + BATCH]
            asked_s = time.monotonic()
            marks = run(self._plans.beat(batch), self._backend)
            for (job_id, fence), extended in zip(batch, marks, strict=True):
                self._note(job_id, fence, asked_s + self._lease_s if extended else None)

    def _drop_expired(self) -> None:
        now_s = time.monotonic()
        with self._lock:
            expired = [(job_id, lease.fence) for job_id, lease in self._held.items() if lease.until_s < now_s]
        for job_id, fence in expired:
            self._note(job_id, fence, None)

    def _note(self, job_id: str, fence: int, until_s: float | None) -> None:
        """Note how long the lease is ours now; None: it is lost."""
        with self._lock:
            held = self._held.get(job_id)
            if held is None or held.fence != fence:
                return  # settled meanwhile
            if until_s is not None:
                self._held[job_id] = Held(fence, until_s)
                return
            del self._held[job_id]
        self._on_lost(job_id, fence)
