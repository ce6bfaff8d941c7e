"""The payload of DUMP: type, content (rdb_values), version (u16), CRC-64 of all before it, both little endian."""

from typing import Final

from coordkit_server.datatypes.limits import Limits
from coordkit_server.persistence import rdb_format as rdb
from coordkit_server.persistence.crc64 import CRC_BYTES, crc64
from coordkit_server.persistence.lzf import Compressor
from coordkit_server.persistence.packed import BadFormat
from coordkit_server.persistence.rdb_format import Reader, Writer
from coordkit_server.persistence.rdb_values import load_value, save_value, value_type

_FOOTER_BYTES: Final = 2 + CRC_BYTES


class BadChecksum(BadFormat):
    """A payload of a newer version, or one that was changed on its way."""


def seal(body: bytes) -> bytes:
    """Return `body` with version and checksum."""
    versioned = body + rdb.VERSION.to_bytes(2, "little")
    return versioned + crc64(0, versioned).to_bytes(CRC_BYTES, "little")


def opened(payload: bytes, check_sum: bool) -> bytes:
    """Return `payload` without version and checksum.  Raises BadChecksum if they do not fit."""
    body_size = len(payload) - _FOOTER_BYTES
    if body_size < 0 or not rdb.is_known(int.from_bytes(payload[body_size : body_size + 2], "little")):
        raise BadChecksum("a payload of unknown version")
    if check_sum:
        expected = int.from_bytes(payload[body_size + 2 :], "little")
        if crc64(0, payload[: body_size + 2]) != expected:
            raise BadChecksum("a payload with another checksum than it says")
    return payload[:body_size]


def dump(value: object, limits: Limits, *, compress: bool = True, compressor: Compressor | None = None) -> bytes:
    """Return the payload of `value`."""
    writer = Writer(compress=compress, compressor=compressor)
    writer.byte(value_type(value))
    save_value(writer, value, limits)
    return seal(writer.collected())


def restore(payload: bytes, limits: Limits, *, check_sum: bool = True) -> object:
    """Return the value of a payload.  Raises BadChecksum, BadFormat."""
    reader = Reader(opened(payload, check_sum))
    return load_value(reader, reader.byte(), limits)
