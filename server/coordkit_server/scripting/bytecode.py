"""What string.dump writes, Lua 5.1: functions with their instructions, constants and names; read, change, write.

Map: operations, target, name_at, Function, read_chunk, write_chunk, constants.

An instruction is an integer: operation in bits 0-5, operand A in 6-13, C in 14-22, B in 23-31, or Bx in 14-31.  An
operand B or C of 256 and more means a constant.
"""

from struct import pack, unpack
from typing import Final

MOVE: Final = 0
LOADK: Final = 1
LOADBOOL: Final = 2
LOADNIL: Final = 3
GETUPVAL: Final = 4
GETGLOBAL: Final = 5
GETTABLE: Final = 6
SETGLOBAL: Final = 7
SETUPVAL: Final = 8
SETTABLE: Final = 9
NEWTABLE: Final = 10
SELF: Final = 11
ADD: Final = 12
POW: Final = 17
UNM: Final = 18
LEN: Final = 20
CONCAT: Final = 21
JMP: Final = 22
EQ: Final = 23
LT: Final = 24
LE: Final = 25
TEST: Final = 26
CALL: Final = 28
TAILCALL: Final = 29
RETURN: Final = 30
FORLOOP: Final = 31
FORPREP: Final = 32
TFORLOOP: Final = 33
SETLIST: Final = 34
CLOSE: Final = 35
CLOSURE: Final = 36
VARARG: Final = 37
# operations whose operand A is no register that they change
NO_TARGET: Final = frozenset([SETGLOBAL, SETUPVAL, SETTABLE, JMP, EQ, LT, LE, TEST, RETURN])

JUMP_BIAS: Final = 131071
CONSTANT: Final = 256
NUMBER: Final = 3
STRING: Final = 4


def target(instruction: int) -> int:
    """Return operand A."""
    return (instruction >> 6) & 0xFF


def name_at(names: list[bytes], index: int) -> bytes:
    """Return a name, b"" for an index out of range."""
    return names[index] if 0 <= index < len(names) else b""


class Function:
    """One function.  Parts that nobody changes are kept as they were read."""

    def __init__(self) -> None:
        self.head: bytes = b""  # source name, lines, counts
        self.code: list[int] = []
        self.constants: list[bytes] = []  # as dumped: a type byte and the value
        self.names: list[bytes] = []  # of `constants` those that are strings, b"" for the others
        self.numbers: dict[int, float] = {}  # the constants that are numbers, by index
        self.functions: list[Function] = []
        self.tail: bytes = b""  # line numbers and names of variables
        self.locals: list[tuple[bytes, int, int]] = []  # name, first instruction, the one after the last
        self.upvalues: list[bytes] = []


class Format:
    """The sizes in a chunk's header."""

    def __init__(self, header: bytes) -> None:
        self.header: Final = header
        self.int_size: Final = header[7]
        self.size_size: Final = header[8]
        self.instruction_size: Final = header[9]
        self.number_size: Final = header[10]


class _Reader:
    """Walks over a chunk."""

    def __init__(self, data: bytes, fmt: Format) -> None:
        self._data: Final = data
        self._format: Final = fmt
        self._at: int = len(fmt.header)

    def function(self) -> Function:
        """Return the function that starts here."""
        found = Function()
        start = self._at
        self._string()
        self._at += 2 * self._format.int_size + 4
        found.head = self._data[start : self._at]
        size = self._format.instruction_size
        for _ in range(self._integer()):
            found.code.append(int.from_bytes(self._data[self._at : self._at + size], "little"))
            self._at += size
        for _ in range(self._integer()):
            self._constant(found)
        for _ in range(self._integer()):
            found.functions.append(self.function())
        start = self._at
        lines = self._integer()
        self._at += lines * self._format.int_size
        for _ in range(self._integer()):
            name = self._string()
            first = self._integer()
            found.locals.append((name, first, self._integer()))
        for _ in range(self._integer()):
            found.upvalues.append(self._string())
        found.tail = self._data[start : self._at]
        return found

    def _integer(self) -> int:
        """Return an `int`."""
        start = self._at
        self._at = start + self._format.int_size
        return int.from_bytes(self._data[start : self._at], "little")

    def _string(self) -> bytes:
        """Return a string without its terminating zero."""
        start = self._at + self._format.size_size
        size = int.from_bytes(self._data[self._at : start], "little")
        self._at = start + size
        return self._data[start : start + size - 1] if size else b""

    def _constant(self, function: Function) -> None:
        """Add a constant to `function`."""
        start = self._at
        kind = self._data[start]
        self._at = start + 1
        name = b""
        if kind == 1:
            self._at += 1
        elif kind == NUMBER:
            self._at += self._format.number_size
            number: float = unpack("<d", self._data[start + 1 : self._at])[0]
            function.numbers[len(function.names)] = number
        elif kind == STRING:
            name = self._string()
        function.constants.append(self._data[start : self._at])
        function.names.append(name)


def string_constant(name: bytes, fmt: Format) -> bytes:
    """Return a string as a dumped constant."""
    return bytes([STRING]) + (len(name) + 1).to_bytes(fmt.size_size, "little") + name + b"\x00"


def double_constant(number: float) -> bytes:
    """Return a number as a dumped constant."""
    return bytes([NUMBER]) + pack("<d", number)


def read_format(dumped: bytes) -> Format | None:
    """Return the header of a chunk, None if it is not one of Lua 5.1 with doubles on a little-endian machine."""
    if dumped[:6] != b"\x1bLua\x51\x00" or dumped[6] != 1 or dumped[10:12] != b"\x08\x00":
        return None
    return Format(dumped[:12])


def read_chunk(dumped: bytes, fmt: Format) -> Function:
    """Return the main function of a chunk."""
    return _Reader(dumped, fmt).function()


def write_chunk(main: Function, fmt: Format) -> bytes:
    """Return the chunk of a main function."""
    out: list[bytes] = [fmt.header]
    _write(main, fmt, out)
    return b"".join(out)


def _write(function: Function, fmt: Format, out: list[bytes]) -> None:
    """Append a function."""
    size = fmt.int_size
    out.append(function.head)
    out.append(len(function.code).to_bytes(size, "little"))
    for instruction in function.code:
        out.append(instruction.to_bytes(fmt.instruction_size, "little"))
    out.append(len(function.constants).to_bytes(size, "little"))
    out.extend(function.constants)
    out.append(len(function.functions).to_bytes(size, "little"))
    for inner in function.functions:
        _write(inner, fmt, out)
    out.append(function.tail)
