"""Who may connect."""

import pytest

from coordkit_server.app import is_local


@pytest.mark.parametrize(
    "address, local",
    [
        (b"127.0.0.1:5", True),
        (b"127.8.0.1:5", True),
        (b"[::1]:5", True),
        (b"[::ffff:127.0.0.1]:5", True),
        (b"192.0.2.7:5", False),
        (b"[2001:db8::1]:5", False),
        (b"12.7.0.1:5", False),
        (b"?:0", False),
    ],
)
def test_is_local_address(address: bytes, local: bool) -> None:
    assert is_local(address) is local
