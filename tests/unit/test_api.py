"""The public names, pinned: a change here is a change for users."""

import coordkit

PUBLIC = [
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
    "GCRA",
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


def test_package_exports_exactly_the_pinned_names() -> None:
    assert sorted(coordkit.__all__) == sorted(PUBLIC)


def test_package_defines_every_name_it_exports() -> None:
    for name in coordkit.__all__:
        assert getattr(coordkit, name) is not None
