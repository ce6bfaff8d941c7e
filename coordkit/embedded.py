"""The embedded server: a bundled server process that starts with its first user and ends with its last.

    embedded://             a server of one's own, empty, gone with its client embedded:///data/dir    one
    server for all processes that name the directory: the first starts it, others join

Every user keeps one connection to the server's owner socket open.  The kernel closes it when the process
ends, however it ends, and the server stops when the last one is closed: nothing has to be cleaned up by
anybody who may be dead.

Files: the sockets are in a private directory (0700) of the temporary directory, since the path of a socket is
limited to about 100 bytes.  A data directory holds `coordkit.sockets` (where they are), `coordkit.join`
(locked while a process joins or starts) and `coordkit.running` (locked by the server for its lifetime,
through a descriptor it inherits).
"""

import contextlib
import fcntl
import importlib.util
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from coordkit.errors import ConfigurationError, ServerUnavailable
from coordkit.transports.address import Address, split_url

SCHEME: Final = "embedded"
START_WITHIN_S: Final = 15.0
READY: Final = b"Ready to accept connections"
ACCEPTED: Final = b"+"
RUN_PREFIX: Final = "coordkit-"
STALE_AFTER_S: Final = 60.0
SAVE_POINTS: Final = "3600 1 300 100 60 10000"
"""When a shared server writes a snapshot, besides at its end: Redis's own default."""

LOG_MANIFEST: Final = Path("appendonlydir", "appendonly.aof.manifest")


def is_embedded(url: str) -> bool:
    """Whether `url` asks for an embedded server."""
    return url.startswith(f"{SCHEME}:")


def parse_embedded_url(url: str) -> "EmbeddedServer":
    """The server that `url` asks for, not started yet.  Raises ConfigurationError for a URL that is not
    clear.
    """
    parts = split_url(url)
    if parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{url!r} must be embedded:// for a server of its own, or embedded:///absolute/path for a shared one"
        )
    return EmbeddedServer(Path(unquote(parts.path)) if parts.path.strip("/") else None)


class EmbeddedServer:
    """A share in an embedded server.  `resolve` starts or joins it, `close` gives the share back.

    A forked child takes a share of its own when it first needs the server.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._run_directory: Path | None = None
        self._owner: socket.socket | None = None
        self._mutex = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        reference = weakref.ref(self)

        def in_child() -> None:
            server = reference()
            if server is not None:
                server.forget_share()

        os.register_at_fork(after_in_child=in_child)

    def __str__(self) -> str:
        """The URL."""
        return f"{SCHEME}://{self._directory or ''}"

    @property
    def pid(self) -> int | None:
        """The server's process, if this process started it."""
        return self._process.pid if self._process else None

    def resolve(self) -> Address:
        """Where the server listens; it runs when this comes back.

        Raises ServerUnavailable if it does not start, ConfigurationError if it is not installed.
        """
        with self._mutex:
            if self._owner is None or _is_closed(self._owner):
                self._leave()
                self._enter()
            assert self._run_directory is not None
            return Address(path=str(self._run_directory / "server.sock"))

    def close(self) -> None:
        """Give the share back: the server ends if it was the last one."""
        with self._mutex:
            alone = self._directory is None
            self._leave()
            if alone and self._process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(START_WITHIN_S)  # its last clients must not see it go after they closed

    def forget_share(self) -> None:
        """In a forked child: the parent's share must not live on in the child."""
        self._mutex = threading.Lock()
        self._process = None
        self._leave()

    def _leave(self) -> None:
        if self._owner is not None:
            self._owner.close()
            self._owner = None

    def _enter(self) -> None:
        if self._directory is None:
            if self._run_directory is None or not self._join(self._run_directory):
                self._start(None)
            return
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with _locked(self._directory / "coordkit.join"):
                known = _known_run_directory(self._directory)
                if known is None or not self._join(known):
                    self._start(known)
        except OSError as exc:
            raise ServerUnavailable(f"the data directory of {self} cannot be used: {exc}") from exc

    def _join(self, run_directory: Path) -> bool:
        """Whether a server is alive there and counts us among its owners."""
        owner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            owner.settimeout(START_WITHIN_S)
            owner.connect(str(run_directory / "owner.sock"))
            accepted = owner.recv(1) == ACCEPTED  # nothing comes from a server that is about to end
        except OSError:
            accepted = False
        if accepted:
            self._owner, self._run_directory = owner, run_directory
        else:
            owner.close()
        return accepted

    def _start(self, stale: Path | None) -> None:
        """Start a server and join it.  The caller holds the join lock of a shared directory."""
        with contextlib.ExitStack() as stack:
            inherited: tuple[int, ...] = ()
            if self._directory is not None:
                # Waits until an earlier server has written its data and ended.
                lifetime = stack.enter_context(_locked(self._directory / "coordkit.running"))
                inherited = (lifetime,)
            if stale is not None:
                shutil.rmtree(stale, ignore_errors=True)
            _remove_stale_run_directories()
            run_directory = Path(tempfile.mkdtemp(prefix=RUN_PREFIX))
            command = _command(run_directory, self._directory)
            self._process = _started(command, inherited, run_directory)
            if not self._join(run_directory):
                raise ServerUnavailable(f"the server of {self} ended right after its start")
            if self._directory is not None:
                _write_known_run_directory(self._directory, run_directory)


def _is_closed(owner: socket.socket) -> bool:
    """Whether the server has closed the connection: it never sends anything after its first byte."""
    readable, _, _ = select.select([owner], [], [], 0)
    return bool(readable)


def _command(run_directory: Path, directory: Path | None) -> list[str]:
    """The command line of a server that keeps its data in `directory`; without one it keeps nothing."""
    keeping: list[str] = []
    if directory is not None:
        keeping += ["--save", SAVE_POINTS]
        if (directory / LOG_MANIFEST).exists():  # it has been logged here: the snapshot, if any, is older
            keeping += ["--appendonly", "yes"]
    return [
        *(sys.executable, "-P", "-m", "coordkit_server"),
        *("--port", "0"),
        *("--unixsocket", str(run_directory / "server.sock"), "--unixsocketperm", "700"),
        *("--owner-socket", str(run_directory / "owner.sock")),
        *("--dir", str(directory or run_directory)),
        *keeping,
    ]


def _started(command: list[str], inherited: tuple[int, ...], run_directory: Path) -> subprocess.Popen[bytes]:
    """The process, ready for connections.  A thread waits for its end, so that no zombie and no directory is
    left.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": _python_path()},
        pass_fds=inherited,
        start_new_session=True,  # Ctrl-C in the terminal is for its users; it ends after them
    )
    assert process.stdout is not None
    output = _read_until_ready(process.stdout.fileno())
    process.stdout.close()
    if READY not in output:
        process.kill()
        process.wait()
        shutil.rmtree(run_directory, ignore_errors=True)
        raise ServerUnavailable(
            f"the embedded server did not start within {START_WITHIN_S:g} s; it said: "
            f"{output.decode(errors='replace').strip() or 'nothing'}"
        )

    def reap() -> None:
        process.wait()
        shutil.rmtree(run_directory, ignore_errors=True)

    threading.Thread(target=reap, name="coordkit-embedded", daemon=True).start()
    return process


def _read_until_ready(descriptor: int) -> bytes:
    """What the process wrote until it was ready, ended, or took too long."""
    output = b""
    deadline_s = time.monotonic() + START_WITHIN_S
    while READY not in output:
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline_s - time.monotonic()))
        data = os.read(descriptor, 4096) if readable else b""
        if not data:
            break
        output += data
    return output


def _python_path() -> str:
    """PYTHONPATH for the child, so that it finds the server where this process would."""
    spec = importlib.util.find_spec("coordkit_server")
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "embedded:// needs the bundled server: install it with `pip install 'coordkit[server]'`, "
            "or give the URL of a running server"
        )
    home = str(Path(spec.origin).parent.parent)
    return os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The descriptor of `path`, locked; a process that inherits it keeps the lock.  Raises ServerUnavailable."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline_s = time.monotonic() + START_WITHIN_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() > deadline_s:
                    raise ServerUnavailable(
                        f"{path} has been locked by another process for {START_WITHIN_S:g} s; "
                        "is a server hanging in this directory?"
                    ) from exc
                time.sleep(0.005)  # flock has no timeout of its own
        yield descriptor
    finally:
        os.close(descriptor)


def _known_run_directory(directory: Path) -> Path | None:
    """Where the sockets of the directory's server are, if there ever was one."""
    try:
        text = (directory / "coordkit.sockets").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    # Only a directory that we would have made ourselves is believed, since its content is removed in the end.
    path = Path(text)
    return path if path.parent == Path(tempfile.gettempdir()) and path.name.startswith(RUN_PREFIX) else None


def _write_known_run_directory(directory: Path, run_directory: Path) -> None:
    temporary = directory / "coordkit.sockets.new"
    temporary.write_text(f"{run_directory}\n", encoding="utf-8")
    temporary.replace(directory / "coordkit.sockets")


def _remove_stale_run_directories() -> None:
    """Remove what servers left behind whose starter was killed: their socket refuses connections."""
    for path in Path(tempfile.gettempdir()).glob(f"{RUN_PREFIX}*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if status.st_uid == os.getuid() and time.time() - status.st_mtime > STALE_AFTER_S and not _listens(path):
                shutil.rmtree(path, ignore_errors=True)


def _listens(run_directory: Path) -> bool:
    """Whether a server is alive there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(run_directory / "server.sock"))
        except TimeoutError:
            return True
        except OSError:
            return False
        return True
