"""The pieces that snapshots and DUMP payloads are made of: lengths, strings, numbers; and their names.

    length   00llllll                  below 64            10000000 l32   32 bits, big endian
             01llllll l8               below 16384         10000001 l64   64 bits, big endian
             11ffffff                  no length: a string in a special form f
    string   length and bytes; form 0, 1, 2: an integer of 1, 2, 4 bytes, little endian, that the string spells;
             form 3: length compressed, length, LZF data
    double   8 bytes, IEEE 754, little endian; in type 3 its text behind a length byte, 253 nan, 254 inf, 255 -inf
    time     8 bytes, milliseconds, little endian, signed

`Writer` puts them into bytes, by and by into a sink; `Reader` takes them from bytes or, chunk by chunk, from a source.
Reader raises BadFormat for anything that is not as it should be.
"""

from math import inf, nan
from struct import Struct
from typing import Final

from mypy_extensions import trait

from coordkit_server.numeric import parse_int
from coordkit_server.persistence.crc64 import CRC_BYTES, crc64
from coordkit_server.persistence.lzf import Compressor, decompress
from coordkit_server.persistence.packed import BadFormat

MAGIC: Final = b"REDIS"
VERSION: Final = 10  # what is written: 7.0 and everything since reads it
OLDEST: Final = 1
NEWEST: Final = 12
OF_VALKEY: Final = 80  # Valkey 9 counts on from here; what it shares with the others reads the same

# types of values
STRING: Final = 0
LIST: Final = 1
SET: Final = 2
ZSET: Final = 3  # scores as text
HASH: Final = 4
ZSET_2: Final = 5  # scores as doubles
MODULE: Final = 6
MODULE_2: Final = 7
HASH_ZIPMAP: Final = 9
LIST_ZIPLIST: Final = 10
SET_INTSET: Final = 11
ZSET_ZIPLIST: Final = 12
HASH_ZIPLIST: Final = 13
LIST_QUICKLIST: Final = 14  # ziplists
STREAM: Final = 15
HASH_LISTPACK: Final = 16
ZSET_LISTPACK: Final = 17
LIST_QUICKLIST_2: Final = 18  # listpacks and plain strings
STREAM_2: Final = 19
SET_LISTPACK: Final = 20
STREAM_3: Final = 21

# what stands in a file between values
SLOT_INFO: Final = 244
FUNCTION_2: Final = 245
FUNCTION_PRE_GA: Final = 246
MODULE_AUX: Final = 247
IDLE: Final = 248
FREQ: Final = 249
AUX: Final = 250
RESIZE_DB: Final = 251
EXPIRE_TIME_MS: Final = 252
EXPIRE_TIME: Final = 253
SELECT_DB: Final = 254
END: Final = 255

_FORM: Final = 0xC0
_FORM_LZF: Final = 3
_LONGEST_INTEGER: Final = 11
_SHORTEST_COMPRESSED: Final = 20
_FLUSH_BYTES: Final = 1 << 16
_CHUNK_BYTES: Final = 1 << 20
_DOUBLE: Final = Struct("<d")
_BYTES: Final[list[bytes]] = [bytes([value]) for value in range(256)]
# how much larger than its data an LZF string may say it is: what the format can reach is 88 times
_LZF_FACTOR: Final = 264


@trait
class ByteSink:
    """Takes the bytes of a snapshot."""

    def write(self, data: bytes) -> None:
        """Write all of `data`.  Raises OSError."""
        raise NotImplementedError


@trait
class ByteSource:
    """Gives the bytes of a snapshot."""

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, none at the end.  Raises OSError."""
        raise NotImplementedError


def is_known(version: int) -> bool:
    """Return True if data of this version can be read."""
    return OLDEST <= version <= NEWEST or version == OF_VALKEY


class Writer:
    """Collects bytes; with a sink they go there in pieces, and a checksum of them is kept if `checksums`.

    Strings are compressed if `compress`; who writes often passes a `compressor`, whose table need not be made anew."""

    def __init__(
        self,
        sink: ByteSink | None = None,
        *,
        compress: bool = True,
        checksums: bool = True,
        compressor: Compressor | None = None,
    ) -> None:
        self._sink: Final = sink
        self._parts: list[bytes] = []
        self._size: int = 0
        self._compressor: Final = (compressor or Compressor()) if compress else None
        self._checksums: Final = checksums
        self.crc: int = 0
        self.written: int = 0  # bytes that have gone to the sink

    def raw(self, data: bytes) -> None:
        """Write `data` as it is."""
        self._parts.append(data)
        self._size += len(data)
        if self._size >= _FLUSH_BYTES and self._sink is not None:
            self.flush()

    def byte(self, value: int) -> None:
        """Write one byte."""
        self._parts.append(_BYTES[value])
        self._size += 1

    def length(self, value: int) -> None:
        """Write a length."""
        if value < 64:
            self.byte(value)
        elif value < 16384:
            self.raw(bytes([0x40 | value >> 8, value & 255]))
        elif value < 1 << 32:
            self.raw(b"\x80" + value.to_bytes(4, "big"))
        else:
            self.raw(b"\x81" + value.to_bytes(8, "big"))

    def string(self, text: bytes) -> None:
        """Write a string in the shortest form."""
        size = len(text)
        if size <= _LONGEST_INTEGER:
            if size and text[0] <= 57:
                value = parse_int(text)
                if value is not None and -(1 << 31) <= value < 1 << 31:
                    self._integer(value)
                    return
        elif size > _SHORTEST_COMPRESSED and self._compressor is not None:
            packed = self._compressor.compress(text, size - 4)
            if packed is not None:
                self.byte(_FORM | _FORM_LZF)
                self.length(len(packed))
                self.length(size)
                self.raw(packed)
                return
        self.length(size)
        self.raw(text)

    def _integer(self, value: int) -> None:
        """Write a string that spells a 32-bit integer."""
        if -128 <= value < 128:
            self.raw(b"\xc0" + value.to_bytes(1, "little", signed=True))
        elif -(1 << 15) <= value < 1 << 15:
            self.raw(b"\xc1" + value.to_bytes(2, "little", signed=True))
        else:
            self.raw(b"\xc2" + value.to_bytes(4, "little", signed=True))

    def double(self, value: float) -> None:
        """Write a double."""
        self.raw(_DOUBLE.pack(value))

    def time_ms(self, value: int) -> None:
        """Write a time in ms."""
        self.raw(value.to_bytes(8, "little", signed=True))

    def collected(self) -> bytes:
        """Return what has been written and has not gone to a sink."""
        return b"".join(self._parts)

    def finish(self) -> None:
        """Send everything to the sink, the checksum behind it; zeros if there is none."""
        self.flush()
        checksum = self.crc.to_bytes(CRC_BYTES, "little")
        if self._sink is not None:
            self._sink.write(checksum)
            self.written += CRC_BYTES

    def flush(self) -> None:
        """Send what has been collected to the sink."""
        data = b"".join(self._parts)
        self._parts = []
        self._size = 0
        if self._checksums:
            self.crc = crc64(self.crc, data)
        if self._sink is not None:
            self._sink.write(data)
            self.written += len(data)


class Reader:
    """Reads bytes in order: `data`, then what `source` gives.  A checksum of what was read is kept if `checksums`."""

    def __init__(self, data: bytes, source: ByteSource | None = None, *, checksums: bool = False) -> None:
        self.data: bytes = data
        self.at: int = 0
        self._source: Final = source
        self._checksums: Final = checksums
        self._crc: int = 0
        self._summed: int = 0  # up to where in `data`
        self._passed: int = 0  # bytes in front of `data`

    def offset(self) -> int:
        """Return how many bytes have been read."""
        return self._passed + self.at

    def crc(self) -> int:
        """Return the checksum of what has been read."""
        self._crc = crc64(self._crc, self.data[self._summed : self.at])
        self._summed = self.at
        return self._crc

    def need(self, size: int) -> int:
        """Return where in `data` the next `size` bytes start, and step over them.  Raises BadFormat at the end."""
        at = self.at
        if at + size > len(self.data):
            self._fill(size)
            at = 0
        self.at = at + size
        return at

    def has(self, size: int) -> bool:
        """Return True if `size` more bytes are there."""
        if self.at + size <= len(self.data):
            return True
        try:
            self._fill(size)
        except BadFormat:
            return False
        return True

    def _fill(self, size: int) -> None:
        """Make `data` start at the next byte and hold `size` bytes at least."""
        if self._source is None:
            raise BadFormat("the data ends too early")
        if self._checksums:
            self.crc()
        rest = self.data[self.at :]
        self._passed += self.at
        self.at = 0
        self._summed = 0
        parts = [rest]
        have = len(rest)
        while have < size:
            part = self._source.read(max(_CHUNK_BYTES, min(size - have, 64 * _CHUNK_BYTES)))
            if not part:
                self.data = b"".join(parts)
                raise BadFormat("the file ends too early")
            parts.append(part)
            have += len(part)
        self.data = b"".join(parts)

    def raw(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        at = self.need(size)
        return self.data[at : at + size]

    def byte(self) -> int:
        """Return the next byte."""
        at = self.at
        if at < len(self.data):
            self.at = at + 1
            return self.data[at]
        at = self.need(1)
        return self.data[at]

    def length(self) -> int:
        """Return a length."""
        first = self.byte()
        if first < 64:
            return first
        if first >= _FORM:
            raise BadFormat("a length is missing")
        return self._long_length(first)

    def _long_length(self, first: int) -> int:
        """Return the length that starts with the byte `first`, which is not all of it."""
        if first < 128:
            return (first & 63) << 8 | self.byte()
        if first == 0x80:
            return int.from_bytes(self.raw(4), "big")
        if first == 0x81:
            return int.from_bytes(self.raw(8), "big")
        raise BadFormat("a length of unknown form")

    def string(self) -> bytes:
        """Return a string."""
        first = self.byte()
        if first < 64:
            at = self.need(first)
            return self.data[at : at + first]
        if first < _FORM:
            return self.raw(self._long_length(first))
        form = first & 63
        if form == 0:
            return b"%d" % int.from_bytes(self.raw(1), "little", signed=True)
        if form == 1:
            return b"%d" % int.from_bytes(self.raw(2), "little", signed=True)
        if form == 2:
            return b"%d" % int.from_bytes(self.raw(4), "little", signed=True)
        if form != _FORM_LZF:
            raise BadFormat("a string of unknown form")
        packed_size = self.length()
        size = self.length()
        packed = self.raw(packed_size)
        text = decompress(packed, size) if size <= packed_size * _LZF_FACTOR else None
        if text is None:
            raise BadFormat("a compressed string that is not LZF")
        return text

    def double(self) -> float:
        """Return a double."""
        value: float = _DOUBLE.unpack(self.raw(8))[0]
        return value

    def text_double(self) -> float:
        """Return a double written as text."""
        size = self.byte()
        if size >= 253:
            return [nan, inf, -inf][size - 253]
        try:
            return float(self.raw(size))
        except ValueError as error:
            raise BadFormat("a score that is no number") from error

    def time_ms(self) -> int:
        """Return a time in ms."""
        return int.from_bytes(self.raw(8), "little", signed=True)
