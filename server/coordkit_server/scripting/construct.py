"""Nested values on their way into the interpreter, as a compiled function that builds them.

A value as arguments costs a crossing a scalar, and what puts the scalars back into tables is a loop over them.  A
function that the interpreter loads costs one crossing, and its instructions do nothing else than build.

Map: Construct (one function; `nested` and `rest` start another), chunk; join_chunk.

A function's parameters are null (register 0) and, if it goes on with a table, that table (register 1).  Two things
start another function: registers run out in deep values, constants in long ones.

Tables grow as they do when elements are set one after the other, because `next` and `#` show how they have grown: maps
from nothing, arrays (`new_array`) to the next power of two.
"""

from struct import pack
from typing import Final

from librt.strings import BytesWriter, write_f64_le, write_i32_le, write_i64_le
from mypy_extensions import i32, i64

from coordkit_server.scripting.bytecode import (
    CALL,
    CLOSURE,
    CONCAT,
    CONSTANT,
    LOADBOOL,
    LOADK,
    LOADNIL,
    MOVE,
    NEWTABLE,
    NUMBER,
    RETURN,
    SETLIST,
    SETTABLE,
    STRING,
)

NULL: Final = 0
TABLE: Final = 1
BATCH: Final = 50  # elements that SETLIST takes from registers, the interpreter's own number
_DEEP: Final = 190  # a table in a register beyond it gets a function of its own: a batch needs as many again
JOINED: Final = 200
_REGISTERS: Final = 250
_LONG: Final = 200_000  # constants or functions, of the 262,144 that a function may have
_MANY_BATCHES: Final = 511

_NAMED: Final = 1 << 32  # what brings an instruction with a constant as operand B into the range of 32 bits
_HEADER: Final = b"\x1bLua\x51\x00\x01\x04\x08\x04\x08\x00"
_NO_NAMES: Final = bytes(12)  # no lines, no names of variables
_SOURCE: Final = b"=coordkit: data\x00"


class Construct:
    """One function.  Methods add instructions, or a constant, and return its number."""

    def __init__(self, parameters: int) -> None:
        self._parameters: Final = parameters
        self.count: int = 0  # of the constants
        self.names: Final[dict[object, int]] = {}  # strings that are constants already, for those who add them
        self._code: Final = BytesWriter()
        self._constants: Final = BytesWriter()
        self._functions: Final[list[Construct]] = []

    # -- constants -----------------------------------------------------------------------------------------------

    def text(self, value: bytes) -> int:
        """Add a string."""
        constants = self._constants
        constants.append(STRING)
        write_i64_le(constants, len(value) + 1)
        constants.write(value)
        constants.append(0)
        number = self.count
        self.count = number + 1
        return number

    def number(self, value: float) -> int:
        """Add a number."""
        constants = self._constants
        constants.append(NUMBER)
        write_f64_le(constants, value)
        number = self.count
        self.count = number + 1
        return number

    # -- instructions --------------------------------------------------------------------------------------------

    def load(self, register: int, constant: int) -> None:
        """Load a constant."""
        self._add(constant << 14 | register << 6 | LOADK)

    def load_bool(self, register: int, value: bool) -> None:
        """Load a boolean."""
        self._add((1 << 23 if value else 0) | register << 6 | LOADBOOL)

    def load_nil(self, register: int) -> None:
        """Load nil."""
        self._add(register << 23 | register << 6 | LOADNIL)

    def load_null(self, register: int) -> None:
        """Load null."""
        self._add(NULL << 23 | register << 6 | MOVE)

    def new_map(self, register: int) -> None:
        """Make an empty table."""
        self._add(register << 6 | NEWTABLE)

    def new_array(self, register: int) -> int:
        """Make a table for `resize`, which is given what this returns."""
        self._add(register << 6 | NEWTABLE)
        return len(self._code)

    def resize(self, at: int, size: int) -> None:
        """Make the table with room as it has when `size` elements have been set one after the other."""
        room = _room(size)
        self._code[at - 2] = (room & 1) << 7
        self._code[at - 1] = room >> 1

    def set_constant(self, register: int, name: int, value: int) -> None:
        """Set a field to a constant, through the next register but one if its number is too high."""
        if value < CONSTANT:
            self._set(register, name, value + CONSTANT)
        else:
            self._add(value << 14 | (register + 2) << 6 | LOADK)
            self._set(register, name, register + 2)

    def set_loaded(self, register: int, name: int) -> None:
        """Set a field to what is in the next register but one."""
        self._set(register, name, register + 2)

    def _set(self, register: int, name: int, operand: int) -> None:
        """Set the field whose name is a constant; the next register is used if its number is too high."""
        if name < CONSTANT:
            self._add(((name + CONSTANT) << 23 | operand << 14 | register << 6 | SETTABLE) - _NAMED)
        else:
            self._add(name << 14 | (register + 1) << 6 | LOADK)
            self._add((register + 1) << 23 | operand << 14 | register << 6 | SETTABLE)

    def set_pair(self, register: int) -> None:
        """Set an element: its key is in the next register, its value in the one behind that."""
        self._add((register + 1) << 23 | (register + 2) << 14 | register << 6 | SETTABLE)

    def set_list(self, register: int, count: int, batch: int) -> None:
        """Set the elements of the `batch`-th BATCH, `count` of them, to what is in the next registers."""
        if batch <= _MANY_BATCHES:
            self._add(count << 23 | batch << 14 | register << 6 | SETLIST)
        else:
            self._add(count << 23 | register << 6 | SETLIST)
            self._add(batch)

    def join(self, count: int) -> None:
        """Join what is in the first registers into the first of them."""
        self._add((count - 1) << 14 | CONCAT)

    def give_back(self, register: int) -> None:
        """Return what is in a register."""
        self._add(2 << 23 | register << 6 | RETURN)

    def _add(self, instruction: int) -> None:
        """Add an instruction, as a signed number."""
        write_i32_le(self._code, i32(i64(instruction)))

    # -- other functions -----------------------------------------------------------------------------------------

    def is_long(self) -> bool:
        """Return True if the rest of the table that is being filled should go into another function."""
        return self.count >= _LONG or len(self._functions) >= _LONG

    def is_deep(self, register: int) -> bool:
        """Return True if a table for this register has to be made by a function of its own."""
        return register >= _DEEP or self.is_long()

    def nested(self, register: int) -> "Construct":
        """Return another function, whose result is loaded here: it has to end with `give_back`."""
        other = Construct(1)
        self._call(register, other)
        self._add(NULL << 23 | (register + 1) << 6 | MOVE)
        self._add(2 << 23 | 2 << 14 | register << 6 | CALL)
        return other

    def rest(self, register: int) -> "Construct":
        """Return another function, which goes on with the table in `register`, there TABLE."""
        other = Construct(2)
        first = register + 1
        self._call(first, other)
        self._add(NULL << 23 | (first + 1) << 6 | MOVE)
        self._add(register << 23 | (first + 2) << 6 | MOVE)
        self._add(3 << 23 | 1 << 14 | first << 6 | CALL)
        return other

    def _call(self, register: int, other: "Construct") -> None:
        """Load another function."""
        self._add(len(self._functions) << 14 | register << 6 | CLOSURE)
        self._functions.append(other)

    # -- writing -------------------------------------------------------------------------------------------------

    def write(self, out: list[bytes], source: bytes) -> None:
        """Append the function as a chunk holds it."""
        self._add(1 << 23 | RETURN)
        out.append(pack("<Q", len(source)))
        out.append(source)
        out.append(pack("<iiBBBB", 0, 0, 0, self._parameters, 0, _REGISTERS))
        out.append(pack("<i", len(self._code) // 4))
        out.append(self._code.getvalue())
        out.append(pack("<i", self.count))
        out.append(self._constants.getvalue())
        out.append(pack("<i", len(self._functions)))
        for function in self._functions:
            function.write(out, b"")
        out.append(_NO_NAMES)


def chunk(main: Construct) -> bytes:
    """Return what `loadstring` makes the function `main` of."""
    out: list[bytes] = [_HEADER]
    main.write(out, _SOURCE)
    return b"".join(out)


def join_chunk() -> bytes:
    """Return the chunk that joins its JOINED arguments, strings and numbers: one instruction does it."""
    main = Construct(JOINED)
    main.join(JOINED)
    main.give_back(0)
    return chunk(main)


def _room(size: int) -> int:
    """Return the next power of two as an operand of NEWTABLE: a mantissa of three bits and an exponent."""
    if size == 0:
        return 0
    exponent = (size - 1).bit_length()
    return 1 << exponent if exponent < 4 else (exponent - 2) << 3
