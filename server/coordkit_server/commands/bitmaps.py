"""Bitmap commands (group "bitmap"): a string as an array of bits.  BITFIELD stands in bitfield.py.

Map: reading arguments, single bits, BITCOUNT and BITPOS, BITOP, rows.
"""

from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.commands.strings import mutable, readable
from coordkit_server.context import DENYOOM, FAST, KEY1, KEYS_FROM2, READONLY, WRITE, Command, Context
from coordkit_server.datatypes import bits
from coordkit_server.errors import (
    BIT_ARGUMENT,
    BIT_OFFSET,
    BIT_VALUE,
    BITOP_NOT_ONE_KEY,
    CommandError,
    syntax_error,
)
from coordkit_server.keyspace.notify import GENERIC, STRING
from coordkit_server.numeric import parse_int

_HASH: Final = 35
_OPERATIONS: Final = {b"AND": bits.AND, b"OR": bits.OR, b"XOR": bits.XOR, b"NOT": bits.NOT}


def bit_offset(cx: Context, text: bytes, width: int = 0) -> int:
    """Return the bit offset in `text`; `#n` stands for n fields of `width` bits, if that is given."""
    numbered = width > 0 and len(text) > 0 and text[0] == _HASH
    offset = parse_int(text[1:] if numbered else text)
    if offset is None:
        raise CommandError(BIT_OFFSET)
    if numbered:
        offset *= width
    if offset < 0 or offset >> 3 >= cx.services.config.number("proto-max-bulk-len"):
        raise CommandError(BIT_OFFSET)
    return offset


def writable_bits(cx: Context, key: bytes, last: int) -> tuple[bytearray, bool]:
    """Return (the string at `key`, reaching to bit `last`; whether it had to be made or to grow); raises WRONGTYPE."""
    entry = cx.db.lookup_write(key)
    size = (last >> 3) + 1
    if entry is None:
        made = bytearray(size)
        cx.db.add(key, made)
        return made, True
    data = mutable(entry)
    missing = size - len(data)
    if missing <= 0:
        return data, False
    data.extend(bytes(missing))
    return data, True


def setbit(cx: Context) -> object:
    """SETBIT key offset value -> the bit that was there."""
    argv = cx.argv
    key = argv[1]
    offset = bit_offset(cx, argv[2])
    bit = integer(argv[3], BIT_VALUE)
    if bit not in (0, 1):
        raise CommandError(BIT_VALUE)
    data, grown = writable_bits(cx, key, offset)
    old = bits.get_bit(data, offset)
    if grown or old != bit:
        bits.set_bit(data, offset, bit)
        cx.db.modified(key)
        cx.db.notify(STRING, b"setbit", key)
    return old


def getbit(cx: Context) -> object:
    """GETBIT key offset -> the bit, 0 behind the end."""
    offset = bit_offset(cx, cx.argv[2])
    entry = cx.db.lookup_read(cx.argv[1])
    return 0 if entry is None else bits.get_bit(readable(entry), offset)


class BitRange:
    """The bits from `first` to `last` that BITCOUNT and BITPOS look at; `last` < `first`: none."""

    def __init__(self, first: int, last: int) -> None:
        self.first: Final = first
        self.last: Final = last


def _clamped(start: int, end: int, size: int, by_bit: bool) -> BitRange:
    """Return the range from `start` to `end` of a string of `size` bytes; negative numbers count from the end."""
    total = size * 8 if by_bit else size
    start = max(start + total, 0) if start < 0 else start
    end = max(end + total, 0) if end < 0 else end
    end = min(end, total - 1)
    if start > end:
        return BitRange(0, -1)
    return BitRange(start, end) if by_bit else BitRange(start * 8, end * 8 + 7)


def _by_bit(argv: list[bytes], at: int) -> bool:
    """Return True for BIT, False for BYTE or no argument at `at`."""
    if at >= len(argv):
        return False
    unit = argv[at].upper()
    if unit not in (b"BIT", b"BYTE"):
        raise syntax_error()
    return unit == b"BIT"


def bitcount(cx: Context) -> object:
    """BITCOUNT key [start end [BYTE|BIT]] -> number of bits that are 1."""
    argv = cx.argv
    entry = cx.db.lookup_read(argv[1])
    if entry is None:
        return 0
    data = readable(entry)
    if len(argv) == 3 or len(argv) > 5:
        raise syntax_error()
    start, end = 0, -1
    if len(argv) > 3:
        start = integer(argv[2])
        end = integer(argv[3])
        if start < 0 and end < 0 and start > end:
            return 0
    span = _clamped(start, end, len(data), _by_bit(argv, 4))
    return bits.count_bits(data, span.first, span.last) if span.first <= span.last else 0


def bitpos(cx: Context) -> object:
    """BITPOS key bit [start [end [BYTE|BIT]]] -> position of the first such bit, -1 if there is none.

    Without an end the string counts as followed by zeros."""
    argv = cx.argv
    bit = integer(argv[2])
    if bit not in (0, 1):
        raise CommandError(BIT_ARGUMENT)
    entry = cx.db.lookup_read(argv[1])
    if entry is None:
        return -1 if bit else 0
    data = readable(entry)
    if len(argv) > 6:
        raise syntax_error()
    start = integer(argv[3]) if len(argv) > 3 else 0
    by_bit = _by_bit(argv, 5)
    end = integer(argv[4]) if len(argv) > 4 else -1
    span = _clamped(start, end, len(data), by_bit)
    if span.first > span.last:
        return -1
    found = bits.find_bit(data, span.first, span.last, bit)
    if found < 0 and bit == 0 and len(argv) < 5:
        return span.last + 1
    return found


def bitop(cx: Context) -> object:
    """BITOP AND|OR|XOR|NOT destination key [key ...] -> length of the result; an empty one removes destination."""
    argv = cx.argv
    operation = _OPERATIONS.get(argv[1].upper(), -1)
    if operation < 0:
        raise syntax_error()
    if operation == bits.NOT and len(argv) != 4:
        raise CommandError(BITOP_NOT_ONE_KEY)
    target = argv[2]
    sources: list[bits.Bits] = []
    for i in range(3, len(argv)):
        entry = cx.db.lookup_read(argv[i])
        sources.append(b"" if entry is None else readable(entry))
    result = bits.combine(operation, sources)
    if result:
        cx.db.set(target, result)
        cx.db.notify(STRING, b"set", target)
    elif cx.db.discard(target):
        cx.db.notify(GENERIC, b"del", target)
    return len(result)


def commands() -> list[Command]:
    """Return the rows of this part of the group."""
    write = WRITE | DENYOOM
    return [
        Command(b"BITCOUNT", -2, READONLY, bitcount, KEY1, since=b"2.6.0", summary=b"Counts the bits that are 1."),
        Command(b"BITOP", -4, write, bitop, KEYS_FROM2, since=b"2.6.0", summary=b"Combines bitmaps bit by bit."),
        Command(b"BITPOS", -3, READONLY, bitpos, KEY1, since=b"2.8.7", summary=b"Finds the first 0 or 1."),
        Command(b"GETBIT", 3, READONLY | FAST, getbit, KEY1, since=b"2.2.0", summary=b"Reads a bit."),
        Command(b"SETBIT", 4, write, setbit, KEY1, since=b"2.2.0", summary=b"Sets a bit and returns the old one."),
    ]
