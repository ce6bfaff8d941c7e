"""All data as the commands that make them: the base of an append-only file without a snapshot.

The commands are those that Redis writes.  One thing they cannot make: an entry that is pending for a consumer and
removed from its stream.  A stream with such an entry is written as RESTORE.
"""

from typing import Final

from coordkit_server.clock import Clock
from coordkit_server.config import Config
from coordkit_server.datatypes.hash import HashValue
from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.list import ListValue
from coordkit_server.datatypes.set import SetValue
from coordkit_server.datatypes.stream import StreamValue
from coordkit_server.datatypes.stream_entry import id_text
from coordkit_server.datatypes.stream_group import Group
from coordkit_server.datatypes.zset import ZSetValue
from coordkit_server.keyspace.database import Database
from coordkit_server.keyspace.propagation import command_bytes, select_bytes
from coordkit_server.keyspace.table import Entry
from coordkit_server.numeric import format_float
from coordkit_server.persistence.aof import BaseWriter
from coordkit_server.persistence.dump import dump
from coordkit_server.persistence.files import FileSystem, OutputFile
from coordkit_server.persistence.rdb import LibraryStore

ITEMS_A_COMMAND: Final = 64
_FLUSH_BYTES: Final = 1024 * 1024


class CommandDump:
    """Writes commands to a file.  Everything raises OSError."""

    def __init__(self, file: OutputFile) -> None:
        self._file: Final = file
        self._parts: list[bytes] = []
        self._bytes: int = 0

    def add(self, argv: list[bytes]) -> None:
        """Write a command."""
        self._add(command_bytes(argv))

    def annotate(self, now_s: int) -> None:
        """Write the time."""
        self._add(b"#TS:%d\r\n" % now_s)

    def _add(self, wire: bytes) -> None:
        """Write bytes."""
        self._parts.append(wire)
        self._bytes += len(wire)
        if self._bytes >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Hand what has gathered to the system."""
        self._file.write(b"".join(self._parts))
        self._parts = []
        self._bytes = 0

    def finish(self) -> None:
        """Wait until everything is on the disk."""
        self._flush()
        self._file.sync()

    def add_database(self, database: Database, limits: Limits) -> None:
        """Write all keys of a database."""
        if len(database) == 0:
            return
        self._add(select_bytes(database.index))
        for entry in database.entries():
            self._add_entry(entry, limits)
            if entry.expire_at_ms >= 0:
                self.add([b"PEXPIREAT", entry.key, b"%d" % entry.expire_at_ms])

    def _add_entry(self, entry: Entry, limits: Limits) -> None:
        """Write one key."""
        key, value = entry.key, entry.value
        if isinstance(value, bytes):
            self.add([b"SET", key, value])
        elif isinstance(value, bytearray):
            self.add([b"SET", key, bytes(value)])
        elif isinstance(value, ListValue):
            self._add_items([b"RPUSH", key], list(value.range(0, value.length())))
        elif isinstance(value, SetValue):
            self._add_items([b"SADD", key], list(value.listed()))
        elif isinstance(value, HashValue):
            pairs: list[object] = []
            for field, content in value.fields.items():
                pairs.append(field)
                pairs.append(content)
            self._add_items([b"HMSET", key], pairs)
        elif isinstance(value, ZSetValue):
            scored: list[object] = []
            scores, members = value.range(0, value.length())
            for place in range(len(members)):
                scored.append(format_float(scores[place]))
                scored.append(members[place])
            self._add_items([b"ZADD", key], scored)
        elif isinstance(value, StreamValue) and not _has_pending_of_removed(value):
            self._add_stream(key, value)
        else:
            self.add([b"RESTORE", key, b"0", dump(value, limits)])

    def _add_stream(self, key: bytes, value: StreamValue) -> None:
        """Write a stream with its groups."""
        for node in value.nodes:
            for ident, words in node.entries():
                self.add([b"XADD", key, id_text(ident), *words])
        if value.length() == 0:  # an entry that goes at once makes an empty stream
            self.add([b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"])
        state = [b"ENTRIESADDED", b"%d" % value.entries_added, b"MAXDELETEDID", id_text(value.max_deleted_id)]
        self.add([b"XSETID", key, id_text(value.last_id), *state])
        for name in sorted(value.groups):
            self._add_group(key, name, value.groups[name])

    def _add_group(self, key: bytes, name: bytes, group: Group) -> None:
        """Write a consumer group."""
        read = b"%d" % group.entries_read
        self.add([b"XGROUP", b"CREATE", key, name, id_text(group.last_id), b"ENTRIESREAD", read])
        for consumer in group.consumers_by_name():
            self.add([b"XGROUP", b"CREATECONSUMER", key, name, consumer.name])
            for nack in consumer.pending.nacks():
                state = [b"TIME", b"%d" % nack.delivered_ms, b"RETRYCOUNT", b"%d" % nack.count, b"JUSTID", b"FORCE"]
                self.add([b"XCLAIM", key, name, consumer.name, b"0", id_text(nack.ident), *state])

    def _add_items(self, head: list[bytes], items: list[object]) -> None:
        """Write the items, some to each command; an item may be a pair."""
        step = ITEMS_A_COMMAND * 2
        for at in range(0, len(items), step):
            argv = head[:]
            for item in items[at : at + step]:
                argv.append(item if isinstance(item, bytes) else b"")
            self.add(argv)


def _has_pending_of_removed(value: StreamValue) -> bool:
    """Return True if an entry that is not in the stream any more is pending in a group."""
    for group in value.groups.values():
        for nack in group.pending.nacks():
            if not value.has(nack.ident):
                return True
    return False


class CommandBase(BaseWriter):
    """Writes the base of an append-only file as commands."""

    def __init__(
        self,
        databases: list[Database],
        limits: Limits,
        libraries: LibraryStore,
        config: Config,
        clock: Clock,
        files: FileSystem,
    ) -> None:
        self._databases: Final = databases
        self._limits: Final = limits
        self._libraries: Final = libraries
        self._config: Final = config
        self._clock: Final = clock
        self._files: Final = files

    def writes_rdb(self) -> bool:
        """Return False: commands are written."""
        return False

    def write_base(self, path: str) -> None:
        """Write the data to `path`.  Raises OSError."""
        file = self._files.create(path)
        try:
            self._write(CommandDump(file))
        finally:
            file.close()

    def _write(self, output: CommandDump) -> None:
        """Write the data to `output`."""
        if self._config.flag("aof-timestamp-enabled"):
            output.annotate(self._clock.now_us() // 1_000_000)
        for source in self._libraries.sources():
            output.add([b"FUNCTION", b"LOAD", source])
        for database in self._databases:
            output.add_database(database, self._limits)
        output.finish()
