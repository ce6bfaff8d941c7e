"""What the commands of every case send to replicas: the same stream as the references, times aside."""

import re
from collections.abc import Callable, Iterator

import pytest

from tests.differential.case import Case
from tests.differential.client import RawClient
from tests.differential.known import NOT_ON_REDIS, NOT_ON_VALKEY, STREAMS_DIFFER, excused
from tests.differential.test_cases import all_cases
from tests.peers import Peer

TABLES = {"valkey": NOT_ON_VALKEY, "redis": NOT_ON_REDIS}
MARK = b"end-of-case"
_TIME = re.compile(rb"^[0-9]{13}$")

Stream = list[tuple[bytes, ...]]


class Follower:
    """A connection that follows a server as a replica of the oldest kind does."""

    def __init__(self, peer: Peer) -> None:
        self.control = RawClient(peer.host, peer.port)
        for name in ("lazyfree-lazy-expire", "lazyfree-lazy-server-del", "lazyfree-lazy-user-del"):
            self.control.call("CONFIG", "SET", name, "no")
        self.control.call("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        self._replica = RawClient(peer.host, peer.port, timeout_s=30)
        self._replica.send(b"SYNC\r\n")
        self._replica.skip_payload()

    def since_mark(self) -> Stream:
        """The commands that have come since the last call; names in upper case, times masked."""
        self.control.call("PUBLISH", MARK, "")
        found: Stream = []
        while True:
            _, items = self._replica.read()
            assert isinstance(items, tuple)
            argv = [bytes(value) for _, value in items]
            name = argv[0].upper()
            if name == b"PUBLISH" and argv[1] == MARK:
                return found
            if name not in (b"PING", b"REPLCONF"):
                found.append((name, *[_TIME.sub(b"<time>", word) for word in argv[1:]]))

    def stream_of(self, case: Case, peer: Peer) -> Stream:
        """What the commands of `case` send."""
        self.control.call("FLUSHALL")
        self.control.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)  # when the server comes across an expired key is chance
        self.since_mark()
        with RawClient(peer.host, peer.port) as client:
            for command in case.commands:
                client.call(*command)
        return self.since_mark()

    def close(self) -> None:
        """End both connections."""
        self._replica.close()
        self.control.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
        self.control.close()


@pytest.fixture(scope="module")
def follower(running: Callable[[str], Peer]) -> Iterator[Callable[[str], Follower]]:
    """Return the follower of the server with the given name, attached at its first use."""
    followers: dict[str, Follower] = {}

    def of(name: str) -> Follower:
        peer = running(name)
        if name not in followers:
            followers[name] = Follower(peer)
        return followers[name]

    yield of
    for found in followers.values():
        found.close()


@pytest.mark.parametrize("reference", ["valkey", "redis"])
@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.id)
def test_case_sends_replicas_what_the_reference_sends(
    case: Case, reference: str, running: Callable[[str], Peer], follower: Callable[[str], Follower]
) -> None:
    reason = case.differs or excused(TABLES[reference], case.id)
    reason = reason or excused(STREAMS_DIFFER, case.id) or STREAMS_DIFFER.get(f"{reference}:{case.id}")
    if reason:
        pytest.skip(reason)
    expected, got = (follower(name).stream_of(case, running(name)) for name in (reference, "bundled"))
    assert got == expected
