"""DUMP on one server, RESTORE on the other: every type and size class, both ways; ours writes what Redis 7.0 writes."""

from collections.abc import Callable, Iterator

import pytest

from tests.differential.client import RawClient
from tests.differential.datasets import DATASETS, UNORDERED, content
from tests.peers import Peer


@pytest.fixture(params=["redis", "valkey"])
def both(request: pytest.FixtureRequest, running: Callable[[str], Peer]) -> Iterator[tuple[RawClient, RawClient]]:
    """Clients of a real server and of ours, both empty."""
    reference, bundled = running(request.param), running("bundled")
    with RawClient(reference.host, reference.port) as one, RawClient(bundled.host, bundled.port) as other:
        for client in (one, other):
            client.call("FLUSHALL")
            client.call("CONFIG", "SET", "list-max-listpack-size", -2)
        yield one, other


def payload_of(client: RawClient, key: str) -> bytes:
    kind, value = client.call("DUMP", key)
    assert kind == "$"
    assert isinstance(value, bytes)
    return value


@pytest.mark.parametrize("name", DATASETS)
def test_dump_of_a_real_server_restores_here(name: str, both: tuple[RawClient, RawClient]) -> None:
    theirs, ours = both
    for command in DATASETS[name]:
        theirs.call(*command)
    assert ours.call("RESTORE", "k", 0, payload_of(theirs, "k")) == ("+", b"OK")
    assert content(ours, "k") == content(theirs, "k")


@pytest.mark.parametrize("name", DATASETS)
def test_dump_of_ours_restores_on_a_real_server(name: str, both: tuple[RawClient, RawClient]) -> None:
    theirs, ours = both
    for command in DATASETS[name]:
        ours.call(*command)
    before = content(ours, "k")
    encoding = ours.call("OBJECT", "ENCODING", "k")
    payload = payload_of(ours, "k")
    assert theirs.call("RESTORE", "k", 0, payload) == ("+", b"OK")
    assert content(theirs, "k") == before
    assert ours.call("RESTORE", "k", 0, payload, "REPLACE") == ("+", b"OK")
    assert content(ours, "k") == before
    if name not in {"string-appended", "hyperloglog"}:  # what has been changed in place is `raw` whatever its size
        assert ours.call("OBJECT", "ENCODING", "k") == encoding


@pytest.mark.parametrize("name", [name for name in DATASETS if not name.startswith(UNORDERED)])
def test_dump_equals_that_of_redis_7_0(name: str, running: Callable[[str], Peer]) -> None:
    reference, bundled = running("redis"), running("bundled")
    with RawClient(reference.host, reference.port) as theirs, RawClient(bundled.host, bundled.port) as ours:
        for client in (theirs, ours):
            client.call("FLUSHALL")
            for command in DATASETS[name]:
                client.call(*command)
        assert payload_of(ours, "k") == payload_of(theirs, "k")
