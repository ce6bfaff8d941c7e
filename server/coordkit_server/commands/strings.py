"""String commands (group "string"): one value of bytes under a key.  INCR is in counters.py, LCS in subsequence.py.

Map: reading helpers, SET and its options, GET and relatives, several keys, parts of a string, rows.
A string is stored as `bytes`; APPEND and SETRANGE turn it into a `bytearray` that grows in place.
"""

from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.commands.expiry import EX, EXAT, PX, PXAT, expiry_at_ms, removal_name
from coordkit_server.context import (
    ALL_KEYS,
    DENYOOM,
    FAST,
    KEY1,
    KEY_VALUES,
    READONLY,
    WRITE,
    Command,
    Context,
)
from coordkit_server.errors import (
    OFFSET_OUT_OF_RANGE,
    STRING_TOO_LONG,
    CommandError,
    syntax_error,
    wrong_arity,
    wrong_type,
)
from coordkit_server.keyspace.notify import GENERIC, STRING
from coordkit_server.keyspace.table import Entry
from coordkit_server.resp.reply import OK

_NX: Final = 1
_XX: Final = 2
_GET: Final = 4
_KEEPTTL: Final = 8
_PERSIST: Final = 16


def string_of(entry: Entry) -> bytes:
    """Return the string at `entry` as bytes; raises WRONGTYPE."""
    value = entry.value
    if isinstance(value, bytes):
        return value
    if isinstance(value, bytearray):
        return bytes(value)
    raise wrong_type()


def readable(entry: Entry) -> bytes | bytearray:
    """Return the string at `entry` as it is kept, for use within this command only; raises WRONGTYPE."""
    value = entry.value
    if isinstance(value, (bytes, bytearray)):
        return value
    raise wrong_type()


def read_string(cx: Context, key: bytes) -> bytes | None:
    """Return the string at `key` for a read, None if absent; raises WRONGTYPE."""
    entry = cx.db.lookup_read(key)
    return None if entry is None else string_of(entry)


class SetOptions:
    """What the options of SET and GETEX say."""

    def __init__(self) -> None:
        self.flags: int = 0
        self.unit: int = 0
        self.when: bytes = b""


_SET_WORDS: Final = {b"NX": _NX, b"XX": _XX, b"GET": _GET, b"KEEPTTL": _KEEPTTL, b"PERSIST": _PERSIST}
_UNIT_WORDS: Final = {b"EX": EX, b"PX": PX, b"EXAT": EXAT, b"PXAT": PXAT}


def parse_options(argv: list[bytes], at: int, allowed: int) -> SetOptions:
    """Return the options in `argv` from `at` on; raises a syntax error for unknown or contradicting ones."""
    options = SetOptions()
    size = len(argv)
    while at < size:
        word = argv[at].upper()
        flag = _SET_WORDS.get(word, 0)
        unit = _UNIT_WORDS.get(word, 0)
        if flag & allowed:
            options.flags |= flag
        elif unit and at + 1 < size and options.unit in (0, unit):
            options.unit = unit
            at += 1
            options.when = argv[at]
        else:
            raise syntax_error()
        at += 1
    flags = options.flags
    if (flags & _NX and flags & _XX) or (flags & (_KEEPTTL | _PERSIST) and options.unit):
        raise syntax_error()
    return options


def set_(cx: Context) -> object:
    """SET key value [NX|XX] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL] -> OK, null if not set, the old value for GET."""
    argv = cx.argv
    if len(argv) == 3:
        cx.db.set(argv[1], argv[2])
        if cx.state.notify_flags:
            cx.db.notify(STRING, b"set", argv[1])
        return OK
    options = parse_options(argv, 3, _NX | _XX | _GET | _KEEPTTL)
    at_ms = expiry_at_ms(cx, options.unit, options.when, b"set") if options.unit else -1
    if options.flags & _GET and at_ms < 0 and cx.propagates():
        cx.rewrite([*argv[:3], *[word for word in argv[3:] if word.upper() != b"GET"]])
    reply = _set_with(cx, argv[1], argv[2], options.flags, at_ms)
    if options.unit == PXAT:
        cx.rewritten = None  # absolute as it came
    return reply


def _set_with(cx: Context, key: bytes, value: bytes, flags: int, at_ms: int) -> object:
    """Set `key` under the conditions in `flags`, with expiry `at_ms` (-1: none)."""
    db = cx.db
    old: bytes | None = None
    if flags & _GET:
        old = read_string(cx, key)
    entry = db.lookup_write(key)
    if (flags & _NX and entry is not None) or (flags & _XX and entry is None):
        return old
    keep_ms = entry.expire_at_ms if entry is not None and flags & _KEEPTTL else -1
    entry = db.set(key, value)
    if at_ms >= 0:
        db.set_expiry(entry, at_ms)
    elif keep_ms >= 0:
        db.set_expiry(entry, keep_ms)
    db.notify(STRING, b"set", key)
    if at_ms >= 0:
        db.notify(GENERIC, b"expire", key)
        if cx.propagates():
            cx.rewrite([b"SET", key, value, b"PXAT", b"%d" % at_ms])
    return old if flags & _GET else OK


def setnx(cx: Context) -> object:
    """SETNX key value -> 1 if set, 0 if the key exists."""
    return 0 if _set_with(cx, cx.argv[1], cx.argv[2], _NX, -1) is None else 1


def setex(cx: Context) -> object:
    """SETEX key seconds value -> OK."""
    return _set_with(cx, cx.argv[1], cx.argv[3], 0, expiry_at_ms(cx, EX, cx.argv[2], b"setex"))


def psetex(cx: Context) -> object:
    """PSETEX key milliseconds value -> OK."""
    return _set_with(cx, cx.argv[1], cx.argv[3], 0, expiry_at_ms(cx, PX, cx.argv[2], b"psetex"))


def get(cx: Context) -> object:
    """GET key -> the value, null if absent."""
    entry = cx.db.lookup_read(cx.argv[1])
    if entry is None:
        return None
    value = entry.value
    if isinstance(value, bytes):
        return value
    return string_of(entry)


def getset(cx: Context) -> object:
    """GETSET key value -> the old value, null if absent."""
    old = read_string(cx, cx.argv[1])
    cx.db.set(cx.argv[1], cx.argv[2])
    cx.db.notify(STRING, b"set", cx.argv[1])
    cx.rewrite([b"SET", cx.argv[1], cx.argv[2]])
    return old


def getdel(cx: Context) -> object:
    """GETDEL key -> the value; the key is gone."""
    key = cx.argv[1]
    value = read_string(cx, key)
    if value is not None and cx.db.delete(key):
        cx.db.notify(GENERIC, b"del", key)
        cx.rewrite([b"DEL", key])
    return value


def getex(cx: Context) -> object:
    """GETEX key [EX s|PX ms|EXAT s|PXAT ms|PERSIST] -> the value; its time to live is set or removed."""
    key = cx.argv[1]
    options = parse_options(cx.argv, 2, _PERSIST)
    value = read_string(cx, key)
    entry = cx.db.peek(key)
    if value is None or entry is None:
        return None
    if options.unit:
        at_ms = expiry_at_ms(cx, options.unit, options.when, b"getex")
        if at_ms <= cx.state.now_ms:
            cx.db.delete(key)
            cx.db.notify(GENERIC, b"del", key)
            cx.rewrite([removal_name(cx), key])
        else:
            cx.db.set_expiry(entry, at_ms)
            cx.db.modified(key)
            cx.rewrite([b"PEXPIREAT", key, b"%d" % at_ms])
            cx.db.notify(GENERIC, b"expire", key)
    elif options.flags & _PERSIST and cx.db.clear_expiry(entry):
        cx.db.modified(key)
        cx.rewrite([b"PERSIST", key])
        cx.db.notify(GENERIC, b"persist", key)
    return value


def mget(cx: Context) -> object:
    """MGET key [key ...] -> the values; null for an absent key or another type."""
    argv = cx.argv
    db = cx.db
    values: list[object] = []
    for i in range(1, len(argv)):
        entry = db.lookup_read(argv[i])
        value = None if entry is None else entry.value
        values.append(bytes(value) if isinstance(value, (bytes, bytearray)) else None)
    return values


def mset(cx: Context) -> object:
    """MSET key value [key value ...] -> OK."""
    _check_pairs(cx, b"mset")
    _set_pairs(cx)
    return OK


def msetnx(cx: Context) -> object:
    """MSETNX key value [key value ...] -> 1, or 0 and nothing set if one of the keys exists."""
    _check_pairs(cx, b"msetnx")
    for i in range(1, len(cx.argv), 2):
        if cx.db.lookup_write(cx.argv[i]) is not None:
            return 0
    _set_pairs(cx)
    return 1


def _check_pairs(cx: Context, name: bytes) -> None:
    """Raise the arity error unless keys and values alternate."""
    if len(cx.argv) % 2 == 0:
        raise CommandError(wrong_arity(name))


def _set_pairs(cx: Context) -> None:
    """Set every key to the value behind it."""
    argv = cx.argv
    entries = cx.db.find_pairs(argv)
    for i in range(1, len(argv), 2):
        cx.db.set_found(argv[i], argv[i + 1], entries[i >> 1])
        cx.db.notify(STRING, b"set", argv[i])


def check_length(cx: Context, size: int) -> None:
    """Raise if a string of `size` bytes would be longer than proto-max-bulk-len."""
    if size > cx.services.config.number("proto-max-bulk-len"):
        raise CommandError(STRING_TOO_LONG)


def mutable(entry: Entry) -> bytearray:
    """Return the string at `entry` as a bytearray that is its value from now on; raises WRONGTYPE."""
    value = entry.value
    if isinstance(value, bytearray):
        return value
    if not isinstance(value, bytes):
        raise wrong_type()
    grown = bytearray(value)
    entry.value = grown
    return grown


def append(cx: Context) -> object:
    """APPEND key value -> length after it."""
    key, tail = cx.argv[1], cx.argv[2]
    entry = cx.db.lookup_write(key)
    if entry is None:
        cx.db.add(key, tail)
        size = len(tail)
    else:
        value = mutable(entry)
        check_length(cx, len(value) + len(tail))
        value += tail
        size = len(value)
    cx.db.modified(key)
    cx.db.notify(STRING, b"append", key)
    return size


def strlen(cx: Context) -> object:
    """STRLEN key -> length of the value, 0 if absent."""
    entry = cx.db.lookup_read(cx.argv[1])
    return 0 if entry is None else len(readable(entry))


def getrange(cx: Context) -> object:
    """GETRANGE key start end -> that part of the value; negative offsets count from the end."""
    start = integer(cx.argv[2])
    end = integer(cx.argv[3])
    entry = cx.db.lookup_read(cx.argv[1])
    if entry is None:
        return b""
    value = readable(entry)
    size = len(value)
    if start < 0 and end < 0 and start > end:
        return b""
    start = max(start + size, 0) if start < 0 else start
    end = max(end + size, 0) if end < 0 else end
    return bytes(value[start : end + 1]) if start <= end else b""


def setrange(cx: Context) -> object:
    """SETRANGE key offset value -> length after it; a gap is filled with zero bytes."""
    key, patch = cx.argv[1], cx.argv[3]
    offset = integer(cx.argv[2])
    if offset < 0:
        raise CommandError(OFFSET_OUT_OF_RANGE)
    entry = cx.db.lookup_write(key)
    if not patch:
        return 0 if entry is None else len(readable(entry))
    if entry is None:
        check_length(cx, offset + len(patch))
        entry = cx.db.add(key, bytearray())
    value = mutable(entry)
    check_length(cx, offset + len(patch))
    if len(value) < offset:
        value.extend(bytes(offset - len(value)))
    value[offset : offset + len(patch)] = patch
    cx.db.modified(key)
    cx.db.notify(STRING, b"setrange", key)
    return len(value)


def commands() -> list[Command]:
    """Return the rows of this group."""
    write = WRITE | DENYOOM
    read = READONLY | FAST
    return [
        Command(b"APPEND", 3, write | FAST, append, KEY1, since=b"2.0.0", summary=b"Adds to the end of a string."),
        Command(b"GET", 2, read, get, KEY1, summary=b"Reads a string."),
        Command(b"GETDEL", 2, WRITE | FAST, getdel, KEY1, since=b"6.2.0", summary=b"Reads and removes a string."),
        Command(
            b"GETEX", -2, WRITE | FAST, getex, KEY1, since=b"6.2.0", summary=b"Reads a string and sets its expiry."
        ),
        Command(b"GETRANGE", 4, READONLY, getrange, KEY1, since=b"2.4.0", summary=b"Reads a part of a string."),
        Command(b"GETSET", 3, write | FAST, getset, KEY1, summary=b"Sets a string and returns the old one."),
        Command(b"MGET", -2, read, mget, ALL_KEYS, summary=b"Reads several strings."),
        Command(b"MSET", -3, write, mset, KEY_VALUES, since=b"1.0.1", summary=b"Sets several strings."),
        Command(
            b"MSETNX", -3, write, msetnx, KEY_VALUES, since=b"1.0.1", summary=b"Sets several strings if none exists."
        ),
        Command(b"PSETEX", 4, write, psetex, KEY1, since=b"2.6.0", summary=b"Sets a string that expires, in ms."),
        Command(b"SET", -3, write, set_, KEY1, summary=b"Sets a string."),
        Command(b"SETEX", 4, write, setex, KEY1, since=b"2.0.0", summary=b"Sets a string that expires, in seconds."),
        Command(b"SETNX", 3, write | FAST, setnx, KEY1, summary=b"Sets a string if the key is free."),
        Command(b"SETRANGE", 4, write, setrange, KEY1, since=b"2.2.0", summary=b"Overwrites a part of a string."),
        Command(b"STRLEN", 2, read, strlen, KEY1, since=b"2.2.0", summary=b"Tells the length of a string."),
        Command(b"SUBSTR", 4, READONLY, getrange, KEY1, summary=b"Reads a part of a string (old name of GETRANGE)."),
    ]
