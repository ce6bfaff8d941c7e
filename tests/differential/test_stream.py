"""Random streams of commands: replies, then what is left, equal those of the references."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.differential.case import Argument
from tests.differential.client import RawClient, Reply, pack
from tests.differential.grammar import GROUPS, Words, commands
from tests.differential.harness import normalise
from tests.peers import Peer

Stream = Sequence[tuple[bool, Words]]

RUNS_WITHIN_MS = 10_000
KEYS: Sequence[Argument] = ["a", "b", "c", "d", "e"]
# reads all there is of a value, by TYPE
CONTENT: dict[object, list[Argument]] = {
    b"string": ["GET"],
    b"list": ["LRANGE", 0, -1],
    b"set": ["SMEMBERS"],
    b"hash": ["HGETALL"],
    b"stream": ["XRANGE", "-", "+"],
    b"zset": ["ZRANGE", 0, -1, "WITHSCORES"],
}


def run_stream(stream: Stream, peer: Peer, protocol: int) -> list[object]:
    """The replies to the commands, sent at once to an empty server, the count of changes, and what each key holds."""
    with RawClient(peer.host, peer.port) as client:
        client.call("HELLO", protocol)
        client.call("FLUSHALL")
        before = client.changes()
        client.send(b"".join(pack(words) for _, words in stream))
        replies: list[object] = [normalise(client.read(), unordered=unordered) for unordered, _ in stream]
        return [*replies, client.changes() - before, *(remains(client, key) for key in KEYS)]


@dataclass(frozen=True)
class Remains:
    """What a key holds.  Two are equal if their expiry is about the same: one server ran a moment after the other."""

    kind: Reply
    content: Reply
    expiry_ms: int

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Remains)
            and (self.kind, self.content) == (other.kind, other.content)
            and abs(self.expiry_ms - other.expiry_ms) < RUNS_WITHIN_MS
        )

    __hash__ = None  # type: ignore[assignment]  # equality is no equivalence


def remains(client: RawClient, key: Argument) -> Remains:
    """What `key` holds."""
    kind = client.call("TYPE", key)
    reader = CONTENT.get(kind[1], ["EXISTS"])
    content = client.call(reader[0], key, *reader[1:])
    _, expiry_ms = client.call("PEXPIRETIME", key)
    assert isinstance(expiry_ms, bytes)
    return Remains(kind, normalise(content, unordered=kind[1] in (b"set", b"hash")), int(expiry_ms))


@pytest.mark.parametrize("group", sorted(GROUPS))
@pytest.mark.parametrize("reference", ["valkey", "redis"])
@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data(), protocol=st.sampled_from([2, 3]))
def test_stream_replies_as_the_reference(
    data: st.DataObject, protocol: int, group: str, reference: str, running: Callable[[str], Peer]
) -> None:
    stream = data.draw(st.lists(commands(group, reference), min_size=20, max_size=80))
    expected = run_stream(stream, running(reference), protocol)
    got = run_stream(stream, running("bundled"), protocol)
    for (_, words), theirs, ours in zip(stream, expected, got, strict=False):
        assert ours == theirs, words
    assert got[len(stream) :] == expected[len(stream) :], "what is left"
