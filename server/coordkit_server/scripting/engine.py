"""The Lua interpreter of the server: compiles scripts, runs them, and answers what they call.

Map: ScriptServer (what the engine needs from the server), Engine, Failure (a script that raised).

No Python object can be reached from a script: the callbacks given to the Lua side stay in local variables of
lua/host.lua, scripts get plain values, and lupa is told to refuse every attribute.
"""

import pkgutil
from hashlib import sha1
from math import copysign, isnan
from typing import Final

from lupa.lua51 import LuaRuntime
from mypy_extensions import trait

from coordkit_server import REDIS_LEVEL
from coordkit_server.executor import Executor
from coordkit_server.numeric import format_float
from coordkit_server.scripting.bytecode import keep_frames
from coordkit_server.scripting.convert import (
    ERROR,
    FAILED,
    LOT,
    Staged,
    lua_to_reply,
    reply_to_lua,
)

_NO_ARGUMENTS: Final = b"ERR Please specify at least one argument for this redis lib call"
_BAD_ARGUMENT: Final = b"ERR Lua redis lib command arguments must be strings or integers"
# integers beyond it are written as doubles are
_EXACT: Final = 1 << 62
_LIBRARIES: Final[list[str]] = []


@trait
class ScriptServer(Executor):
    """The server below the engine."""

    def log(self, level: int, text: bytes) -> None:
        """Write to the server's log; `level` 0 (debug) to 3 (warning)."""
        raise NotImplementedError

    def tick(self) -> bytes | None:
        """Look up while a script runs: return the error that ends it, None to let it go on."""
        raise NotImplementedError

    def protocol_chosen(self, resp3: bool) -> None:
        """Let the commands that the script calls from now on reply as in RESP3, or as in RESP2."""
        raise NotImplementedError

    def allowed(self, argv: list[bytes]) -> int:
        """Return 1 if the user who called the script may run `argv`, 0 if not, -1 if there is no such command."""
        raise NotImplementedError


class Failure:
    """A script that raised an error: its text, where (empty if unknown), and if it is in the statistics already.

    Without a text the interpreter itself gave up, and `source` says why."""

    def __init__(self, text: bytes | None, source: bytes, line: bytes, counted: bool) -> None:
        self.text: Final = text
        self.source: Final = source
        self.line: Final = line
        self.counted: Final = counted


def _refuse(_obj: object, name: object, _is_setting: bool) -> str:
    """Refuse access to an attribute of a Python object."""
    raise AttributeError("no access")


class Engine:
    """One interpreter with the environment that all scripts share."""

    def __init__(self, server: ScriptServer) -> None:
        self._server: Final = server
        self._staged: Final = Staged()
        self.resp3: bool = False  # redis.setresp(3) was called
        self._lua: Final = LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_filter=_refuse,
        )
        self._load_chunk: Final = self._lua.eval(b"loadstring")
        self._start("watch", self.on_tick)
        sandbox = self._start("sandbox")
        for name in _LIBRARIES:
            self._start(name, sandbox)
        self._compile: Final = self._start(
            "host",
            sandbox,
            self.on_call,
            self.on_take,
            self.on_give,
            self.on_patch,
            self.on_log,
            self.on_setresp,
            self.on_allowed,
            self.on_sha1hex,
            REDIS_LEVEL.encode("ascii"),
            _version_number(),
        )

    def _start(self, name: str, *args: object) -> object:
        """Run lua/`name`.lua with `args`; return what it returns."""
        source = pkgutil.get_data("coordkit_server.scripting", f"lua/{name}.lua")
        if source is None:
            raise RuntimeError(f"lua/{name}.lua is missing from the installation")
        chunk = _call(self._load_chunk, source, b"=coordkit: " + name.encode("ascii"))
        if isinstance(chunk, tuple):
            raise RuntimeError(f"lua/{name}.lua: {chunk[1]!r}")  # noqa: TRY004 - it is a broken file
        return _call(chunk, *args)

    # -- running -------------------------------------------------------------------------------------------------

    def compile(self, source: bytes) -> object:
        """Return the entry of a script, or the compiler's message (bytes)."""
        result = _call(self._compile, source)
        if isinstance(result, tuple):
            return result[1]
        return result

    def run(self, entry: object, key_count: int, arguments: list[bytes]) -> object:
        """Run a script with `arguments`, of which the first `key_count` are keys; return its reply or a Failure."""
        self.resp3 = False
        if len(arguments) > LOT:
            values: list[object] = []
            values.extend(arguments)
            self._staged.put(values)
            result = _call(entry, -1, key_count, len(arguments))
        else:
            result = _call(entry, key_count, *arguments)
        if isinstance(result, tuple) and result[1] == FAILED:
            return _failure(result)
        return lua_to_reply(result, self.resp3, self._staged)

    # -- callbacks -----------------------------------------------------------------------------------------------

    def on_tick(self) -> bytes | None:
        """Let the server look up."""
        return self._server.tick()

    def on_call(self, *args: object) -> object:
        """Run a command for redis.call and redis.pcall."""
        argv: list[bytes] = []
        for arg in args or self._staged.given():
            if isinstance(arg, bytes):
                argv.append(arg)
            else:
                text = _number_text(arg)
                if text is None:
                    return (_BAD_ARGUMENT, ERROR, False)
                argv.append(text)
        if not argv:
            return (_NO_ARGUMENTS, ERROR, False)
        return reply_to_lua(self._server.call(argv), self.resp3, self._staged)

    def on_take(self) -> tuple[object, ...]:
        """Hand over the next lot of staged values."""
        return self._staged.take()

    def on_give(self, *args: object) -> None:
        """Take a lot of values."""
        self._staged.give(args)

    def on_patch(self, dumped: bytes) -> bytes:
        """Rewrite tail calls."""
        return keep_frames(dumped)

    def on_log(self, level: int, text: bytes) -> None:
        """Write to the log."""
        self._server.log(level, text)

    def on_setresp(self, protocol: int) -> None:
        """Choose the protocol in which the script sees replies."""
        self.resp3 = protocol == 3
        self._server.protocol_chosen(self.resp3)

    def on_allowed(self, *args: object) -> object:
        """Answer redis.acl_check_cmd."""
        argv: list[bytes] = []
        for arg in args:
            text = arg if isinstance(arg, bytes) else _number_text(arg)
            if text is None:
                return (False, _BAD_ARGUMENT[4:])
            argv.append(text)
        if not argv:
            return (False, _NO_ARGUMENTS[4:])
        verdict = self._server.allowed(argv)
        if verdict < 0:
            return (False, b"Invalid command passed to redis.acl_check_cmd()")
        return verdict == 1

    def on_sha1hex(self, text: bytes) -> bytes:
        """Return the SHA-1 of `text` in hexadecimal digits."""
        return sha1(text).hexdigest().encode("ascii")


def _call(function: object, *args: object) -> object:
    """Call a Lua function."""
    if not callable(function):
        raise TypeError(f"{function!r} is no Lua function")
    return function(*args)


def _version_number() -> int:
    """Return the version as Redis's REDIS_VERSION_NUM: a byte for each of its three parts."""
    major, minor, patch = REDIS_LEVEL.split(".")
    return int(major) << 16 | int(minor) << 8 | int(patch)


def _number_text(value: object) -> bytes | None:
    """Return a Lua number as a command's argument; None if `value` is no number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return b"%d" % value if -_EXACT <= value <= _EXACT else format_float(float(value))
    if isinstance(value, float):
        return b"-nan" if isnan(value) and copysign(1.0, value) < 0 else format_float(value)
    return None


def _failure(result: tuple[object, ...]) -> Failure:
    """Return the error that lua/host.lua describes; one that is no table has a text only."""
    if len(result) == 2:
        message = result[0]
        return Failure(None, message if isinstance(message, bytes) else b"", b"", False)
    text, source, line = result[0], result[2], result[3]
    return Failure(
        text if isinstance(text, bytes) else None,
        source if isinstance(source, bytes) else b"",
        line if isinstance(line, bytes) else b"",
        result[4] is True,
    )
