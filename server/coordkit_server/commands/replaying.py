"""Repeating the commands of an append-only file: no client, no replies, no checks, nobody told, nothing expires."""

from time import sleep
from typing import BinaryIO, Final

from coordkit_server.context import Command, CommandRunner, Context, Services
from coordkit_server.errors import CommandError
from coordkit_server.persistence.aof_load import Replay
from coordkit_server.persistence.rdb import Pulse
from coordkit_server.persistence.rdb_format import ByteSource
from coordkit_server.persistence.snapshot import LoadError
from coordkit_server.session import GATE_MULTI, NullSink, Queued, Session

_AT_ONCE: Final = frozenset([b"EXEC", b"DISCARD", b"MULTI"])


class FileSource(ByteSource):
    """Bytes of an open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file: Final = file

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, none at the end."""
        return self._file.read(size)


class PulseInPart(Pulse):
    """The pulse of loading one file of several."""

    def __init__(self, replay: "CommandReplay", earlier_bytes: int) -> None:
        self._replay: Final = replay
        self._earlier_bytes: Final = earlier_bytes

    def beat(self, loaded_bytes: int) -> None:
        """So much of this file has been read.  Raises LoadStopped."""
        self._replay.beat(self._earlier_bytes + loaded_bytes)


class CommandReplay(Replay):
    """Runs the commands of a file one after the other."""

    def __init__(self, services: Services) -> None:
        self._services: Final = services
        self._runner: Final[CommandRunner] = services.require_runner()
        self._session: Session = self._new_session()
        self._cx: Context = Context(self._session, services)
        self._delay_s: Final = max(services.config.number("key-load-delay"), 0) / 1e6

    def _new_session(self) -> Session:
        """Return a session without a client."""
        services = self._services
        session = Session(0, services.databases[0], NullSink(), services.clock.now_us())
        session.deny_blocking = True
        session.obeyed = True
        return session

    def begin(self, total_bytes: int) -> None:
        """Tell those who ask how much is to be loaded."""
        self._services.snapshots.begin_loading(total_bytes)

    def beat(self, loaded_bytes: int) -> None:
        """Let others be answered.  Raises LoadStopped if the server is to end."""
        self._services.control.serve_while_loading(loaded_bytes)

    def begin_file(self) -> None:
        """Forget an open transaction and the database selected."""
        self._session = self._new_session()
        self._cx = Context(self._session, self._services)

    def in_transaction(self) -> bool:
        """Return True between MULTI and EXEC."""
        return self._session.gates & GATE_MULTI != 0

    def repeat(self, argv: list[bytes]) -> bool:
        """Run a command; return False if there is no such command."""
        row = self._runner.find(argv)
        if row is None:
            return False
        session = self._session
        if session.gates & GATE_MULTI and row.name not in _AT_ONCE:
            session.queue.append(Queued(row, argv))
            return True
        if self._delay_s:
            sleep(self._delay_s)
        if self._runner.refusal(argv) is None:
            self._run(row, argv)
            session.deny_blocking = True
        return True

    def _run(self, row: Command, argv: list[bytes]) -> None:
        """Run the handler; the time is now, since a file may hold old commands with relative times."""
        state = self._services.state
        state.now_us = self._services.clock.now_us()
        state.now_ms = state.now_us // 1000
        cx = self._cx
        cx.argv = argv
        cx.db = self._session.db
        cx.command = row
        try:
            row.handler(cx)
        except CommandError as error:
            self._services.log.warning("A command of the append-only file failed: %r" % error.message)
        self._session.out = []

    def load_snapshot(self, file: BinaryIO, earlier_bytes: int) -> str:
        """Load the snapshot at the start of `file`; return what is wrong, or "".  Raises LoadStopped."""
        pulse = PulseInPart(self, earlier_bytes)
        try:
            file.seek(self._services.snapshots.load_base(FileSource(file), pulse))
        except LoadError as error:
            return str(error)
        return ""
