"""How the bundled server ends: by its owners, by signals, by SHUTDOWN; what it leaves behind, and what it tells."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
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

    def __init__(self, directory: Path, stack: ExitStack, *, owned: bool, options: tuple[str, ...] = ()) -> None:
        self.stack = stack
        self.clients = directory / "clients.sock"
        self.owners = directory / "owners.sock"
        command = [sys.executable, "-m", "coordkit_server", "--port", "0", "--unixsocket", str(self.clients)]
        owners = ["--owner-socket", str(self.owners)] if owned else []
        self.process = subprocess.Popen(
            [*command, *owners, "--dir", str(directory), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ.copy(),
        )
        stack.callback(self.end)
        assert self.process.stdout is not None
        line = self.said = ""
        while "Ready to accept connections" not in line:
            line = self.process.stdout.readline()
            self.said += line
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
        yield lambda *options, owned=False: Living(tmp_path, stack, owned=owned, options=options)


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


def test_pidfile_holds_the_process_and_goes_with_it(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "server.pid"
    server = start("--pidfile", str(path))
    assert path.read_text() == f"{server.process.pid}\n"
    server.process.send_signal(signal.SIGTERM)
    server.ends_cleanly()
    assert not path.exists()


def test_pidfile_that_cannot_be_written_is_told_and_no_more(start: Start) -> None:
    server = start("--pidfile", "/no/such/pid")
    assert "Failed to write PID file /no/such/pid: No such file or directory" in server.said
    assert server.answers()


def test_parameters_without_effect_are_told_at_the_start(start: Start) -> None:
    server = start("--tls-port", "7000", "--cluster-enabled", "yes")
    assert "tls-port 7000 has no effect on this server: it has no TLS" in server.said
    assert "cluster-enabled yes has no effect" in server.said
    assert "daemonize" not in server.said


WRONG_STARTS = {
    "dir": ("--dir /no/such", "dir '/no/such': No such file or directory"),
    "dir file": ("--dir /dev/null", "dir '/dev/null': Not a directory"),
    "logfile": ("--logfile /no/such", "logfile '/no/such': No such file or directory"),
    "unixsocket": ("--unixsocket /no/such", "unixsocket '/no/such': Failed opening Unix socket: No such file"),
    "owners": ("--owner-socket /no/such", "owner-socket '/no/such': Failed opening Unix socket: No such file"),
    "long": (f"--unixsocket /tmp/{'x' * 200}", "Failed opening Unix socket: AF_UNIX path too long"),
    "port": ("--port 99999", "port '99999': argument must be between 0 and 65535 inclusive"),
    "unknown": ("--no-such 1 2", "unknown option 'no-such'"),
    "replica": ("--replicaof 127.0.0.1 6379", "replicaof '127.0.0.1 6379': this server cannot be a replica"),
}


@pytest.mark.parametrize("kind", WRONG_STARTS)
def test_server_that_is_set_up_wrong_ends_with_status_1_and_names_option_and_value(kind: str, tmp_path: Path) -> None:
    words, message = WRONG_STARTS[kind]
    run = subprocess.run(
        [sys.executable, "-m", "coordkit_server", "--port", "0", "--unixsocket", str(tmp_path / "s"), *words.split()],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("coordkit-server: ")
    assert message in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("options", [("--logfile", "/dev/full"), ()], ids=["file", "output"])
def test_server_whose_log_cannot_be_written_serves_all_the_same(options: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "s"
    command = [
        sys.executable,
        "-m",
        "coordkit_server",
        "--port",
        "0",
        "--unixsocket",
        str(path),
        "--dir",
        str(tmp_path),
    ]
    with Path("/dev/full").open("w") as full, subprocess.Popen([*command, *options], stdout=full) as process:
        try:
            with answering(path, process) as client:
                client.sendall(pack(["PING"]))
                assert client.recv(100) == b"+PONG\r\n"
                client.sendall(pack(["SHUTDOWN", "NOSAVE"]))
            assert process.wait(WITHIN_S) == 0
        finally:
            process.kill()


def answering(path: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    """A connection to a server that cannot say when it is ready."""
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s and process.poll() is None:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(WITHIN_S)
        with contextlib.suppress(OSError):
            client.connect(str(path))
            return client
        client.close()
        time.sleep(0.01)  # a socket that is not there yet tells nobody when it is
    raise AssertionError("the server did not start")
