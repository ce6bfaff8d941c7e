"""What a connection keeps, and how it ends while the data are saved."""

import re
import time
from collections.abc import Callable

import pytest

from tests.differential.client import RawClient, pack
from tests.peers import Peer

WITHIN_S = 10.0
LARGE = 400_000


def connected(peer: Peer) -> RawClient:
    """A client of `peer`."""
    return RawClient(peer.host, peer.port)


def query_buffer(admin: RawClient) -> int:
    """What the client called `big` has for requests: bytes that wait, and room."""
    _, lines = admin.call("CLIENT", "LIST")
    assert isinstance(lines, bytes)
    (line,) = [line for line in lines.splitlines() if b" name=big " in line]
    return sum(int(number) for number in re.findall(rb" qbuf(?:-free)?=(\d+)", line))


def wait_until(holds: Callable[[], bool]) -> None:
    """Return once `holds` does; fail when it takes too long."""
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # another client's state: nothing tells when it changes


@pytest.mark.parametrize("name", ["bundled", "redis"])  # Valkey 9 has one buffer for all clients
def test_query_buffer_fits_what_comes(start_peer: Callable[..., Peer], name: str) -> None:
    own = start_peer(name)
    with connected(own) as admin, connected(own) as big:
        big.call("CLIENT", "SETNAME", "big")
        assert 16_384 <= query_buffer(admin) < 32_768
        big.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % LARGE)
        wait_until(lambda: query_buffer(admin) >= LARGE)
        big.send(b"x" * LARGE + b"\r\n")
        assert big.read() == ("+", b"OK")
        assert admin.call("STRLEN", "k") == (":", b"%d" % LARGE)
        wait_until(lambda: query_buffer(admin) == 0)  # it has been silent for some seconds
        assert big.call("PING") == ("+", b"PONG")
        assert query_buffer(admin) > 0


@pytest.mark.parametrize("name", ["bundled", "redis"])
def test_query_buffer_shrinks_for_a_client_that_sends_less(start_peer: Callable[..., Peer], name: str) -> None:
    own = start_peer(name)
    with connected(own) as admin, connected(own) as big:
        big.call("CLIENT", "SETNAME", "big")
        big.call("SET", "k", "x" * LARGE)

        def shrinks() -> bool:
            big.call("SET", "k", "x")
            return 0 < query_buffer(admin) < 65_536

        wait_until(shrinks)


@pytest.mark.parametrize("name", ["bundled", "valkey"])  # since Redis 7.2
def test_killed_client_sees_the_end_while_the_data_are_saved(start_peer: Callable[..., Peer], name: str) -> None:
    own = start_peer(name)
    with connected(own) as admin, connected(own) as killed:
        admin.call("SET", "k", "v")
        admin.call("CONFIG", "SET", "rdb-key-save-delay", 30_000_000)
        admin.call("BGSAVE")
        killed.send(pack(["CLIENT", "ID"]))
        _, ident = killed.read()
        assert isinstance(ident, bytes)
        assert admin.call("CLIENT", "KILL", "ID", ident) == (":", b"1")
        with pytest.raises(ConnectionError):
            killed.call("PING")
        _, info = admin.call("INFO", "persistence")
        assert isinstance(info, bytes)
        assert b"rdb_bgsave_in_progress:1" in info
        admin.call("CONFIG", "SET", "rdb-key-save-delay", 0)
        admin.call("FLUSHALL")  # ends the child
