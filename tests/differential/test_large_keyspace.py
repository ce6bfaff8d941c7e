"""A pipeline on a keyspace so large that requests are read ahead: the replies are those of one request at a time."""

import socket
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.peers import Peer

KEYS = 6_000


def pack(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in words)


def replies(peer: Peer, stream: bytes) -> bytes:
    """All that the server sends until it closes the connection, which may be before it has read all of `stream`."""
    received = b""
    with socket.create_connection((peer.host, peer.port), timeout=10) as sock:
        with suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(stream)
        with suppress(ConnectionResetError):
            while data := sock.recv(65536):
                received += data
    return received


FILL = pack("FLUSHALL") + pack("MSET", *(word for n in range(KEYS) for word in (f"key:{n}", f"value:{n}")))
READS = b"".join(pack("GET", f"key:{n}") for n in range(40))
STREAMS = {
    "reads": FILL + READS + pack("QUIT") + READS,
    "writes-between": FILL + b"".join(pack("INCR", f"n:{n % 3}") + pack("GET", f"n:{n % 3}") for n in range(40)),
    "other-database": FILL + READS + pack("SELECT", "1") + READS + pack("SELECT", "0") + READS,
    "blocking": FILL + READS + pack("BLPOP", "none", "0.05") + READS + pack("BLPOP", "none", "0.02") + READS,
    "transaction": FILL + pack("MULTI") + READS + pack("EXEC") + READS,
    "flushed": FILL + READS + pack("FLUSHALL") + READS,
    "paused": FILL + READS + pack("CLIENT", "PAUSE", "50", "WRITE") + READS + pack("SET", "key:1", "x") + READS,
    "broken-behind": FILL + READS + b"*1\r\n$x\r\n" + READS,
    "empty-and-inline": FILL + b"*0\r\n" + READS + b"GET key:1\r\n\r\n" + READS,
}


@pytest.mark.parametrize("reference", ["valkey", "redis"])
@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
def test_pipeline_large_keyspace_replies_as_the_reference(
    stream: bytes, reference: str, running: Callable[[str], Peer]
) -> None:
    stream += pack("QUIT")
    assert replies(running("bundled"), stream) == replies(running(reference), stream)


@pytest.mark.parametrize(
    "cut", ["GET key|:1\r\n", "|GET key:1\r\n", "*|2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n", "\r|\nGET key:1\r\n"]
)
def test_request_in_two_parts_large_keyspace_is_served_once_it_is_whole(
    cut: str, running: Callable[[str], Peer]
) -> None:
    peer = running("bundled")
    first, second = (part.encode() for part in cut.split("|"))
    with socket.create_connection((peer.host, peer.port), timeout=10) as sock:
        sock.sendall(FILL + READS + first)
        expected = b"+OK\r\n" * 2 + b"".join(b"$%d\r\nvalue:%d\r\n" % (6 + len(str(n)), n) for n in range(40))
        received = b""
        while len(received) < len(expected):
            received += sock.recv(65536)
        assert received == expected
        assert peer.command("PING") == b"+PONG\r\n"  # by now it has seen the first part
        sock.sendall(second + pack("QUIT"))
        received = b""
        while data := sock.recv(65536):
            received += data
        assert received == b"$7\r\nvalue:1\r\n+OK\r\n"
