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

Which `redis.call`.  `redis.call("name", ...)` with a name and a number of arguments that are known, at most `FEW`,
needs no check of them; where nobody uses the reply none is built; and where it is the script's result, the script ends
with the command.  The pair GETGLOBAL redis, GETTABLE call becomes
GETGLOBAL of a name that only rewritten code can name, because the table that holds it is no table that scripts reach.

Which environment.  A script that assigns to a global must get an error, so its globals go through a read-only proxy.
One that never does reads them from a plain table.
"""

from typing import Final

from coordkit_server.scripting.bytecode import (
    CALL,
    CLOSE,
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
    LOADNIL,
    MOVE,
    NO_TARGET,
    RETURN,
    SELF,
    SETGLOBAL,
    TAILCALL,
    TFORLOOP,
    VARARG,
    Format,
    Function,
    read_chunk,
    read_format,
    string_constant,
    write_chunk,
)

# arguments that a yield may carry (lua/host.lua)
FEW: Final = 24
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
# operations that may change registers above their operand A
_MANY_TARGETS: Final = frozenset([LOADNIL, CALL, TAILCALL, FORLOOP, FORPREP, TFORLOOP, CLOSE, VARARG, RETURN])


def rewrite(dumped: bytes, *, is_script: bool) -> tuple[bytes, int]:
    """Return what to load for `dumped` (string.dump of a main chunk), and flags; an unknown format is left alone.

    `is_script`: what the main chunk returns is a script's result (the main chunk of a library only registers)."""
    fmt = read_format(dumped)
    if fmt is None:
        return dumped, CALLS_BACK | SETS_GLOBALS
    main = read_chunk(dumped, fmt)
    flags = 0
    functions: list[Function] = [main]
    for function in functions:
        functions.extend(function.functions)
        if not _RUNS_FUNCTIONS.isdisjoint(function.names) or _names_pcall(function) or _has_own_iterator(function):
            flags |= CALLS_BACK
        if _sets_globals(function):
            flags |= SETS_GLOBALS
    for function in functions:
        _keep_frames(function, is_main=function is main)
        if not flags:
            _specialise_calls(function, fmt, is_main=is_script and function is main)
    return write_chunk(main, fmt), flags


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
            if before & 0x3F != GETGLOBAL or _target(before) != (instruction >> 23) & 0x1FF:
                return True
            if _name(function.names, before >> 14) != b"redis":
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
            if setup & 0x3F == CALL and _target(setup) == _target(code[loop]):
                return _callee(function, index - 1)
            return b""
    return b""


# -- calls ------------------------------------------------------------------------------------------------------------


def _target(instruction: int) -> int:
    """Return operand A."""
    return (instruction >> 6) & 0xFF


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
    register = _target(function.code[index])
    for earlier in range(index - 1, -1, -1):
        instruction = function.code[earlier]
        operation = instruction & 0x3F
        if _target(instruction) != register or operation in NO_TARGET:
            continue
        operand = (instruction >> 23) & 0x1FF
        if operation in (GETTABLE, SELF):
            return _name(function.names, ((instruction >> 14) & 0x1FF) - CONSTANT)
        if operation == GETGLOBAL:
            return _name(function.names, instruction >> 14)
        if operation == GETUPVAL:
            return b" " + _name(function.upvalues, operand)
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


def _name(names: list[bytes], index: int) -> bytes:
    """Return a name, b"" for an index out of range."""
    return names[index] if 0 <= index < len(names) else b""


def _specialise_calls(function: Function, fmt: Format, *, is_main: bool) -> None:
    """Let `redis.call("name", ...)` with few arguments name the function that does without checks."""
    code = function.code
    for index in range(len(code) - 3):
        register = _target(code[index])
        if (
            code[index] & 0x3F == GETGLOBAL
            and _name(function.names, code[index] >> 14) == b"redis"
            and code[index + 1] & 0x3F == GETTABLE
            and _target(code[index + 1]) == register
            and (code[index + 1] >> 23) & 0x1FF == register
        ):
            method = _name(function.names, ((code[index + 1] >> 14) & 0x1FF) - CONSTANT)
            variant = _variant(function, index + 2, register, method, is_main=is_main)
            if variant:
                code[index] = GETGLOBAL | register << 6 | _constant(function, variant, fmt) << 14
                code[index + 1] = MOVE | register << 6 | register << 23


def _variant(function: Function, first: int, register: int, method: bytes, *, is_main: bool) -> bytes:
    """Return which function to call in place of `redis.call` or `redis.pcall`, b"" for itself."""
    if method != b"call" and method != b"pcall":
        return b""
    code = function.code
    loads = code[first]
    if loads & 0x3F != LOADK or _target(loads) != register + 1 or not _name(function.names, loads >> 14):
        return b""
    for index in range(first + 1, len(code)):
        instruction = code[index]
        operation = instruction & 0x3F
        if operation == CALL and _target(instruction) == register:
            count = (instruction >> 23) & 0x1FF
            if count == 0 or count - 1 > FEW:
                return b""
            return b"redis." + method + _use(code, index, is_result=is_main and method == b"call")
        if operation in _MANY_TARGETS and _target(instruction) < register:
            return b""
        if _target(instruction) == register and operation not in NO_TARGET:
            return b""
    return b""


def _use(code: list[int], index: int, *, is_result: bool) -> bytes:
    """Return what becomes of the reply of the call at `index`, as a suffix; `is_result`: if it is returned."""
    results = (code[index] >> 14) & 0x1FF
    if results == 1:
        return b" unused"
    following = code[index + 1]
    if is_result and results == 0 and following & 0x3F == RETURN and _target(following) == _target(code[index]):
        return b" returned"
    return b" checked"


def _constant(function: Function, name: bytes, fmt: Format) -> int:
    """Return the index of the constant `name`, added if it is new."""
    if name in function.names:
        return function.names.index(name)
    function.names.append(name)
    function.constants.append(string_constant(name, fmt))
    return len(function.names) - 1
