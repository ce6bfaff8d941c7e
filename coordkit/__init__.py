"""coordkit: locks, rate limits, reliable job queues and pub/sub for Python teams."""

from coordkit.client import AsyncClient, Client
from coordkit.errors import (
    ConfigurationError,
    CoordkitError,
    JobCancelled,
    JobFailed,
    JobUnknown,
    LeaseLost,
    LimitTimeout,
    LockTimeout,
    OutcomeUnknown,
    ResultTimeout,
    ServerError,
    ServerUnavailable,
)
from coordkit.lease import AsyncLease, Lease
from coordkit.lock import AsyncLock, Lock, LockInfo
from coordkit.queue import Queue, Reject, RetryLater
from coordkit.queue.worker import JobContext
from coordkit.ratelimit.decision import Decision
from coordkit.ratelimit.gcra import GCRA
from coordkit.ratelimit.limiter import AsyncLimiter, Limiter
from coordkit.ratelimit.sliding_window import SlidingWindow

__all__ = [
    "GCRA",
    "AsyncClient",
    "AsyncLease",
    "AsyncLimiter",
    "AsyncLock",
    "Client",
    "ConfigurationError",
    "CoordkitError",
    "Decision",
    "JobCancelled",
    "JobContext",
    "JobFailed",
    "JobUnknown",
    "Lease",
    "LeaseLost",
    "LimitTimeout",
    "Limiter",
    "Lock",
    "LockInfo",
    "LockTimeout",
    "OutcomeUnknown",
    "Queue",
    "Reject",
    "ResultTimeout",
    "RetryLater",
    "ServerError",
    "ServerUnavailable",
    "SlidingWindow",
]
