"""Packed representations inside values: listpack and intset are written and read, ziplist and zipmap only read.

    listpack  total bytes u32, number of elements u16 (65535: more), elements, ff; an element is its encoding and
              content, then the length of both in base 128, most significant first, read from the right
        0vvvvvvv                     integer 0..127         10llllll ...        string of l < 64 bytes
        110vvvvv v8                  13 bits, signed        1110llll l8 ...     string of l < 4096 bytes
        f1 v16  f2 v24  f3 v32  f4 v64  signed              f0 l32 ...          longer string
    ziplist   total bytes u32, offset of the last entry u32, number of entries u16, entries, ff; an entry is the
              length of the one before (u8, or fe u32), its encoding and content
        00llllll ...  01llllll l8 ...  10000000 l32 ... (big endian)     strings
        c0 v16  d0 v32  e0 v64  f0 v24  fe v8  f1..fd the values 0..12   integers
    intset    bytes of an integer u32 (2, 4, 8), number u32, integers in ascending order
    zipmap    number of pairs u8 (254: more), pairs, ff; a pair is the length of the field (u8, or fe u32), the field,
              the length of the value, the number of unused bytes u8, the value, the unused bytes

All numbers are little endian unless told otherwise.  What comes from outside is checked byte by byte: decoders raise
BadFormat and never read beyond their end.
"""

from typing import Final

from coordkit_server.numeric import parse_int

LISTPACK_HEADER: Final = 6
LISTPACK_FRAME: Final = 7  # with the end mark
_END: Final = 0xFF
_UNKNOWN_COUNT: Final = 65535
_LONGEST_INTEGER: Final = 20
_NINE: Final = 57
_ZIPLIST_HEADER: Final = 10
_INTSET_HEADER: Final = 8
_BIG: Final = 254  # a length of more than one byte follows
_SMALL_INTEGERS: Final[list[bytes]] = [bytes([value, 1]) for value in range(128)]
_SMALL_LENGTHS: Final[list[bytes]] = [bytes([0x80 | size]) for size in range(64)]
_SMALL_BACK: Final[list[bytes]] = [bytes([size]) for size in range(128)]
_END_MARK: Final = b"\xff"
# encoding byte of a wide integer in a listpack -> bytes of the integer
_WIDE: Final[list[int]] = [2, 3, 4, 8]


class BadFormat(Exception):
    """Bytes that are not what they should be; the text says what is wrong."""


# -- listpack ----------------------------------------------------------------------------------------------------


def encode_listpack(elements: list[bytes]) -> bytes:
    """Return a listpack of `elements`."""
    parts: list[bytes] = []
    for element in elements:
        parts.append(listpack_entry(element))
    return close_listpack(parts)


def close_listpack(entries: list[bytes]) -> bytes:
    """Return a listpack of entries that are encoded already."""
    body = b"".join(entries)
    count = len(entries) if len(entries) < _UNKNOWN_COUNT else _UNKNOWN_COUNT
    head = (len(body) + LISTPACK_FRAME).to_bytes(4, "little") + count.to_bytes(2, "little")
    return head + body + _END_MARK


def listpack_entry(element: bytes) -> bytes:
    """Return the bytes of an element; one that spells an integer is stored as one."""
    size = len(element)
    if 0 < size <= _LONGEST_INTEGER and element[0] <= _NINE:
        value = parse_int(element)
        if value is not None:
            return integer_entry(value)
    if size < 64:
        return _SMALL_LENGTHS[size] + element + _SMALL_BACK[size + 1]
    if size < 4096:
        encoded = bytes([0xE0 | size >> 8, size & 255]) + element
    else:
        encoded = b"\xf0" + size.to_bytes(4, "little") + element
    return encoded + back_length(len(encoded))


def integer_entry(value: int) -> bytes:
    """Return the bytes of an integer."""
    if 0 <= value <= 127:
        return _SMALL_INTEGERS[value]
    if -4096 <= value <= 4095:
        bits = value & 0x1FFF
        return bytes([0xC0 | bits >> 8, bits & 255, 2])
    if -(1 << 15) <= value < 1 << 15:
        return b"\xf1" + value.to_bytes(2, "little", signed=True) + b"\x03"
    if -(1 << 23) <= value < 1 << 23:
        return b"\xf2" + value.to_bytes(3, "little", signed=True) + b"\x04"
    if -(1 << 31) <= value < 1 << 31:
        return b"\xf3" + value.to_bytes(4, "little", signed=True) + b"\x05"
    return b"\xf4" + value.to_bytes(8, "little", signed=True) + b"\x09"


def back_length(size: int) -> bytes:
    """Return the length of an entry as it stands behind it."""
    if size <= 127:
        return _SMALL_BACK[size]
    if size < 16383:
        return bytes([size >> 7, (size & 127) | 128])
    if size < 2097151:
        return bytes([size >> 14, (size >> 7 & 127) | 128, (size & 127) | 128])
    if size < 268435455:
        return bytes([size >> 21, (size >> 14 & 127) | 128, (size >> 7 & 127) | 128, (size & 127) | 128])
    high = bytes([size >> 28, (size >> 21 & 127) | 128, (size >> 14 & 127) | 128])
    return high + bytes([(size >> 7 & 127) | 128, (size & 127) | 128])


def decode_listpack(data: bytes) -> list[bytes]:
    """Return the elements of a listpack.  Raises BadFormat."""
    size = len(data)
    if size < LISTPACK_HEADER + 1 or int.from_bytes(data[:4], "little") != size or data[size - 1] != _END:
        raise BadFormat("a listpack has a wrong length or no end")
    elements: list[bytes] = []
    at = LISTPACK_HEADER
    last = size - 1
    while at < last:
        start = at
        head = data[at]
        if head < 0x80:
            at += 1
            element = b"%d" % head
        elif head < 0xC0:
            at += 1 + (head & 63)
            element = data[start + 1 : at]
        elif head < 0xE0:
            at += 2
            bits = (head & 31) << 8 | data[start + 1]
            element = b"%d" % (bits - 0x2000 if bits >= 0x1000 else bits)
        elif head < 0xF0:
            at += 2 + ((head & 15) << 8 | data[start + 1])
            element = data[start + 2 : at]
        elif head == 0xF0:
            at += 5 + int.from_bytes(data[start + 1 : start + 5], "little")
            element = data[start + 5 : at]
        elif head <= 0xF4:
            at += 1 + _WIDE[head - 0xF1]
            element = b"%d" % int.from_bytes(data[start + 1 : at], "little", signed=True)
        else:
            raise BadFormat("a listpack has an element of unknown encoding")
        at = _check_back_length(data, at, at - start, last)
        elements.append(element)
    count = int.from_bytes(data[4:6], "little")
    if count != _UNKNOWN_COUNT and count != len(elements):
        raise BadFormat("a listpack has another number of elements than it says")
    return elements


def _check_back_length(data: bytes, at: int, size: int, last: int) -> int:
    """Return where the next entry starts.  Raises BadFormat unless the length of `size` bytes stands at `at`."""
    if size <= 127:
        if at < last and data[at] == size:
            return at + 1
    else:
        expected = back_length(size)
        end = at + len(expected)
        if end <= last and data[at:end] == expected:
            return end
    raise BadFormat("a listpack has an element that is cut off or of wrong length")


# -- intset ------------------------------------------------------------------------------------------------------


def encode_intset(members: list[bytes]) -> bytes:
    """Return an intset of `members`, which spell integers in ascending order."""
    values = [int(member) for member in members]
    width = 2
    if values:
        if not (values[0] >= -(1 << 31) and values[-1] < 1 << 31):
            width = 8
        elif not (values[0] >= -(1 << 15) and values[-1] < 1 << 15):
            width = 4
    parts = [width.to_bytes(4, "little"), len(values).to_bytes(4, "little")]
    for value in values:
        parts.append(value.to_bytes(width, "little", signed=True))
    return b"".join(parts)


def decode_intset(data: bytes) -> list[bytes]:
    """Return the members of an intset.  Raises BadFormat."""
    width = int.from_bytes(data[:4], "little")
    count = int.from_bytes(data[4:_INTSET_HEADER], "little")
    if width not in (2, 4, 8) or len(data) != _INTSET_HEADER + width * count:
        raise BadFormat("an intset has a wrong length or width")
    members: list[bytes] = []
    before = 0
    for at in range(_INTSET_HEADER, len(data), width):
        value = int.from_bytes(data[at : at + width], "little", signed=True)
        if members and value <= before:
            raise BadFormat("an intset is not in ascending order")
        before = value
        members.append(b"%d" % value)
    return members


# -- ziplist -----------------------------------------------------------------------------------------------------


def decode_ziplist(data: bytes) -> list[bytes]:
    """Return the elements of a ziplist.  Raises BadFormat."""
    size = len(data)
    if size <= _ZIPLIST_HEADER or int.from_bytes(data[:4], "little") != size or data[size - 1] != _END:
        raise BadFormat("a ziplist has a wrong length or no end")
    elements: list[bytes] = []
    at = _ZIPLIST_HEADER
    last = size - 1
    before = 0  # size of the entry in front
    while at < last:
        start = at
        told = data[at]
        at += 1
        if told == _BIG:
            told = int.from_bytes(data[at : at + 4], "little")
            at += 4
        if told != before or at >= last:
            raise BadFormat("a ziplist has an entry that does not know the length of the one before")
        element, at = _ziplist_element(data, at)
        if at > last:
            raise BadFormat("a ziplist has an entry that is cut off")
        before = at - start
        elements.append(element)
    if int.from_bytes(data[4:8], "little") != (last - before if elements else _ZIPLIST_HEADER):
        raise BadFormat("a ziplist does not know where its last entry is")
    count = int.from_bytes(data[8:10], "little")
    if count != _UNKNOWN_COUNT and count != len(elements):
        raise BadFormat("a ziplist has another number of entries than it says")
    return elements


def _ziplist_element(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the element whose encoding stands at `at`, and where it ends, which may be too far."""
    head = data[at]
    if head < 0x40:
        end = at + 1 + head
        return data[at + 1 : end], end
    if head < 0x80:
        end = at + 2 + ((head & 63) << 8 | data[at + 1])
        return data[at + 2 : end], end
    if head == 0x80:
        end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
        return data[at + 5 : end], end
    if 0xF1 <= head <= 0xFD:
        return b"%d" % (head - 0xF1), at + 1
    width = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}.get(head, 0)
    if width == 0:
        raise BadFormat("a ziplist has an entry of unknown encoding")
    end = at + 1 + width
    return b"%d" % int.from_bytes(data[at + 1 : end], "little", signed=True), end


# -- zipmap ------------------------------------------------------------------------------------------------------


def decode_zipmap(data: bytes) -> list[bytes]:
    """Return field, value, field, value of a zipmap.  Raises BadFormat."""
    words: list[bytes] = []
    at = 1
    last = len(data) - 1
    if last < 1 or data[last] != _END:
        raise BadFormat("a zipmap has no end")
    while at < last:
        unused = 0
        size = data[at]
        at += 1
        if size == _BIG:
            size = int.from_bytes(data[at : at + 4], "little")
            at += 4
        elif size > _BIG:
            raise BadFormat("a zipmap ends too early")
        if len(words) & 1:
            if at >= last:
                raise BadFormat("a zipmap has a value that is cut off")
            unused = data[at]
            at += 1
        end = at + size
        if end + unused > last:
            raise BadFormat("a zipmap has a string that is cut off")
        words.append(data[at:end])
        at = end + unused
    if len(words) & 1 or not words:
        raise BadFormat("a zipmap has a field without a value, or none at all")
    if data[0] < _BIG and data[0] != len(words) >> 1:
        raise BadFormat("a zipmap has another number of fields than it says")
    return words
