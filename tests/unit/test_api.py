"""The public names, pinned: a change here is a change for users."""

import coordkit

PUBLIC = [
    "AsyncClient",
    "AsyncLease",
    "AsyncLimiter",
    "AsyncLock",
    "Client",
    "ConfigurationError",
    "CoordkitError",
    "Decision",
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
    "OutcomeUnknown",
    "Queue",
    "Reject",
    "ResultTimeout",
    "RetryLater",
    "ServerError",
    "ServerUnavailable",
    "SlidingWindow",
]


def test_package_exports_exactly_the_pinned_names() -> None:
    assert sorted(coordkit.__all__) == sorted(PUBLIC)


def test_package_defines_every_name_it_exports() -> None:
    for name in coordkit.__all__:
        assert getattr(coordkit, name) is not None
