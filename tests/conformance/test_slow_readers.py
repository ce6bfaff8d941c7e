"""Clients that do not read what they are sent, on every server: what is kept for them, and for how long."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.differential.client import RawClient, pack
from tests.peers import STARTERS, Peer

WITHIN_S = 10.0
MESSAGE = b"m" * 100_000
# more than the kernel takes for a socket, however far it lets its buffers grow
MANY = 300
END = b"$3\r\nend\r\n"


@pytest.fixture(params=sorted(STARTERS))
def own(request: pytest.FixtureRequest, start_peer: Callable[..., Peer]) -> Peer:
    """A server whose settings the test may change."""
    return start_peer(request.param)


@contextmanager
def slow_client(peer: Peer) -> Iterator[socket.socket]:
    """A connection with a small buffer of its own, so that what it leaves unread piles up at the server."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        client.settimeout(WITHIN_S)
        client.connect((peer.host, peer.port))
        yield client


def subscribe(client: socket.socket) -> None:
    client.sendall(pack(["SUBSCRIBE", "news"]))
    confirmed = b""
    while not confirmed.endswith(b":1\r\n"):
        confirmed += client.recv(100)


def receive(client: socket.socket, size: int) -> None:
    """Read `size` bytes; fail at the end of the stream."""
    while size:
        data = client.recv(min(size, 1 << 20))
        assert data, f"the server closed the connection with {size} bytes to come"
        size -= len(data)


def received_exactly(client: socket.socket, size: int) -> bytes:
    """The next `size` bytes, in however many pieces they come."""
    data = b""
    while len(data) < size:
        piece = client.recv(size - len(data))
        assert piece, f"the server closed the connection after {data!r}"
        data += piece
    return data


def received_until_the_end(client: socket.socket) -> int:
    """How many bytes came before the server closed or reset the connection."""
    size = 0
    with suppress(ConnectionResetError):
        while data := client.recv(1 << 20):
            size += len(data)
    return size


def gone(control: RawClient) -> bool:
    """Whether nobody is subscribed."""
    reply = control.call("PUBSUB", "NUMSUB", "news")[1]
    assert isinstance(reply, tuple)
    return bool(reply[1] == (":", b"0"))


def alone(control: RawClient) -> bool:
    """Whether nobody else is connected."""
    reply = control.call("INFO", "clients")[1]
    assert isinstance(reply, bytes)
    return b"\nconnected_clients:1\r" in reply


def becomes(true_of: Callable[[RawClient], bool], control: RawClient, within_s: float = WITHIN_S) -> bool:
    deadline = time.monotonic() + within_s
    while not true_of(control):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)  # a server tells nobody when it closes a client
    return True


def test_subscriber_over_its_hard_limit_is_closed(own: Peer) -> None:
    if own.name == "valkey":
        pytest.skip("Valkey 9 counts the one copy of a message that all subscribers share")
    with slow_client(own) as client, RawClient(own.host, own.port) as control:
        assert control.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0")[1] == b"OK"
        subscribe(client)
        for _ in range(MANY):
            control.call("PUBLISH", "news", MESSAGE)
        assert becomes(gone, control)
        assert control.call("PUBLISH", "news", "x") == (":", b"0")


def test_subscriber_over_its_soft_limit_is_closed_though_no_message_follows(own: Peer) -> None:
    with slow_client(own) as client, RawClient(own.host, own.port) as control:
        control.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 100kb 1")
        subscribe(client)
        start = time.monotonic()
        for _ in range(MANY):
            control.call("PUBLISH", "news", MESSAGE)
        closed = gone(control)
        assert not closed or time.monotonic() - start > 1  # read last: the second may end while the server is asked
        assert becomes(gone, control)


def test_subscriber_that_catches_up_is_over_its_soft_limit_anew(own: Peer) -> None:
    if own.name == "redis":
        pytest.skip("7.0 forgets only by a small message that the client was over its limit")
    message_size = len(b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$100000\r\n\r\n") + len(MESSAGE)
    with slow_client(own) as client, RawClient(own.host, own.port) as control:
        control.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")
        subscribe(client)
        limit_s = 0
        for _ in range(3):
            start = time.monotonic()
            control.send(pack(["PUBLISH", "news", MESSAGE]) * MANY)
            receive(client, MANY * message_size)
            for _ in range(MANY):
                assert control.read() == (":", b"1")
            if not limit_s:  # however slow this machine is, it catches up in less
                limit_s = 2 + int(4 * (time.monotonic() - start))
                control.call("CONFIG", "SET", "client-output-buffer-limit", f"pubsub 0 100kb {limit_s}")
            else:
                assert not becomes(gone, control, within_s=limit_s + 0.5)


def test_replies_to_a_slow_reader_all_come_while_others_are_served(own: Peer) -> None:
    with slow_client(own) as client, RawClient(own.host, own.port) as other:
        other.call("SET", "k", MESSAGE)
        client.sendall(pack(["GET", "k"]) * MANY + pack(["ECHO", "end"]))
        for _ in range(20):
            assert other.call("PING") == ("+", b"PONG")
        receive(client, MANY * len(b"$100000\r\n" + MESSAGE + b"\r\n"))
        assert received_exactly(client, len(END)) == END


def test_client_over_its_hard_limit_of_replies_is_closed(own: Peer) -> None:
    with slow_client(own) as client, RawClient(own.host, own.port) as control:
        control.call("CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0")
        control.call("SET", "k", b"v" * 30_000_000)
        client.sendall(pack(["GET", "k"]))
        assert becomes(alone, control)
        assert received_until_the_end(client) < 30_000_000
        assert control.call("PING") == ("+", b"PONG")
