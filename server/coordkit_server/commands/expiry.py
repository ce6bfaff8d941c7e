"""Commands about the time to live (group "generic"): EXPIRE and its family, TTL and its family, PERSIST."""

from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.context import FAST, KEY1, READONLY, WRITE, Command, Context
from coordkit_server.errors import GT_WITH_LT, NX_WITH_OTHERS, CommandError, invalid_expire
from coordkit_server.keyspace.notify import GENERIC
from coordkit_server.numeric import INT64_MAX, INT64_MIN

# units of an expiry argument: bit 1 set means milliseconds, bit 2 set means absolute
EX: Final = 4
PX: Final = 5
EXAT: Final = 6
PXAT: Final = 7

_NX: Final = 1
_XX: Final = 2
_GT: Final = 4
_LT: Final = 8
_CONDITIONS: Final = {b"NX": _NX, b"XX": _XX, b"GT": _GT, b"LT": _LT}


def expiry_at_ms(cx: Context, unit: int, text: bytes, command: bytes) -> int:
    """Return the absolute time in ms that `text` gives in `unit`; raises if it is not positive or overflows."""
    value = integer(text)
    if value <= 0:
        raise invalid_expire(command)
    return absolute_ms(cx, unit, value, command)


def absolute_ms(cx: Context, unit: int, value: int, command: bytes) -> int:
    """Return `value` in `unit` as an absolute time in ms; raises if it overflows 64 bits."""
    if unit in (EX, EXAT):
        value *= 1000
    if value < INT64_MIN:
        raise invalid_expire(command)
    if unit in (EX, PX):
        value += cx.state.now_ms
    if value > INT64_MAX or value < INT64_MIN:
        raise invalid_expire(command)
    return value


def _expire(cx: Context, unit: int, command: bytes) -> object:
    """Set the time to live of a key under the conditions in the arguments: 1 if set, else 0."""
    argv = cx.argv
    flags = _conditions(argv)
    at_ms = absolute_ms(cx, unit, integer(argv[2]), command)
    key = argv[1]
    entry = cx.db.lookup_write(key)
    if entry is None or not _holds(flags, entry.expire_at_ms, at_ms):
        return 0
    if at_ms <= cx.state.now_ms and not cx.state.loading:
        cx.db.remove(entry)
        cx.db.modified(key)
        cx.db.notify(GENERIC, b"del", key)
        cx.rewrite([removal_name(cx), key])
        return 1
    cx.db.set_expiry(entry, at_ms)
    cx.db.modified(key)
    if cx.propagates():
        cx.rewrite([b"PEXPIREAT", key, b"%d" % at_ms, *argv[3:]])
    cx.db.notify(GENERIC, b"expire", key)
    return 1


def removal_name(cx: Context) -> bytes:
    """Return the command that repeats the removal of a key whose time has come."""
    return b"UNLINK" if cx.state.propagation.lazy_expire else b"DEL"


def _conditions(argv: list[bytes]) -> int:
    """Return the condition bits after the time; raises for unknown or contradicting ones."""
    flags = 0
    for word in argv[3:]:
        bit = _CONDITIONS.get(word.upper(), 0)
        if not bit:
            raise CommandError(b"ERR Unsupported option " + word)
        flags |= bit
    if flags & _NX and flags & (_XX | _GT | _LT):
        raise CommandError(NX_WITH_OTHERS)
    if flags & _GT and flags & _LT:
        raise CommandError(GT_WITH_LT)
    return flags


def _holds(flags: int, current_ms: int, at_ms: int) -> bool:
    """Return True if the conditions admit changing `current_ms` (-1: no expiry, which counts as infinite)."""
    if flags & _NX and current_ms >= 0:
        return False
    if flags & _XX and current_ms < 0:
        return False
    if flags & _GT and (current_ms < 0 or at_ms <= current_ms):
        return False
    return not (flags & _LT and 0 <= current_ms <= at_ms)


def expire(cx: Context) -> object:
    """EXPIRE key seconds [NX|XX|GT|LT] -> 1 if set, else 0."""
    return _expire(cx, EX, b"expire")


def pexpire(cx: Context) -> object:
    """PEXPIRE key milliseconds [NX|XX|GT|LT] -> 1 if set, else 0."""
    return _expire(cx, PX, b"pexpire")


def expireat(cx: Context) -> object:
    """EXPIREAT key unix-seconds [NX|XX|GT|LT] -> 1 if set, else 0."""
    return _expire(cx, EXAT, b"expireat")


def pexpireat(cx: Context) -> object:
    """PEXPIREAT key unix-milliseconds [NX|XX|GT|LT] -> 1 if set, else 0."""
    return _expire(cx, PXAT, b"pexpireat")


def _remaining(cx: Context, in_seconds: bool, absolute: bool) -> object:
    """Return a time to live: -2 without the key, -1 without expiry."""
    entry = cx.db.look_at(cx.argv[1])
    if entry is None:
        return -2
    at_ms = entry.expire_at_ms
    if at_ms < 0:
        return -1
    value = at_ms if absolute else max(at_ms - cx.state.now_ms, 0)
    return (value + 500) // 1000 if in_seconds else value


def ttl(cx: Context) -> object:
    """TTL key -> seconds to live; -1 without expiry, -2 without the key."""
    return _remaining(cx, True, False)


def pttl(cx: Context) -> object:
    """PTTL key -> milliseconds to live; -1 without expiry, -2 without the key."""
    return _remaining(cx, False, False)


def expiretime(cx: Context) -> object:
    """EXPIRETIME key -> expiry as Unix seconds; -1 without expiry, -2 without the key."""
    return _remaining(cx, True, True)


def pexpiretime(cx: Context) -> object:
    """PEXPIRETIME key -> expiry as Unix milliseconds; -1 without expiry, -2 without the key."""
    return _remaining(cx, False, True)


def persist(cx: Context) -> object:
    """PERSIST key -> 1 if a time to live was removed, else 0."""
    entry = cx.db.lookup_write(cx.argv[1])
    if entry is None or not cx.db.clear_expiry(entry):
        return 0
    cx.db.modified(cx.argv[1])
    cx.db.notify(GENERIC, b"persist", cx.argv[1])
    return 1


def commands() -> list[Command]:
    """Return the rows of this part of the group."""
    write = WRITE | FAST
    read = READONLY | FAST
    return [
        Command(b"EXPIRE", -3, write, expire, KEY1, summary=b"Sets the time to live in seconds."),
        Command(b"EXPIREAT", -3, write, expireat, KEY1, since=b"1.2.0", summary=b"Sets the expiry as Unix seconds."),
        Command(b"EXPIRETIME", 2, read, expiretime, KEY1, since=b"7.0.0", summary=b"Tells the expiry as Unix seconds."),
        Command(b"PERSIST", 2, write, persist, KEY1, since=b"2.2.0", summary=b"Removes the time to live."),
        Command(b"PEXPIRE", -3, write, pexpire, KEY1, since=b"2.6.0", summary=b"Sets the time to live in ms."),
        Command(b"PEXPIREAT", -3, write, pexpireat, KEY1, since=b"2.6.0", summary=b"Sets the expiry as Unix ms."),
        Command(b"PEXPIRETIME", 2, read, pexpiretime, KEY1, since=b"7.0.0", summary=b"Tells the expiry as Unix ms."),
        Command(b"PTTL", 2, read, pttl, KEY1, since=b"2.6.0", summary=b"Tells the time to live in ms."),
        Command(b"TTL", 2, read, ttl, KEY1, summary=b"Tells the time to live in seconds."),
    ]
