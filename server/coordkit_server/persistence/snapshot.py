"""Snapshots of a server: in the foreground, by a forked child, at save points, when it ends; loading at the start.

Map: Snapshots: writing a file, SAVE, BGSAVE (the child), save points, refusing writes, loading.
"""

import mmap
import os
from typing import Final

from coordkit_server import REDIS_LEVEL
from coordkit_server.children import ChildRunner, ChildTask
from coordkit_server.clock import Clock
from coordkit_server.config import Config
from coordkit_server.datatypes.limits import Limits
from coordkit_server.errors import MISCONF_RDB
from coordkit_server.keyspace.database import Database, KeyspaceState
from coordkit_server.log import Log
from coordkit_server.persistence.files import FileSystem
from coordkit_server.persistence.packed import BadFormat
from coordkit_server.persistence.rdb import (
    USE_COUNTED,
    USE_IDLE,
    USE_IGNORED,
    LibraryStore,
    Loader,
    LoadOptions,
    Progress,
    Pulse,
    SaveOptions,
    Silent,
    facts_of,
    save,
)
from coordkit_server.persistence.rdb_format import ByteSource, Reader, Writer
from coordkit_server.process import private_dirty_bytes, resident_bytes

RETRY_AFTER_S: Final = 5  # how long a save point waits after a failure
NEVER: Final = -1
_MEASURE_EVERY_US: Final = 1_000_000
_SHARED_BYTES: Final = 16  # keys written, bytes copied on write


class LoadError(Exception):
    """A snapshot that cannot be loaded; the text says why and where."""


def _temporary_of(pid: int) -> str:
    """Return how a process calls a snapshot that it has not finished."""
    return "temp-%d.rdb" % pid


class SharedProgress(Progress):
    """Two numbers in memory that a forked child shares with its parent."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._memory: Final = mmap.mmap(-1, _SHARED_BYTES)
        self._measure_us: int = 0  # when to look at the memory again

    def saved(self, keys: int) -> None:
        """Note that so many keys are written; once a second also what that has cost in memory."""
        self._memory[:8] = keys.to_bytes(8, "little")
        now_us = self._clock.monotonic_us()
        if now_us >= self._measure_us:
            self._measure_us = now_us + _MEASURE_EVERY_US
            self.measure()

    def measure(self) -> None:
        """Note how much memory is not shared any more; the system takes a millisecond and more to tell."""
        self._memory[8:] = private_dirty_bytes().to_bytes(8, "little")

    def keys(self) -> int:
        """Return how many keys are written."""
        return int.from_bytes(self._memory[:8], "little")

    def copied_bytes(self) -> int:
        """Return how much memory the child does not share with its parent any more."""
        return int.from_bytes(self._memory[8:], "little")

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()


class Snapshots(ChildTask):
    """Writes and reads the snapshot file of a server, and knows how that went."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        log: Log,
        state: KeyspaceState,
        databases: list[Database],
        limits: Limits,
        children: ChildRunner,
        libraries: LibraryStore,
        files: FileSystem,
    ) -> None:
        self._config: Final = config
        self._clock: Final = clock
        self._log: Final = log
        self._state: Final = state
        self._databases: Final = databases
        self._limits: Final = limits
        self._children: Final = children
        self._libraries: Final = libraries
        self._files: Final = files
        self._points: list[tuple[int, int]] = []  # (seconds, changes)
        self._saved_changes: int = 0  # the count of changes that the last snapshot holds
        self._changes_at_fork: int = 0
        self._shared: SharedProgress | None = None  # while a child is at work
        self._started_us: int = 0
        self._cancelled: bool = False
        self._temporary: Final = _temporary_of(os.getpid())
        self._child_pid: int = 0  # of the last child
        self.last_save_s: int = clock.now_us() // 1_000_000
        self.last_try_s: int = 0
        self.last_ok: bool = True
        self.last_duration_s: int = NEVER
        self.last_copied_bytes: int = 0
        self.saves: int = 0
        self.keys_to_save: int = 0
        self.scheduled: bool = False  # BGSAVE as soon as no other child is at work
        self.loading_since_s: int = 0  # 0: nothing is being loaded
        self.loading_bytes: int = 0  # size of the file
        self.loaded_bytes: int = 0
        self.loaded_keys: int = 0
        self.loaded_expired: int = 0

    # -- writing a file ------------------------------------------------------------------------------------------

    def path(self) -> str:
        """Return the name of the snapshot file, which stands in the working directory."""
        return self._config.text("dbfilename")

    def write_file(
        self,
        temporary: str,
        target: str,
        progress: Progress,
        *,
        functions_only: bool = False,
        aof_base: bool = False,
    ) -> None:
        """Write a snapshot to `temporary`, sync it and call it `target`.  Raises OSError and leaves nothing behind."""
        try:
            self._write(temporary, progress, functions_only=functions_only, aof_base=aof_base)
            self._files.replace(temporary, target)
        except OSError as error:
            if not aof_base:  # else the one who asked for it tells what for
                self._log.warning("Write error saving DB on disk(%s): %s" % (target, error.strerror))
            self._files.remove(temporary)
            raise

    def _write(self, path: str, progress: Progress, *, functions_only: bool, aof_base: bool) -> None:
        """Write and sync the file at `path`."""
        config = self._config
        file = self._files.create(path)
        try:
            writer = Writer(file, compress=config.flag("rdbcompression"), checksums=config.flag("rdbchecksum"))
            databases = [] if functions_only else self._databases
            save(writer, databases, self.save_options(aof_base=aof_base), progress)
            file.sync()
        finally:
            file.close()

    def save_options(self, *, aof_base: bool = False) -> SaveOptions:
        """Return what a snapshot made now holds besides the keys."""
        facts = facts_of(REDIS_LEVEL, self._clock.now_us() // 1_000_000, resident_bytes(), aof_base=aof_base)
        delay_us = self._config.number("rdb-key-save-delay")
        policy = self._config.text("maxmemory-policy")
        use = USE_IDLE if policy.endswith("lru") else USE_COUNTED if policy.endswith("lfu") else USE_IGNORED
        return SaveOptions(facts, self._libraries.sources(), self._limits, delay_us, use)

    # -- in the foreground ---------------------------------------------------------------------------------------

    def save(self) -> bool:
        """Write the snapshot now; return False if that failed."""
        self.saves += 1
        try:
            self.write_file(self._temporary, self.path(), Silent())
        except OSError:
            return False
        self._log.notice("DB saved on disk")
        self._note_success(self._state.dirty)
        return True

    def _note_success(self, changes: int) -> None:
        """Remember that a snapshot holds the first `changes` changes."""
        self._saved_changes = changes
        self.last_save_s = self._clock.now_us() // 1_000_000
        self._set_outcome(True)

    def _set_outcome(self, succeeded: bool) -> None:
        """Remember how the last attempt ended; refuse writes or allow them again."""
        self.last_ok = succeeded
        self.check_refusal()

    def check_refusal(self) -> None:
        """Refuse writes while snapshots fail, if there are save points and the configuration asks for it."""
        stop = len(self._points) > 0 and not self.last_ok and self._config.flag("stop-writes-on-bgsave-error")
        self._state.note_snapshot_error(MISCONF_RDB if stop else b"")

    def changes(self) -> int:
        """Return how many changes no snapshot holds."""
        return self._state.dirty - self._saved_changes

    def forget_changes(self) -> None:
        """Count changes from now on: what there is has just been loaded."""
        self._saved_changes = self._state.dirty

    # -- in the background ---------------------------------------------------------------------------------------

    def running(self) -> bool:
        """Return True while a child writes the snapshot."""
        return self._shared is not None

    def start(self) -> bool:
        """Let a child write the snapshot; return False if none can be forked.  No child may be at work."""
        now_us = self._clock.now_us()
        self.last_try_s = now_us // 1_000_000
        self._changes_at_fork = self._state.dirty
        self.keys_to_save = 0
        for database in self._databases:
            self.keys_to_save += len(database)
        shared = SharedProgress(self._clock)
        self._shared = shared
        self._cancelled = False
        self._started_us = now_us
        self.saves += 1
        if not self._children.start_child(self):
            shared.close()
            self._shared = None
            self._set_outcome(False)
            return False
        self._child_pid = self._children.child_pid()
        self._log.notice("Background saving started")
        return True

    def purpose(self) -> str:
        """Return what the child is for."""
        return "save"

    def run_in_child(self) -> None:
        """Write the snapshot, in the child."""
        shared = self._shared
        if shared is not None:
            self.write_file(_temporary_of(os.getpid()), self.path(), shared)
            shared.measure()
            self._log.notice("DB saved on disk")
            self._log.notice(
                "Fork CoW for RDB: current %d MB, peak %d MB, average %d MB"
                % (shared.copied_bytes() >> 20, shared.copied_bytes() >> 20, shared.copied_bytes() >> 20)
            )

    def child_ended(self, succeeded: bool) -> None:
        """Take over the child's result."""
        shared = self._shared
        if shared is None:
            return
        self.last_copied_bytes = shared.copied_bytes()
        shared.close()
        self._shared = None
        self.last_duration_s = self.seconds_running()
        self._started_us = 0
        if succeeded:
            self._log.notice("Background saving terminated with success")
            self._note_success(self._changes_at_fork)
            return
        self._files.remove(_temporary_of(self._child_pid))
        if self._cancelled:
            self._log.warning("Background saving cancelled")
        else:
            self._log.warning("Background saving error")
            self._set_outcome(False)

    def cancel(self) -> None:
        """End a child that writes the snapshot; that is no failure."""
        if self._shared is not None:
            self._cancelled = True
            self._children.kill_child()

    def seconds_running(self) -> int:
        """Return for how long the child has been at work, -1 if there is none."""
        return (self._clock.now_us() - self._started_us) // 1_000_000 if self._started_us else NEVER

    def keys_saved(self) -> int:
        """Return how many keys the child has written."""
        return self._shared.keys() if self._shared is not None else 0

    def copied_bytes(self) -> int:
        """Return how much memory the child does not share any more."""
        return self._shared.copied_bytes() if self._shared is not None else 0

    # -- save points ---------------------------------------------------------------------------------------------

    def has_points(self) -> bool:
        """Return True if snapshots are made by themselves."""
        return len(self._points) > 0

    def set_points(self, text: str) -> None:
        """Take over the save points, `seconds changes ...`."""
        numbers = [int(word) for word in text.split()]
        self._points = []
        for at in range(0, len(numbers), 2):
            self._points.append((numbers[at], numbers[at + 1]))
        self.check_refusal()

    def tick(self) -> None:
        """Start a child if a save point is reached or BGSAVE SCHEDULE waits for one.  Called several times a second."""
        if self._children.child_running() or not (self._points or self.scheduled):
            return
        now_s = self._clock.now_us() // 1_000_000
        if not self.last_ok and now_s - self.last_try_s <= RETRY_AFTER_S:
            return
        if self.scheduled:
            self.scheduled = not self.start()
            return
        changes = self.changes()
        for seconds, wanted in self._points:
            if changes >= wanted and now_s - self.last_save_s > seconds:
                self._log.notice("%d changes in %d seconds. Saving..." % (wanted, seconds))
                self.start()
                return

    def after_flush(self) -> None:
        """Make an empty snapshot after FLUSHALL, if there are save points: the old data are not to come back."""
        self.cancel()
        if self._points:
            self.save()

    # -- loading -------------------------------------------------------------------------------------------------

    def load(self, pulse: Pulse) -> bool:
        """Load the snapshot file; return False if there is none.  Raises LoadError, and LoadStopped of `pulse`."""
        self.loading_since_s = self._clock.now_us() // 1_000_000
        try:
            return self._load_file(pulse, merge=False)
        except FileNotFoundError:
            return False
        except LoadError:
            self._log.warning("Terminating server after rdb file reading failure.")
            raise
        except OSError as error:
            raise LoadError(
                f"Fatal error: can't open the RDB file {self.path()} for reading: {error.strerror}"
            ) from error
        finally:
            self.loading_since_s = 0

    def begin_loading(self, total_bytes: int) -> None:
        """Remember that files of this size are being loaded."""
        self.loading_since_s = self._clock.now_us() // 1_000_000
        self.loading_bytes = total_bytes
        self.loaded_bytes = 0

    def end_loading(self) -> None:
        """Remember that everything is loaded."""
        self.loading_since_s = 0

    def note_loaded(self, loaded_bytes: int) -> None:
        """Remember how much of the file is loaded."""
        self.loaded_bytes = loaded_bytes

    def reload(self, *, keep: bool, merge: bool) -> bool:
        """Load the snapshot file in place of the data, or beside them if `keep`; return False if that failed."""
        if not keep:
            for database in self._databases:
                database.drop_all()
            self._libraries.drop_all()
        try:
            self._load_file(None, merge=merge)
        except (OSError, LoadError) as error:
            self._log.warning(str(error))
            return False
        return True

    def load_base(self, source: ByteSource, pulse: Pulse) -> int:
        """Load the snapshot at the start of an append-only file; return where it ends.

        Raises LoadError, OSError, and LoadStopped of `pulse`."""
        reader = Reader(b"", source, checksums=self._config.flag("rdbchecksum"))
        loader = Loader(reader, self._databases, self._load_options(NEVER, pulse, merge=False))
        try:
            loader.run()
        except BadFormat as error:
            raise LoadError(f"snapshot, offset {loader.item_at}: {error}") from error
        return reader.offset()

    def _load_options(self, drop_due_at_ms: int, pulse: Pulse | None, *, merge: bool) -> LoadOptions:
        """Return how a snapshot is read."""
        return LoadOptions(
            self._limits,
            self._libraries,
            drop_due_at_ms,
            merge=merge,
            pulse=pulse,
            pulse_bytes=self._config.number("loading-process-events-interval-bytes"),
            key_delay_us=self._config.number("key-load-delay"),
        )

    def _load_file(self, pulse: Pulse | None, *, merge: bool) -> bool:
        """Load the snapshot file; return True.  Raises LoadError, OSError."""
        started_us = self._clock.monotonic_us()
        file = self._files.open(self.path())
        reader = Reader(b"", file, checksums=self._config.flag("rdbchecksum"))
        self.loading_bytes = file.size()
        self.loaded_bytes = 0
        options = self._load_options(self._clock.now_us() // 1000, pulse, merge=merge)
        loader = Loader(reader, self._databases, options)
        try:
            loader.run()
        except BadFormat as error:
            text = f"RDB file {self.path()}, offset {loader.item_at}: {error}"
            self._log.warning(f"Internal error in RDB reading: {text}")
            raise LoadError(text) from error
        finally:
            file.close()
        for note in loader.notes:
            self._log.warning("RDB file: " + note)
        if loader.empty:
            self._log.warning(f"Done loading RDB, empty keys skipped: {loader.empty}.")
        self.loaded_keys = loader.keys
        self.loaded_expired = loader.expired
        version = loader.facts.get(b"redis-ver", b"?").decode("utf-8", "replace")
        self._log.notice(f"Loading RDB produced by version {version}")
        self._log.notice(f"Done loading RDB, keys loaded: {loader.keys}, keys expired: {loader.expired}.")
        seconds = (self._clock.monotonic_us() - started_us) / 1e6
        self._log.notice(f"DB loaded from disk: {seconds:.3f} seconds")
        return True
