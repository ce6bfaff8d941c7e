"""The log lines that an operator looks for, on the bundled server and on Redis: why a client was closed or refused."""

import contextlib
import re
import resource
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.test_replication import WITHIN_S, eventually
from tests.peers import Peer

PeerFactory = Callable[..., Peer]
CLIENT = r"id=\d+ addr=127\.0\.0\.1:\d+ laddr=127\.0\.0\.1:\d+ fd=\d+ name= age=\d+ idle=\d+ flags=\S+ db=0 .*"
SERVERS = pytest.mark.parametrize("name", ["bundled", "redis"])


def log_has(peer: Peer, pattern: str) -> bool:
    """Whether the server has written a line that ends so."""
    log = Path(f"/proc/{peer.pid}/fd/1").resolve().read_text()
    return re.search(rf"^\d+:M .* {pattern}$", log, re.MULTILINE) is not None


def send_and_read(peer: Peer, data: bytes) -> bytes:
    """What the server answers before it closes the connection."""
    answer = b""
    with (
        socket.create_connection((peer.host, peer.port), timeout=WITHIN_S) as client,
        contextlib.suppress(ConnectionError),
    ):
        client.sendall(data)
        while chunk := client.recv(1 << 16):
            answer += chunk
    return answer


@SERVERS
@pytest.mark.parametrize(
    "sent, reason, sample",
    [
        (b"*abc\r\n", "invalid mbulk count", r"'\*abc\.\.'"),
        (b"PING\r\n*1\r\n$x\r\n", "invalid bulk length", r"'\$x\.\.'"),
        (b"*1\r\n#4\r\n", r"expected \$ but got something else", r"'#4\.\.'"),
        (b'GET "a\r\n', "unbalanced quotes in inline request", r"'GET \"a\.\.'"),
        (b"*2\r\n$3\r\nGET\r\n$-2\r\n\x00abc", "invalid bulk length", r"'\$-2\.\.'"),
        (b"*abc\r\n" + b"y" * 200, "invalid mbulk count", r"'\*abc\.\.y{58}' \(\.\.\. more 78 bytes \.\.\.\) 'y{64}'"),
        (b"z" * 65_537, "too big inline request", r"'z{64}' \(\.\.\. more 65409 bytes \.\.\.\) 'z{64}'"),
    ],
)
def test_protocol_error_is_logged_with_what_was_sent(
    sent: bytes, reason: str, sample: str, name: str, start_peer: PeerFactory
) -> None:
    peer = start_peer(name, "--loglevel", "verbose")
    assert b"-ERR Protocol error: " in send_and_read(peer, sent)
    pattern = rf"- Protocol error \({reason}\) from client: {CLIENT}\. Query buffer during protocol error: {sample}"
    eventually(lambda: log_has(peer, pattern))


@SERVERS
def test_client_over_its_output_limit_is_logged(name: str, start_peer: PeerFactory) -> None:
    peer = start_peer(name, "--client-output-buffer-limit", "normal 100000 0 0")
    assert peer.command("SETRANGE", "big", 300_000, "x") == b":300001\r\n"
    assert send_and_read(peer, b"GET big\r\n") == b""
    pattern = rf"# Client {CLIENT} scheduled to be closed ASAP for overcoming of output buffer limits\."
    eventually(lambda: log_has(peer, pattern))


@SERVERS
def test_client_over_its_query_limit_is_closed_and_logged(name: str, start_peer: PeerFactory) -> None:
    peer = start_peer(name, "--client-query-buffer-limit", "1mb")
    head = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\n"
    assert send_and_read(peer, head + b"x" * 3_000_000 + b"\r\n") == b""
    pattern = r'# Closing client that reached max query buffer length: id=\d+ .* \(qbuf initial bytes: "x{64}"\)'
    eventually(lambda: log_has(peer, pattern))
    assert peer.command("EXISTS", "k") == b":0\r\n"


@SERVERS
def test_client_that_comes_and_goes_is_logged(name: str, start_peer: PeerFactory) -> None:
    peer = start_peer(name, "--loglevel", "verbose")
    with socket.create_connection((peer.host, peer.port)) as client:
        port = client.getsockname()[1]
        eventually(lambda: log_has(peer, rf"- Accepted 127\.0\.0\.1:{port}"))
    eventually(lambda: log_has(peer, rf"- Client closed connection id=\d+ addr=127\.0\.0\.1:{port} .*"))


@SERVERS
def test_web_page_that_sends_commands_is_cut_off_and_logged(name: str, start_peer: PeerFactory) -> None:
    peer = start_peer(name)
    page = b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET k v\r\n"
    assert send_and_read(peer, page) == b""
    assert send_and_read(peer, b"Host: localhost\r\nSET k v\r\n") == b""
    assert peer.command("EXISTS", "k") == b":0\r\n"
    pattern = r"# Possible SECURITY ATTACK detected\. .* Connection (from 127\.0\.0\.1:\d+ )?aborted\."
    eventually(lambda: log_has(peer, pattern))


@SERVERS
def test_idle_client_that_is_closed_is_logged(name: str, start_peer: PeerFactory) -> None:
    peer = start_peer(name, "--loglevel", "verbose", "--timeout", "1")
    assert send_and_read(peer, b"") == b""
    eventually(lambda: log_has(peer, "- Closing idle client"))


@SERVERS
def test_connection_that_cannot_be_accepted_is_logged(name: str, start_peer: PeerFactory) -> None:
    peer = start_peer(name)
    limits = resource.prlimit(peer.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(peer.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    with socket.create_connection((peer.host, peer.port), timeout=WITHIN_S) as client:
        eventually(lambda: log_has(peer, "# Accepting client connection: accept: Too many open files"))
        resource.prlimit(peer.pid, resource.RLIMIT_NOFILE, limits)
        client.sendall(b"PING\r\n")
        assert client.recv(100) == b"+PONG\r\n"
