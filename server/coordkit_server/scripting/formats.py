"""What cjson and cmsgpack leave to the server: reading JSON and MessagePack, and writing a double.

Map: read_json, finish_json; read_messages; pack_double.

Rule of the room as in library.py: Lua calls these functions; an error is `(None, text)`, raised by lua/cmsgpack.lua.
Values leave as a chunk that builds them (construct.py).
"""

from json import JSONDecoder
from math import inf, isnan
from struct import Struct, pack, unpack
from typing import Final

from coordkit_server.numeric import INT64_MAX
from coordkit_server.scripting.construct import BATCH, TABLE, Construct, chunk

_DECODER: Final = JSONDecoder(strict=False)
MARK: Final = b"\x01"
# the backslash first: it is in the escapes of the others
_ESCAPES: Final[list[tuple[bytes, bytes]]] = [
    (b"\\", b"\\\\"),
    (b'"', b'\\"'),
    (b"/", b"\\/"),
    (b"\n", b"\\n"),
    (b"\r", b"\\r"),
    (b"\t", b"\\t"),
    (b"\b", b"\\b"),
    (b"\f", b"\\f"),
    *[(bytes([code]), b"\\u%04x" % code) for code in (0, *range(2, 8), 11, *range(14, 32), 127)],
]
_ESCAPED: Final = b"".join([character for character, _ in _ESCAPES])
_LARGE: Final = 1 << 53
_DEEPEST_JSON: Final = 1000  # as cjson reads unless it is told otherwise


def read_json(document: bytes) -> bytes | None:
    """Return the chunk that makes the value of a JSON document, None if the document is wrong or Python reads it
    in another way."""
    if b"\x00" in document or (b"-0" in document and _has_minus_zero(document)):
        return None
    is_text = True
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError:
        if b"\\u" in document:
            return None
        is_text = False
        text = document.decode("latin-1")
    try:
        main = Construct(1)
        _Json(is_text).value(main, TABLE, _DECODER.decode(text))
        main.give_back(TABLE)
        return chunk(main)
    except (ValueError, RecursionError):
        return None


def finish_json(text: bytes, string_count: int) -> bytes | None:
    """Return JSON in which strings stand between two MARK as they are, `string_count` of them, with quotation marks
    and escapes; None if one of the strings has MARK in it."""
    if text.count(MARK) != 2 * string_count:
        return None
    if len(text.translate(None, _ESCAPED)) != len(text):
        for character, escape in _ESCAPES:
            if character in text:
                text = text.replace(character, escape)
    return text.replace(MARK, b'"')


def _has_minus_zero(document: bytes) -> bool:
    """Return True if -0 stands in a document, as far as one can tell without reading it: Python makes 0 of it."""
    at = document.find(b"-0")
    while at >= 0:
        behind = document[at + 2 : at + 3]
        starts = at == 0 or document[at - 1] in b"[:, \t\r\n"
        if starts and (not behind or behind in b" \t\r\n,]}"):
            return True
        at = document.find(b"-0", at + 2)
    return False


class _Json:
    """Spells what Python's reader returned; `is_text` unless its strings stand for bytes."""

    def __init__(self, is_text: bool) -> None:
        self._is_text: Final = is_text
        self._depth: int = 0

    def value(self, main: Construct, register: int, value: object) -> None:
        """Load a value."""
        constant = self._constant(main, value)
        if constant >= 0:
            main.load(register, constant)
        elif isinstance(value, bool):
            main.load_bool(register, value)
        elif value is None:
            main.load_null(register)
        elif main.is_deep(register):
            other = main.nested(register)
            self._table(other, TABLE, value)
            other.give_back(TABLE)
        else:
            self._table(main, register, value)

    def _constant(self, main: Construct, value: object) -> int:
        """Return the number of a constant, -1 if `value` is none."""
        if isinstance(value, str):
            return main.text(self._bytes(value))
        if isinstance(value, float):
            return main.number(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return main.number(float(value) if -_LARGE <= value <= _LARGE else _double(value))
        return -1

    def _bytes(self, text: str) -> bytes:
        """Return a string of the document."""
        return text.encode("utf-8") if self._is_text else text.encode("latin-1")

    def _table(self, main: Construct, register: int, value: object) -> None:
        """Load an object or an array."""
        self._depth += 1
        if self._depth > _DEEPEST_JSON:
            raise RecursionError
        if isinstance(value, dict):
            self._object(main, register, value)
        elif isinstance(value, list):
            self._array(main, register, value)
        self._depth -= 1

    def _object(self, main: Construct, register: int, fields: dict[str, object]) -> None:
        """Load an object."""
        main.new_map(register)
        for key, value in fields.items():
            if main.is_long():
                main = main.rest(register)
                register = TABLE
            name = main.names.get(key)
            if name is None:
                name = main.text(self._bytes(key))
                main.names[key] = name
            constant = self._constant(main, value)
            if constant >= 0:
                main.set_constant(register, name, constant)
            else:
                self.value(main, register + 2, value)
                main.set_loaded(register, name)

    def _array(self, main: Construct, register: int, items: list[object]) -> None:
        """Load an array."""
        main.resize(main.new_array(register), len(items))
        batch = 1
        pending = 0
        for item in items:
            pending += 1
            self.value(main, register + pending, item)
            if pending == BATCH:
                main.set_list(register, pending, batch)
                batch += 1
                pending = 0
                if main.is_long():
                    main = main.rest(register)
                    register = TABLE
        if pending:
            main.set_list(register, pending, batch)


def _double(value: int) -> float:
    """Return an integer of any size as a double."""
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf


_BAD_DATA: Final = b"Bad data format in input."
_TOO_SHORT: Final = b"Missing bytes in input."
_TOO_MANY: Final = b"stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)"
_MANY: Final = 7900  # results that Lua's stack has room for
TOO_DEEP: Final = b"stack overflow (too many nested values)"
DEEPEST: Final = 2600  # nested values that Redis reads before Lua's stack of 8,000 places is full


class MessageError(Exception):
    """Data that is no MessagePack; `text` is the error."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text: Final = text


def read_messages(data: bytes, limit: object, offset: object) -> tuple[object, ...]:
    """Return the chunk that makes an array of `limit` values in `data` (all of them if it is -1), how many they are
    and the next offset (-1 at the end)."""
    if not isinstance(limit, int) or not isinstance(offset, int):
        return (None, _BAD_DATA)
    reader = _Messages(data, offset)
    try:
        main = Construct(1)
        count = reader.all(main, limit)
        return (chunk(main), count, -1 if reader.at >= len(data) else reader.at)
    except MessageError as error:
        return (None, error.text)
    except RecursionError:  # interpreted, Python's own limit comes first
        return (None, TOO_DEEP)


_SIZED: Final[dict[int, tuple[Struct, int]]] = {
    0xCE: (Struct(">I"), 4),
    0xCF: (Struct(">Q"), 8),
    0xD1: (Struct(">h"), 2),
    0xD2: (Struct(">i"), 4),
    0xD3: (Struct(">q"), 8),
    0xCA: (Struct(">f"), 4),
    0xCB: (Struct(">d"), 8),
}


class _Messages:
    """Reads values one after the other."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._data: Final = data
        self._size: Final = len(data)
        self.at: int = offset
        self._depth: int = 0
        self._number_read: float = 0.0

    def all(self, main: Construct, limit: int) -> int:
        """Return an array with `limit` values, with all if it is -1; return here how many they are."""
        main.new_map(TABLE)
        count = 0
        pending = 0
        while self.at < self._size and count != limit:
            count += 1
            pending += 1
            if count > _MANY:
                raise MessageError(_TOO_MANY)
            self._value(main, TABLE + pending)
            if pending == BATCH:
                main.set_list(TABLE, pending, count // BATCH)
                pending = 0
        if pending:
            main.set_list(TABLE, pending, count // BATCH + 1)
        main.give_back(TABLE)
        return count

    def _value(self, main: Construct, register: int) -> None:
        """Load the next value."""
        constant = self._constant(main)
        if constant >= 0:
            main.load(register, constant)
            return
        kind = self._data[self.at - 1]
        if kind == 0xC0:
            main.load_nil(register)
        elif kind == 0xC2 or kind == 0xC3:
            main.load_bool(register, kind == 0xC3)
        elif main.is_deep(register):
            other = main.nested(register)
            self._table(other, TABLE, kind)
            other.give_back(TABLE)
        else:
            self._table(main, register, kind)

    def _constant(self, main: Construct) -> int:
        """Return the number of the next value as a constant; -1 if it is none, with its type passed."""
        at = self.at
        if at >= self._size:
            raise MessageError(_TOO_SHORT)
        kind = self._data[at]
        self.at = at + 1
        if kind <= 0x7F:
            return main.number(float(kind))
        if 0xA0 <= kind <= 0xBF:
            return main.text(self._take(kind & 31))
        if kind >= 0xE0:
            return main.number(float(kind - 256))
        if kind < 0xA0:
            return -1
        if kind == 0xCC:
            return main.number(float(self._take(1)[0]))
        if kind == 0xCD:
            return main.number(float(self._length(2)))
        if kind == 0xD0:
            value = self._take(1)[0]
            return main.number(float(value - 256 if value > 127 else value))
        if 0xD9 <= kind <= 0xDB:
            return main.text(self._take(self._length(1 << (kind - 0xD9))))
        return self._number(main, kind) if kind in _SIZED else -1

    def _number(self, main: Construct, kind: int) -> int:
        """Return the number of a constant, a number of fixed size."""
        structure, size = _SIZED[kind]
        value: int | float = structure.unpack(self._take(size))[0]
        if kind == 0xCF and value > INT64_MAX:
            value -= 1 << 64  # Lua 5.1 has no unsigned integers
        self._number_read = float(value)
        return main.number(self._number_read)

    def _take(self, size: int) -> bytes:
        """Return the next bytes."""
        start = self.at
        end = start + size
        if end > self._size:
            raise MessageError(_TOO_SHORT)
        self.at = end
        return self._data[start:end]

    def _length(self, size: int) -> int:
        """Return an unsigned number of `size` bytes."""
        return int.from_bytes(self._take(size), "big")

    def _table(self, main: Construct, register: int, kind: int) -> None:
        """Load an array or a map."""
        self._depth += 1
        if self._depth > DEEPEST:  # compiled code would go on until the process ends for want of stack
            raise MessageError(TOO_DEEP)
        if kind <= 0x8F:
            self._map(main, register, kind & 15)
        elif kind <= 0x9F:
            self._array(main, register, kind & 15)
        elif kind == 0xDC or kind == 0xDD:
            self._array(main, register, self._length(2 if kind == 0xDC else 4))
        elif kind == 0xDE or kind == 0xDF:
            self._map(main, register, self._length(2 if kind == 0xDE else 4))
        else:
            raise MessageError(_BAD_DATA)
        self._depth -= 1

    def _array(self, main: Construct, register: int, count: int) -> None:
        """Load an array."""
        maker = main
        at = main.new_array(register)
        batch = 1
        pending = 0
        for index in range(count):
            if self.at < self._size and self._data[self.at] == 0xC0:
                maker.resize(at, index)
                if pending:
                    main.set_list(register, pending, batch)
                self._holed_array(main, register, index, count)
                return
            pending += 1
            self._value(main, register + pending)
            if pending == BATCH:
                main.set_list(register, pending, batch)
                batch += 1
                pending = 0
                if main.is_long():
                    main = main.rest(register)
                    register = TABLE
        maker.resize(at, count)
        if pending:
            main.set_list(register, pending, batch)

    def _holed_array(self, main: Construct, register: int, done: int, count: int) -> None:
        """Load what follows `done` elements of an array with nil in it, one by one: so it grows as it would."""
        for index in range(done, count):
            if main.is_long():
                main = main.rest(register)
                register = TABLE
            main.load(register + 1, main.number(float(index + 1)))
            self._value(main, register + 2)
            main.set_pair(register)

    def _map(self, main: Construct, register: int, count: int) -> None:
        """Load a map."""
        main.new_map(register)
        for _ in range(count):
            if main.is_long():
                main = main.rest(register)
                register = TABLE
            kind = self._data[self.at] if self.at < self._size else 0
            if 0xA0 <= kind <= 0xBF:
                self.at += 1
                self._field(main, register, self._name(main, self._take(kind & 31)))
            else:
                self._value(main, register + 1)
                is_nan = (kind == 0xCA or kind == 0xCB) and isnan(self._number_read)
                self._value(main, register + 2)
                if kind == 0xC0 or is_nan:
                    raise MessageError(b"table index is NaN" if is_nan else b"table index is nil")
                main.set_pair(register)

    def _name(self, main: Construct, name: bytes) -> int:
        """Return the number of a constant, a string that is likely to come again."""
        found = main.names.get(name)
        if found is None:
            found = main.text(name)
            main.names[name] = found
        return found

    def _field(self, main: Construct, register: int, name: int) -> None:
        """Load a value and set the field `name` to it."""
        constant = self._constant(main)
        if constant >= 0:
            main.set_constant(register, name, constant)
            return
        self.at -= 1
        self._value(main, register + 2)
        main.set_loaded(register, name)


def pack_double(number: object) -> bytes:
    """Return a number as the shortest MessagePack float that holds it."""
    value = float(number) if isinstance(number, (int, float)) else 0.0
    try:
        short = pack(">f", value)
    except OverflowError:
        return b"\xcb" + pack(">d", value)
    return b"\xca" + short if unpack(">f", short)[0] == value else b"\xcb" + pack(">d", value)
