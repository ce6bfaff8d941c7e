"""Commands about keys of any type (group "generic"): DEL, EXISTS, KEYS, SCAN, RENAME, COPY, MOVE, OBJECT and others.

Map: removal and presence, walking, renaming and copying, OBJECT, rows.
"""

from typing import Final

from coordkit_server import glob
from coordkit_server.commands.args import integer
from coordkit_server.commands.help import help_reply
from coordkit_server.context import (
    ALL_KEYS,
    DENYOOM,
    FAST,
    KEY1,
    KEY2,
    KEYS12,
    LOADING,
    READONLY,
    STALE,
    WRITE,
    Command,
    Context,
)
from coordkit_server.datatypes.value import Text, Value
from coordkit_server.errors import (
    DB_INDEX_OUT_OF_RANGE,
    INVALID_CURSOR,
    LFU_NOT_SELECTED,
    LFU_SELECTED,
    NO_SUCH_KEY,
    SAME_OBJECT,
    CommandError,
    syntax_error,
    wrong_arity,
)
from coordkit_server.keyspace.database import Database, type_name
from coordkit_server.keyspace.frequency import frequency_now, idle_ms
from coordkit_server.keyspace.notify import GENERIC
from coordkit_server.numeric import UINT64_MAX, parse_int
from coordkit_server.resp.reply import OK, Simple

_TYPE_NONE: Final = Simple(b"none")
_EMBEDDED_MAX: Final = 44  # strings up to this size stand beside their header in Redis
_LAZY_FROM: Final = 64  # elements of a value that Redis would free in the background
_RANDOM_TRIES: Final = 100
_SHARED_DIGITS: Final = 4  # Redis keeps one object each for 0 to 9999
_SHARED_REFCOUNT: Final = 2147483647


def del_(cx: Context) -> object:
    """DEL key [key ...] -> number of keys removed."""
    removed = 0
    db = cx.db
    argv = cx.argv
    for i in range(1, len(argv)):
        if db.delete(argv[i]):
            db.notify(GENERIC, b"del", argv[i])
            removed += 1
    return removed


def unlink(cx: Context) -> object:
    """UNLINK key [key ...] -> number of keys removed."""
    for i in range(1, len(cx.argv)):
        entry = cx.db.peek(cx.argv[i])
        if entry is not None and isinstance(entry.value, Value) and entry.value.length() > _LAZY_FROM:
            cx.state.lazyfreed += 1
    return del_(cx)


def exists(cx: Context) -> object:
    """EXISTS key [key ...] -> number of keys that exist; one named twice counts twice."""
    found = 0
    for i in range(1, len(cx.argv)):
        if cx.db.look_at(cx.argv[i]) is not None:
            found += 1
    return found


def touch(cx: Context) -> object:
    """TOUCH key [key ...] -> number of keys that exist; their access time is now."""
    no_touch = cx.state.no_touch  # CLIENT NO-TOUCH is not meant for the command that does nothing else
    cx.state.hold_touches(False)
    found = 0
    for i in range(1, len(cx.argv)):
        if cx.db.lookup_read(cx.argv[i]) is not None:
            found += 1
    cx.state.hold_touches(no_touch)
    return found


def type_(cx: Context) -> object:
    """TYPE key -> string, list, set, zset, hash, stream or none."""
    entry = cx.db.look_at(cx.argv[1])
    return _TYPE_NONE if entry is None else Simple(type_name(entry.value))


def keys(cx: Context) -> object:
    """KEYS pattern -> all keys that match."""
    pattern = cx.argv[1]
    everything = pattern == b"*"
    now_ms = cx.state.now_ms
    found: list[object] = []
    for entry in cx.db.entries():
        if 0 <= entry.expire_at_ms <= now_ms:
            continue
        if everything or glob.match(pattern, entry.key):
            found.append(entry.key)
    return found


class ScanOptions:
    """COUNT, MATCH and TYPE of the SCAN family."""

    def __init__(self) -> None:
        self.count: int = 10
        self.pattern: bytes | None = None
        self.type: bytes | None = None

    def admits(self, name: bytes) -> bool:
        """Return True if MATCH lets `name` through."""
        return self.pattern is None or glob.match(self.pattern, name)


def scan_cursor(text: bytes) -> int:
    """Return the cursor in `text`; raises `invalid cursor`.

    Redis reads it with strtoul: a sign is allowed, a negative number wraps around, nothing at all is 0."""
    digits = text[1:] if text[:1] in (b"+", b"-") else text
    if not text:
        return 0
    if not digits.isdigit() or len(digits.lstrip(b"0")) > 20 or int(digits) > UINT64_MAX:
        raise CommandError(INVALID_CURSOR)
    cursor = int(digits)
    return UINT64_MAX + 1 - cursor if cursor and text[:1] == b"-" else cursor


def scan_options(argv: list[bytes], at: int, with_type: bool) -> ScanOptions:
    """Return the options of a SCAN command from `at` on; raises a syntax error for unknown ones."""
    options = ScanOptions()
    while at < len(argv):
        word = argv[at].upper()
        if at + 1 >= len(argv):
            raise syntax_error()
        value = argv[at + 1]
        if word == b"COUNT":
            options.count = integer(value)
            if options.count < 1:
                raise syntax_error()
        elif word == b"MATCH":
            options.pattern = None if value == b"*" else value
        elif word == b"TYPE" and with_type:
            options.type = value.lower()
        else:
            raise syntax_error()
        at += 2
    return options


def scan(cx: Context) -> object:
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type] -> [next cursor, keys]."""
    cursor = scan_cursor(cx.argv[1])
    options = scan_options(cx.argv, 2, True)
    following, entries = cx.db.scan(cursor, options.count)
    now_ms = cx.state.now_ms
    found: list[object] = []
    for entry in entries:
        if 0 <= entry.expire_at_ms <= now_ms:
            cx.db.peek(entry.key)
        elif options.admits(entry.key) and (options.type is None or type_name(entry.value) == options.type):
            found.append(entry.key)
    return [b"%d" % following, found]


def randomkey(cx: Context) -> object:
    """RANDOMKEY -> a key, each equally likely; null if there is none."""
    db = cx.db
    for _ in range(_RANDOM_TRIES):
        if len(db) == 0:
            return None
        entry = db.choose(cx.services.random)
        if db.peek(entry.key) is not None:
            return entry.key
    return None


def rename(cx: Context) -> object:
    """RENAME key newkey -> OK; an existing newkey is replaced."""
    _rename(cx, False)
    return OK


def renamenx(cx: Context) -> object:
    """RENAMENX key newkey -> 1, or 0 if newkey exists."""
    return 1 if _rename(cx, True) else 0


def _rename(cx: Context, only_new: bool) -> bool:
    """Move the value with its time to live; return False if `only_new` forbids it."""
    source, target = cx.argv[1], cx.argv[2]
    db = cx.db
    entry = db.lookup_write(source)
    if entry is None:
        raise CommandError(NO_SUCH_KEY)
    if source == target:
        return not only_new
    existing = db.lookup_write(target)
    if existing is not None:
        if only_new:
            return False
        db.remove(existing)
    at_ms = entry.expire_at_ms
    db.remove(entry)
    moved = db.add(target, entry.value)
    if at_ms >= 0:
        db.set_expiry(moved, at_ms)
    db.modified(source)
    db.signal_modified(target)
    db.notify(GENERIC, b"rename_from", source)
    db.notify(GENERIC, b"rename_to", target)
    return True


def _database(cx: Context, text: bytes) -> Database:
    """Return the database with the number in `text`; raises if there is none."""
    index = integer(text)
    if not 0 <= index < len(cx.services.databases):
        raise CommandError(DB_INDEX_OUT_OF_RANGE)
    return cx.services.databases[index]


def move(cx: Context) -> object:
    """MOVE key db -> 1 if the key is in the other database now, 0 if it was there or not here."""
    key = cx.argv[1]
    target = _database(cx, cx.argv[2])
    if target is cx.db:
        raise CommandError(SAME_OBJECT)
    entry = cx.db.lookup_write(key)
    if entry is None or target.lookup_write(key) is not None:
        return 0
    at_ms = entry.expire_at_ms
    cx.db.remove(entry)
    moved = target.add(key, entry.value)
    if at_ms >= 0:
        target.set_expiry(moved, at_ms)
    cx.db.modified(key)
    target.signal_modified(key)
    cx.db.notify(GENERIC, b"move_from", key)
    target.notify(GENERIC, b"move_to", key)
    return 1


def copy(cx: Context) -> object:
    """COPY source destination [DB destination-db] [REPLACE] -> 1 if copied, else 0."""
    argv = cx.argv
    target = cx.db
    replace = False
    at = 3
    while at < len(argv):
        word = argv[at].upper()
        if word == b"REPLACE":
            replace = True
        elif word == b"DB" and at + 1 < len(argv):
            at += 1
            target = _database(cx, argv[at])
        else:
            raise syntax_error()
        at += 1
    source, destination = argv[1], argv[2]
    if target is cx.db and source == destination:
        raise CommandError(SAME_OBJECT)
    entry = cx.db.lookup_read(source)
    if entry is None:
        return 0
    existing = target.lookup_write(destination)
    if existing is not None:
        if not replace:
            return 0
        target.remove(existing)
    copied = target.add(destination, copy_value(entry.value))
    if entry.expire_at_ms >= 0:
        target.set_expiry(copied, entry.expire_at_ms)
    target.modified(destination)
    target.notify(GENERIC, b"copy_to", destination)
    return 1


def copy_value(value: object) -> object:
    """Return an independent copy of a stored value."""
    if isinstance(value, Value):
        return value.copy()
    return bytearray(value) if isinstance(value, bytearray) else value


def encoding_name(value: object) -> bytes:
    """Return the name OBJECT ENCODING gives a stored value."""
    if isinstance(value, Value):
        return value.encoding()
    if isinstance(value, bytes):
        if len(value) <= 20 and not isinstance(value, Text) and parse_int(value) is not None:
            return b"int"
        return b"embstr" if len(value) <= _EMBEDDED_MAX else b"raw"
    return b"raw"


def object_encoding(cx: Context) -> object:
    """OBJECT ENCODING key -> the name of the encoding, null if absent."""
    entry = cx.db.lookup_silent(cx.argv[2])
    return None if entry is None else encoding_name(entry.value)


def object_refcount(cx: Context) -> object:
    """OBJECT REFCOUNT key -> 1, or what Redis says of the small integers that it shares; null if absent."""
    entry = cx.db.lookup_silent(cx.argv[2])
    if entry is None:
        return None
    value = entry.value
    shared = (
        isinstance(value, bytes) and len(value) <= _SHARED_DIGITS and value.isdigit() and parse_int(value) is not None
    )
    return _SHARED_REFCOUNT if shared else 1


def object_idletime(cx: Context) -> object:
    """OBJECT IDLETIME key -> seconds since the last access, null if absent."""
    entry = cx.db.lookup_silent(cx.argv[2])
    if entry is None:
        return None
    if cx.state.counts_use:
        raise CommandError(LFU_SELECTED)
    return idle_ms(entry.used_at, cx.state.now_ms) // 1000


def object_freq(cx: Context) -> object:
    """OBJECT FREQ key -> how often it is used, on a logarithmic scale, null if absent; needs an LFU policy."""
    entry = cx.db.lookup_silent(cx.argv[2])
    if entry is None:
        return None
    if not cx.state.counts_use:
        raise CommandError(LFU_NOT_SELECTED)
    return frequency_now(entry.used_at, cx.state.now_ms, cx.state.decay_minutes)


def object_help(cx: Context) -> object:
    """OBJECT HELP -> lines of help."""
    return help_reply(b"OBJECT", _OBJECT_HELP)


_OBJECT_HELP: Final[list[bytes]] = [
    b"ENCODING <key>",
    b"    Tell how the value is kept.",
    b"FREQ <key>",
    b"    Tell how often the key is used, on a logarithmic scale; needs an LFU policy.",
    b"IDLETIME <key>",
    b"    Tell for how many seconds the key was not used.",
    b"REFCOUNT <key>",
    b"    Tell how many references the value has.",
]


def object_container(cx: Context) -> object:
    """OBJECT subcommand: never reached without one (arity)."""
    raise CommandError(wrong_arity(b"object"))


def commands() -> list[Command]:
    """Return the rows of this part of the group."""
    read = READONLY | FAST
    return [
        Command(b"COPY", -3, WRITE | DENYOOM, copy, KEYS12, since=b"6.2.0", summary=b"Copies a key."),
        Command(b"DEL", -2, WRITE, del_, ALL_KEYS, summary=b"Removes keys."),
        Command(b"EXISTS", -2, read, exists, ALL_KEYS, summary=b"Counts the keys that exist."),
        Command(b"KEYS", 2, READONLY, keys, summary=b"Lists the keys that match a pattern."),
        Command(b"MOVE", 3, WRITE | FAST, move, KEY1, summary=b"Moves a key to another database."),
        Command(
            b"OBJECT",
            -2,
            0,
            object_container,
            since=b"2.2.3",
            summary=b"Tells how a value is kept.",
            subcommands=[
                Command(b"ENCODING", 3, READONLY, object_encoding, KEY2, since=b"2.2.3"),
                Command(b"FREQ", 3, READONLY, object_freq, KEY2, since=b"4.0.0"),
                Command(b"HELP", 2, LOADING | STALE, object_help, since=b"6.2.0"),
                Command(b"IDLETIME", 3, READONLY, object_idletime, KEY2, since=b"2.2.3"),
                Command(b"REFCOUNT", 3, READONLY, object_refcount, KEY2, since=b"2.2.3"),
            ],
        ),
        Command(b"RANDOMKEY", 1, READONLY, randomkey, summary=b"Chooses a key at random."),
        Command(b"RENAME", 3, WRITE, rename, KEYS12, summary=b"Renames a key."),
        Command(b"RENAMENX", 3, WRITE | FAST, renamenx, KEYS12, summary=b"Renames a key if the new name is free."),
        Command(b"SCAN", -2, READONLY, scan, since=b"2.8.0", summary=b"Walks over the keys in steps."),
        Command(b"TOUCH", -2, read, touch, ALL_KEYS, since=b"3.2.1", summary=b"Marks keys as used."),
        Command(b"TYPE", 2, read, type_, KEY1, summary=b"Tells the type of a value."),
        Command(b"UNLINK", -2, WRITE | FAST, unlink, ALL_KEYS, since=b"4.0.0", summary=b"Removes keys."),
    ]
