"""coordkit: locks, rate limits, reliable job queues and pub/sub for Python teams."""

from coordkit.client import AsyncClient, Client
from coordkit.errors import (
    ConfigurationError,
    CoordkitError,
    LeaseLost,
    LockTimeout,
    OutcomeUnknown,
    ServerError,
    ServerUnavailable,
)
from coordkit.lease import AsyncLease, Lease
from coordkit.lock import AsyncLock, Lock, LockInfo

__all__ = [
    "AsyncClient",
    "AsyncLease",
    "AsyncLock",
    "Client",
    "ConfigurationError",
    "CoordkitError",
    "Lease",
    "LeaseLost",
    "Lock",
    "LockInfo",
    "LockTimeout",
    "OutcomeUnknown",
    "ServerError",
    "ServerUnavailable",
]
