"""Random streams of commands for each type: every reply and what is left equal the references'.

A stream has 200 commands.  Compared are the replies; at the end each key's content, encoding and expiry; all keyspace
events; and the count of changes.  A stream that shows a difference is cut down to the commands that are needed for it.
Few streams run by default, many with `-m slow`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.differential.case import Argument
from tests.differential.client import RawClient, Reply, pack
from tests.differential.command_lines import GROUPS
from tests.differential.grammar import Drawn, commands
from tests.differential.harness import normalise
from tests.differential.known import GROUPS_NOT_STREAMED, StreamExcuses
from tests.differential.observer import Observer
from tests.peers import Peer

Stream = Sequence[Drawn]

LENGTH: Final = 200
RUNS_WITHIN_MS: Final = 10_000
KEYS: Final[Sequence[Argument]] = ["a", "b", "c"]
DATABASES: Final = 3
# reads all there is of a value, by TYPE
CONTENT: Final[dict[object, list[Argument]]] = {
    b"string": ["GET"],
    b"list": ["LRANGE", 0, -1],
    b"set": ["SMEMBERS"],
    b"hash": ["HGETALL"],
    b"zset": ["ZRANGE", 0, -1, "WITHSCORES"],
    b"stream": ["XRANGE", "-", "+"],
}
# half of the streams run with limits that make values change their encoding often
SMALL_LIMITS: Final[dict[str, Argument]] = {
    "hash-max-listpack-entries": 4,
    "set-max-intset-entries": 5,
    "set-max-listpack-entries": 4,
    "zset-max-listpack-entries": 4,
    "stream-node-max-entries": 3,
}


@dataclass(frozen=True)
class Remains:
    """What a key holds.  Two are equal if their expiry is about the same: one server ran a moment after the other."""

    kind: Reply
    encoding: Reply
    content: Reply
    expiry_ms: int

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Remains)
            and (self.kind, self.encoding, self.content) == (other.kind, other.encoding, other.content)
            and abs(self.expiry_ms - other.expiry_ms) < RUNS_WITHIN_MS
        )

    __hash__ = None  # type: ignore[assignment]  # equality is no equivalence


@dataclass(frozen=True)
class Outcome:
    """What a stream does: the replies, and what is left."""

    replies: list[Reply]
    left: list[object]


@dataclass(frozen=True)
class Difference:
    """Where two outcomes part: at the reply to a command, or (`words` is None) in what is left."""

    at: int
    words: object
    theirs: object
    ours: object


@dataclass(frozen=True)
class Setting:
    """How streams are played: against which reference, in which protocol, with which limits of encodings."""

    reference: Peer
    bundled: Peer
    excuses: StreamExcuses
    protocol: int
    small: bool

    def difference(self, stream: Stream) -> Difference | None:
        """Play `stream` on both servers; return the first difference, None if there is none."""
        theirs, ours = (self._play(stream, peer) for peer in (self.reference, self.bundled))
        for at, (their, our) in enumerate(zip(theirs.replies, ours.replies, strict=True)):
            if their != our:
                return Difference(at, stream[at][1], their, our)
        for at, (their_rest, our_rest) in enumerate(zip(theirs.left, ours.left, strict=True)):
            if their_rest != our_rest:
                return Difference(at, None, their_rest, our_rest)
        return None

    def shortened(self, stream: Stream, found: Difference) -> tuple[Stream, Difference]:
        """Leave out what is not needed for a difference of the same kind."""
        stream = stream if found.words is None else stream[: found.at + 1]
        size = max(len(stream) // 2, 1)
        while True:
            before = len(stream)
            at = 0
            while at < len(stream):
                rest = [*stream[:at], *stream[at + size :]]
                other = self.difference(rest)
                if other is not None and (other.words is None) == (found.words is None):
                    stream, found = rest, other
                else:
                    at += size
            if size == 1 and len(stream) == before:
                return stream, found
            size = max(size // 2, 1)

    def _play(self, stream: Stream, peer: Peer) -> Outcome:
        """Send the stream at once to an empty server."""
        observer = Observer(peer)
        before_limits = {name: _limit(observer.control, name) for name in SMALL_LIMITS}
        if self.small:
            for name, value in SMALL_LIMITS.items():
                observer.control.call("CONFIG", "SET", name, value)
        before = observer.control.changes()
        with RawClient(peer.host, peer.port) as client:
            client.call("HELLO", self.protocol)
            client.send(b"".join(pack(words) for _, words in stream))
            replies = [
                self.excuses.reply(words, normalise(client.read(), unordered=unordered)) for unordered, words in stream
            ]
        left: list[object] = [observer.control.changes() - before, self.excuses.events(observer.events())]
        for database in range(DATABASES):
            observer.control.call("SELECT", database)
            left += [self._remains(observer.control, key) for key in KEYS]
        for name, before_limit in before_limits.items():
            observer.control.call("CONFIG", "SET", name, before_limit)
        observer.close()
        return Outcome(replies, left)

    def _remains(self, control: RawClient, key: Argument) -> Remains:
        """What `key` holds."""
        kind = control.call("TYPE", key)
        encoding = self.excuses.reply(["OBJECT"], control.call("OBJECT", "ENCODING", key))
        reader = CONTENT.get(kind[1], ["EXISTS"])
        content = normalise(control.call(reader[0], key, *reader[1:]), unordered=kind[1] in (b"set", b"hash"))
        content = self.excuses.reply(reader, content)
        _, expiry_ms = control.call("PEXPIRETIME", key)
        assert isinstance(expiry_ms, bytes)
        return Remains(kind, encoding, content, int(expiry_ms))


def _limit(control: RawClient, name: str) -> bytes:
    """The value of a parameter, empty for one that the server does not have."""
    _, pair = control.call("CONFIG", "GET", name)
    value = pair[1][1] if isinstance(pair, tuple) and pair else b""
    assert isinstance(value, bytes)
    return value


def compare(group: str, reference: str, running: Callable[[str], Peer], *, streams: int, derandomize: bool) -> None:
    """Play so many streams of `group` on the reference and on the bundled server."""
    reason = GROUPS_NOT_STREAMED.get(f"{reference}:{group}")
    if reason:
        pytest.skip(reason)
    peers = running(reference), running("bundled")
    excuses = StreamExcuses.of(peers[0])

    @settings(
        max_examples=streams,
        derandomize=derandomize,
        phases=[Phase.generate],  # a stream is shortened by playing it, in far less time
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        stream=st.lists(commands(group), min_size=LENGTH, max_size=LENGTH),
        protocol=st.sampled_from([2, 3]),
        small=st.booleans(),
    )
    def play(stream: Stream, protocol: int, *, small: bool) -> None:
        setting = Setting(*peers, excuses, protocol, small)
        stream = [drawn for drawn in stream if not excuses.excuse(drawn[1])]
        found = setting.difference(stream)
        if found is not None:
            short, found = setting.shortened(stream, found)
            commands_needed = "".join(f"\n  {words}" for _, words in short)
            pytest.fail(f"RESP{protocol}, small={small}:{commands_needed}\n{found}")

    play()


@pytest.mark.parametrize("group", sorted(GROUPS))
@pytest.mark.parametrize("reference", ["valkey", "redis"])
def test_stream_replies_as_the_reference(group: str, reference: str, running: Callable[[str], Peer]) -> None:
    compare(group, reference, running, streams=5, derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("group", sorted(GROUPS))
@pytest.mark.parametrize("reference", ["valkey", "redis"])
def test_many_streams_reply_as_the_reference(group: str, reference: str, running: Callable[[str], Peer]) -> None:
    compare(group, reference, running, streams=300, derandomize=False)
