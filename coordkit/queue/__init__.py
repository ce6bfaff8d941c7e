"""Reliable job queues: at least once, with leases, fences, retries and dead letters.

declaration   Queue and its handlers: what a module declares, with no connection
outcome       what a handler raises to say how its failure is meant
scripts       the scripts, one an arrow, and their replies
plans         what a queue does, with no I/O
handles       the blocking and the asynchronous shell: enqueue, results, dead letters
worker/       the processes that run jobs
"""

from coordkit.queue.declaration import Handler, Queue, RetryPolicy
from coordkit.queue.handles import AsyncJob, AsyncQueueHandle, Job, QueueHandle
from coordkit.queue.outcome import Reject, RetryLater
from coordkit.queue.scripts import JobInfo, QueueStats

__all__ = [
    "AsyncJob",
    "AsyncQueueHandle",
    "Handler",
    "Job",
    "JobInfo",
    "Queue",
    "QueueHandle",
    "QueueStats",
    "Reject",
    "RetryLater",
    "RetryPolicy",
]
