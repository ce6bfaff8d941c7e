"""Bits of a string: counting, finding, combining, and integers of any width at any offset.

Bit 0 is the most significant bit of the first byte.  Rule of the room: ranges are inclusive bit positions that lie
inside the data; commands turn arguments into such ranges.
"""

from types import FunctionType
from typing import Final

from librt.strings import read_i64_le
from mypy_extensions import i64

Bits = bytes | bytearray

AND: Final = 0
OR: Final = 1
XOR: Final = 2
NOT: Final = 3

WRAP: Final = 0
SATURATE: Final = 1
FAIL: Final = 2

_FULL: Final = 0xFF
# bytes that are turned into one integer: long enough to hide the loop, short enough to stay in the cache
_CHUNK: Final = 16384
# words whose ones are added up in bytes: no sum of one reaches 128
_GROUP: Final = 15
_NO_SIGN: Final = 0x7FFFFFFFFFFFFFFF
_PAIRS: Final = 0x5555555555555555
_FOURS: Final = 0x3333333333333333
_EIGHTS: Final = 0x0F0F0F0F0F0F0F0F
_SIXTEENS: Final = 0x00FF00FF00FF00FF
_THIRTY_TWOS: Final = 0x0000FFFF0000FFFF
_FIELD_BYTES: Final = 9  # 64 bits that start inside a byte touch nine bytes
_UINT64: Final = (1 << 64) - 1


def get_bit(data: Bits, position: int) -> int:
    """Return the bit at `position`, 0 behind the end."""
    at = position >> 3
    return (data[at] >> (7 - (position & 7))) & 1 if at < len(data) else 0


def set_bit(data: bytearray, position: int, bit: int) -> None:
    """Set the bit at `position`, which lies inside the data."""
    mask = 1 << (7 - (position & 7))
    at = position >> 3
    data[at] = data[at] | mask if bit else data[at] & ~mask


def count_bits(data: Bits, first: int, last: int) -> int:
    """Return how many of the bits from `first` to `last` are 1."""
    start = first >> 3
    stop = (last >> 3) + 1
    total = 0
    for at in range(start, stop, _CHUNK):
        part = data[at : min(at + _CHUNK, stop)]
        total += _ones(part if isinstance(part, bytes) else bytes(part))
    before = data[start] >> (8 - (first & 7))
    behind = data[stop - 1] & ((1 << (7 - (last & 7))) - 1)
    return total - before.bit_count() - behind.bit_count()


def _ones(data: bytes) -> int:
    """Return how many bits are 1."""
    if not _COMPILED:
        return int.from_bytes(data, "little").bit_count()
    whole = len(data) & -8
    return ones_in_words(data, whole >> 3) + int.from_bytes(data[whole:], "little").bit_count()


def ones_in_words(data: bytes, words: i64) -> i64:
    """Return how many bits of so many words of eight bytes are 1.

    Neighbouring bits are added as numbers, then neighbouring numbers, in all places of a word at once.  Compiled, this
    takes a sixth of the time in which Python makes one integer of the bytes."""
    no_sign: i64 = _NO_SIGN  # a constant of more than 62 bits is an object; it is read once
    pairs: i64 = _PAIRS
    total: i64 = 0
    at: i64 = 0
    while words > 0:
        stop = at + _GROUP * 8
        sums: i64 = 0  # one for each byte of a word
        while words > 0 and at < stop:
            word = read_i64_le(data, at)
            at += 8
            words -= 1
            if word < 0:  # its highest bit, which would be in the way as a sign
                total += 1
                word &= no_sign
            word -= (word >> 1) & pairs
            word = (word & _FOURS) + ((word >> 2) & _FOURS)
            sums += (word + (word >> 4)) & _EIGHTS
        sums = (sums & _SIXTEENS) + ((sums >> 8) & _SIXTEENS)
        sums = (sums & _THIRTY_TWOS) + ((sums >> 16) & _THIRTY_TWOS)
        total += (sums & 0xFFFFFFFF) + (sums >> 32)
    return total


# Python without a compiler is faster with one large integer
_COMPILED: Final = type(get_bit) is not FunctionType


def find_bit(data: Bits, first: int, last: int, bit: int) -> int:
    """Return the position of the first `bit` (0 or 1) from `first` to `last`, -1 if there is none."""
    uniform = 0 if bit else _FULL  # a byte without the bit in question
    at = first >> 3
    stop = (last >> 3) + 1
    outside = (_FULL << (8 - (first & 7))) & _FULL
    head = data[at] & ~outside if bit else data[at] | outside
    if head == uniform:
        at = _skip(data, at + 1, stop, uniform)
        if at >= stop:
            return -1
        head = data[at]
    different = head ^ uniform
    position = at * 8 + 8 - different.bit_length()
    return position if position <= last else -1


def _skip(data: Bits, at: int, stop: int, uniform: int) -> int:
    """Return the index of the first byte from `at` on that is not `uniform`, `stop` if there is none."""
    chunk = bytes([uniform]) * _CHUNK
    while at + _CHUNK <= stop and data[at : at + _CHUNK] == chunk:
        at += _CHUNK
    while at < stop and data[at] == uniform:
        at += 1
    return at


def combine(operation: int, sources: list[Bits]) -> bytearray:
    """Return AND, OR, XOR or NOT (of the only source), as long as the longest source; missing bytes count as 0."""
    size = 0
    for source in sources:
        size = max(size, len(source))
    result = bytearray()
    for at in range(0, size, _CHUNK):
        stop = min(at + _CHUNK, size)
        # little-endian: a source that ends early is padded with zero bytes where they belong
        value = int.from_bytes(sources[0][at:stop], "little")
        if operation == NOT:
            value ^= (1 << (8 * (stop - at))) - 1
        for i in range(1, len(sources)):
            other = int.from_bytes(sources[i][at:stop], "little")
            if operation == AND:
                value &= other
            elif operation == OR:
                value |= other
            else:
                value ^= other
        result += value.to_bytes(stop - at, "little")
    return result


def get_field(data: Bits, offset: int, width: int, signed: bool) -> int:
    """Return the integer of `width` bits (1 to 64) at bit `offset`; bits behind the end are 0."""
    at = offset >> 3
    window = int.from_bytes(data[at : at + _FIELD_BYTES].ljust(_FIELD_BYTES, b"\0"), "big")
    value = (window >> (_FIELD_BYTES * 8 - (offset & 7) - width)) & ((1 << width) - 1)
    if signed and value >> (width - 1):
        value -= 1 << width
    return value


def set_field(data: bytearray, offset: int, width: int, value: int) -> None:
    """Write the low `width` bits of `value` at bit `offset`; the field lies inside the data."""
    at = offset >> 3
    stop = ((offset + width - 1) >> 3) + 1
    shift = stop * 8 - offset - width
    mask = ((1 << width) - 1) << shift
    window = int.from_bytes(data[at:stop], "big")
    window = (window & ~mask) | ((value << shift) & mask)
    data[at:stop] = window.to_bytes(stop - at, "big")


def fit_field(value: int, width: int, signed: bool, overflow: int) -> int | None:
    """Return `value` made to fit the field in the way of `overflow`; None if it does not fit and that is FAIL."""
    low = -(1 << (width - 1)) if signed else 0
    high = (1 << (width - 1 if signed else width)) - 1
    if low <= value <= high:
        return value
    if overflow == FAIL:
        return None
    if overflow == SATURATE:
        return high if value > high else low
    value &= (1 << width) - 1
    return value - (1 << width) if signed and value >> (width - 1) else value


def as_unsigned(value: int) -> int:
    """Return the 64 bits of a signed integer, read without sign."""
    return value & _UINT64
