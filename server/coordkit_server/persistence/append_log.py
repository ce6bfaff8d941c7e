"""The increment of the append-only file that is being written: buffering, writing, fsync, and what if they fail.

Positions count the bytes of the log since the server started, across files:

    synced_position <= written_position <= position      on disk, with the system, accepted

`always`: a turn of the event loop ends with one write and one fsync, and only then replies are sent.  `everysec`: a
write a turn, an fsync a second in the background; if that takes longer than a second, writes wait for it, for two
seconds at most.  `no`: a write a turn.

After a failure the file is cut back to what is known to be good, and everything behind it is written again: an fsync
that failed says nothing about what a later one does for the same bytes.  So the bytes of the last fsyncs are kept.

With no-appendfsync-on-rewrite nothing is fsynced while a child writes, whatever the policy: as with `no` until then.
"""

import os
from time import sleep
from typing import Final

from coordkit_server.children import ChildRunner
from coordkit_server.clock import Clock
from coordkit_server.errors import MISCONF_AOF
from coordkit_server.keyspace.database import KeyspaceState
from coordkit_server.keyspace.propagation import StreamSink, select_bytes
from coordkit_server.log import Log
from coordkit_server.persistence.log_files import AppendFile
from coordkit_server.persistence.syncer import Syncer

ALWAYS: Final = 1
EVERY_SECOND: Final = 2
NEVER: Final = 0
POLICIES: Final = {"always": ALWAYS, "everysec": EVERY_SECOND, "no": NEVER}

_SECOND_US: Final = 1_000_000
_PATIENCE_US: Final = 2_000_000  # how long writes wait for a slow fsync
_RETRY_US: Final = 1_000_000
_NOT_SELECTED: Final = -1


class AppendLog(StreamSink):
    """Appends the stream of changes to a file."""

    def __init__(self, state: KeyspaceState, clock: Clock, log: Log, syncer: Syncer, children: ChildRunner) -> None:
        self._state: Final = state
        self._children: Final = children
        self._clock: Final = clock
        self._log: Final = log
        self._syncer: Final = syncer
        self._file: AppendFile | None = None
        self._buffer: list[bytes] = []
        self._unsynced: list[bytes] = []  # written since the last fsync that succeeded
        self._selected: int = _NOT_SELECTED
        self._annotated_s: int = 0
        self._size: int = 0  # of the file, as far as writes succeeded
        self._trusted_size: int = 0  # `_unsynced` is what the file has behind it
        self._syncing_size: int = 0  # when the fsync that is under way began
        self._syncing_count: int = 0  # how much of `_unsynced` it covers
        self._synced_us: int = 0
        self._postponed_us: int = 0
        self._retry_us: int = 0
        self._distrusted: bool = False  # an fsync failed: the file is to be cut back
        self.policy: int = EVERY_SECOND
        self.annotate: bool = False
        self.yields_to_children: bool = False  # no-appendfsync-on-rewrite
        self.position: int = 0
        self.written_position: int = 0
        self.synced_position: int = 0
        self.failed: bool = False
        self.delayed_fsyncs: int = 0
        self.write_delay_us: int = 0  # before each write: a slow disk, for tests

    # -- files ---------------------------------------------------------------------------------------------------

    def open(self, file: AppendFile, size: int) -> None:
        """Append to `file`, which has `size` bytes that are on disk."""
        self._file = file
        self._size = size
        self._trusted_size = size
        self._selected = _NOT_SELECTED
        self._annotated_s = 0
        self._synced_us = self._clock.monotonic_us()

    def is_open(self) -> bool:
        """Return True if there is a file."""
        return self._file is not None

    def file_size(self) -> int:
        """Return the size of the file."""
        return self._size

    def buffered_bytes(self) -> int:
        """Return how much has not been written yet."""
        return self.position - self.written_position

    def syncing(self) -> bool:
        """Return True while an fsync is under way in the background."""
        return self._syncer.busy()

    def switch(self, file: AppendFile) -> bool:
        """Go on in the empty `file`; return False (and stay) if the old one cannot be finished and fsynced."""
        self._syncer.wait()
        if not self.flush(force=True) or not self._sync_now():
            return False
        if self._file is not None:
            self._file.close()
        self.open(file, 0)
        return True

    def close(self) -> bool:
        """Finish the file; return False if that failed.  Nothing is appended any more."""
        if self._file is None:
            return True
        self._syncer.wait()
        done = self.flush(force=True) and self._sync_now()
        self._file.close()
        self._file = None
        self._forget()
        return done

    def abandon(self) -> None:
        """Give the file up, as it is."""
        self._syncer.wait()
        self._take_result()
        if self._file is not None:
            self._file.close()
            self._file = None
        self._forget()

    def _forget(self) -> None:
        """Forget what was not written."""
        self._buffer = []
        self._unsynced = []
        self._distrusted = False
        self.position = self.written_position
        if self.failed:
            self.failed = False
            self._state.note_disk_error(b"")

    # -- the stream ----------------------------------------------------------------------------------------------

    def feed(self, db_index: int, wire: bytes) -> int:
        """Append the command `wire` for database `db_index` (-1: any); return the position after it."""
        if self.annotate:
            self._add_annotation()
        if db_index >= 0 and db_index != self._selected:
            self._selected = db_index
            self._add(select_bytes(db_index))
        self._add(wire)
        return self.position

    def _add(self, data: bytes) -> None:
        """Put `data` into the buffer."""
        self._buffer.append(data)
        self.position += len(data)

    def _add_annotation(self) -> None:
        """Note the time in front of the first command of each second."""
        now_s = self._clock.now_us() // _SECOND_US
        if now_s > self._annotated_s:
            self._annotated_s = now_s
            self._add(b"#TS:%d\r\n" % now_s)

    def is_durable(self, position: int) -> bool:
        """Return True if a client whose change ends at `position` may be told that it is done."""
        if self.policy != ALWAYS or position <= self.synced_position or self._file is None:
            return True
        return position <= self.written_position and self._yields()

    def _yields(self) -> bool:
        """Return True while the disk is left to a child."""
        return self.yields_to_children and self._children.child_running()

    # -- writing -------------------------------------------------------------------------------------------------

    def flush(self, *, force: bool = False) -> bool:
        """Write what is buffered and fsync as the policy asks; return False if that failed.

        Called at the end of each turn.  `force` does not wait for a slow fsync to end, nor for the next retry."""
        if self._file is None:
            return True
        if self._syncer.done():
            self._take_result()
        now_us = self._clock.monotonic_us()
        if self.failed and not force and now_us < self._retry_us:
            return False
        if self._buffer or self._distrusted:
            if not force and self._postpones(now_us):
                return True
            if not self._write():
                return False
        return self._sync_by_policy(now_us)

    def _postpones(self, now_us: int) -> bool:
        """Return True if this write is to wait for the fsync that is under way."""
        if self.policy != EVERY_SECOND or not self._syncer.busy():
            self._postponed_us = 0
            return False
        if self._postponed_us == 0:
            self._postponed_us = now_us
            return True
        if now_us - self._postponed_us < _PATIENCE_US:
            return True
        self._postponed_us = 0
        self.delayed_fsyncs += 1
        self._log.notice(
            "Asynchronous AOF fsync is taking too long (disk is busy?). Writing the AOF buffer without waiting for "
            "fsync to complete, this may slow down Redis."
        )
        return False

    def _write(self) -> bool:
        """Write the buffer, after cutting the file back if it is not to be trusted; return False if that failed."""
        file = self._file
        if file is None:
            return True
        try:
            if self._distrusted:
                self._cut_back(file)
            if self.write_delay_us:
                sleep(self.write_delay_us / 1e6)
            data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
            taken = 0
            while taken < len(data):
                taken += file.write(data[taken:] if taken else data)
        except OSError as error:
            self._distrusted = self._distrusted or not self._undo(file, self._size)
            self._fail("Error writing to the AOF file: %s" % error.strerror, error.errno or 0)
            return False
        self._buffer = []
        self._size += len(data)
        self.written_position = self.position
        if self.policy != NEVER and not self._yields():
            self._unsynced.append(data)
        else:
            self._unsynced = []  # nothing is fsynced, so nothing can be found out either
            self._syncing_count = 0
            self._trusted_size = self._size
        return True

    def _undo(self, file: AppendFile, size: int) -> bool:
        """Cut off what a failed write has left; return False if even that fails."""
        try:
            file.truncate(size)
        except OSError as error:
            self._log.warning(
                "Could not remove short write from the append-only file.  Redis may refuse to load the AOF the next "
                "time it starts.  ftruncate: %s" % error.strerror
            )
            return False
        return True

    def _cut_back(self, file: AppendFile) -> None:
        """Cut the file back to what an fsync vouched for; the rest stands in front of the buffer again."""
        self._syncer.wait()
        self._take_result()
        file.truncate(self._trusted_size)
        self.written_position -= self._size - self._trusted_size
        self._size = self._trusted_size
        self._buffer = self._unsynced + self._buffer
        self._unsynced = []
        self._distrusted = False

    def _fail(self, text: str, number: int) -> None:
        """Refuse writes until the file can be written again."""
        if not self.failed:
            self._log.warning(text)
        self.failed = True
        self._retry_us = self._clock.monotonic_us() + _RETRY_US
        self._state.note_disk_error(MISCONF_AOF + os.strerror(number).encode())

    def _recovered(self) -> None:
        """Accept writes again."""
        if self.failed:
            self.failed = False
            self._state.note_disk_error(b"")
            self._log.warning("AOF write error looks solved, Redis can write again.")

    # -- fsync ---------------------------------------------------------------------------------------------------

    def _sync_by_policy(self, now_us: int) -> bool:
        """Fsync if it is time; return False if that failed."""
        if self._yields():
            if not self._buffer:
                self._recovered()
            return True
        if self.policy == ALWAYS or (self.failed and self.policy != NEVER):
            return self._sync_now()
        if self.policy == EVERY_SECOND:
            due = now_us - self._synced_us >= _SECOND_US
            if due and self.synced_position < self.written_position and not self._syncer.busy():
                self._start_sync(now_us)
        elif not self._buffer:
            self._recovered()
        return True

    def _start_sync(self, now_us: int) -> None:
        """Fsync in the background."""
        file = self._file
        if file is None:
            return
        self._synced_us = now_us
        self._syncing_size = self._size
        self._syncing_count = len(self._unsynced)
        self._syncer.start(file, self.written_position)

    def _take_result(self) -> None:
        """Note how the fsync in the background has ended."""
        if not self._syncer.done():
            return
        position = self._syncer.take_position()
        if position >= 0:
            self.synced_position = max(self.synced_position, position)
            self._trusted_size = max(self._trusted_size, self._syncing_size)
            del self._unsynced[: self._syncing_count]
        else:
            self._distrusted = True
            number = self._syncer.error_number()
            self._fail("Fail to fsync the AOF file: %s" % os.strerror(number), number)

    def _sync_now(self) -> bool:
        """Fsync and wait for it, if anything is not on disk yet; return False if that failed."""
        file = self._file
        self._syncer.wait()
        self._take_result()
        if file is None or (self.synced_position == self.written_position and not self._distrusted):
            self._recovered()
            return True
        try:
            file.fsync()
        except OSError as error:
            self._distrusted = True
            self._fail("Can't persist AOF for fsync error: %s" % error.strerror, error.errno or 0)
            return False
        self._unsynced = []
        self._trusted_size = self._size
        self._synced_us = self._clock.monotonic_us()
        self.synced_position = self.written_position
        self._recovered()
        return True
