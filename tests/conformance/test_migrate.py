"""MIGRATE between servers of every kind: from the bundled one to each, and from each to the bundled one."""

from collections.abc import Callable, Iterator

import pytest

from tests.differential.client import RawClient
from tests.peers import Peer, free_port

PAIRS = [("bundled", "redis"), ("bundled", "valkey"), ("redis", "bundled"), ("valkey", "bundled")]
Ends = tuple[RawClient, RawClient, Peer]


@pytest.fixture(params=PAIRS, ids=" to ".join)
def ends(request: pytest.FixtureRequest, running: Callable[[str], Peer]) -> Iterator[Ends]:
    """A client of the source, a client of the target, and the target; both are empty."""
    source, target = (running(name) for name in request.param)
    with RawClient(source.host, source.port) as here, RawClient(target.host, target.port) as there:
        for client in (here, there):
            client.call("FLUSHALL")
        yield here, there, target


def test_migrate_key_moves_with_its_time_to_live(ends: Ends) -> None:
    here, there, target = ends
    here.call("SET", "k", "v", "PX", 100_000)
    assert here.call("MIGRATE", target.host, target.port, "k", 0, 5000) == ("+", b"OK")
    assert here.call("EXISTS", "k") == (":", b"0")
    assert there.call("GET", "k") == ("$", b"v")
    _, ttl = there.call("PTTL", "k")
    assert isinstance(ttl, bytes)
    assert 90_000 < int(ttl) <= 100_000


def test_migrate_several_keys_of_all_types(ends: Ends) -> None:
    here, there, target = ends
    here.call("RPUSH", "l", 1, 2, 3)
    here.call("HSET", "h", "f", "v")
    here.call("ZADD", "z", 1, "a")
    here.call("SADD", "s", "m")
    here.call("XADD", "x", "1-1", "f", "v")
    reply = here.call("MIGRATE", target.host, target.port, "", 3, 5000, "KEYS", "l", "h", "z", "s", "x", "nope")
    assert reply == ("+", b"OK")
    assert here.call("DBSIZE") == (":", b"0")
    there.call("SELECT", 3)
    assert there.call("LRANGE", "l", 0, -1) == ("*", (("$", b"1"), ("$", b"2"), ("$", b"3")))
    assert there.call("DBSIZE") == (":", b"5")


def test_migrate_copy_and_replace(ends: Ends) -> None:
    here, there, target = ends
    here.call("SET", "k", "new")
    there.call("SET", "k", "old")
    busy = b"ERR Target instance replied with error: BUSYKEY Target key name already exists."
    assert here.call("MIGRATE", target.host, target.port, "k", 0, 5000, "COPY") == ("-", busy)
    assert here.call("GET", "k") == ("$", b"new")
    assert here.call("MIGRATE", target.host, target.port, "k", 0, 5000, "COPY", "REPLACE") == ("+", b"OK")
    assert (here.call("GET", "k"), there.call("GET", "k")) == (("$", b"new"), ("$", b"new"))


def test_migrate_nothing_there_says_so(ends: Ends) -> None:
    here, _, target = ends
    assert here.call("MIGRATE", target.host, target.port, "nope", 0, 5000) == ("+", b"NOKEY")
    assert here.call("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", "a", "b") == ("+", b"NOKEY")


def test_migrate_wrong_arguments(ends: Ends) -> None:
    here, _, target = ends
    here.call("SET", "k", "v")
    wrong: list[tuple[list[str | int], bytes]] = [
        (["k", 0, 5000, "NOPE"], b"ERR syntax error"),
        (["k", 0, "x"], b"ERR value is not an integer or out of range"),
        (["k", 0, 5000, "AUTH"], b"ERR syntax error"),
        (
            ["k", 0, 5000, "KEYS", "a"],
            b"ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
        ),
        (["k", 999, 5000], b"ERR Target instance replied with error: ERR DB index is out of range"),
    ]
    for arguments, reply in wrong:
        assert here.call("MIGRATE", target.host, target.port, *arguments) == ("-", reply)
    assert here.call("GET", "k") == ("$", b"v")


def test_migrate_without_a_target_keeps_the_key(ends: Ends) -> None:
    here, _, target = ends
    here.call("SET", "k", "v")
    reply = here.call("MIGRATE", target.host, free_port(), "k", 0, 500)
    assert reply == ("-", b"IOERR error or timeout writing to target instance")
    assert here.call("GET", "k") == ("$", b"v")
