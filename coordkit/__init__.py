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
    SubscriptionOverflow,
)
from coordkit.lease import AsyncLease, Lease
from coordkit.lock import AsyncLock, Lock, LockInfo
from coordkit.pubsub.channel import AsyncChannel, AsyncSubscription, Channel, Subscription
from coordkit.pubsub.message import Gap, Message
from coordkit.queue import Queue, Reject, RetryLater
from coordkit.queue.worker import JobContext
from coordkit.ratelimit.decision import Decision
from coordkit.ratelimit.gcra import GCRA
from coordkit.ratelimit.limiter import AsyncLimiter, Limiter
from coordkit.ratelimit.sliding_window import SlidingWindow

__all__ = [
    "GCRA",
    "AsyncChannel",
    "AsyncClient",
    "AsyncLease",
    "AsyncLimiter",
    "AsyncLock",
    "AsyncSubscription",
    "Channel",
    "Client",
    "ConfigurationError",
    "CoordkitError",
    "Decision",
    "Gap",
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
    "Message",
    "OutcomeUnknown",
    "Queue",
    "Reject",
    "ResultTimeout",
    "RetryLater",
    "ServerError",
    "ServerUnavailable",
    "SlidingWindow",
    "Subscription",
    "SubscriptionOverflow",
]
