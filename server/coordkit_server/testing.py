"""Recorders that stand in for a neighbour in a unit test of one room.

They live here and not in the tests because an interpreted class can't implement a trait of the compiled server.
"""

from coordkit_server.keyspace.notify import EventSink
from coordkit_server.keyspace.propagation import StreamSink
from coordkit_server.keyspace.watch import Tracker, Watcher
from coordkit_server.persistence.files import FileSystem, InputFile, OutputFile, RealFileSystem
from coordkit_server.persistence.rdb_format import ByteSink
from coordkit_server.scripting.engine import ScriptServer
from coordkit_server.scripting.sites import Site


class RecordedEvents(EventSink):
    """Keyspace events in the order in which they were published, as (event, key)."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes]] = []

    def publish_event(self, flags: int, db_index: int, event: bytes, key: bytes) -> None:
        """Record the event."""
        self.seen.append((event, key))


class RecordedChanges(Tracker):
    """Modified keys as a tracking client would be told of them, as (key, db)."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, int]] = []

    def key_modified(self, key: bytes, db_index: int) -> None:
        """Record the key."""
        self.seen.append((key, db_index))

    def key_removed(self, key: bytes, db_index: int) -> None:
        """Record the key."""
        self.seen.append((key, db_index))

    def flushed(self) -> None:
        """Record that everything has gone, as an empty key in no database."""
        self.seen.append((b"", -1))


class RecordedWatch(Watcher):
    """Whether a watched key was changed."""

    def __init__(self) -> None:
        self.raised = False

    def key_changed(self) -> None:
        """Record the change."""
        self.raised = True


class RecordedScriptServer(ScriptServer):
    """Answers every command that a script calls with `reply`, and keeps what it was asked."""

    def __init__(self) -> None:
        self.reply: object = None
        self.failure: Exception | None = None
        self.called: list[list[bytes]] = []
        self.logged: list[tuple[int, bytes]] = []

    def call(self, argv: list[bytes]) -> object:
        """Record the command."""
        self.called.append(argv)
        if self.failure is not None:
            raise self.failure
        return self.reply

    def call_site(self, site: Site, argv: list[bytes]) -> object:
        """Record the command."""
        return self.call(argv)

    def tick(self) -> bytes | None:
        """Let every script go on."""
        return None

    def is_late(self, limit_ms: int) -> bool:
        """Return False: there is time."""
        return False

    def log(self, level: int, text: bytes) -> None:
        """Record the line."""
        self.logged.append((level, text))

    def targets_chosen(self, targets: int) -> None:
        """Do nothing: nothing is propagated."""

    def protocol_chosen(self, resp3: bool) -> None:
        """Do nothing: the replies are given."""

    def allowed(self, argv: list[bytes]) -> int:
        """Return 1 for GET, 0 for SET, -1 for anything else."""
        return {b"GET": 1, b"SET": 0}.get(argv[0], -1)


class RecordedStream(StreamSink):
    """The stream of changes as (database, bytes)."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, bytes]] = []
        self.position: int = 0

    def feed(self, db_index: int, wire: bytes) -> int:
        """Record the command."""
        self.seen.append((db_index, wire))
        self.position += len(wire)
        return self.position


class MemorySink(ByteSink):
    """Bytes that were written."""

    def __init__(self) -> None:
        self.data: bytearray = bytearray()

    def write(self, data: bytes) -> None:
        """Keep `data`."""
        self.data += data


class FailingFiles(FileSystem):
    """The real file system, until one step fails: the steps (create, write, sync, close, replace) are counted.

    A write that fails has written half of its bytes."""

    def __init__(self) -> None:
        self._inner: RealFileSystem = RealFileSystem()
        self._left: int = -1  # steps until the failure, -1: none
        self._number: int = 0
        self.failed: bool = False
        self.open_files: int = 0

    def fail_after(self, steps: int, number: int) -> None:
        """Let the step behind the next `steps` fail with the error `number`."""
        self._left = steps
        self._number = number
        self.failed = False

    def step(self) -> bool:
        """Return True if the step that is about to be done is to fail."""
        if self._left < 0:
            return False
        self._left -= 1
        self.failed = self.failed or self._left < 0
        return self._left < 0

    def failure(self) -> OSError:
        """Return the error."""
        return OSError(self._number, "injected failure")

    def create(self, path: str) -> OutputFile:
        """Return a new, empty file at `path`."""
        if self.step():
            raise self.failure()
        self.open_files += 1
        return FailingOutputFile(self, self._inner.create(path))

    def open(self, path: str) -> InputFile:
        """Return the file at `path` for reading."""
        return self._inner.open(path)

    def replace(self, source: str, target: str) -> None:
        """Give the file `source` the name `target`."""
        if self.step():
            raise self.failure()
        self._inner.replace(source, target)

    def remove(self, path: str) -> None:
        """Remove the file at `path` if there is one."""
        self._inner.remove(path)


class FailingOutputFile(OutputFile):
    """A file of FailingFiles."""

    def __init__(self, files: FailingFiles, inner: OutputFile) -> None:
        self._files: FailingFiles = files
        self._inner: OutputFile = inner

    def write(self, data: bytes) -> None:
        """Write `data`, or half of it and fail."""
        if self._files.step():
            self._inner.write(data[: len(data) // 2])
            raise self._files.failure()
        self._inner.write(data)

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        if self._files.step():
            raise self._files.failure()
        self._inner.sync()

    def close(self) -> None:
        """Close the file; it is closed even if that fails."""
        self._files.open_files -= 1
        self._inner.close()
        if self._files.step():
            raise self._files.failure()
