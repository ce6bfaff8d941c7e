"""The public names, pinned: a change here is a change for users."""

import coordkit

PUBLIC = [
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


def test_package_exports_exactly_the_pinned_names() -> None:
    assert sorted(coordkit.__all__) == sorted(PUBLIC)


def test_package_defines_every_name_it_exports() -> None:
    for name in coordkit.__all__:
        assert getattr(coordkit, name) is not None
