"""Codecs: payloads of jobs and messages as bytes.  JSON unless the user gives another."""

import json
from typing import Protocol

from coordkit.errors import ConfigurationError


class Codec(Protocol):
    """Turns values into bytes and back; `decode(encode(value)) == value` for every value it accepts."""

    def encode(self, value: object) -> bytes:
        """`value` as bytes.  Raises ConfigurationError for a value it cannot carry."""
        ...

    def decode(self, payload: bytes) -> object:
        """The value that `payload` carries.  Raises ValueError for bytes it did not write."""
        ...


class JsonCodec:
    """Compact UTF-8 JSON.  Tuples come back as lists, keys of dicts as strings."""

    __slots__ = ()

    def encode(self, value: object) -> bytes:
        """`value` as JSON.  Raises ConfigurationError for a value JSON cannot carry (NaN included)."""
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError) as exc:
            raise ConfigurationError(
                f"{value!r} does not fit into JSON ({exc}); pass plain values or another codec"
            ) from exc
        return text.encode()

    def decode(self, payload: bytes) -> object:
        """The value that the JSON text carries.  Raises ValueError for anything else."""
        value: object = json.loads(payload)
        return value
