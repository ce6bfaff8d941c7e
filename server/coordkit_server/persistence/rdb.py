"""A snapshot of all databases in Redis's RDB format: version 10 is written, 1 to 12 and Valkey's 80 are read.

    file      `REDIS` and four digits (`VALKEY` and three), items, ff, CRC-64 of all before (8 bytes, little endian;
              0 if it was not computed; none below version 5)
    item      [expiry] [idle or frequency] type, key, value     a key of the selected database; see rdb_values
    fc ms64   expiry in ms          fd s32     expiry in seconds, little endian
    f8 length idle seconds          f9 u8      access frequency
    fe length select a database     fb length length   how many keys, and how many of them expire, follow
    fa string string   a fact about the file: redis-ver, redis-bits, ctime, used-mem, aof-base, repl-*
    f5 string          a library of functions (f6: of a release candidate, refused)
    f7 ...             data of a module: skipped    f4 length length length   slot of a cluster: skipped

Lengths, strings and numbers: see rdb_format.

Map: LibraryStore, save (SaveOptions), load (LoadOptions, Loader), check.
"""

import time
from typing import Final

from mypy_extensions import trait

from coordkit_server.datatypes.limits import Limits
from coordkit_server.keyspace.database import Database
from coordkit_server.keyspace.frequency import frequency_now, idle_ms, packed, used_before
from coordkit_server.keyspace.table import Entry, warm
from coordkit_server.persistence import rdb_format as rdb
from coordkit_server.persistence.packed import BadFormat
from coordkit_server.persistence.rdb_format import Reader, Writer
from coordkit_server.persistence.rdb_values import EmptyValue, load_value, save_value, value_type

_VALKEY_MAGIC: Final = b"VALKEY"
_HEADER_BYTES: Final = 9
_FIRST_WITH_CHECKSUM: Final = 5
_PROGRESS_EVERY: Final = 1024
_AHEAD: Final = 32  # entries whose keys and values are asked of memory together
_NO_EXPIRY: Final = -1
_NO_FREQUENCY: Final = -1
_LAST_TYPE: Final = 63  # everything above stands between keys
# what a module writes: number of the kind -> its bytes, 0 for a length, -1 for a string
_MODULE_PARTS: Final = {1: 0, 2: 0, 3: 4, 4: 8, 5: -1}


@trait
class LibraryStore:
    """The libraries of functions, as snapshots see them."""

    def sources(self) -> list[bytes]:
        """Return the source of each library."""
        raise NotImplementedError

    def load_source(self, code: bytes, replace: bool) -> None:
        """Load a library.  Raises BadFormat if it cannot be."""
        raise NotImplementedError

    def drop_all(self) -> None:
        """Remove all libraries."""
        raise NotImplementedError


class NoLibraries(LibraryStore):
    """Stands in where there are no functions: what a file holds of them is left alone."""

    def sources(self) -> list[bytes]:
        """Return nothing."""
        return []

    def load_source(self, code: bytes, replace: bool) -> None:
        """Do nothing."""

    def drop_all(self) -> None:
        """Do nothing."""


@trait
class Progress:
    """Hears how far saving is."""

    def saved(self, keys: int) -> None:
        """Note that so many keys are written."""
        raise NotImplementedError


class Silent(Progress):
    """Nobody wants to know."""

    def saved(self, keys: int) -> None:
        """Do nothing."""


# -- saving ------------------------------------------------------------------------------------------------------


USE_IGNORED: Final = 0
USE_IDLE: Final = 1
USE_COUNTED: Final = 2


class SaveOptions:
    """What a snapshot holds besides the keys, and how it is made.

    `key_delay_us` slows it down for tests; `use` says what of the keys' use is kept: USE_IGNORED, USE_IDLE (when),
    USE_COUNTED (how often)."""

    def __init__(
        self,
        facts: list[tuple[bytes, bytes]],
        libraries: list[bytes],
        limits: Limits,
        key_delay_us: int = 0,
        use: int = 0,
    ) -> None:
        self.use: Final = use
        self.facts: Final = facts
        self.libraries: Final = libraries
        self.limits: Final = limits
        self.key_delay_us: Final = key_delay_us


def facts_of(version: str, now_s: int, used_bytes: int, *, aof_base: bool = False) -> list[tuple[bytes, bytes]]:
    """Return what Redis says about a file at its start."""
    return [
        (b"redis-ver", version.encode("ascii")),
        (b"redis-bits", b"64"),
        (b"ctime", b"%d" % now_s),
        (b"used-mem", b"%d" % used_bytes),
        (b"aof-base", b"1" if aof_base else b"0"),
    ]


def save(writer: Writer, databases: list[Database], options: SaveOptions, progress: Progress) -> int:
    """Write a snapshot of `databases` with its end and checksum; return the number of keys.  Raises OSError."""
    writer.raw(rdb.MAGIC + b"%04d" % rdb.VERSION)
    for name, value in options.facts:
        writer.byte(rdb.AUX)
        writer.string(name)
        writer.string(value)
    for code in options.libraries:
        writer.byte(rdb.FUNCTION_2)
        writer.string(code)
    keys = 0
    for database in databases:
        if len(database):
            writer.byte(rdb.SELECT_DB)
            writer.length(database.index)
            keys += _save_database(writer, database, options, progress, keys)
    writer.byte(rdb.END)
    writer.finish()
    progress.saved(keys)
    return keys


def _save_database(writer: Writer, database: Database, options: SaveOptions, progress: Progress, before: int) -> int:
    """Write the keys of a database; return how many."""
    writer.byte(rdb.RESIZE_DB)
    writer.length(len(database))
    writer.length(database.volatile_count())
    keys = 0
    delay_us = options.key_delay_us
    limits = options.limits
    entries = database.entries()
    for number in range(len(entries)):
        if number % _AHEAD == 0:
            warm(entries, number, number + _AHEAD)
        entry = entries[number]
        if entry.expire_at_ms >= 0:
            writer.byte(rdb.EXPIRE_TIME_MS)
            writer.time_ms(entry.expire_at_ms)
        if options.use != USE_IGNORED:
            _save_use(writer, entry, database, options.use)
        writer.byte(value_type(entry.value))
        writer.string(entry.key)
        save_value(writer, entry.value, limits)
        keys += 1
        if keys % _PROGRESS_EVERY == 0:
            progress.saved(before + keys)
        if delay_us > 0:
            time.sleep(delay_us / 1e6)
    return keys


def _save_use(writer: Writer, entry: Entry, database: Database, use: int) -> None:
    """Write when or how often a key was used, as the eviction policy wants to know."""
    state = database.state
    if use == USE_IDLE:
        writer.byte(rdb.IDLE)
        writer.length(idle_ms(entry.used_at, state.now_ms) // 1000)
    else:
        writer.byte(rdb.FREQ)
        writer.byte(frequency_now(entry.used_at, state.now_ms, state.decay_minutes))


# -- loading -----------------------------------------------------------------------------------------------------


@trait
class Pulse:
    """Lets the server do other things while it loads."""

    def beat(self, loaded_bytes: int) -> None:
        """So many bytes have been read.  Raises LoadStopped to end the loading."""
        raise NotImplementedError


class LoadStopped(Exception):
    """The server is to end before everything is loaded."""


class LoadOptions:
    """How a snapshot is read.  `drop_due_at_ms`: keys whose time has come by then are left out, -1 keeps all.

    `pulse` hears of every `pulse_bytes`; `key_delay_us` slows loading down for tests."""

    def __init__(
        self,
        limits: Limits,
        libraries: LibraryStore,
        drop_due_at_ms: int,
        *,
        merge: bool = False,
        pulse: Pulse | None = None,
        pulse_bytes: int = 0,
        key_delay_us: int = 0,
    ) -> None:
        self.pulse: Final = pulse
        self.pulse_bytes: Final = pulse_bytes
        self.key_delay_us: Final = key_delay_us
        self.limits: Final = limits
        self.libraries: Final = libraries
        self.drop_due_at_ms: Final = drop_due_at_ms
        self.merge: Final = merge  # keys and libraries that are there already are replaced; else they are an error


class Loader:
    """Reads a snapshot into databases, or, without databases, only checks it."""

    def __init__(self, reader: Reader, databases: list[Database] | None, options: LoadOptions) -> None:
        self._reader: Final = reader
        self._databases: Final = databases
        self._options: Final = options
        self._database: Database | None = databases[0] if databases is not None else None
        self._expire_at_ms: int = _NO_EXPIRY
        self._idle_s: int = 0
        self._frequency: int = _NO_FREQUENCY
        self.item_at: int = 0  # where the item starts that is being read: what is wrong is there
        self.version: int = 0
        self.checked: bool = False  # there was a checksum
        self.facts: Final[dict[bytes, bytes]] = {}
        self.notes: Final[list[str]] = []  # what was left out, in words
        self.keys: int = 0
        self.expired: int = 0
        self.empty: int = 0
        self.libraries: int = 0
        self.types: Final[dict[int, int]] = {}  # type -> number of keys

    def run(self) -> None:
        """Read everything up to the end and the checksum.  Raises BadFormat, LoadStopped, OSError."""
        reader = self._reader
        self._read_header()
        pulse = self._options.pulse
        next_beat = self._options.pulse_bytes
        delay_us = self._options.key_delay_us
        while True:
            self.item_at = reader.offset()
            kind = reader.byte()
            if kind <= _LAST_TYPE:
                self._read_key(kind)
                if pulse is not None and self.item_at >= next_beat:
                    next_beat = self.item_at + self._options.pulse_bytes
                    pulse.beat(self.item_at)
                if delay_us > 0:
                    time.sleep(delay_us / 1e6)
            elif kind == rdb.END:
                break
            else:
                self._read_between(kind)
        if self.version >= _FIRST_WITH_CHECKSUM:
            computed = reader.crc()
            stored = int.from_bytes(reader.raw(8), "little")
            self.checked = stored != 0
            if self.checked and stored != computed:
                raise BadFormat(
                    f"RDB CRC error: the checksum of the file is {stored:x}, that of its content {computed:x}"
                )

    def _read_header(self) -> None:
        """Read the first bytes."""
        head = self._reader.raw(_HEADER_BYTES)
        digits = head[5:]
        if head.startswith(_VALKEY_MAGIC):
            digits = head[6:]
        elif not head.startswith(rdb.MAGIC):
            raise BadFormat("Wrong signature: this is no snapshot")
        if not digits.isdigit() or not rdb.is_known(int(digits)):
            raise BadFormat(f"Can't handle RDB format version {digits.decode('ascii', 'replace')}")
        self.version = int(digits)

    def _read_key(self, kind: int) -> None:
        """Read a key of type `kind` and keep it."""
        reader = self._reader
        options = self._options
        key = reader.string()
        expire_at_ms = self._expire_at_ms
        idle_s = self._idle_s
        frequency = self._frequency
        self._frequency = _NO_FREQUENCY
        self._expire_at_ms = _NO_EXPIRY
        self._idle_s = 0
        try:
            value = load_value(reader, kind, options.limits)
        except EmptyValue:
            self.empty += 1
            self.notes.append(f"skipping empty key: {key[:100].decode('utf-8', 'replace')}")
            return
        self.types[kind] = self.types.get(kind, 0) + 1
        if expire_at_ms != _NO_EXPIRY and expire_at_ms < options.drop_due_at_ms:
            self.expired += 1
            return
        self.keys += 1
        database = self._database
        if database is None:
            return
        old = database.stored(key)
        if old is not None:
            if not options.merge:
                raise BadFormat(f"RDB has duplicated key {key[:100]!r} in DB {database.index}")
            database.remove(old)
        entry = database.add(key, value)
        if expire_at_ms >= 0:
            database.set_expiry(entry, expire_at_ms)
        if database.state.accounts:
            database.resized(key)
        if database.state.counts_use:
            if frequency >= 0:
                entry.used_at = packed(database.state.now_ms, frequency)
        elif idle_s:
            entry.used_at = used_before(idle_s, database.state.now_ms)

    def _read_between(self, kind: int) -> None:
        """Read what stands between keys."""
        reader = self._reader
        if kind == rdb.EXPIRE_TIME_MS:
            self._expire_at_ms = reader.time_ms()
        elif kind == rdb.EXPIRE_TIME:
            self._expire_at_ms = int.from_bytes(reader.raw(4), "little", signed=True) * 1000
        elif kind == rdb.IDLE:
            self._idle_s = reader.length()
        elif kind == rdb.FREQ:
            self._frequency = reader.byte()
        elif kind == rdb.SELECT_DB:
            self._select(reader.length())
        elif kind == rdb.RESIZE_DB:
            reader.length()
            reader.length()
        elif kind == rdb.AUX:
            name = reader.string()
            self.facts[name] = reader.string()
        elif kind == rdb.FUNCTION_2:
            self._options.libraries.load_source(reader.string(), self._options.merge)
            self.libraries += 1
        elif kind == rdb.MODULE_AUX:
            self._skip_module()
        elif kind == rdb.SLOT_INFO:
            for _ in range(3):
                reader.length()
        elif kind == rdb.FUNCTION_PRE_GA:
            raise BadFormat("Pre-release function format not supported")
        else:
            raise BadFormat(f"an item of unknown kind {kind}")

    def _select(self, index: int) -> None:
        """Put the keys that follow into database `index`."""
        databases = self._databases
        if databases is None:
            return
        if index >= len(databases):
            raise BadFormat(f"the file has a database {index}, this server has {len(databases)}")
        self._database = databases[index]

    def _skip_module(self) -> None:
        """Step over the data of a module."""
        reader = self._reader
        name = module_name(reader.length())
        reader.length()  # the kind of the number that follows
        reader.length()  # before or after the keys
        self.notes.append(f"data of module {name!r} is left out: this server has no modules")
        kind = reader.length()
        while kind:
            size = _MODULE_PARTS.get(kind)
            if size is None:
                raise BadFormat(f"data of module {name!r} has a part of unknown kind {kind}")
            if size > 0:
                reader.raw(size)
            elif size == 0:
                reader.length()
            else:
                reader.string()
            kind = reader.length()


def module_name(number: int) -> str:
    """Return the name of nine letters that the number of a module holds, above ten bits of version."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return "".join([letters[(number >> shift) & 63] for shift in range(58, 4, -6)])
