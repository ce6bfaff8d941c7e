"""Loading an append-only file: snapshots through their reader, commands through the `Replay` they are given.

A torn tail of the last file is cut off if aof-load-truncated says so, to the last whole command, or to the start of a
transaction that has no EXEC.  Everything else that is wrong ends the loading, with the first bad offset in the log.
"""

import os
import time
from typing import BinaryIO, Final

from mypy_extensions import trait

from coordkit_server.log import Log
from coordkit_server.persistence.aof import AppendOnly, AppendOnlyError
from coordkit_server.persistence.aof_reader import Broken, CommandReader, Torn
from coordkit_server.persistence.manifest import Part

SIGNATURE: Final = b"REDIS"
# commands between looks at who waits for an answer
BEAT_COMMANDS: Final = 1024


@trait
class Replay:
    """Repeats commands and takes over snapshots."""

    def load_snapshot(self, file: BinaryIO, earlier_bytes: int) -> str:
        """Load the snapshot at the start of `file`, leave the position behind it; return what is wrong, or "".

        `earlier_bytes` is the size of the files before it.  Raises what `beat` raises."""
        raise NotImplementedError

    def repeat(self, argv: list[bytes]) -> bool:
        """Run a command; return False if there is no such command.  Its errors do not matter."""
        raise NotImplementedError

    def begin(self, total_bytes: int) -> None:
        """Get ready for files of this size."""
        raise NotImplementedError

    def beat(self, loaded_bytes: int) -> None:
        """Let others be answered; so much of all files has been loaded.  Raises LoadStopped if the server is to end."""
        raise NotImplementedError

    def begin_file(self) -> None:
        """Forget an open transaction and the database selected."""
        raise NotImplementedError

    def in_transaction(self) -> bool:
        """Return True between MULTI and EXEC."""
        raise NotImplementedError


class AofLoader:
    """Loads the files of a manifest in order."""

    def __init__(self, aof: AppendOnly, log: Log, replay: Replay, *, truncate: bool) -> None:
        self._aof: Final = aof
        self._log: Final = log
        self._replay: Final = replay
        self._truncate: Final = truncate
        self._earlier_bytes: int = 0  # size of the files that are loaded

    def load(self) -> bool:
        """Load everything; return False if there is nothing.  Raises AppendOnlyError, LoadStopped."""
        parts = self._aof.manifest.parts()
        sizes = [self._size(part) for part in parts]
        if sum(sizes) == 0:
            return False
        self._replay.begin(sum(sizes))
        for number, part in enumerate(parts):
            started = time.monotonic()
            self._earlier_bytes = sum(sizes[:number])
            self._load_part(part, is_last=number == len(parts) - 1)
            kind = "base" if part is self._aof.manifest.base else "incr"
            self._log.notice("DB loaded from %s file %s: %.3f seconds" % (kind, part.name, time.monotonic() - started))
        return True

    def _size(self, part: Part) -> int:
        """Return the size of a file that has to be there."""
        try:
            return os.stat(self._aof.path(part.name)).st_size
        except FileNotFoundError as absence:
            raise AppendOnlyError(f"The append log file {part.name} doesn't exist: {absence.strerror}") from absence
        except OSError as error:
            raise AppendOnlyError(
                f"Fatal error: can't open the append log file {part.name} for reading: {error.strerror}"
            ) from error

    def _load_part(self, part: Part, *, is_last: bool) -> None:
        """Load one file."""
        path = self._aof.path(part.name)
        try:
            with open(path, "rb") as file:
                offset = self._load_preamble(part, file)
                cut = self._load_commands(part, file, offset)
        except OSError as error:
            raise AppendOnlyError(
                f"Fatal error: can't open the append log file {part.name} for reading: {error.strerror}"
            ) from error
        if cut < 0:
            return
        self._cut(part, path, cut)
        if not is_last:
            raise AppendOnlyError("Fatal error: the truncated file is not the last file")

    def _load_preamble(self, part: Part, file: BinaryIO) -> int:
        """Load the snapshot in front of the commands, if there is one; return the offset of the first command."""
        start = file.read(len(SIGNATURE))
        file.seek(0)
        if start != SIGNATURE:
            return 0
        is_old = part.name == self._aof.manifest.name
        self._log.notice(
            "Reading RDB preamble from AOF file..." if is_old else "Reading RDB base file on AOF loading..."
        )
        reason = self._replay.load_snapshot(file, self._earlier_bytes)
        if reason:
            what = "preamble of the AOF file" if is_old else "base file"
            self._log.warning(reason)
            raise AppendOnlyError(f"Error reading the RDB {what} {part.name}, AOF loading aborted")
        if is_old:
            self._log.notice("Reading the remaining AOF tail...")
        return file.tell()

    def _load_commands(self, part: Part, file: BinaryIO, offset: int) -> int:
        """Repeat the commands; return where a torn tail begins, -1 if there is none."""
        reader = CommandReader(file, offset)
        replay = self._replay
        replay.begin_file()
        before_transaction = offset
        count = 0
        while True:
            count += 1
            if count % BEAT_COMMANDS == 0:
                replay.beat(self._earlier_bytes + reader.offset)
            before = reader.offset
            try:
                argv = reader.next_command()
            except Torn:
                return self._torn(part, before_transaction if replay.in_transaction() else reader.offset)
            except Broken as error:
                raise AppendOnlyError(
                    f"Bad file format reading the append only file {part.name} at offset {reader.offset} ({error}): "
                    "make a backup of your AOF file, then use ./redis-check-aof --fix <filename.manifest>"
                ) from error
            if argv is None:
                break
            if not replay.in_transaction():
                before_transaction = before
            if not replay.repeat(argv):
                name = argv[0].decode("utf-8", "replace")
                raise AppendOnlyError(
                    f"Unknown command '{name}' reading the append only file {part.name} at offset {before}"
                )
        if not replay.in_transaction():
            return -1
        self._log.warning(f"Revert incomplete MULTI/EXEC transaction in AOF file {part.name}")
        return self._torn(part, before_transaction)

    def _torn(self, part: Part, offset: int) -> int:
        """Return `offset` if the tail behind it may be cut off."""
        if not self._truncate:
            raise AppendOnlyError(
                f"Unexpected end of file reading the append only file {part.name} at offset {offset}. You can: "
                "1) Make a backup of your AOF file, then use ./redis-check-aof --fix <filename.manifest>. "
                "2) Alternatively you can set the 'aof-load-truncated' configuration option to yes and restart the "
                "server."
            )
        return offset

    def _cut(self, part: Part, path: str, offset: int) -> None:
        """Cut a torn tail off."""
        self._log.warning(f"!!! Warning: short read while loading the AOF file {part.name}!!!")
        self._log.warning(f"!!! Truncating the AOF {part.name} at offset {offset} !!!")
        try:
            os.truncate(path, offset)
        except OSError as error:
            raise AppendOnlyError(f"Error truncating the AOF file {part.name}: {error.strerror}") from error
        self._log.warning(f"AOF {part.name} loaded anyway because aof-load-truncated is enabled")
