"""Sizes in Redis's packed representation: they decide when a small list stops being reported as `listpack`.

Nothing is packed here; only the bytes are counted that Redis would take.  Source: the listpack specification.
"""

from typing import Final

from coordkit_server.numeric import parse_int

HEADER_BYTES: Final = 7  # total length, number of elements, end mark
_LONGEST_INTEGER: Final = 20
_NINE: Final = 57
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
    """Return the bytes of an integer entry, with the length that is stored behind every entry."""
    if 0 <= value <= 127:
        return 2
    if -4096 <= value <= 4095:
        return 3
    if -32768 <= value <= 32767:
        return 4
    if -8388608 <= value <= 8388607:
        return 5
    return 6 if -2147483648 <= value <= 2147483647 else _WIDEST_INTEGER_BYTES


def entries_bytes(elements: list[bytes]) -> int:
    """Return the bytes that all `elements` take, without the header."""
    total = 0
    for element in elements:
        total += entry_bytes(element)
    return total
