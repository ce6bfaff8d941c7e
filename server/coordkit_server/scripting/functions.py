"""Libraries of functions: what FUNCTION LOAD keeps.

Map: Function, Library, Functions (load, delete, flush, restore), parse_metadata.
"""

from typing import Final

from coordkit_server.resp.request import split_args
from coordkit_server.scripting.cache import ScriptError
from coordkit_server.scripting.engine import Engine, ScriptServer

ENGINE_NAME: Final = b"LUA"
_BAD_NAME: Final = (
    b"ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long"
)


class Function:
    """A registered function.  `number` is its number in the interpreter."""

    def __init__(self, name: bytes, description: bytes | None, flags: int, number: int) -> None:
        self.name: Final = name
        self.description: Final = description
        self.flags: Final = flags
        self.number: Final = number


class Library:
    """A library: its source and its functions, in the order in which they were registered."""

    def __init__(self, name: bytes, code: bytes, functions: list[Function]) -> None:
        self.name: Final = name
        self.code: Final = code
        self.functions: Final = functions


class Functions:
    """All libraries of a server, in an interpreter of their own."""

    def __init__(self, server: ScriptServer) -> None:
        self.engine: Final = Engine(server, runs_functions=True)
        self.libraries: dict[bytes, Library] = {}
        self.by_name: dict[bytes, Function] = {}  # by name in lower case

    def find(self, name: bytes) -> Function | None:
        """Return the function with this name (any case), None if there is none."""
        return self.by_name.get(name.lower())

    def load(self, code: bytes, replace: bool) -> bytes:
        """Load the library `code`; return its name.  Raises ScriptError and then leaves everything as it was."""
        name, skip = parse_metadata(code)
        old = self.libraries.get(name)
        if old is not None and not replace:
            raise ScriptError(b"ERR Library '" + name + b"' already exists")
        library = self.compile(name, code, skip)
        for function in library.functions:
            other = self.find(function.name)
            if other is not None and (old is None or other not in old.functions):
                self.forget(library)
                raise ScriptError(b"ERR Function " + function.name + b" already exists")
        self.put(library)
        return name

    def compile(self, name: bytes, code: bytes, skip: int) -> Library:
        """Return the library that `code` behind `skip` bytes defines, not yet known to anybody.  Raises ScriptError."""
        found = self.engine.load_library(code[skip:])
        if isinstance(found, bytes):
            raise ScriptError(b"ERR " + found)
        functions: list[Function] = []
        for at in range(0, len(found), 4):
            function_name, description, flags, number = found[at : at + 4]
            if isinstance(function_name, bytes) and isinstance(flags, int) and isinstance(number, int):
                text = description if isinstance(description, bytes) else None
                functions.append(Function(function_name, text, flags, number))
        if not functions:
            raise ScriptError(b"ERR No functions registered")
        return Library(name, code, functions)

    def put(self, library: Library) -> None:
        """Make `library` known, in place of one with the same name."""
        self.delete(library.name)
        self.libraries[library.name] = library
        for function in library.functions:
            self.by_name[function.name.lower()] = function

    def delete(self, name: bytes) -> bool:
        """Remove a library; return False if there is none."""
        library = self.libraries.pop(name, None)
        if library is None:
            return False
        for function in library.functions:
            self.by_name.pop(function.name.lower(), None)
        self.forget(library)
        return True

    def forget(self, library: Library) -> None:
        """Give back what the interpreter keeps of a library."""
        for function in library.functions:
            self.engine.forget(function.number)

    def restore(self, codes: list[bytes], *, replace: bool, flush: bool) -> None:
        """Load several libraries at once: `replace` those with the same names, `flush` all others first.

        Raises ScriptError and then leaves everything as it was."""
        fresh: list[Library] = []
        try:
            for code in codes:
                fresh.append(self._compile_beside(code, fresh))
            if not flush:
                self._check_joins(fresh, replace)
        except ScriptError:
            for library in fresh:
                self.forget(library)
            raise
        if flush:
            self.flush()
        for library in fresh:
            self.put(library)

    def _compile_beside(self, code: bytes, others: list[Library]) -> Library:
        """Return the library `code`, which shares no name with `others`.  Raises ScriptError."""
        name, skip = parse_metadata(code)
        taken: set[bytes] = set()
        for other in others:
            if other.name == name:
                raise ScriptError(b"ERR Library '" + name + b"' already exists")
            for function in other.functions:
                taken.add(function.name.lower())
        library = self.compile(name, code, skip)
        for function in library.functions:
            if function.name.lower() in taken:
                self.forget(library)
                raise ScriptError(b"ERR Function " + function.name + b" already exists")
        return library

    def _check_joins(self, fresh: list[Library], replace: bool) -> None:
        """Raise ScriptError unless the libraries `fresh` may join those that exist."""
        going: list[Function] = []
        for library in fresh:
            old = self.libraries.get(library.name)
            if old is not None:
                if not replace:
                    raise ScriptError(b"ERR Library " + library.name + b" already exists")
                going.extend(old.functions)
        for library in fresh:
            for function in library.functions:
                other = self.find(function.name)
                if other is not None and other not in going:
                    raise ScriptError(b"ERR Function " + function.name + b" already exists")

    def flush(self) -> None:
        """Remove all libraries."""
        for name in list(self.libraries):
            self.delete(name)


def parse_metadata(code: bytes) -> tuple[bytes, int]:
    """Return the name of a library and the length of its `#!` line without the line end.  Raises ScriptError."""
    if not code.startswith(b"#!"):
        raise ScriptError(b"ERR Missing library metadata")
    end = code.find(b"\n")
    words = split_args(code[:end]) if end >= 0 else None
    if not words:
        raise ScriptError(b"ERR Invalid library metadata")
    engine = words[0][2:]
    name: bytes | None = None
    for word in words[1:]:
        if word[:5].lower() != b"name=":
            raise ScriptError(b"ERR Invalid metadata value given: " + word)
        if name is not None:
            raise ScriptError(b"ERR Invalid metadata value, name argument was given multiple times")
        name = word[5:]
    if name is None:
        raise ScriptError(b"ERR Library name was not given")
    if not is_name(name):
        raise ScriptError(_BAD_NAME)
    if engine.upper() != ENGINE_NAME:
        raise ScriptError(b"ERR Engine '" + engine + b"' not found")
    return name, end


def is_name(name: bytes) -> bool:
    """Return True if `name` holds letters, digits and underscores only."""
    return bool(name) and name.replace(b"_", b"a").isalnum()
