"""How the bundled server ends: by its owners, by signals, by SHUTDOWN; what it leaves behind, and what it tells."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.differential.client import pack

WITHIN_S = 10.0

OWNER = """
import socket, sys
owner = socket.socket(socket.AF_UNIX)
owner.connect(sys.argv[1])
print(owner.recv(1).decode(), flush=True)
sys.stdin.read()
"""


class Living:
    """A server with a unix socket and an owner socket."""

    def __init__(self, directory: Path, stack: ExitStack, *, owned: bool) -> None:
        self.stack = stack
        self.clients = directory / "clients.sock"
        self.owners = directory / "owners.sock"
        command = [sys.executable, "-m", "coordkit_server", "--port", "0", "--unixsocket", str(self.clients)]
        owners = ["--owner-socket", str(self.owners)] if owned else []
        self.process = subprocess.Popen(
            [*command, *owners, "--dir", str(directory)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ.copy(),
        )
        stack.callback(self.end)
        assert self.process.stdout is not None
        line = ""
        while "Ready to accept connections" not in line:
            line = self.process.stdout.readline()
            assert line, "it ended before it was ready"

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()

    def connect(self, path: Path) -> socket.socket:
        client = self.stack.enter_context(socket.socket(socket.AF_UNIX))
        client.settimeout(WITHIN_S)
        client.connect(str(path))
        return client

    def owner(self) -> socket.socket:
        """A connection that counts as an owner."""
        owner = self.connect(self.owners)
        assert owner.recv(1) == b"+"
        return owner

    def answers(self) -> bool:
        client = self.connect(self.clients)
        client.sendall(pack(["PING"]))
        return client.recv(100) == b"+PONG\r\n"

    def ends_cleanly(self) -> str:
        """Wait for the end, which leaves no socket behind; the rest of the log."""
        log, _ = self.process.communicate(timeout=WITHIN_S)
        assert self.process.returncode == 0, log
        assert not self.clients.exists()
        assert not self.owners.exists()
        return log


Start = Callable[..., Living]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda *, owned=False: Living(tmp_path, stack, owned=owned)


def test_owned_server_ends_with_the_last_owner_only(start: Start) -> None:
    server = start(owned=True)
    first, second = server.owner(), server.owner()
    first.close()
    assert server.answers()
    third = server.owner()
    second.close()
    assert server.answers()
    third.close()
    assert "The last owner has gone" in server.ends_cleanly()


def test_owned_server_ends_though_clients_are_connected_and_blocked(start: Start) -> None:
    server = start(owned=True)
    owner = server.owner()
    client = server.connect(server.clients)
    client.sendall(pack(["PING"]) + pack(["BLPOP", "k", 0]))
    assert client.recv(100) == b"+PONG\r\n"
    owner.close()
    server.ends_cleanly()
    assert client.recv(100) == b""


def test_owned_server_ends_when_its_owner_is_killed(start: Start) -> None:
    server = start(owned=True)
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(server.owners)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "+\n"
    assert server.answers()
    owner.kill()
    owner.communicate()
    server.ends_cleanly()


def test_owned_server_outlives_what_an_owner_sends(start: Start) -> None:
    server = start(owned=True)
    owner = server.owner()
    owner.sendall(b"PING\r\n" * 100)
    assert server.answers()
    owner.close()
    server.ends_cleanly()


@pytest.mark.parametrize("owned", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_server_cleanly(start: Start, number: signal.Signals, owned: bool) -> None:
    server = start(owned=owned)
    if owned:
        server.owner()
    client = server.connect(server.clients)
    client.sendall(pack(["PING"]))
    assert client.recv(100) == b"+PONG\r\n"
    server.process.send_signal(number)
    assert f"Received {number.name} scheduling shutdown" in server.ends_cleanly()
    assert client.recv(100) == b""


@pytest.mark.parametrize("words", [["SHUTDOWN"], ["SHUTDOWN", "NOSAVE"], ["SHUTDOWN", "NOW", "FORCE"]])
def test_shutdown_ends_the_server_cleanly_and_without_a_reply(start: Start, words: list[str]) -> None:
    server = start(owned=True)
    server.owner()
    waiting, asking = server.connect(server.clients), server.connect(server.clients)
    waiting.sendall(pack(["BLPOP", "k", 0]))
    asking.sendall(pack(["SET", "k", "v"]) + pack(words) + pack(["PING"]))
    assert "User requested shutdown" in server.ends_cleanly()
    assert asking.recv(100) == b"+OK\r\n"
    assert asking.recv(100) == b""
    assert waiting.recv(100) == b""


def test_shutdown_lets_nothing_run_that_was_sent_behind_it(start: Start) -> None:
    server = start()
    others = [server.connect(server.clients) for _ in range(5)]
    asking = server.connect(server.clients)
    asking.sendall(pack(["SHUTDOWN", "NOSAVE"]) + pack(["PING"]) * 3)
    for other in others:
        with contextlib.suppress(BrokenPipeError):  # it may have ended by now
            other.sendall(pack(["PING"]))
    server.ends_cleanly()
    assert asking.recv(100) == b""
