"""Who may connect, and what is left of those who have gone."""

import gc
import socket
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from coordkit_server.app import Server, is_local
from coordkit_server.clock import ManualClock
from coordkit_server.config import Config
from coordkit_server.log import Log
from coordkit_server.networking.connection import Connection
from tests.differential.client import pack


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


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No collector: what goes, goes because nothing refers to it, as in a server that runs."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def connections() -> int:
    """How many connections exist, closed ones included."""
    return sum(type(thing) is Connection for thing in gc.get_objects())


SAID = {
    "nothing": [],
    "value": [["SET", "k", "v" * 100_000]],
    "transaction": [["WATCH", "k"], ["MULTI"], ["SET", "k", "v"]],
    "subscriptions": [["SUBSCRIBE", "c"], ["PSUBSCRIBE", "p*"], ["SSUBSCRIBE", "s"]],
    "tracking": [["HELLO", "3"], ["CLIENT", "TRACKING", "ON"], ["GET", "k"]],
    "monitor": [["MONITOR"]],
    "block": [["BLPOP", "l", "0"], ["PING"]],
    "wait": [["SET", "k", "v"], ["WAIT", "1", "0"]],
    "stream": [["XREAD", "BLOCK", "0", "STREAMS", "x", "$"]],
    "script": [["EVAL", "return redis.call('SET', 'k', 'v')", "0"], ["EVAL", "return redis.call('NONE')", "0"]],
    "errors": [["GET"], ["NONE"], ["LPUSH", "k"]],
    "quit": [["QUIT"]],
    "kill": [["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]],
}


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("kind", SAID)
def test_server_keeps_nothing_of_a_connection_that_closed(kind: str, tmp_path: Path) -> None:
    server = Server(Config(), ManualClock(1_700_000_000_000), Log(str(tmp_path / "log"), "notice"), Random(1))
    before = connections()
    theirs, ours = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        server.client_came(ours)
        assert connections() == before + 1
        for words in SAID[kind]:
            theirs.sendall(pack(words))
            server.loop.glance()
    server.loop.glance()
    assert not server.services.sessions
    assert connections() == before
