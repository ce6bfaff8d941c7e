"""Sizes in Redis's packed representation: they decide when a small list stops being reported as `listpack`.

Nothing is packed here; only the bytes are counted that Redis would take.  Source: the listpack specification.
"""

from typing import Final

from coordkit_server.numeric import parse_int

HEADER_BYTES: Final = 7  # total length, number of elements, end mark
_LONGEST_INTEGER: Final = 20
_NINE: Final = 57
_SMALL_INTEGER: Final = 127
_SMALL_INTEGER_BYTES: Final = 2
# (least, greatest) integer -> bytes with the length that is stored behind every entry
_INTEGER_CLASSES: Final[list[tuple[int, int, int]]] = [
    (-(2**12), 2**12 - 1, 3),
    (-(2**15), 2**15 - 1, 4),
    (-(2**23), 2**23 - 1, 5),
    (-(2**31), 2**31 - 1, 6),
]
_WIDEST_INTEGER_BYTES: Final = 10


def entry_bytes(element: bytes) -> int:
    """Return the bytes that `element` takes in a listpack; one that spells an integer is stored as one."""
    size = len(element)
    if size <= _LONGEST_INTEGER:
        if size > 0 and element[0] <= _NINE:
            value = parse_int(element)
            if value is not None:
                return integer_bytes(value)
        return size + 2
    if size < 64:
        return size + 2
    encoded = size + (2 if size < 4096 else 5)
    if encoded < 128:
        return encoded + 1
    if encoded < 16383:
        return encoded + 2
    return encoded + (3 if encoded < 2097151 else 4)


def integer_bytes(value: int) -> int:
    """Return the bytes of an integer entry."""
    if 0 <= value <= _SMALL_INTEGER:
        return _SMALL_INTEGER_BYTES
    for least, greatest, size in _INTEGER_CLASSES:
        if least <= value <= greatest:
            return size
    return _WIDEST_INTEGER_BYTES


def entries_bytes(elements: list[bytes]) -> int:
    """Return the bytes that all `elements` take, without the header."""
    total = 0
    for element in elements:
        total += entry_bytes(element)
    return total
