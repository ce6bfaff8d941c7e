"""Tail calls of a compiled Lua 5.1 function that would hide where in a script an error was raised, as plain calls.

In the interpreter that Redis uses `redis.call` is a C function, so `return redis.call(...)` keeps the frame of the
script, and the error names its line.  Here it is a Lua function, and a tail call to it takes the script's frame away.
`keep_frames` rewrites, in the output of string.dump, the tail calls of the main chunk (it runs once, so no recursion
grows), those to a field with one of the names in `_NAMES`, and those to a variable whose name ends in `call` (such as
`local rcall = redis.call`).  TAILCALL and CALL have the same operands, and a TAILCALL is always followed by the RETURN
that passes its results on.
"""

from typing import Final

_OP_MOVE: Final = 0
_OP_GETUPVAL: Final = 4
_OP_GETTABLE: Final = 6
_OP_SELF: Final = 11
_OP_CALL: Final = 28
# their first operand is no target: SETGLOBAL SETUPVAL SETTABLE JMP EQ LT LE TEST RETURN
_NO_TARGET: Final = frozenset([7, 8, 9, 22, 23, 24, 25, 26, 30])
_OP_TAILCALL: Final = 29
# fields of the libraries that are Lua functions here and C functions in Redis
_NAMES: Final = frozenset(
    [
        b"call",
        b"pcall",
        b"log",
        b"setresp",
        b"set_repl",
        b"sha1hex",
        b"acl_check_cmd",
        b"encode",
        b"decode",
        b"pack",
        b"unpack",
        b"unpack_one",
        b"unpack_limit",
        b"insert",
        b"remove",
        b"sort",
        b"random",
    ]
)


class _Reader:
    """Walks a dumped function: sizes are those of the machine that dumped it, given in its header."""

    def __init__(self, data: bytes) -> None:
        self.data: Final = bytearray(data)
        self.at: int = 12
        self._int_size: Final = data[7]
        self._size_size: Final = data[8]
        self._instruction_size: Final = data[9]
        self._number_size: Final = data[10]

    def integer(self) -> int:
        """Return an `int`."""
        start = self.at
        self.at = start + self._int_size
        return int.from_bytes(self.data[start : self.at], "little")

    def byte(self) -> int:
        """Return one byte."""
        self.at += 1
        return self.data[self.at - 1]

    def string(self) -> bytes:
        """Return a string without its terminating zero."""
        start = self.at + self._size_size
        size = int.from_bytes(self.data[self.at : start], "little")
        self.at = start + size
        return bytes(self.data[start : start + size - 1]) if size else b""

    def constants(self) -> list[bytes]:
        """Return the constants that are strings, b"" for the others."""
        names: list[bytes] = []
        for _ in range(self.integer()):
            kind = self.byte()
            name = b""
            if kind == 1:
                self.at += 1
            elif kind == 3:
                self.at += self._number_size
            elif kind == 4:
                name = self.string()
            names.append(name)
        return names

    def function(self, *, is_main: bool) -> None:
        """Rewrite one function and those inside it."""
        self.string()
        self.integer()
        self.integer()
        self.at += 4
        count = self.integer()
        code = _Code(self.data, self.at, count, self._instruction_size)
        self.at += count * self._instruction_size
        code.constants = self.constants()
        for _ in range(self.integer()):
            self.function(is_main=False)
        lines = self.integer()
        self.at += lines * self._int_size
        for _ in range(self.integer()):
            code.locals.append((self.string(), self.integer(), self.integer()))
        for _ in range(self.integer()):
            code.upvalues.append(self.string())
        code.rewrite(is_main=is_main)


class _Code:
    """The instructions of one function, and the names that it uses."""

    def __init__(self, data: bytearray, start: int, count: int, instruction_size: int) -> None:
        self._data: Final = data
        self._start: Final = start
        self._count: Final = count
        self._size: Final = instruction_size
        self.constants: list[bytes] = []
        self.locals: Final[list[tuple[bytes, int, int]]] = []  # name, first and last instruction
        self.upvalues: Final[list[bytes]] = []

    def rewrite(self, *, is_main: bool) -> None:
        """Turn the tail calls that need it into calls."""
        for index in range(self._count):
            instruction = self._instruction(index)
            if instruction & 0x3F == _OP_TAILCALL and (is_main or self._hides_a_line(index)):
                self._data[self._start + index * self._size] = (instruction & 0xC0) | _OP_CALL

    def _instruction(self, index: int) -> int:
        """Return the instruction at `index`."""
        start = self._start + index * self._size
        return int.from_bytes(self._data[start : start + self._size], "little")

    def _hides_a_line(self, index: int) -> bool:
        """Return True if the call at `index` calls what is no C function here but one in Redis."""
        register = (self._instruction(index) >> 6) & 0xFF
        for earlier in range(index - 1, -1, -1):
            instruction = self._instruction(earlier)
            operation = instruction & 0x3F
            if (instruction >> 6) & 0xFF != register or operation in _NO_TARGET:
                continue
            operand = (instruction >> 23) & 0x1FF
            if operation in (_OP_GETTABLE, _OP_SELF):
                return _name(self.constants, ((instruction >> 14) & 0x1FF) - 256) in _NAMES
            if operation == _OP_GETUPVAL:
                return _name(self.upvalues, operand).endswith(b"call")
            return operation == _OP_MOVE and self._local(operand, earlier).endswith(b"call")
        return False

    def _local(self, register: int, index: int) -> bytes:
        """Return the name of the local variable in `register` at instruction `index`, b"" if it is unknown."""
        position = register
        for name, first, last in self.locals:
            if first > index:
                break
            if index < last:
                if position == 0:
                    return name
                position -= 1
        return b""


def _name(names: list[bytes], index: int) -> bytes:
    """Return a name, b"" for an index out of range."""
    return names[index] if 0 <= index < len(names) else b""


def keep_frames(dumped: bytes) -> bytes:
    """Return `dumped` (string.dump of a main chunk) with tail calls rewritten; unchanged if its format is another."""
    if dumped[:6] != b"\x1bLua\x51\x00" or dumped[6] != 1:
        return dumped
    reader = _Reader(dumped)
    reader.function(is_main=True)
    return bytes(reader.data)
