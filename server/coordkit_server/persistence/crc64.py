"""CRC-64 as Redis stores it behind snapshots and DUMP payloads ("Jones": polynomial ad93d23594c935a9, reflected).

    crc64(0, b"123456789") == 0xe9c6d914c4b8d9ca

The remainders of bytes stand in three tables of 22, 21 and 21 bits: Python keeps a number of up to 30 bits in one
piece, and compiled code reads three such numbers from lists in a third of the time that one of 64 bits takes (7 ns a
byte).
"""

from typing import Final

from mypy_extensions import i64

CRC_BYTES: Final = 8
_POLYNOMIAL: Final = 0x95AC9329AC4BC9B5  # bits in reverse order
_TOP: Final = 1 << 63
_WITHOUT_TOP_BYTE: Final = 0x00FFFFFFFFFFFFFF  # a shift of a signed number brings copies of its sign


def _make_table(shift: int, bits: int) -> list[int]:
    """Return `bits` bits of the remainders of all bytes, from bit `shift` on."""
    table: list[int] = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ _POLYNOMIAL if crc & 1 else crc >> 1
        table.append((crc >> shift) & ((1 << bits) - 1))
    return table


_LOW: Final = _make_table(0, 22)
_MIDDLE: Final = _make_table(22, 21)
_HIGH: Final = _make_table(43, 21)


def crc64(crc: int, data: bytes) -> int:
    """Return the checksum of what gave `crc` (0: nothing) followed by `data`."""
    low = _LOW
    middle = _MIDDLE
    high = _HIGH
    state: i64 = crc - (1 << 64) if crc & _TOP else crc  # compiled code has no unsigned number
    at: i64 = 0
    end: i64 = len(data)
    while at < end:
        index: i64 = (state ^ data[at]) & 255
        low_bits: i64 = low[index]
        middle_bits: i64 = middle[index]
        high_bits: i64 = high[index]
        state = (low_bits | middle_bits << 22 | high_bits << 43) ^ ((state >> 8) & _WITHOUT_TOP_BYTE)
        at += 1
    return int(state) & 0xFFFFFFFFFFFFFFFF
