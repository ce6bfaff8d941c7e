"""What the libraries `bit` and `struct` of scripts leave to the server.

Map: bit_operation; Layout and struct_pack, struct_unpack, struct_size.

Rule of the room: these functions are called by Lua with strings (bytes) and numbers (int or float), return such values
(a tuple for several), and report a wrong argument as `(None, text, position)` or `(None, text)`: lua/bits.lua raises
it.
"""

from math import inf
from struct import pack, unpack
from typing import Final

from coordkit_server.numeric import INT64_MAX, parse_float
from coordkit_server.scripting.convert import LOT

# -- bits --------------------------------------------------------------------------------------------------------------

_WORD: Final = 0xFFFFFFFF
_EXACT: Final = 1 << 51
# added to a double it leaves the integer part in the low bits
_MAGIC: Final = 6755399441055744.0


def _word(number: object) -> int:
    """Return the low 32 bits of a number, rounded to the nearest integer."""
    if isinstance(number, int) and -_EXACT <= number <= _EXACT:
        return number & _WORD
    value = float(number) if isinstance(number, (int, float)) else 0.0
    return int.from_bytes(pack("<d", value + _MAGIC)[:4], "little")


def _signed(word: int) -> int:
    """Return 32 bits as a signed number."""
    return word - (1 << 32) if word & 0x80000000 else word


def bit_operation(name: bytes, first: object, second: object) -> object:
    """Return the result of the BitOp function `name`."""
    word = _word(first)
    other = _word(second)
    if name == b"tohex":
        return _hexadecimal(word, _signed(other))
    if name == b"band":
        return _signed(word & other)
    if name == b"bor":
        return _signed(word | other)
    if name == b"bxor":
        return _signed(word ^ other)
    if name == b"bnot":
        return _signed(~word & _WORD)
    if name == b"bswap":
        return _signed(int.from_bytes(word.to_bytes(4, "little"), "big"))
    if name == b"tobit":
        return _signed(word)
    return _signed(_shifted(name, word, other & 31))


def _shifted(name: bytes, word: int, count: int) -> int:
    """Return `word` shifted or rotated by `count` bits."""
    if name == b"lshift":
        return (word << count) & _WORD
    if name == b"rshift":
        return word >> count
    if name == b"arshift":
        return (_signed(word) >> count) & _WORD
    if name == b"ror":
        count = (32 - count) & 31
    return ((word << count) | (word >> (32 - count))) & _WORD


def _hexadecimal(word: int, digits: int) -> bytes:
    """Return the lowest digits of `word`, in upper case if `digits` is negative."""
    count = min(abs(digits), 8)
    text = b"%08X" % word if digits < 0 else b"%08x" % word
    return text[8 - count :]


# -- binary structures -------------------------------------------------------------------------------------------------

_FIXED: Final[dict[int, int]] = {
    ord("B"): 1,
    ord("b"): 1,
    ord("H"): 2,
    ord("h"): 2,
    ord("L"): 8,
    ord("l"): 8,
    ord("T"): 8,
    ord("f"): 4,
    ord("d"): 8,
    ord("x"): 1,
}
_INTEGERS: Final = b"bBhHlLTiI"
_MAX_INTEGER: Final = 32
_MAX_INT: Final = 2147483647
_SHORT: Final = b"data string too short"


class LayoutError(Exception):
    """A format or an argument that does not fit; `position` 0 if it is no argument's fault."""

    def __init__(self, text: bytes, position: int) -> None:
        super().__init__(text)
        self.text: Final = text
        self.position: Final = position


def _problem(error: LayoutError) -> tuple[object, ...]:
    """Return an error as Lua gets it."""
    if error.position == 0:
        return (None, error.text)
    return (None, error.text, error.position)


class Layout:
    """Walks over a format: `>` `<` byte order, `!n` alignment, then one option an item."""

    def __init__(self, fmt: bytes, lenient: bool = False) -> None:
        end = fmt.find(b"\x00")
        self._lenient: Final = lenient
        self._format: Final = fmt if end < 0 else fmt[:end]
        self._at: int = 0
        self._align: int = 1
        self.little: bool = True
        self.option: int = 0
        self.size: int = 0

    def next(self, position: int) -> bool:
        """Go to the next option and its size; return False at the end.  `padding` depends on `position`."""
        while self._at < len(self._format):
            self.option = self._format[self._at]
            self._at += 1
            self.size = self._option_size()
            if self.size > 0 or self.option in b"csiI":
                return True
            self._control()
        return False

    def padding(self, position: int) -> int:
        """Return how many bytes stand in front of the item to align it."""
        size = self.size
        if size == 0 or self.option == 99:
            return 0
        size = min(size, self._align)
        return (size - (position & (size - 1))) & (size - 1)

    def is_integer(self) -> bool:
        """Return True if the item is an integer."""
        return self.option in _INTEGERS

    def is_signed(self) -> bool:
        """Return True if the item is a signed integer."""
        return self.option >= 97

    def _option_size(self) -> int:
        """Return the size of the item that the option stands for, 0 if it stands for none or is open."""
        option = self.option
        if option == 99:  # c
            return self._number(1)
        if option in b"iI":
            size = self._number(4)
            if size > _MAX_INTEGER:
                raise LayoutError(b"integral size %d is larger than limit of %d" % (size, _MAX_INTEGER), 0)
            return size
        return _FIXED.get(option, 0)

    def _number(self, default: int) -> int:
        """Return the number at this place of the format."""
        start = self._at
        value = 0
        while self._at < len(self._format) and 48 <= self._format[self._at] <= 57:
            value = value * 10 + self._format[self._at] - 48
            if value > _MAX_INT:
                raise LayoutError(b"integral size overflow", 0)
            self._at += 1
        return value if self._at > start else default

    def _control(self) -> None:
        """Obey an option that sets something."""
        option = self.option
        if option == 62:  # >
            self.little = False
        elif option == 60:  # <
            self.little = True
        elif option == 33:  # !
            align = self._number(8)
            if align <= 0 or align & (align - 1):
                raise LayoutError(b"alignment %d is not a power of 2" % align, 0)
            self._align = align
        elif option != 32 and not (self._lenient and bytes([option]).isalnum()):
            raise LayoutError(b"invalid format option '%c'" % option, 1)


def _number_argument(values: tuple[object, ...], position: int) -> int | float:
    """Return the argument at `position` (the format is 1) as a number."""
    value = values[position - 2] if position - 2 < len(values) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, bytes):
        number = parse_float(value.strip())
        if number is not None:
            return number
    raise LayoutError(b"number expected, got " + _type_name(values, position), position)


def _text_argument(values: tuple[object, ...], position: int) -> bytes:
    """Return the argument at `position` as a string."""
    value = values[position - 2] if position - 2 < len(values) else None
    if isinstance(value, bytes):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return b"%.14g" % value
    raise LayoutError(b"string expected, got " + _type_name(values, position), position)


def _type_name(values: tuple[object, ...], position: int) -> bytes:
    """Return the Lua type of an argument."""
    value = values[position - 2] if position - 2 < len(values) else None
    if value is None:
        return b"nil"  # also for one that is missing
    if isinstance(value, bool):
        return b"boolean"
    if isinstance(value, bytes):
        return b"string"
    return b"table"


def struct_pack(fmt: bytes, values: tuple[object, ...]) -> object:
    """Return `values` laid out as `fmt` says."""
    try:
        return _packed(Layout(fmt), values)
    except LayoutError as error:
        return _problem(error)


def _packed(layout: Layout, values: tuple[object, ...]) -> bytes:
    """Return the bytes of `values`."""
    out = bytearray()
    position = 2
    while layout.next(len(out)):
        out.extend(bytes(layout.padding(len(out))))
        if layout.is_integer():
            out.extend(_integer_bytes(_number_argument(values, position), layout.size, layout.little))
        elif layout.option == 120:  # x
            out.append(0)
            continue
        elif layout.option == 102 or layout.option == 100:  # f d
            out.extend(_float_bytes(float(_number_argument(values, position)), layout))
        else:
            text = _text_argument(values, position)
            size = layout.size or len(text)
            if len(text) < size:
                raise LayoutError(b"string too short", position + 1)
            out.extend(text[:size])
            if layout.option == 115:  # s
                out.append(0)
        position += 1
    return bytes(out)


def _integer_bytes(value: float, size: int, little: bool) -> bytes:
    """Return an integer as 64 bits, cut or filled with zeros to `size` bytes."""
    whole = int(value) if -inf < value < inf else 0
    data = (whole & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")[:size]
    data += bytes(size - len(data))
    return data if little else data[::-1]


def _float_bytes(value: float, layout: Layout) -> bytes:
    """Return a float or a double."""
    letter = "f" if layout.option == 102 else "d"
    order = "<" if layout.little else ">"
    try:
        return pack(order + letter, value)
    except OverflowError:
        return pack(order + letter, inf if value > 0 else -inf)


def struct_unpack(fmt: bytes, data: bytes, start: object) -> object:
    """Return the values that `fmt` finds in `data` from `start` (1 is the first byte) on, and the next position."""
    if not isinstance(start, (int, float)) or start == 0:
        return (None, b"offset must be 1 or greater", 3)
    if start < 0:
        return (None, _SHORT, 2)  # Redis takes it for a very large one
    try:
        return tuple(_unpacked(Layout(fmt), data, int(start) - 1))
    except LayoutError as error:
        return _problem(error)


def _unpacked(layout: Layout, data: bytes, position: int) -> list[object]:
    """Return the values, then the next position."""
    found: list[object] = []
    while layout.next(position):
        size = layout.size
        position += layout.padding(position)
        if position + size > len(data):
            raise LayoutError(_SHORT, 2)
        option = layout.option
        if option == 99 and size == 0:  # c0: the previous number is the size
            size = _previous_size(found)
            if position + size > len(data):
                raise LayoutError(_SHORT, 2)
        if option == 115:  # s
            end = data.find(b"\x00", position)
            if end < 0:
                raise LayoutError(b"unfinished string in data", 0)
            size = end + 1 - position
            found.append(data[position:end])
        elif option != 120:
            found.append(_item(layout, data[position : position + size]))
        position += size
        if len(found) > LOT:
            raise LayoutError(b"stack overflow (too many results)", 0)
    found.append(position + 1)
    return found


def _previous_size(found: list[object]) -> int:
    """Take the number that was read last."""
    if found:
        last = found.pop()
        if isinstance(last, (int, float)) and last >= 0:
            return int(last)
    raise LayoutError(b"format 'c0' needs a previous size", 0)


def _item(layout: Layout, raw: bytes) -> object:
    """Return the value of an item."""
    if layout.option == 99:
        return raw
    if layout.option == 102 or layout.option == 100:
        order = "<" if layout.little else ">"
        number: float = unpack(order + ("f" if layout.option == 102 else "d"), raw)[0]
        return number
    value = int.from_bytes(raw, "little" if layout.little else "big") & 0xFFFFFFFFFFFFFFFF
    if layout.is_signed():
        sign = 1 << ((layout.size * 8 - 1) & 63)
        return (value & (sign - 1)) - (value & sign) if layout.size <= 8 else value - ((value & sign) << 1)
    return value if value <= INT64_MAX else float(value)


def struct_size(fmt: bytes) -> object:
    """Return how many bytes the items of `fmt` take."""
    try:
        layout = Layout(fmt, lenient=True)  # letters that mean nothing are passed over, as in Redis
        position = 0
        while layout.next(position):
            if layout.option == 115:
                return (None, b"option 's' has no fixed size", 1)
            if layout.option == 99 and layout.size == 0:
                return (None, b"option 'c0' has no fixed size", 1)
            position += layout.padding(position) + layout.size
    except LayoutError as error:
        return _problem(error)
    return position
