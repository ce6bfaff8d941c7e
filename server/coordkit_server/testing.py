"""Recorders that stand in for a neighbour in a unit test of one room.

They live here and not in the tests because an interpreted class can't implement a trait of the compiled server.
"""

import errno
import os
from typing import Final

from coordkit_server.children import ChildRunner, ChildTask
from coordkit_server.datatypes.sorted_members import ScoreTest
from coordkit_server.keyspace.notify import EventSink
from coordkit_server.keyspace.propagation import StreamSink
from coordkit_server.keyspace.watch import Tracker, Watcher
from coordkit_server.persistence.aof import BaseWriter
from coordkit_server.persistence.files import FileSystem, InputFile, OutputFile, RealFileSystem
from coordkit_server.persistence.log_files import AppendFile, Files
from coordkit_server.persistence.rdb_format import ByteSink
from coordkit_server.persistence.syncer import Syncer
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


class PowerFailure(Exception):
    """The machine went off: nothing after this happens."""


class DiskFile:
    """What one file holds: in memory, and on the disk.

    Bytes that were waiting when an fsync failed never reach the disk, whatever a later fsync says."""

    def __init__(self) -> None:
        self.data: bytearray = bytearray()
        self.lost: bytearray = bytearray()  # 1 for a byte that will not reach the disk
        self.synced: bytes = b""

    def append(self, data: bytes) -> None:
        """Take bytes."""
        self.data += data
        self.lost += bytes(len(data))

    def sync(self) -> None:
        """Put everything on the disk that still can be."""
        self.synced = bytes([0 if lost else byte for byte, lost in zip(self.data, self.lost, strict=True)])

    def fail_to_sync(self) -> None:
        """Lose what was waiting."""
        for at in range(len(self.synced), len(self.data)):
            self.lost[at] = 1

    def cut(self, size: int) -> None:
        """Make the file shorter."""
        del self.data[size:]
        del self.lost[size:]
        self.synced = self.synced[:size]


class Disk(Files):
    """A disk that forgets what was not fsynced, and on which the operation number `fail_at` goes wrong.

    `failure` says how: `short` (a write takes half), an errno (half is taken, then it is raised), `power`."""

    def __init__(self) -> None:
        self.names: dict[str, DiskFile] = {}
        self.synced_names: dict[str, DiskFile] = {}
        self.renames_last: bool = False  # a rename may be on the disk before other names are
        self.operations: int = 0
        self.fail_at: int = -1
        self.fail_times: int = 1
        self.failure: str | int = "power"

    def after_power_failure(self) -> "Disk":
        """Return the disk as the machine finds it when it comes up again."""
        disk = Disk()
        for path, file in self.synced_names.items():
            found = DiskFile()
            found.append(file.synced)
            found.sync()
            disk.names[path] = found
            disk.synced_names[path] = found
        return disk

    def fails_now(self) -> bool:
        """Count an operation; return True if it is to fail.  Raises PowerFailure if that is how."""
        self.operations += 1
        fails = 0 <= self.fail_at <= self.operations - 1 < self.fail_at + self.fail_times
        if fails and self.failure == "power":
            raise PowerFailure
        return fails

    def check(self) -> None:
        """Count an operation that works or does not.  Raises OSError, PowerFailure."""
        if self.fails_now() and isinstance(self.failure, int):
            raise OSError(self.failure, os.strerror(self.failure))

    def open_append(self, path: str, *, empty: bool = False) -> AppendFile:
        """Return the file at `path`."""
        self.check()
        file = self.names.get(path)
        if file is None:
            file = DiskFile()
            self.names[path] = file
        elif empty:
            file.cut(0)
        return DiskAppendFile(self, file)

    def read(self, path: str) -> bytes:
        """Return the contents of a file."""
        return bytes(self.names[path].data)

    def write_whole(self, path: str, data: bytes) -> None:
        """Write a file and fsync it."""
        opened = self.open_append(path, empty=True)
        taken = opened.write(data)
        while taken < len(data):
            taken += opened.write(data[taken:])
        opened.fsync()

    def rename(self, source: str, target: str) -> None:
        """Give a file another name."""
        self.check()
        self.names[target] = self.names.pop(source)
        if self.renames_last:
            self.synced_names.pop(source, None)
            self.synced_names[target] = self.names[target]

    def unlink(self, path: str) -> None:
        """Remove a name."""
        self.check()
        if self.names.pop(path, None) is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)

    def fsync_directory(self, path: str) -> None:
        """Make the names in a directory last."""
        self.check()
        for name in list(self.synced_names):
            if os.path.dirname(name) == path:
                del self.synced_names[name]
        for name, file in self.names.items():
            if os.path.dirname(name) == path:
                self.synced_names[name] = file

    def make_directory(self, path: str) -> None:
        """Do nothing: directories are there."""

    def exists(self, path: str) -> bool:
        """Return True if there is such a file."""
        return path in self.names

    def size(self, path: str) -> int:
        """Return the size of a file."""
        return len(self.names[path].data)


class DiskAppendFile(AppendFile):
    """A file of a Disk, open for appending."""

    def __init__(self, disk: Disk, file: DiskFile) -> None:
        self._disk: Final = disk
        self._file: Final = file

    def write(self, data: bytes) -> int:
        """Append `data`, or half of it."""
        if not self._disk.fails_now():
            self._file.append(data)
            return len(data)
        half = data[: len(data) // 2]
        self._file.append(half)
        failure = self._disk.failure
        if isinstance(failure, int):
            raise OSError(failure, os.strerror(failure))
        return len(half)

    def fsync(self) -> None:
        """Put the file on the disk."""
        if self._disk.fails_now() and isinstance(self._disk.failure, int):
            self._file.fail_to_sync()
            raise OSError(self._disk.failure, os.strerror(self._disk.failure))
        self._file.sync()

    def truncate(self, size: int) -> None:
        """Cut the file."""
        self._disk.check()
        self._file.cut(size)

    def size(self) -> int:
        """Return the size of the file."""
        return len(self._file.data)

    def close(self) -> None:
        """Do nothing."""


class InlineSyncer(Syncer):
    """Fsyncs when the test says so: `run`."""

    def __init__(self) -> None:
        self._file: AppendFile | None = None
        self._position: int = 0
        self._ended: bool = False
        self._errno: int = 0

    def start(self, file: AppendFile, position: int) -> None:
        """Remember what is to be fsynced."""
        self._file = file
        self._position = position

    def run(self) -> None:
        """Do the fsync that was asked for, if any."""
        file = self._file
        if file is None:
            return
        self._file = None
        self._errno = 0
        try:
            file.fsync()
        except OSError as error:
            self._errno = error.errno or 0
        self._ended = True

    def busy(self) -> bool:
        """Return True until the result is taken."""
        return self._file is not None or self._ended

    def done(self) -> bool:
        """Return True if there is a result."""
        return self._ended

    def take_position(self) -> int:
        """Return the position on the disk, -1 after a failure."""
        self._ended = False
        return -1 if self._errno else self._position

    def error_number(self) -> int:
        """Return the errno of the failure."""
        return self._errno

    def wait(self) -> None:
        """Do the fsync."""
        self.run()


class IdleChild(ChildTask):
    """A child that does nothing, for as long as a test wants."""

    def purpose(self) -> str:
        """Return what it is for."""
        return "idle"

    def run_in_child(self) -> None:
        """Do nothing."""

    def child_ended(self, succeeded: bool) -> None:
        """Do nothing."""


class InlineChildren(ChildRunner):
    """Runs a child's task at once in this process; its end is told when the test says so: `end`."""

    def __init__(self) -> None:
        self._task: ChildTask | None = None
        self._succeeded: bool = False

    def child_running(self) -> bool:
        """Return True until the end was told."""
        return self._task is not None

    def child_pid(self) -> int:
        """Return a number."""
        return 1 if self._task is not None else 0

    def start_child(self, task: ChildTask) -> bool:
        """Run the task."""
        self._task = task
        try:
            task.run_in_child()
            self._succeeded = True
        except OSError:
            self._succeeded = False
        return True

    def end(self) -> None:
        """Tell the end."""
        task = self._task
        self._task = None
        if task is not None:
            task.child_ended(self._succeeded)

    def kill_child(self) -> None:
        """Tell of a failure."""
        self._succeeded = False
        self.end()


class RecordedBase(BaseWriter):
    """Writes `lines` as the base, or fails."""

    def __init__(self, files: Files) -> None:
        self._files: Final = files
        self.lines: list[bytes] = []
        self.fails: bool = False

    def writes_rdb(self) -> bool:
        """Return False."""
        return False

    def write_base(self, path: str) -> None:
        """Write the lines."""
        if self.fails:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._files.write_whole(path, b"".join([line + b"\n" for line in self.lines]))


class EvenScores(ScoreTest):
    """Wants even scores."""

    def holds(self, score: float) -> bool:
        """Return True for an even score."""
        return score % 2 == 0
