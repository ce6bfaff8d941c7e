"""Codecs: payloads of jobs and messages as bytes.  JSON unless the user gives another."""

import json
from reprlib import Repr
from typing import Final, Protocol

from coordkit.errors import ConfigurationError

MAX_SHOWN: Final = 200
"""Characters of a value, and of each part of it, that an error shows."""


def shown(value: object) -> str:
    """`value` as errors show it: short, and whatever its own `__repr__` does."""
    brief = Repr()
    brief.maxstring = brief.maxother = brief.maxlong = MAX_SHOWN
    try:
        return brief.repr(value)[: 2 * MAX_SHOWN]
    except Exception:  # a number that is too long for text, say
        return f"a value of type {type(value).__name__}"


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
            return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as exc:  # ValueError: also broken text
            raise ConfigurationError(
                f"{shown(value)} does not fit into JSON ({exc}); pass plain values or another codec"
            ) from exc

    def decode(self, payload: bytes) -> object:
        """The value that the JSON text carries.  Raises ValueError for anything else."""
        value: object = json.loads(payload)
        return value
