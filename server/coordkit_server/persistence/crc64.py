"""CRC-64 as Redis stores it behind snapshots and DUMP payloads ("Jones": polynomial ad93d23594c935a9, reflected).

crc64(0, b"123456789") == 0xe9c6d914c4b8d9ca
"""

from typing import Final

from mypy_extensions import i64

CRC_BYTES: Final = 8
_POLYNOMIAL: Final = 0x95AC9329AC4BC9B5  # bits in reverse order
_TOP: Final = 1 << 63
_WITHOUT_TOP_BYTE: Final = 0x00FFFFFFFFFFFFFF  # a shift of a signed number brings copies of its sign


def _signed(value: int) -> int:
    """Return the 64 bits of `value` as a signed number: compiled code has no unsigned one."""
    return value - (1 << 64) if value & _TOP else value


def _make_table() -> list[int]:
    """Return the remainders of all bytes."""
    table: list[int] = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ _POLYNOMIAL if crc & 1 else crc >> 1
        table.append(_signed(crc))
    return table


_TABLE: Final = _make_table()


def crc64(crc: int, data: bytes) -> int:
    """Return the checksum of what gave `crc` (0: nothing) followed by `data`."""
    table = _TABLE
    state: i64 = _signed(crc)
    at: i64 = 0
    end: i64 = len(data)
    while at < end:
        state = table[(state ^ data[at]) & 255] ^ ((state >> 8) & _WITHOUT_TOP_BYTE)
        at += 1
    signed = int(state)
    return signed + (1 << 64) if signed < 0 else signed
