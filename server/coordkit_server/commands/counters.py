"""Counters (group "string"): strings read as numbers: INCR and its family."""

from coordkit_server.commands.args import integer, long_double
from coordkit_server.commands.strings import string_of
from coordkit_server.context import DENYOOM, FAST, KEY1, WRITE, Command, Context
from coordkit_server.datatypes.value import Text
from coordkit_server.errors import DECREMENT_OVERFLOW, NAN_OR_INFINITY, NOT_INTEGER, OVERFLOW, CommandError
from coordkit_server.keyspace.notify import STRING
from coordkit_server.longdouble import sum_text
from coordkit_server.numeric import INT64_MAX, INT64_MIN, decimal, parse_int


def incr(cx: Context) -> object:
    """INCR key -> the value after adding 1."""
    return add(cx, cx.argv[1], 1)


def decr(cx: Context) -> object:
    """DECR key -> the value after subtracting 1."""
    return add(cx, cx.argv[1], -1)


def incrby(cx: Context) -> object:
    """INCRBY key increment -> the value after adding it."""
    return add(cx, cx.argv[1], integer(cx.argv[2]))


def decrby(cx: Context) -> object:
    """DECRBY key decrement -> the value after subtracting it."""
    amount = integer(cx.argv[2])
    if amount == INT64_MIN:
        raise CommandError(DECREMENT_OVERFLOW)
    return add(cx, cx.argv[1], -amount)


def add(cx: Context, key: bytes, amount: int) -> object:
    """Add `amount` to the integer at `key` (0 if absent) and return the sum; raises if it is none or overflows."""
    entry = cx.db.lookup_write(key)
    if entry is None:
        cx.db.add(key, decimal(amount))
        total = amount
    else:
        current = parse_int(string_of(entry))
        if current is None:
            raise CommandError(NOT_INTEGER)
        total = current + amount
        if total > INT64_MAX or total < INT64_MIN:
            raise CommandError(OVERFLOW)
        entry.value = decimal(total)
    cx.db.modified(key)
    if cx.state.notify_flags:
        cx.db.notify(STRING, b"incrby", key)
    return total


def incrbyfloat(cx: Context) -> object:
    """INCRBYFLOAT key increment -> the value after adding it, as text."""
    key = cx.argv[1]
    entry = cx.db.lookup_write(key)
    current = b"0" if entry is None else string_of(entry)
    value = long_double(current)
    amount = long_double(cx.argv[2])
    total = None if value is None or amount is None else sum_text(value, amount)
    if total is None:
        raise CommandError(NAN_OR_INFINITY)
    if entry is None:
        cx.db.add(key, Text(total))
    else:
        entry.value = Text(total)
    cx.db.modified(key)
    cx.db.notify(STRING, b"incrbyfloat", key)
    cx.rewrite([b"SET", key, total, b"KEEPTTL"])
    return total


def commands() -> list[Command]:
    """Return the rows of this part of the group."""
    write = WRITE | DENYOOM | FAST
    return [
        Command(b"DECR", 2, write, decr, KEY1, summary=b"Subtracts one."),
        Command(b"DECRBY", 3, write, decrby, KEY1, summary=b"Subtracts a number."),
        Command(b"INCR", 2, write, incr, KEY1, summary=b"Adds one."),
        Command(b"INCRBY", 3, write, incrby, KEY1, summary=b"Adds a number."),
        Command(b"INCRBYFLOAT", 3, write, incrbyfloat, KEY1, since=b"2.6.0", summary=b"Adds a decimal number."),
    ]
