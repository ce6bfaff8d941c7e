"""What cjson and cmsgpack leave to the server: reading JSON and MessagePack, and writing a double.

Map: Shape; read_json; read_messages; pack_double.

Rule of the room as in library.py: Lua calls these functions; an error is `(None, text)`, raised by lua/cmsgpack.lua.  A
value that is no scalar leaves as a `Shape`, which lua/values.lua builds.
"""

import re
from json import JSONDecoder
from math import inf
from struct import pack, unpack
from typing import Final

from coordkit_server.numeric import INT64_MAX
from coordkit_server.scripting.convert import LOT, Staged


class Shape:
    """A nested value as lua/values.lua takes it: one character a token, and the scalars."""

    def __init__(self) -> None:
        self.tokens: Final = bytearray()
        self.parts: Final[list[object]] = []

    def put(self, value: object) -> None:
        """Add a scalar."""
        self.tokens.append(46)
        self.parts.append(value)

    def result(self, first: tuple[object, ...], staged: Staged) -> tuple[object, ...]:
        """Return the tokens, `first`, and the scalars, in lots if there are many."""
        count = len(self.parts)
        if count > LOT:
            staged.put(self.parts)
            return (bytes(self.tokens), *first, True, count)
        return (bytes(self.tokens), *first, False, *self.parts)


_DECODER: Final = JSONDecoder(strict=False)
_LARGE: Final = 1 << 53
_MINUS_ZERO: Final = re.compile(rb"(?:^|[\[:,\s])-0(?:[\s,\]}]|$)")


def read_json(document: bytes, staged: Staged) -> object:
    """Return the shape of a JSON document, None if it is wrong or one that Python reads in another way."""
    encoding = "utf-8"
    if b"\x00" in document or (b"-0" in document and _MINUS_ZERO.search(document) is not None):
        return None
    try:
        text = document.decode(encoding)
    except UnicodeDecodeError:
        if b"\\u" in document:
            return None
        encoding = "latin-1"
        text = document.decode(encoding)
    try:
        shape = Shape()
        _add_json(shape, _DECODER.decode(text), encoding)
    except (ValueError, RecursionError):
        return None
    return shape.result((), staged)


def _add_json(shape: Shape, value: object, encoding: str) -> None:
    """Add a value that the JSON reader returned."""
    if isinstance(value, str):
        shape.put(value.encode(encoding))
    elif isinstance(value, bool):
        shape.put(value)
    elif isinstance(value, int):
        shape.put(value if -_LARGE <= value <= _LARGE else _double(value))
    elif isinstance(value, float):
        shape.put(value)
    elif isinstance(value, dict):
        shape.tokens.append(123)
        for key, content in value.items():
            shape.put(key.encode(encoding))
            _add_json(shape, content, encoding)
        shape.tokens.append(125)
    elif isinstance(value, list):
        shape.tokens.append(91)
        for item in value:
            _add_json(shape, item, encoding)
        shape.tokens.append(93)
    else:
        shape.tokens.append(48)


def _double(value: int) -> float:
    """Return an integer of any size as a double."""
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf


TOO_DEEP: Final = b"stack overflow (too many nested values)"
DEEPEST: Final = 2600  # nested values that Redis reads before Lua's stack of 8,000 places is full


class MessageError(Exception):
    """Data that is no MessagePack; `text` is the error."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text: Final = text


def read_messages(data: bytes, limit: object, offset: object, staged: Staged) -> object:
    """Return shape, next offset (-1 at the end) and scalars of `limit` values in `data`, of all if it is -1."""
    if not isinstance(limit, int) or not isinstance(offset, int):
        return (None, b"Bad data format in input.")
    reader = _Messages(data, offset)
    try:
        count = 0
        while reader.at < len(data) and count != limit:
            reader.read()
            count += 1
    except MessageError as error:
        return (None, error.text)
    except RecursionError:  # interpreted, Python's own limit comes first
        return (None, TOO_DEEP)
    return reader.shape.result((-1 if reader.at >= len(data) else reader.at,), staged)


_SIZED: Final[dict[int, tuple[str, int]]] = {
    0xCC: (">B", 1),
    0xCD: (">H", 2),
    0xCE: (">I", 4),
    0xCF: (">Q", 8),
    0xD0: (">b", 1),
    0xD1: (">h", 2),
    0xD2: (">i", 4),
    0xD3: (">q", 8),
    0xCA: (">f", 4),
    0xCB: (">d", 8),
}


class _Messages:
    """Reads values one after the other."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._data: Final = data
        self.at: int = offset
        self._depth: int = 0
        self.shape: Final = Shape()

    def read(self) -> None:
        """Read one value."""
        kind = self._take(1)[0]
        if kind <= 0x7F:
            self.shape.put(kind)
        elif kind >= 0xE0:
            self.shape.put(kind - 256)
        elif kind <= 0x8F:
            self._pairs(kind & 15)
        elif kind <= 0x9F:
            self._items(kind & 15)
        elif kind <= 0xBF:
            self.shape.put(self._take(kind & 31))
        elif kind in _SIZED:
            self._number(kind)
        else:
            self._other(kind)

    def _other(self, kind: int) -> None:
        """Read a nil, a boolean, a string or a collection with its length in front."""
        if kind == 0xC0:
            self.shape.tokens.append(45)
        elif kind == 0xC2 or kind == 0xC3:
            self.shape.put(kind == 0xC3)
        elif 0xD9 <= kind <= 0xDB:
            self.shape.put(self._take(self._length(1 << (kind - 0xD9))))
        elif kind == 0xDC or kind == 0xDD:
            self._items(self._length(2 if kind == 0xDC else 4))
        elif kind == 0xDE or kind == 0xDF:
            self._pairs(self._length(2 if kind == 0xDE else 4))
        else:
            raise MessageError(b"Bad data format in input.")

    def _number(self, kind: int) -> None:
        """Read a number of fixed size."""
        code, size = _SIZED[kind]
        value: int | float = unpack(code, self._take(size))[0]
        if kind == 0xCF and value > INT64_MAX:
            value -= 1 << 64  # Lua 5.1 has no unsigned integers
        self.shape.put(value)

    def _take(self, size: int) -> bytes:
        """Return the next bytes."""
        start = self.at
        if start + size > len(self._data):
            raise MessageError(b"Missing bytes in input.")
        self.at = start + size
        return self._data[start : self.at]

    def _length(self, size: int) -> int:
        """Return a length of `size` bytes."""
        return int.from_bytes(self._take(size), "big")

    def _items(self, count: int) -> None:
        """Read an array."""
        self._enter()
        self.shape.tokens.append(91)
        for _ in range(count):
            self.read()
        self.shape.tokens.append(93)
        self._depth -= 1

    def _pairs(self, count: int) -> None:
        """Read a map."""
        self._enter()
        self.shape.tokens.append(123)
        for _ in range(count):
            self.read()
            self.read()
        self.shape.tokens.append(125)
        self._depth -= 1

    def _enter(self) -> None:
        """Count a level; compiled code would go on until the process ends for want of stack."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise MessageError(TOO_DEEP)


def pack_double(number: object) -> bytes:
    """Return a number as the shortest MessagePack float that holds it."""
    value = float(number) if isinstance(number, (int, float)) else 0.0
    try:
        short = pack(">f", value)
    except OverflowError:
        return b"\xcb" + pack(">d", value)
    return b"\xca" + short if unpack(">f", short)[0] == value else b"\xcb" + pack(">d", value)
