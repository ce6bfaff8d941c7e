"""What a handler returns: plain Python values, and a class for each RESP type that Python has no value for.

    bytes -> bulk string      int -> integer        list -> array          None -> null
    float -> double           bool -> boolean       (RESP2: bulk string, integer)
    Simple  +text             ErrorReply  -text     NULL_ARRAY  *-1 in RESP2
    MapReply, SetReply, PushReply, JoinedReply, PairsReply, NamedReply, VerbatimReply, BigNumber, PlainDouble,
    AttributeReply, WireReply

`NO_REPLY` means nothing is sent (the handler wrote its own, or replies are off); `BLOCKED` that the client waits.
"""

from typing import Final

_ARRAY: Final = 42  # *


class Simple:
    """A simple string: one line."""

    def __init__(self, text: bytes) -> None:
        self.text: Final = text
        self.wire: Final = b"+" + text + b"\r\n"


class ErrorReply:
    """An error: its text starts with a code such as `ERR`."""

    def __init__(self, text: bytes) -> None:
        self.text: Final = text


class MapReply:
    """A map: `items` is key, value, key, value.  RESP2 sends it as a flat array."""

    def __init__(self, items: list[object]) -> None:
        self.items: Final = items


class SetReply:
    """A set.  RESP2 sends it as an array."""

    def __init__(self, items: list[object]) -> None:
        self.items: Final = items


class PairsReply:
    """Pairs, flat in `items`: RESP3 sends an array of 2-element arrays, RESP2 the flat array (HRANDFIELD, ZRANGE)."""

    def __init__(self, items: list[object]) -> None:
        self.items: Final = items


class NamedReply:
    """Values by name, flat in `items`: RESP3 sends a map, RESP2 an array of 2-element arrays (XREAD)."""

    def __init__(self, items: list[object]) -> None:
        self.items: Final = items


class WireReply:
    """A reply that is encoded already, in parts: arrays and bulk strings, which both protocols write alike."""

    def __init__(self, parts: list[bytes]) -> None:
        self.parts: Final = parts

    def decoded(self) -> object:
        """Return the reply as lists and bytes."""
        return _WireReader(b"".join(self.parts)).value()


class _WireReader:
    """Reads the wire form of arrays and bulk strings."""

    def __init__(self, wire: bytes) -> None:
        self._wire: Final = wire
        self._at: int = 0

    def value(self) -> object:
        """Return the value that stands next."""
        head = self._at
        end = self._wire.index(b"\r\n", head)
        size = int(self._wire[head + 1 : end])
        self._at = end + 2
        if self._wire[head] == _ARRAY:
            items: list[object] = []
            for _ in range(size):
                items.append(self.value())
            return items
        self._at += size + 2
        return self._wire[end + 2 : end + 2 + size]


class PushReply:
    """An out-of-band message.  RESP2 sends it as an array."""

    def __init__(self, items: list[object]) -> None:
        self.items: Final = items


class JoinedReply:
    """Replies one after the other: what SUBSCRIBE confirms inside EXEC, one a channel."""

    def __init__(self, items: list[object]) -> None:
        self.items: Final = items


class VerbatimReply:
    """Text with a three-letter format.  RESP2 sends a bulk string."""

    def __init__(self, fmt: bytes, text: bytes) -> None:
        self.fmt: Final = fmt
        self.text: Final = text


class BigNumber:
    """An integer of any size.  RESP2 sends a bulk string."""

    def __init__(self, digits: bytes) -> None:
        self.digits: Final = digits


class PlainDouble:
    """A double that is printed with up to 17 decimals and no exponent.  RESP2 sends a bulk string."""

    def __init__(self, value: float) -> None:
        self.value: Final = value


class AttributeReply:
    """Attributes (`attributes` flat) in front of `reply`.  RESP2 sends the reply alone."""

    def __init__(self, attributes: list[object], reply: object) -> None:
        self.attributes: Final = attributes
        self.reply: Final = reply


class Marker:
    """A reply that stands for an outcome."""

    def __init__(self, name: str) -> None:
        self.name: Final = name


OK: Final = Simple(b"OK")
PONG: Final = Simple(b"PONG")
QUEUED: Final = Simple(b"QUEUED")
NULL_ARRAY: Final = Marker("NULL_ARRAY")
NO_REPLY: Final = Marker("NO_REPLY")
BLOCKED: Final = Marker("BLOCKED")
