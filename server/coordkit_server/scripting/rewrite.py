"""What is changed in a compiled script before it is loaded, so that it runs faster and reports errors as in Redis.

Where an error was raised.  In the interpreter that Redis uses `redis.call` is a C function, so `return redis.call(...)`
keeps the frame of the script, and the error names its line.  Here it is a Lua function, and a tail call to it takes the
script's frame away.  So tail calls of the main chunk become calls (it runs once, so no recursion grows), those to a
field or global with one of the names in `_LUA_HERE`, and those to a variable whose name ends in `call` (such as `local
rcall = redis.call`).  TAILCALL and CALL have the same operands, and a TAILCALL is always followed by the RETURN that
passes its results on.

How a script calls the server.  A coroutine cannot yield through a C function that runs a function of the script.  In a
script that names none of `_RUNS_FUNCTIONS` and whose loops go over pairs, ipairs or gmatch no C function can do so: no
table gets a metatable, and iterators are functions of the interpreter.  Any other script is loaded so that it calls
the server back.

Which `redis.call`.  Where the name of the command and the number of its arguments are known, much more is: sites.py.

Which environment.  A script that assigns to a global must get an error, so its globals go through a read-only proxy.
One that never does reads them from a plain table.
"""

from typing import Final

from coordkit_server.scripting.bytecode import (
    CALL,
    CLOSURE,
    CONSTANT,
    FORLOOP,
    FORPREP,
    GETGLOBAL,
    GETTABLE,
    GETUPVAL,
    JMP,
    JUMP_BIAS,
    LOADK,
    MOVE,
    NO_TARGET,
    SELF,
    SETGLOBAL,
    TAILCALL,
    TFORLOOP,
    Function,
    name_at,
    read_chunk,
    read_format,
    target,
    write_chunk,
)
from coordkit_server.scripting.sites import (
    USES_NONE,
    USES_READ,
    USES_UNKNOWN,
    Site,
    specialise,
    uses_of_arguments,
)

# flags of a rewritten script
CALLS_BACK: Final = 1  # it cannot yield
SETS_GLOBALS: Final = 2  # it needs the read-only environment

# functions of the environment that are Lua functions here and C functions in Redis
_LUA_HERE: Final = frozenset(
    [
        b"acl_check_cmd",
        b"call",
        b"decode",
        b"encode",
        b"error",
        b"insert",
        b"load",
        b"loadstring",
        b"log",
        b"pack",
        b"pcall",
        b"random",
        b"randomseed",
        b"rawset",
        b"remove",
        b"set_repl",
        b"setmetatable",
        b"setresp",
        b"sha1hex",
        b"sort",
        b"unpack",
        b"unpack_limit",
        b"unpack_one",
    ]
)
# what makes C functions run functions of a script, or leads to it
_RUNS_FUNCTIONS: Final = frozenset(
    [
        b"_G",
        b"coroutine",
        b"foreach",
        b"foreachi",
        b"getfenv",
        b"gsub",
        b"load",
        b"loadstring",
        b"setfenv",
        b"setmetatable",
        b"sort",
        b"xpcall",
    ]
)
_ITERATORS: Final = frozenset([b"pairs", b"ipairs", b"gmatch"])
# operations with one operand Bx in place of B and C
_BX: Final = frozenset([LOADK, GETGLOBAL, SETGLOBAL, JMP, FORLOOP, FORPREP, CLOSURE])


class Rewritten:
    """What to load for a compiled script."""

    def __init__(self, code: bytes, flags: int, uses: int, sites: list[Site]) -> None:
        self.code: Final = code
        self.flags: Final = flags
        self.uses: Final = uses  # of KEYS and ARGV, as far as the script still reads them (sites.py)
        self.sites: Final = sites


def rewrite(dumped: bytes, first_site: int = 0, *, is_script: bool) -> Rewritten:
    """Return what to load for `dumped` (string.dump of a main chunk); an unknown format is left alone.

    `is_script`: what the main chunk returns is a script's result (the main chunk of a library only registers)."""
    fmt = read_format(dumped)
    if fmt is None:
        return Rewritten(dumped, CALLS_BACK | SETS_GLOBALS, USES_UNKNOWN, [])
    main = read_chunk(dumped, fmt)
    flags = 0
    functions: list[Function] = [main]
    for function in functions:
        functions.extend(function.functions)
        if not _RUNS_FUNCTIONS.isdisjoint(function.names) or _names_pcall(function) or _has_own_iterator(function):
            flags |= CALLS_BACK
        if _sets_globals(function):
            flags |= SETS_GLOBALS
    uses = _uses(functions) if is_script and not flags else USES_UNKNOWN
    sites: list[Site] = []
    for function in functions:
        _keep_frames(function, is_main=function is main)
        if not flags:
            is_main = is_script and function is main
            specialise(function, fmt, sites, first_site, is_main=is_main, knows_arguments=uses != USES_UNKNOWN)
    if uses == USES_READ:
        uses = _uses(functions)  # what is left
    return Rewritten(write_chunk(main, fmt), flags, uses, sites)


def _uses(functions: list[Function]) -> int:
    """Return how all of `functions` use KEYS and ARGV."""
    found = USES_NONE
    for function in functions:
        found = max(found, uses_of_arguments(function))
    return found


def _sets_globals(function: Function) -> bool:
    """Return True if `function` assigns to a global variable."""
    for instruction in function.code:
        if instruction & 0x3F == SETGLOBAL:
            return True
    return False


def _names_pcall(function: Function) -> bool:
    """Return True if `function` names pcall other than in `redis.pcall`."""
    if b"pcall" not in function.names:
        return False
    constant = function.names.index(b"pcall")
    code = function.code
    for index, instruction in enumerate(code):
        operation = instruction & 0x3F
        if operation in (LOADK, GETGLOBAL, SETGLOBAL):
            if instruction >> 14 == constant:
                return True
        elif operation == GETTABLE and (instruction >> 14) & 0x1FF == constant + CONSTANT:
            before = code[index - 1]
            if before & 0x3F != GETGLOBAL or target(before) != (instruction >> 23) & 0x1FF:
                return True
            if name_at(function.names, before >> 14) != b"redis":
                return True
        elif operation not in _BX and constant + CONSTANT in ((instruction >> 14) & 0x1FF, (instruction >> 23) & 0x1FF):
            return True
    return False


# -- loops ------------------------------------------------------------------------------------------------------------


def _has_own_iterator(function: Function) -> bool:
    """Return True unless all `for ... in` loops are known to have iterators that are C functions."""
    for index, instruction in enumerate(function.code):
        if instruction & 0x3F == TFORLOOP and _iterator(function, index) not in _ITERATORS:
            return True
    return False


def _iterator(function: Function, loop: int) -> bytes:
    """Return the name of the function whose results the loop at `loop` goes over, b"" if there is none."""
    code = function.code
    for index in range(loop - 1, 0, -1):
        if code[index] & 0x3F == JMP and index + 1 + (code[index] >> 14) - JUMP_BIAS == loop:
            setup = code[index - 1]
            if setup & 0x3F == CALL and target(setup) == target(code[loop]):
                return _callee(function, index - 1)
            return b""
    return b""


# -- calls ------------------------------------------------------------------------------------------------------------


def _keep_frames(function: Function, *, is_main: bool) -> None:
    """Turn the tail calls that would hide a line into calls."""
    code = function.code
    for index, instruction in enumerate(code):
        if instruction & 0x3F == TAILCALL and (is_main or _hides_a_line(function, index)):
            code[index] = (instruction & ~0x3F) | CALL


def _hides_a_line(function: Function, index: int) -> bool:
    """Return True if the call at `index` calls what is no C function here but one in Redis."""
    name = _callee(function, index)
    return name in _LUA_HERE or (name.startswith(b" ") and name.endswith(b"call"))


def _callee(function: Function, index: int) -> bytes:
    """Return the name of the global or field that is called at `index`, a variable's with a space in front."""
    register = target(function.code[index])
    for earlier in range(index - 1, -1, -1):
        instruction = function.code[earlier]
        operation = instruction & 0x3F
        if target(instruction) != register or operation in NO_TARGET:
            continue
        operand = (instruction >> 23) & 0x1FF
        if operation in (GETTABLE, SELF):
            return name_at(function.names, ((instruction >> 14) & 0x1FF) - CONSTANT)
        if operation == GETGLOBAL:
            return name_at(function.names, instruction >> 14)
        if operation == GETUPVAL:
            return b" " + name_at(function.upvalues, operand)
        return b" " + _local(function, operand, earlier) if operation == MOVE else b""
    return b""


def _local(function: Function, register: int, index: int) -> bytes:
    """Return the name of the local variable in `register` at instruction `index`, b"" if it is unknown."""
    position = register
    for name, first, last in function.locals:
        if first > index:
            break
        if index < last:
            if position == 0:
                return name
            position -= 1
    return b""
