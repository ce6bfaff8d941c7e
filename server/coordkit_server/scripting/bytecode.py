"""Tail calls of a compiled Lua 5.1 function that would hide where in a script an error was raised, as plain calls.

In the interpreter that Redis uses `redis.call` is a C function, so `return redis.call(...)` keeps the frame of the
script, and the error names its line.  Here it is a Lua function, and a tail call to it takes the script's frame away.
`keep_frames` rewrites, in the output of string.dump, the tail calls of the main chunk (it runs once, so no recursion
grows) and those to a field with one of the names in `_NAMES`.  TAILCALL and CALL have the same operands, and a
TAILCALL is always followed by the RETURN that passes its results on.
"""

from typing import Final

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
        code = self.at
        self.at = code + count * self._instruction_size
        self._rewrite(code, count, self.constants(), is_main=is_main)
        for _ in range(self.integer()):
            self.function(is_main=False)
        self.at += self.integer() * self._int_size
        for _ in range(self.integer()):
            self.string()
            self.at += 2 * self._int_size
        for _ in range(self.integer()):
            self.string()

    def _instruction(self, code: int, index: int) -> int:
        """Return the instruction at `index`."""
        start = code + index * self._instruction_size
        return int.from_bytes(self.data[start : start + self._instruction_size], "little")

    def _rewrite(self, code: int, count: int, names: list[bytes], *, is_main: bool) -> None:
        """Turn the tail calls that need it into calls."""
        for index in range(count):
            instruction = self._instruction(code, index)
            if instruction & 0x3F != _OP_TAILCALL:
                continue
            if is_main or self._called_field(code, index, names) in _NAMES:
                self.data[code + index * self._instruction_size] = (instruction & 0xC0) | _OP_CALL

    def _called_field(self, code: int, index: int, names: list[bytes]) -> bytes:
        """Return the name of the field that the call at `index` calls, b"" if it calls something else."""
        register = (self._instruction(code, index) >> 6) & 0xFF
        for earlier in range(index - 1, -1, -1):
            instruction = self._instruction(code, earlier)
            if (instruction >> 6) & 0xFF != register or instruction & 0x3F in _NO_TARGET:
                continue
            operand = (instruction >> 14) & 0x1FF
            if instruction & 0x3F in (_OP_GETTABLE, _OP_SELF) and operand >= 256 and operand - 256 < len(names):
                return names[operand - 256]
            return b""
        return b""


def keep_frames(dumped: bytes) -> bytes:
    """Return `dumped` (string.dump of a main chunk) with the tail calls rewritten; unchanged if it is not understood."""
    if dumped[:6] != b"\x1bLua\x51\x00" or dumped[6] != 1:
        return dumped
    reader = _Reader(dumped)
    reader.function(is_main=True)
    return bytes(reader.data)
