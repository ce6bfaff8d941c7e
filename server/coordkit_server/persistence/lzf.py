"""LZF compression, byte for byte as Redis's library does it.

    000lllll           l + 1 bytes follow as they are
    llloooooo oooooooo copy l + 2 bytes (l is 1 to 6) from o + 1 bytes back
    111ooooo nnnnnnnn oooooooo   the same with n + 9 bytes

Source: the format description of liblzf; hashing of three bytes into 2**16 slots decides which copies are found.
"""

from typing import Final

from mypy_extensions import i64

_SLOTS: Final = 1 << 16
_LONGEST_LITERAL: Final = 32
_FARTHEST: Final = 8192
_LONGEST_COPY: Final = 264
_LARGEST: Final = 1 << 30  # numbers below stand in one piece, and are read twice as fast


class Compressor:
    """Compresses strings one after the other; the table of what was seen where is kept and need not be cleared."""

    def __init__(self) -> None:
        self._seen: list[int] = []  # position + _base of the string that was compressed; made at the first use
        self._base: int = 0

    def compress(self, data: bytes, limit: int) -> bytes | None:
        """Return `data` compressed into at most `limit` bytes, None if it does not fit."""
        size: i64 = len(data)
        if not self._seen or self._base + len(data) > _LARGEST:
            self._seen = [0] * _SLOTS
            self._base = 0
        base: i64 = self._base
        self._base = int(base + size)
        room: i64 = limit
        if size == 0 or room <= 0:
            return None
        seen = self._seen
        parts: list[bytes] = []
        used: i64 = 1  # bytes put out, with the length of the literal that is open
        start: i64 = 0  # of that literal
        at: i64 = 0
        hashed: i64 = (data[0] << 8) | data[1] if size > 2 else 0
        while at < size - 2:
            hashed = ((hashed << 8) | data[at + 2]) & 0xFFFFFF
            slot: i64 = ((hashed >> 8) - hashed * 5) & 0xFFFF
            before: i64 = seen[slot] - base
            seen[slot] = int(base + at)
            offset: i64 = at - before - 1
            if not (
                before > 0
                and 0 <= offset < _FARTHEST
                and data[before + 2] == data[at + 2]
                and data[before] == data[at]
                and data[before + 1] == data[at + 1]
            ):
                if used >= room:
                    return None
                used += 1
                at += 1
                if at - start == _LONGEST_LITERAL:
                    parts.append(_literal(data, start, at))
                    start = at
                    used += 1
                continue
            if used - (1 if at == start else 0) + 4 >= room:
                return None
            if at > start:
                parts.append(_literal(data, start, at))
            else:
                used -= 1
            length = _common(data, before, at)
            parts.append(_copy(length - 2, offset))
            used += (3 if length - 2 >= 7 else 2) + 1
            at += length
            start = at
            if at >= size - 2:
                break
            hashed = _enter(data, at - 2, base, seen)
        if used + 3 > room:
            return None
        return _finish(parts, data, start, size)


def _common(data: bytes, before: i64, at: i64) -> i64:
    """Return how many bytes from `at` on repeat those from `before` on: at least 3, at most a copy's length."""
    most: i64 = len(data) - at - 2
    most = min(most, _LONGEST_COPY)
    length: i64 = 2
    if most > 16:
        stop: i64 = 18
        while length < stop:
            length += 1
            if data[before + length] != data[at + length]:
                return length
    length += 1
    while length < most and data[before + length] == data[at + length]:
        length += 1
    return length


def _enter(data: bytes, at: i64, base: i64, seen: list[int]) -> i64:
    """Note the two places at the end of a copy; return the hash of the bytes there."""
    hashed: i64 = (data[at] << 8) | data[at + 1]
    for place in range(2):
        hashed = ((hashed << 8) | data[at + place + 2]) & 0xFFFFFF
        seen[((hashed >> 8) - hashed * 5) & 0xFFFF] = int(base + at + place)
    return hashed


def _literal(data: bytes, start: i64, end: i64) -> bytes:
    """Return a run of bytes as they are."""
    return bytes([int(end - start - 1)]) + data[int(start) : int(end)]


def _copy(length: i64, offset: i64) -> bytes:
    """Return a copy of `length` + 2 bytes from `offset` + 1 back."""
    high = int(offset >> 8)
    low = int(offset & 255)
    if length < 7:
        return bytes([high | int(length) << 5, low])
    return bytes([high | 7 << 5, int(length) - 7, low])


def _finish(parts: list[bytes], data: bytes, start: i64, size: i64) -> bytes:
    """Return everything, with the rest of `data` from `start` on as literals."""
    while start < size:
        end = start + _LONGEST_LITERAL
        end = min(end, size)
        parts.append(_literal(data, start, end))
        start = end
    return b"".join(parts)


def decompress(data: bytes, size: int) -> bytes | None:
    """Return the `size` bytes that `data` stands for, None if it is not that."""
    out = bytearray()
    at = 0
    end = len(data)
    while at < end:
        control = data[at]
        at += 1
        if control < _LONGEST_LITERAL:
            length = control + 1
            if at + length > end or len(out) + length > size:
                return None
            out += data[at : at + length]
            at += length
            continue
        length = control >> 5
        if length == 7:
            if at >= end:
                return None
            length += data[at]
            at += 1
        if at >= end:
            return None
        start = len(out) - ((control & 31) << 8) - data[at] - 1
        at += 1
        length += 2
        if start < 0 or len(out) + length > size:
            return None
        _append_copy(out, start, length)
    return bytes(out) if len(out) == size else None


def _append_copy(out: bytearray, start: int, length: int) -> None:
    """Add `length` bytes from `start` on; they may reach into what is added."""
    distance = len(out) - start
    if distance >= length:
        out += out[start : start + length]
    else:
        pattern = out[start:]
        out += (pattern * (length // distance + 1))[:length]
