"""FUNCTION DUMP on one server, FUNCTION RESTORE on the other, both ways; ours writes what Redis 7.0 writes."""

from collections.abc import Callable, Iterator

import pytest

from tests.differential.client import RawClient
from tests.peers import Peer

SMALL = "#!lua name=small\nredis.register_function('f', function() return 1 end)"
LARGE = (
    "#!lua name=large\n"
    + "".join(f"redis.register_function('g{number}', function() return {number} end)\n" for number in range(50))
    + f"-- {'x' * 20000}\n"
)


@pytest.fixture(params=["redis", "valkey"])
def both(request: pytest.FixtureRequest, running: Callable[[str], Peer]) -> Iterator[tuple[RawClient, RawClient]]:
    """Clients of a real server and of ours, both without libraries."""
    reference, bundled = running(request.param), running("bundled")
    with RawClient(reference.host, reference.port) as one, RawClient(bundled.host, bundled.port) as other:
        for client in (one, other):
            client.call("FUNCTION", "FLUSH")
        yield one, other
        for client in (one, other):
            client.call("FUNCTION", "FLUSH")


def payload_of(client: RawClient) -> bytes:
    kind, value = client.call("FUNCTION", "DUMP")
    assert kind == "$"
    assert isinstance(value, bytes)
    return value


def load(client: RawClient, *libraries: str) -> None:
    for code in libraries:
        assert client.call("FUNCTION", "LOAD", code)[0] == "$"


@pytest.mark.parametrize("libraries", [(), (SMALL,), (SMALL, LARGE)], ids=["none", "one", "two"])
def test_function_dump_restores_on_the_other_server(
    libraries: tuple[str, ...], both: tuple[RawClient, RawClient]
) -> None:
    for source, target in (both, both[::-1]):
        source.call("FUNCTION", "FLUSH")
        load(source, *libraries)
        assert target.call("FUNCTION", "RESTORE", payload_of(source), "FLUSH") == ("+", b"OK")
        if libraries:
            assert target.call("FCALL", "f", 0) == (":", b"1")
        if len(libraries) > 1:
            assert target.call("FCALL", "g49", 0) == (":", b"49")


@pytest.mark.parametrize("library", [SMALL, LARGE], ids=["small", "compressed"])
def test_function_dump_equals_that_of_redis_7_0(library: str, running: Callable[[str], Peer]) -> None:
    reference, bundled = running("redis"), running("bundled")
    with RawClient(reference.host, reference.port) as theirs, RawClient(bundled.host, bundled.port) as ours:
        for client in (theirs, ours):
            client.call("FUNCTION", "FLUSH")
            load(client, library)
        assert payload_of(ours) == payload_of(theirs)
        for client in (theirs, ours):
            client.call("FUNCTION", "FLUSH")


def test_function_restore_refuses_alike(both: tuple[RawClient, RawClient]) -> None:
    theirs, ours = both
    load(ours, SMALL)
    payload = payload_of(ours)
    other = SMALL.replace("name=small", "name=other")
    for arguments in (
        ("x",),
        (payload[:-1] + bytes([payload[-1] ^ 1]),),
        (payload, "MERGE"),
        (payload, "FLUSH", "NOW"),
        (payload, "APPEND"),
        (payload,),
        (payload, "replace"),
        (payload, "Flush"),
    ):
        replies = []
        for client in (theirs, ours):
            client.call("FUNCTION", "FLUSH")
            load(client, SMALL)
            replies.append((client.call("FUNCTION", "RESTORE", *arguments), client.call("FUNCTION", "LIST")))
        assert replies[0] == replies[1]
    for policy in ("APPEND", "REPLACE", "FLUSH"):
        replies = []
        for client in (theirs, ours):
            client.call("FUNCTION", "FLUSH")
            load(client, other)
            replies.append((client.call("FUNCTION", "RESTORE", payload, policy), client.call("FUNCTION", "LIST")))
        assert replies[0] == replies[1]
