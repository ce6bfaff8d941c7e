"""The append-only file as a whole: its files, rewriting it, turning it on and off.

    OFF         nothing is logged
    WAIT_BASE   turned on while running: commands go to a temporary increment until the first base is written
    ON          commands go to the last increment of the manifest

A rewrite forks a child, which writes the data as a new base, while commands go to a new increment.  The manifest that
names both replaces the old one atomically; what it does not need any more is removed.  Map: BaseWriter, Rewrite (the
child), AppendOnly: state, files, rewriting, what the cron does.
"""

import errno
import os
from contextlib import suppress
from typing import Final

from mypy_extensions import trait

from coordkit_server.children import ChildRunner, ChildTask
from coordkit_server.clock import Clock
from coordkit_server.config import Config
from coordkit_server.keyspace.database import KeyspaceState
from coordkit_server.log import Log
from coordkit_server.persistence.append_log import POLICIES, AppendLog
from coordkit_server.persistence.log_files import AppendFile, Files
from coordkit_server.persistence.manifest import TEMP_PREFIX, Manifest, ManifestError, parse_manifest
from coordkit_server.persistence.syncer import Syncer

OFF: Final = 0
WAIT_BASE: Final = 1
ON: Final = 2

# rewrites that may fail in a row before the next automatic one has to wait, and how long at most
_FAILURES_ALLOWED: Final = 3
_MAX_DELAY_MIN: Final = 60
_MINUTE_US: Final = 60_000_000


class AppendOnlyError(Exception):
    """The append-only file cannot be used; the text says why."""


def _told(what: str, error: OSError) -> OSError:
    """Return the error with what failed in front of its text."""
    return OSError(error.errno or 0, "%s: %s" % (what, error.strerror))


@trait
class BaseWriter:
    """Writes all data as the base of an append-only file."""

    def writes_rdb(self) -> bool:
        """Return True for a snapshot, False for commands."""
        raise NotImplementedError

    def write_base(self, path: str) -> None:
        """Write the data to `path`, on disk when this returns.  Raises OSError."""
        raise NotImplementedError


class Rewrite(ChildTask):
    """The child that writes a new base."""

    def __init__(self, owner: "AppendOnly", path: str) -> None:
        self._owner: Final = owner
        self.path: Final = path

    def purpose(self) -> str:
        """Return what the child is for."""
        return "rewrite append only file"

    def run_in_child(self) -> None:
        """Write the base."""
        self._owner.write_base(self.path)

    def child_ended(self, succeeded: bool) -> None:
        """Take the base over."""
        self._owner.rewrite_ended(self.path, succeeded)


class AppendOnly:
    """The append-only file of a server."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        log: Log,
        state: KeyspaceState,
        files: Files,
        syncer: Syncer,
        children: ChildRunner,
        writer: BaseWriter,
    ) -> None:
        self._config: Final = config
        self._clock: Final = clock
        self._log: Final = log
        self._keyspace: Final = state
        self._files: Final = files
        self._children: Final = children
        self._writer: Final = writer
        self.appender: Final = AppendLog(state, clock, log, syncer, children)
        self.state: int = OFF
        self.manifest: Manifest = Manifest(config.text("appendfilename"))
        self.rewriting: bool = False
        self.scheduled: bool = False
        self._stopping: bool = False
        self.rewrites: int = 0
        self.failures: int = 0  # in a row
        self.last_rewrite_failed: bool = False
        self.last_rewrite_s: int = -1
        self.base_size: int = 0  # of all files, after the last rewrite
        self._older_size: int = 0  # of all files but the one being written
        self._base_as_rdb: bool = False
        self._started_us: int = 0
        self._delay_min: int = 0
        self._next_us: int = 0

    # -- paths ---------------------------------------------------------------------------------------------------

    def directory(self) -> str:
        """Return appenddirname."""
        return self._config.text("appenddirname")

    def path(self, name: str) -> str:
        """Return the path of one of the files."""
        return os.path.join(self.directory(), name)

    def current_size(self) -> int:
        """Return the size of all files."""
        return self._older_size + self.appender.file_size()

    # -- start and end -------------------------------------------------------------------------------------------

    def read_manifest(self) -> None:
        """Take over the manifest on disk, if there is one.  Raises AppendOnlyError."""
        self.manifest = Manifest(self._config.text("appendfilename"))
        path = self.path(self.manifest.file_name())
        if not self._files.exists(path):
            return
        try:
            self.manifest = parse_manifest(self.manifest.name, self._files.read(path))
        except ManifestError as mistake:
            raise AppendOnlyError(
                "\n*** FATAL AOF MANIFEST FILE ERROR ***\nReading the manifest file, at line %d\n>>> '%s'\n%s"
                % (mistake.line_number, mistake.line.decode("utf-8", "replace"), mistake.reason)
            ) from mistake
        except OSError as error:
            raise AppendOnlyError(
                "Fatal error: can't open the AOF manifest file %s for reading: %s"
                % (self.manifest.file_name(), error.strerror)
            ) from error

    def adopt_old_file(self) -> None:
        """Move an append-only file of one part, as Redis wrote it before 7.0, in as the base.  Raises OSError."""
        name = self.manifest.name
        base = self.manifest.base
        halfway = base is not None and base.name == name and not self._files.exists(self.path(name))
        if not self._files.exists(name) or self.manifest.increments or not (base is None or halfway):
            return
        self._make_directory()
        if base is None:
            self.manifest.adopt(name)
        self._persist(self.manifest)
        self._files.rename(name, self.path(name))
        self._files.fsync_directory(self.directory())
        self._log.notice(
            "Successfully migrated an old-style AOF file (%s) into the AOF directory (%s)." % (name, self.directory())
        )

    def open_at_start(self) -> None:
        """Begin to log into the last increment; a server without data begins with a base.  Raises OSError."""
        files = self._files
        self._make_directory()
        manifest = self.manifest
        if manifest.is_empty():
            name = manifest.new_base(as_rdb=self._writer.writes_rdb())
            self.write_base(self.path(name))
            self._log.notice("Creating AOF base file %s on server start" % name)
        is_new = not manifest.increments
        name = manifest.new_increment() if is_new else manifest.increments[-1].name
        file = self._open(name, empty=False)
        file.fsync()  # what a process before this one wrote may still be in memory only
        self._persist(manifest)
        self._log.notice("%s AOF incr file %s on server start" % ("Creating" if is_new else "Opening", name))
        self.appender.open(file, file.size())
        self._measure(name)
        self.base_size = files.size(self.path(manifest.base.name)) if manifest.base is not None else 0
        self.state = ON
        self._keyspace.propagation.listen_aof(self.appender)

    def _measure(self, written: str) -> None:
        """Add up the sizes of the files but the one that is being written."""
        total = 0
        for part in self.manifest.parts():
            if part.name != written:
                with suppress(OSError):
                    total += self._files.size(self.path(part.name))
        self._older_size = total

    def close(self) -> bool:
        """Finish the file at the end of the server; return False if that failed."""
        self._keyspace.propagation.listen_aof(None)
        return self.appender.close()

    # -- on and off ----------------------------------------------------------------------------------------------

    def turn_on(self) -> bool:
        """Begin to log (CONFIG SET appendonly yes); return False if that is not possible now."""
        self.state = WAIT_BASE
        if self._children.child_running() and not self.rewriting:
            self.scheduled = True
            self._log.notice(
                "AOF was enabled but there is already another background operation. An AOF background was scheduled "
                "to start when possible."
            )
            return True
        if self.rewriting:
            self._log.notice(
                "AOF was enabled but there is already an AOF rewriting in background. Stopping background AOF and "
                "starting a rewrite now."
            )
            self._stop_rewrite()
        if not self.start_rewrite():
            self.state = OFF
            self._log.warning(
                "Redis needs to enable the AOF but can't trigger a background AOF rewrite operation. Check the above "
                "logs for more info about the error."
            )
            return False
        return True

    def turn_off(self) -> None:
        """Stop logging (CONFIG SET appendonly no)."""
        self._keyspace.propagation.listen_aof(None)
        if not self.appender.close():
            self._log.warning("Fail to fsync the AOF file on its way out")
        self.state = OFF
        self.scheduled = False
        if self.rewriting:
            self._stop_rewrite()
        self.base_size = 0
        self._older_size = 0

    def _stop_rewrite(self) -> None:
        """End the rewrite that runs; it counts as no failure."""
        self._log.notice("Killing running AOF rewrite child: %d" % self._children.child_pid())
        failures, failed = self.failures, self.last_rewrite_failed
        self._stopping = True
        self._children.kill_child()
        self._stopping = False
        self.failures, self.last_rewrite_failed = failures, failed

    def apply_config(self) -> None:
        """Take over what decides how the log is written."""
        self.appender.policy = POLICIES[self._config.text("appendfsync")]
        self.appender.annotate = self._config.flag("aof-timestamp-enabled")
        self.appender.yields_to_children = self._config.flag("no-appendfsync-on-rewrite")
        self.remove_history()

    # -- rewriting -----------------------------------------------------------------------------------------------

    def start_rewrite(self) -> bool:
        """Fork a child that writes a new base; return False if that is not possible now."""
        if self._children.child_running():
            return False
        try:
            self._make_directory()
            if self.state != OFF:
                self._begin_increment()
        except OSError as error:
            self._log.warning("%s" % error.strerror)
            self.last_rewrite_failed = True
            self._tell_what_next()
            return False
        self.rewrites += 1
        self._base_as_rdb = self._writer.writes_rdb()
        self._started_us = self._clock.monotonic_us()
        task = Rewrite(self, "temp-rewriteaof-bg-%d.aof" % os.getpid())
        if not self._children.start_child(task):
            self.last_rewrite_failed = True
            return False
        self._log.notice("Background append only file rewriting started by pid %d" % self._children.child_pid())
        self.rewriting = True
        self.scheduled = False
        return True

    def _make_directory(self) -> None:
        """Make the directory unless it exists.  Raises OSError that says so."""
        try:
            self._files.make_directory(self.directory())
        except OSError as error:
            raise _told("Can't open or create append-only dir %s" % self.directory(), error) from error

    def _open(self, name: str, *, empty: bool) -> AppendFile:
        """Return the increment of that name for appending.  Raises OSError that says so."""
        try:
            return self._files.open_append(self.path(name), empty=empty)
        except OSError as error:
            raise _told("Can't open the append-only file %s" % name, error) from error

    def _begin_increment(self) -> None:
        """Go on in a new increment.  Raises OSError that says what failed, also if the old one cannot be finished."""
        manifest = self.manifest.copy()
        name = manifest.temp_increment() if self.state == WAIT_BASE else manifest.new_increment()
        file = self._open(name, empty=True)
        if self.state == ON:
            try:
                self._persist(manifest)
            except OSError:
                file.close()
                raise
        if not self.appender.switch(file):
            file.close()
            raise OSError(errno.EIO, "Can't go on in %s: the append-only file before it cannot be written" % name)
        self._log.notice("Creating AOF incr file %s on background rewrite" % name)
        self.manifest = manifest
        if self.state == ON:
            self._measure(name)
        self._keyspace.propagation.listen_aof(self.appender)

    def write_base(self, path: str) -> None:
        """Write all data to `path` (in the child)."""
        try:
            self._writer.write_base(path)
        except OSError as error:
            self._log.warning("Write error writing append only file on disk: %s (%s)" % (error.strerror, path))
            raise

    def rewrite_ended(self, path: str, succeeded: bool) -> None:
        """Make the file at `path` the base."""
        self.rewriting = False
        self.last_rewrite_s = (self._clock.monotonic_us() - self._started_us) // 1_000_000
        done = False
        if succeeded:
            self._log.notice("Background AOF rewrite terminated with success")
            try:
                self._take_base(path)
                done = True
            except OSError as error:
                self._log.warning("%s" % error.strerror)
        else:
            self._log.warning("Background AOF rewrite terminated with error")
        self.last_rewrite_failed = not done
        if done:
            self.failures = 0
            self._log.notice("Background AOF rewrite finished successfully")
        else:
            self.failures += 1
            self._rewrite_failed(path)
            if not self._stopping:
                self._tell_what_next()

    def _tell_what_next(self) -> None:
        """Say what a failed rewrite means, and what to do."""
        where = os.path.abspath(self.directory())
        if self.state == WAIT_BASE:
            text = "The AOF in %s is not in use yet: its first base is tried again. Free space or mend what failed."
        else:
            text = (
                "The AOF in %s goes on without the rewrite, nothing is lost. "
                "Free space or mend what failed, then run BGREWRITEAOF."
            )
        self._log.warning(text % where)

    def _rewrite_failed(self, path: str) -> None:
        """Remove what a failed rewrite has left."""
        with suppress(OSError):  # there may be nothing
            self._files.unlink(path)
        if self.state == WAIT_BASE:
            self._keyspace.propagation.listen_aof(None)
            self.appender.abandon()
            name = self.manifest.temp_increment()
            self._log.notice("Removing the temp incr aof file %s in the background" % name)
            with suppress(OSError):
                self._files.unlink(self.path(name))
            self.scheduled = True

    def _take_base(self, path: str) -> None:
        """Put the new base and what follows it into the manifest.  Raises OSError that says what failed."""
        manifest = self.manifest.copy()
        base = manifest.new_base(as_rdb=self._base_as_rdb)
        try:
            self._files.rename(path, self.path(base))
        except OSError as error:
            raise _told(
                "Error trying to rename the temporary AOF base file %s into %s" % (path, base), error
            ) from error
        self._log.notice("Successfully renamed the temporary AOF base file %s into %s" % (path, base))
        if self.state == WAIT_BASE:
            temp = manifest.temp_increment()
            name = manifest.new_increment()
            try:
                self._files.rename(self.path(temp), self.path(name))
            except OSError as error:
                what = "Error trying to rename the temporary AOF incr file %s into %s" % (temp, name)
                raise _told(what, error) from error
            self._log.notice("Successfully renamed the temporary AOF incr file %s into %s" % (temp, name))
        manifest.retire_increments(0 if self.state == OFF else 1)
        self._persist(manifest)
        self.manifest = manifest
        if self.state != OFF:
            self.state = ON
            self._older_size = self._files.size(self.path(base))
            self.base_size = self.current_size()
        self.remove_history()

    def _persist(self, manifest: Manifest) -> None:
        """Replace the manifest on disk.  Raises OSError that says what failed."""
        name = manifest.file_name()
        temp = TEMP_PREFIX + name
        step = "Error trying to write the temporary AOF manifest file %s" % temp
        try:
            self._files.write_whole(self.path(temp), manifest.text())
            step = "Fail to fsync AOF directory %s" % self.directory()
            self._files.fsync_directory(self.directory())  # the files it names are there before it is
            step = "Error trying to rename the temporary AOF manifest file %s into %s" % (temp, name)
            self._files.rename(self.path(temp), self.path(name))
            step = "Fail to fsync AOF directory %s" % self.directory()
            self._files.fsync_directory(self.directory())
        except OSError as error:
            raise _told(step, error) from error

    def remove_history(self) -> None:
        """Remove the files that nothing needs any more, unless aof-disable-auto-gc keeps them."""
        if not self.manifest.history or self._config.flag("aof-disable-auto-gc"):
            return
        for part in self.manifest.history:
            self._log.notice("Removing the history file %s in the background" % part.name)
            with suppress(OSError):  # somebody was faster
                self._files.unlink(self.path(part.name))
        manifest = self.manifest.copy()
        manifest.history = []
        try:
            self._persist(manifest)
        except OSError as error:
            self._log.warning("%s" % error.strerror)
            return
        self.manifest = manifest

    # -- periodic work -------------------------------------------------------------------------------------------

    def run_cron(self) -> None:
        """Rewrite if that was asked for or the file has grown enough."""
        if self._children.child_running():
            return
        if self.scheduled:
            if not self.rewrite_limited() and not self.start_rewrite():
                self.scheduled = self.state == WAIT_BASE
            return
        percentage = self._config.number("auto-aof-rewrite-percentage")
        size = self.current_size()
        if self.state != ON or percentage == 0 or size <= self._config.number("auto-aof-rewrite-min-size"):
            return
        growth = size * 100 // (self.base_size or 1) - 100
        if growth >= percentage and not self.rewrite_limited():
            self._log.notice("Starting automatic rewriting of AOF on %d%% growth" % growth)
            self.start_rewrite()

    def rewrite_limited(self) -> bool:
        """Return True while rewrites have failed too often to be tried again at once."""
        if self.failures < _FAILURES_ALLOWED:
            self._delay_min = 0
            self._next_us = 0
            return False
        now_us = self._clock.monotonic_us()
        if self._next_us:
            if now_us < self._next_us:
                return True
            self._next_us = 0
            return False
        self._delay_min = min(self._delay_min * 2 or 1, _MAX_DELAY_MIN)
        self._next_us = now_us + self._delay_min * _MINUTE_US
        self._log.warning(
            "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in %d minutes"
            % self._delay_min
        )
        return True

    def rewriting_for_s(self) -> int:
        """Return for how many seconds the rewrite has been running, -1 if there is none."""
        return (self._clock.monotonic_us() - self._started_us) // 1_000_000 if self.rewriting else -1
