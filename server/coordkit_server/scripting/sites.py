"""Calls of the server in a compiled script, as far as they are known before it runs.

`redis.call("SET", KEYS[1], ARGV[1], "NX", value)` leaves the interpreter as one number and `value`: what else it needs
is in the call's `Site`.  So a name is looked up once for all, and keys, arguments and constants never become Lua
strings and bytes again.

Map: Site and its sources; specialise (one function), uses_of_arguments (how a script uses KEYS and ARGV).

What is changed.  The function: GETGLOBAL redis, GETTABLE call becomes GETGLOBAL of a name that only rewritten code can
name, because the table that holds it is no table that scripts reach.  The command's name: the site's number.  An
argument that the site knows: nothing at the end of the list, else nil.  Instructions keep their places, so an error
names the line that it would name.

KEYS and ARGV.  An argument is known only if the script does nothing with these tables but look into them.
"""

from typing import Final

from coordkit_server.numeric import format_float
from coordkit_server.scripting.bytecode import (
    ADD,
    CALL,
    CLOSE,
    CONSTANT,
    FORLOOP,
    FORPREP,
    GETGLOBAL,
    GETTABLE,
    GETUPVAL,
    JMP,
    JUMP_BIAS,
    LEN,
    LOADK,
    LOADNIL,
    MOVE,
    NO_TARGET,
    POW,
    RETURN,
    SELF,
    TAILCALL,
    TFORLOOP,
    UNM,
    VARARG,
    Format,
    Function,
    double_constant,
    name_at,
    string_constant,
    target,
)

# arguments that a yield may carry (lua/host.lua)
FEW: Final = 24

# what becomes of a reply
CHECKED: Final = 0  # the script gets it
UNUSED: Final = 1  # nothing, unless it is an error
RETURNED: Final = 2  # it is the script's result
_SUFFIXES: Final[list[bytes]] = [b" checked", b" unused", b" returned"]

# where an argument comes from: a key's index from 0 on, or ARGUMENT - an argument's index, or one of these
CONSTANT_TEXT: Final = -1
DYNAMIC: Final = -2  # the script computes it
ARGUMENT: Final = -3

# how a script uses KEYS and ARGV
USES_NONE: Final = 0
USES_READ: Final = 1  # it looks up elements only
USES_WALKED: Final = 2  # it goes over them, too: they have to be tables of their own
USES_UNKNOWN: Final = 3  # it may change them

# operations that may change registers above their operand A
_MANY_TARGETS: Final = frozenset([LOADNIL, CALL, TAILCALL, FORLOOP, FORPREP, TFORLOOP, CLOSE, VARARG, RETURN])
# operations that compute an index, and those of them with a register as operand B or C
_READS_C: Final = frozenset([GETTABLE, *range(ADD, POW + 1)])
_READS_B: Final = frozenset([MOVE, LEN, UNM, *_READS_C])
_COMPUTES: Final = frozenset([CALL, GETGLOBAL, GETUPVAL, LOADK, *_READS_B])
_TABLES: Final[list[bytes]] = [b"KEYS", b"ARGV"]


class Site:
    """One call in a script."""

    def __init__(self, name: bytes, use: int, raises: bool) -> None:
        self.name: Final = name
        self.use: Final = use
        self.raises: Final = raises  # redis.call, not redis.pcall
        self.sources: Final[list[int]] = []  # of the arguments behind the name
        self.texts: Final[list[bytes]] = []  # beside `sources`, for CONSTANT_TEXT
        self.row: object = None  # what the server found for `name`

    def is_static(self) -> bool:
        """Return True if the script adds nothing to the call."""
        return DYNAMIC not in self.sources


def uses_of_arguments(function: Function) -> int:
    """Return how `function` uses the tables KEYS and ARGV."""
    found = USES_NONE
    code = function.code
    for index, instruction in enumerate(code):
        if instruction & 0x3F == GETGLOBAL and name_at(function.names, instruction >> 14) in _TABLES:
            found = max(found, _use_of_table(function, index))
    return found


def _use_of_table(function: Function, index: int) -> int:
    """Return how the table is used that the instruction at `index` loads."""
    code = function.code
    register = target(code[index])
    if _is_looked_into(code, index + 1, register):
        return USES_READ
    following = code[index + 1]
    operation = following & 0x3F
    before = code[index - 1] if index else 0
    if before & 0x3F != GETGLOBAL or target(before) != register - 1:
        return USES_UNKNOWN
    called = name_at(function.names, before >> 14)
    if called == b"unpack" and _is_called(code, index, register - 1):
        return USES_READ
    is_call = operation == CALL and target(following) == register - 1
    if called in (b"pairs", b"ipairs") and is_call and (following >> 14) & 0x1FF == 4 and _starts_loop(code, index + 2):
        return USES_WALKED
    return USES_UNKNOWN


def _is_looked_into(code: list[int], first: int, register: int) -> bool:
    """Return True if what is done with the table in `register` is a look-up, or asking for its length.

    The index may be computed between, in higher registers."""
    for instruction in code[first:]:
        operation = instruction & 0x3F
        operand = (instruction >> 23) & 0x1FF
        if operation in (GETTABLE, LEN) and operand == register:
            return True
        if operation not in _COMPUTES or target(instruction) <= register:
            return False
        if operation in _READS_B and operand == register:
            return False
        if operation in _READS_C and (instruction >> 14) & 0x1FF == register:
            return False
    return False


def _is_called(code: list[int], index: int, register: int) -> bool:
    """Return True if `register`, which holds a function, is next used to call it."""
    for instruction in code[index + 1 :]:
        if target(instruction) == register and instruction & 0x3F not in NO_TARGET:
            return instruction & 0x3F in (CALL, TAILCALL)
    return False


def _starts_loop(code: list[int], index: int) -> bool:
    """Return True if the instruction at `index` goes to the head of a `for ... in` loop."""
    if code[index] & 0x3F != JMP:
        return False
    head = index + 1 + (code[index] >> 14) - JUMP_BIAS
    return code[head] & 0x3F == TFORLOOP


# -- calls -------------------------------------------------------------------------------------------------------------


class _Rewriter:
    """Changes the calls of one function."""

    def __init__(self, function: Function, fmt: Format, sites: list[Site], first_number: int) -> None:
        self._function: Final = function
        self._code: Final = function.code
        self._format: Final = fmt
        self._sites: Final = sites
        self._first_number: Final = first_number

    def rewrite_at(self, index: int, *, is_main: bool, knows_arguments: bool) -> None:
        """Change the call whose function is loaded at `index`, if its name and number of arguments are known."""
        code = self._code
        register = target(code[index])
        method = name_at(self._function.names, ((code[index + 1] >> 14) & 0x1FF) - CONSTANT)
        call = self._find_call(index + 2, register) if method in (b"call", b"pcall") else -1
        if call < 0:
            return
        raises = method == b"call"
        use = self._use(call, is_result=is_main and raises)
        name = name_at(self._function.names, code[index + 2] >> 14)
        site = Site(name, use, raises)
        self._know_arguments(site, index + 3, call, knows_arguments)
        number = self._first_number + len(self._sites)
        self._sites.append(site)
        variant = b"redis." + method + _SUFFIXES[use]
        code[index] = GETGLOBAL | register << 6 | self._string(variant) << 14
        code[index + 1] = MOVE | register << 6 | register << 23
        code[index + 2] = LOADK | (register + 1) << 6 | self._number(number) << 14

    def _find_call(self, first: int, register: int) -> int:
        """Return the index of the CALL of the function in `register`, -1 if its form is another.

        `first` is where the arguments start."""
        code = self._code
        loads = code[first]
        if loads & 0x3F != LOADK or target(loads) != register + 1 or not name_at(self._function.names, loads >> 14):
            return -1
        for index in range(first + 1, len(code)):
            instruction = code[index]
            operation = instruction & 0x3F
            if operation == CALL and target(instruction) == register:
                count = (instruction >> 23) & 0x1FF
                return index if 0 < count <= FEW + 1 else -1
            if operation in _MANY_TARGETS and target(instruction) < register:
                return -1
            if register <= target(instruction) <= register + 1 and operation not in NO_TARGET:
                return -1  # another function, or a name that is computed
        return -1

    def _use(self, call: int, *, is_result: bool) -> int:
        """Return what becomes of the reply of the call at `call`; `is_result`: if it is returned."""
        code = self._code
        results = (code[call] >> 14) & 0x1FF
        if results == 1:
            return UNUSED
        following = code[call + 1]
        if is_result and results == 0 and following & 0x3F == RETURN and target(following) == target(code[call]):
            return RETURNED
        return CHECKED

    # -- arguments -----------------------------------------------------------------------------------------------

    def _know_arguments(self, site: Site, first: int, call: int, knows_arguments: bool) -> None:
        """Find the sources of the arguments, which the code from `first` on loads, and take out what is known."""
        code = self._code
        register = target(code[call]) + 2
        loads = _loads(code, first, call)
        kept = 0
        for at in range(((code[call] >> 23) & 0x1FF) - 2):
            source = self._source(loads.get(register + at, []), site, knows_arguments)
            site.sources.append(source)
            if source == DYNAMIC:
                site.texts.append(b"")
                kept = at + 1
        tail = call
        for at in range(len(site.sources)):
            if site.sources[at] != DYNAMIC:
                starts = loads[register + at]
                if at < kept:
                    self._blank(starts, register + at)
                else:
                    tail = min(tail, starts[0])
        self._cut(tail, call, kept)

    def _source(self, loads: list[int], site: Site, knows_arguments: bool) -> int:
        """Return where an argument comes from whose register the instructions at `loads` change, and note its text.

        Whatever is computed, on any path, ends with a further change of the register."""
        code = self._code
        if len(loads) == 1 and code[loads[0]] & 0x3F == LOADK:
            text = _constant_text(self._function, code[loads[0]] >> 14)
            if text is not None:
                site.texts.append(text)
                return CONSTANT_TEXT
        if not knows_arguments or len(loads) != 2 or loads[1] != loads[0] + 1:
            return DYNAMIC
        table, lookup = code[loads[0]], code[loads[1]]
        if table & 0x3F != GETGLOBAL or lookup & 0x3F != GETTABLE or (lookup >> 23) & 0x1FF != target(table):
            return DYNAMIC
        name = name_at(self._function.names, table >> 14)
        element = _element(self._function, (lookup >> 14) & 0x1FF)
        if element < 0 or name not in _TABLES:
            return DYNAMIC
        site.texts.append(b"")
        return element if name == b"KEYS" else ARGUMENT - element

    def _blank(self, loads: list[int], register: int) -> None:
        """Let the instructions at `loads` leave nil in `register`."""
        for index in loads:
            self._code[index] = LOADNIL | register << 6 | register << 23

    def _cut(self, start: int, call: int, kept: int) -> None:
        """Leave out the code from `start` on to the CALL, which gets the first `kept` arguments behind the name."""
        code = self._code
        register = target(code[call])
        for index in range(start, call):
            code[index] = MOVE | register << 6 | register << 23
        if call - start > 1:
            code[start] = JMP | (call - start - 1 + JUMP_BIAS) << 14
        code[call] = (code[call] & 0x7FFFFF) | (kept + 2) << 23

    # -- constants -----------------------------------------------------------------------------------------------

    def _string(self, name: bytes) -> int:
        """Return the index of the constant `name`, added if it is new."""
        function = self._function
        if name in function.names:
            return function.names.index(name)
        return self._add(string_constant(name, self._format), name)

    def _number(self, number: int) -> int:
        """Return the index of a new constant `number`."""
        return self._add(double_constant(number), b"")

    def _add(self, constant: bytes, name: bytes) -> int:
        """Append a constant; return its index."""
        self._function.names.append(name)
        self._function.constants.append(constant)
        return len(self._function.names) - 1


def specialise(
    function: Function, fmt: Format, sites: list[Site], first_number: int, *, is_main: bool, knows_arguments: bool
) -> None:
    """Change the calls of `function` and append their sites, whose numbers go on from `first_number`.

    `knows_arguments`: KEYS and ARGV are what they were when the script started."""
    rewriter = _Rewriter(function, fmt, sites, first_number)
    code = function.code
    for index in range(len(code) - 3):
        register = target(code[index])
        if (
            code[index] & 0x3F == GETGLOBAL
            and name_at(function.names, code[index] >> 14) == b"redis"
            and code[index + 1] & 0x3F == GETTABLE
            and target(code[index + 1]) == register
            and (code[index + 1] >> 23) & 0x1FF == register
        ):
            rewriter.rewrite_at(index, is_main=is_main, knows_arguments=knows_arguments)


def _loads(code: list[int], first: int, end: int) -> dict[int, list[int]]:
    """Return the instructions from `first` on that change a register, by register."""
    found: dict[int, list[int]] = {}
    for index in range(first, end):
        instruction = code[index]
        operation = instruction & 0x3F
        if operation in NO_TARGET:
            continue
        register = target(instruction)
        last = register
        if operation == LOADNIL:
            last = (instruction >> 23) & 0x1FF
        elif operation == SELF:
            last = register + 1
        for changed in range(register, last + 1):
            found.setdefault(changed, []).append(index)
    return found


def _constant_text(function: Function, index: int) -> bytes | None:
    """Return a constant as a command's argument, None if it is none."""
    name = function.names[index]
    if name:
        return name
    number = function.numbers.get(index)
    if number is None:
        return b"" if function.constants[index][:1] == b"\x04" else None
    if number == int(number) and abs(number) <= 1 << 53:
        return b"%d" % int(number)
    return format_float(number)


def _element(function: Function, operand: int) -> int:
    """Return the index from 0 on that `operand` of a look-up in KEYS or ARGV means, -1 if it is not known."""
    number = function.numbers.get(operand - CONSTANT)
    if number is None or number != int(number) or not 1 <= number <= 8000:
        return -1
    return int(number) - 1
