"""The Lua interpreter of the server: compiles scripts, runs them, and answers what they call.

Map: ScriptServer (what the engine needs from the server), Engine, Failure (a script that raised).

No Python object can be reached from a script: the callbacks given to the Lua side stay in local variables of
lua/host.lua, scripts get plain values, and lupa is told to refuse every attribute.
"""

import pkgutil
from collections.abc import Callable
from hashlib import sha1
from math import copysign, isnan
from typing import TYPE_CHECKING, Final, cast

from lupa.lua51 import LuaError, LuaMemoryError, LuaRuntime
from mypy_extensions import trait

from coordkit_server import REDIS_LEVEL
from coordkit_server.executor import Executor
from coordkit_server.numeric import format_float
from coordkit_server.resp.reply import ErrorReply
from coordkit_server.scripting.construct import JOINED, join_chunk
from coordkit_server.scripting.convert import (
    ERROR,
    LOT,
    Staged,
    error_text,
    lua_to_reply,
    passed_through,
    reply_to_lua,
)
from coordkit_server.scripting.formats import finish_json, pack_double, read_json, read_messages
from coordkit_server.scripting.library import bit_operation, struct_pack, struct_size, struct_unpack
from coordkit_server.scripting.memory import LIMIT_BYTES, Memory, weight
from coordkit_server.scripting.rewrite import CALLS_BACK, SETS_GLOBALS, rewrite
from coordkit_server.scripting.sites import (
    ARGUMENT,
    CHECKED,
    CONSTANT_TEXT,
    DYNAMIC,
    RETURNED,
    UNUSED,
    USES_NONE,
    USES_READ,
    Site,
)

if TYPE_CHECKING:
    from lupa.lua51 import _LuaFunction, _LuaTable

# how long the chunk of a library may take
LOAD_LIMIT_MS: Final = 500
_NO_ARGUMENTS: Final = b"ERR Please specify at least one argument for this redis lib call"
_BAD_ARGUMENT: Final = b"ERR Lua redis lib command arguments must be strings or integers"
_BAD_CALL: Final[tuple[object, ...]] = (_BAD_ARGUMENT, ERROR, False)
_NO_SITE: Final = Site(b"", CHECKED, raises=False)
_BAD_REPLY: Final = ErrorReply(_BAD_ARGUMENT)
_NO_MEMORY: Final = b"not enough memory"
_NO_MEMORY_REPLY: Final = ErrorReply(b"ERR " + _NO_MEMORY)
_NO_MEMORY_CALL: Final[tuple[object, ...]] = (b"ERR " + _NO_MEMORY, ERROR, False)
# what a byte of source may become, about
_SOURCE_FACTOR: Final = 16
# what a byte of a document may become, about
_DOCUMENT_FACTOR: Final = 32
# keys, and values in all, that `share` of lua/host.lua takes
_SHARED_KEYS: Final = 2
_SHARED_VALUES: Final = 6
# integers beyond it are written as doubles are
_EXACT: Final = 1 << 62


@trait
class ScriptServer(Executor):
    """The server below the engine."""

    def call_site(self, site: Site, argv: list[bytes]) -> object:
        """Return the reply of the command `argv`, which a script calls at `site`."""
        raise NotImplementedError

    def log(self, level: int, text: bytes) -> None:
        """Write to the server's log; `level` 0 (debug) to 3 (warning)."""
        raise NotImplementedError

    def tick(self) -> bytes | None:
        """Look up while a script runs: return the error that ends it, None to let it go on."""
        raise NotImplementedError

    def is_late(self, limit_ms: int) -> bool:
        """Return True once the command that runs has taken longer than `limit_ms`."""
        raise NotImplementedError

    def protocol_chosen(self, resp3: bool) -> None:
        """Let the commands that the script calls from now on reply as in RESP3, or as in RESP2."""
        raise NotImplementedError

    def targets_chosen(self, targets: int) -> None:
        """Let only these follow what the script changes from now on: 1 the append-only file, 2 replicas, 3 both."""
        raise NotImplementedError

    def allowed(self, argv: list[bytes]) -> int:
        """Return 1 if the user who called the script may run `argv`, 0 if not, -1 if there is no such command."""
        raise NotImplementedError


class Failure:
    """A script that raised an error: its text, where (empty if unknown), and if it is in the statistics already."""

    def __init__(self, text: bytes, source: bytes, line: int, counted: bool) -> None:
        self.text: Final = text
        self.source: Final = source
        self.line: Final = line
        self.counted: Final = counted


def _refuse(_obj: object, name: object, _is_setting: bool) -> str:
    """Refuse access to an attribute of a Python object."""
    raise AttributeError("no access")


class Engine:
    """One interpreter with the environment that all scripts share; `runs_functions`: libraries instead of scripts."""

    def __init__(self, server: ScriptServer, *, runs_functions: bool = False, memory_limit: int = LIMIT_BYTES) -> None:
        self._server: Final = server
        self._runs_functions: Final = runs_functions
        self._staged: Final = Staged()
        self._sites: Final[list[Site]] = []
        self._uses: Final[list[int]] = [USES_NONE]  # of KEYS and ARGV, by number of a script; there is no script 0
        self._bare: Final[list[tuple[object, ...]]] = [()]  # what starts a script that uses neither
        self.resp3: bool = False  # redis.setresp(3) was called
        self._lua: Final = LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_filter=_refuse,
            max_memory=memory_limit,
        )
        self._memory: Final = Memory(self._lua, memory_limit)
        self._load_chunk: Final = self._lua.eval(b"loadstring")
        sandbox = self._start("sandbox", runs_functions, join_chunk(), JOINED)
        self._start("watch", sandbox, self.on_tick)
        self._start("cjson", sandbox, self.on_read_json, self.on_finish_json)
        self._start("cmsgpack", sandbox, self.on_pack_double, self.on_read_messages)
        self._start("bits", sandbox, self.on_bits, self.on_struct_pack, self.on_struct_unpack, self.on_struct_size)
        parts = self._start(
            "host",
            sandbox,
            self.on_call,
            self.on_take,
            self.on_give,
            self.on_prepare,
            self.on_log,
            self.on_setresp,
            self.on_set_repl,
            self.on_allowed,
            self.on_sha1hex,
            REDIS_LEVEL.encode("ascii"),
            _version_number(),
        )
        assert isinstance(parts, tuple)
        self._body: Final[object] = parts[0]
        self._compile: Final[object] = parts[1]
        self._describe: Final[object] = parts[2]
        self._locate: Final[object] = parts[3]
        self._load_library: object = None
        self._forget: object = None
        if runs_functions:
            parts = self._start("functions", sandbox, self.on_late)
            assert isinstance(parts, tuple)
            self._load_library = parts[0]
            self._forget = parts[1]
        _call(cast("_LuaTable", sandbox)[b"seal"])
        self._send: Callable[[object], object] = self._new_thread()

    def _start(self, name: str, *args: object) -> object:
        """Run lua/`name`.lua with `args`; return what it returns."""
        source = pkgutil.get_data("coordkit_server.scripting", f"lua/{name}.lua")
        if source is None:
            raise RuntimeError(f"lua/{name}.lua is missing from the installation")
        chunk = _call(self._load_chunk, source, b"=coordkit: " + name.encode("ascii"))
        if isinstance(chunk, tuple):
            raise RuntimeError(f"lua/{name}.lua: {chunk[1]!r}")  # noqa: TRY004 - it is a broken file
        return _call(chunk, *args)

    def _new_thread(self) -> Callable[[object], object]:
        """Return `send` of a fresh coroutine that waits for a script to run."""
        body = cast("_LuaFunction", self._body)
        thread = body.coroutine()
        send = thread.send
        send(None)
        return send

    # -- running -------------------------------------------------------------------------------------------------

    def compile(self, source: bytes) -> int | bytes:
        """Return the number of a script in the interpreter, or the compiler's message."""
        if self._memory.is_short(_SOURCE_FACTOR * len(source)):
            return _NO_MEMORY
        result = self._guarded(self._compile, source)
        assert isinstance(result, tuple)
        number, detail = result
        if isinstance(number, int) and isinstance(detail, int):
            self._uses.append(detail)
            self._bare.append((number,))
            return number
        return detail if isinstance(detail, bytes) else b""

    def load_library(self, source: bytes) -> list[object] | bytes:
        """Run a library; return name, description or False, flags, number of each of its functions, or an error."""
        if self._memory.is_short(_SOURCE_FACTOR * len(source)):
            return _NO_MEMORY
        result = self._guarded(self._load_library, source)
        if isinstance(result, tuple):
            message = result[1]
            return message if isinstance(message, bytes) else b""
        return self._staged.given()

    def _guarded(self, function: object, source: bytes) -> object:
        """Return what a Lua function makes of `source`, a pair with a message where there is no memory for it."""
        try:
            return _call(function, source)
        except LuaError as error:
            self._memory.open_reserve()
            self._memory.close_reserve()
            return (None, _NO_MEMORY if isinstance(error, LuaMemoryError) else str(error).encode("latin-1", "replace"))

    def forget(self, number: int) -> None:
        """Give back a function of a library."""
        _call(self._forget, number)

    def run(self, number: int, key_count: int, argv: list[bytes], start: int = 0) -> object:
        """Run a script with what `argv` holds from `start` on, of which the first `key_count` are keys.

        Returns its reply or a Failure."""
        self.resp3 = False
        size = 0
        for i in range(start, len(argv)):
            size += len(argv[i])
        if self._memory.is_short(size):
            return Failure(_NO_MEMORY_REPLY.text, b"", 0, False)
        finished = False
        try:
            reply = self._run(self._first(number, key_count, argv, start), key_count, argv, start)
            finished = True
        except LuaError as error:
            reply = self._failure(error)
        finally:
            if not finished:
                self._send = self._new_thread()
                self._memory.close_reserve()
        return reply

    def _run(self, first: tuple[object, ...], key_count: int, argv: list[bytes], start: int) -> object:
        """Run a script: answer what it calls until it has a result."""
        send = self._send
        result = send(first)
        while True:
            number = -1
            if isinstance(result, tuple):
                head = result[0]
                if head is True:
                    return lua_to_reply(result, self.resp3, self._staged)
                if isinstance(head, int):
                    number = head
            elif isinstance(result, int):
                number = result
            if number >= 0:
                site = self._sites[number]
                command = _site_command(site, result, key_count, argv, start)
                reply = self._server.call_site(site, command) if command else _BAD_REPLY
            else:
                site = _NO_SITE
                command = _command(result if isinstance(result, tuple) else (result,), 0)
                reply = self._server.call(command) if command else _BAD_REPLY
            if isinstance(reply, ErrorReply):
                if site.raises:
                    return self._ended(reply)
                result = send((error_text(reply.text), ERROR, reply is not _BAD_REPLY))
            elif site.use == UNUSED:
                result = send(None)
            elif site.use == RETURNED and not self.resp3:
                return passed_through(reply)
            elif self._memory.is_short(weight(reply)):
                return self._ended(_NO_MEMORY_REPLY)
            else:
                answer = reply_to_lua(reply, self.resp3, self._staged)
                result = send(_after_false(answer) if site.use == RETURNED else answer)

    def _ended(self, error: ErrorReply) -> Failure:
        """Return the failure of the script that waits for a reply and would get `error`; it is given up."""
        self._memory.open_reserve()
        source, line = cast("tuple[object, object]", _call(self._locate))
        self._send = self._new_thread()
        self._memory.close_reserve()
        return Failure(
            error_text(error.text),
            source if isinstance(source, bytes) else b"",
            line if isinstance(line, int) else 0,
            error is not _BAD_REPLY and error is not _NO_MEMORY_REPLY,
        )

    def _first(self, number: int, key_count: int, argv: list[bytes], start: int) -> tuple[object, ...]:
        """Return what starts a script."""
        size = len(argv) - start
        if not self._runs_functions:
            uses = self._uses[number]
            if uses == USES_NONE:
                return self._bare[number]
            if uses == USES_READ and key_count <= _SHARED_KEYS and size <= _SHARED_VALUES:
                if size == 1:
                    return (number, True, key_count, argv[start])
                if size == 2:
                    return (number, True, key_count, argv[start], argv[start + 1])
                return (number, True, key_count, *argv[start:])
        if size <= LOT:
            return (number, key_count, *argv[start:])
        values: list[object] = []
        values.extend(argv[start:])
        self._staged.put(values)
        return (number, -1, key_count, size)

    def _failure(self, error: LuaError) -> Failure:
        """Return the error that ended the script."""
        self._memory.open_reserve()
        message = _NO_MEMORY if isinstance(error, LuaMemoryError) else str(error).encode("latin-1", "replace")
        found = _call(self._describe, message)
        assert isinstance(found, tuple)
        text, source, line, counted = found
        return Failure(
            text if isinstance(text, bytes) else b"ERR unknown error",
            source if isinstance(source, bytes) else b"",
            line if isinstance(line, int) else 0,
            counted is True,
        )

    # -- callbacks -----------------------------------------------------------------------------------------------

    def on_tick(self) -> bytes | None:
        """Let the server look up."""
        return self._server.tick()

    def on_late(self) -> bool:
        """Tell if loading a library takes too long."""
        return self._server.is_late(LOAD_LIMIT_MS)

    def on_call(self, *args: object) -> object:
        """Run a command for redis.call and redis.pcall."""
        values = args or tuple(self._staged.given())
        if not values:
            return (_NO_ARGUMENTS, ERROR, False)
        argv = _command(values, 0)
        if not argv:
            return _BAD_CALL
        reply = self._server.call(argv)
        if self._memory.is_short(weight(reply)):
            return _NO_MEMORY_CALL
        return reply_to_lua(reply, self.resp3, self._staged)

    def on_take(self) -> tuple[object, ...]:
        """Hand over the next lot of staged values."""
        return self._staged.take()

    def on_give(self, *args: object) -> None:
        """Take a lot of values."""
        self._staged.give(args)

    def on_prepare(self, dumped: bytes, is_script: bool) -> tuple[bytes, bool, bool, int]:
        """Return what to load for a chunk, if it has to call back, if it sets globals, its use of KEYS and ARGV."""
        found = rewrite(dumped, len(self._sites), is_script=is_script)
        self._sites.extend(found.sites)
        return found.code, found.flags & CALLS_BACK != 0, found.flags & SETS_GLOBALS != 0, found.uses

    def on_log(self, level: int, text: bytes) -> None:
        """Write to the log."""
        self._server.log(level, text)

    def on_setresp(self, protocol: int) -> None:
        """Choose the protocol in which the script sees replies."""
        self.resp3 = protocol == 3
        self._server.protocol_chosen(self.resp3)

    def on_set_repl(self, targets: int) -> None:
        """Choose who follows what the script changes from now on: 1 the append-only file, 2 replicas."""
        self._server.targets_chosen(targets)

    def on_allowed(self, *args: object) -> object:
        """Answer redis.acl_check_cmd."""
        if not args:
            return (False, _NO_ARGUMENTS[4:])
        argv = _command(args, 0)
        if not argv:
            return (False, _BAD_ARGUMENT[4:])
        verdict = self._server.allowed(argv)
        if verdict < 0:
            return (False, b"Invalid command passed to redis.acl_check_cmd()")
        return verdict == 1

    def on_read_json(self, document: bytes) -> object:
        """Read JSON."""
        if self._memory.is_short(_DOCUMENT_FACTOR * len(document)):
            return None  # read by the interpreter itself, which fails cleanly
        code = read_json(document)
        return None if code is None or self._memory.is_short(len(code)) else code

    def on_finish_json(self, text: bytes, string_count: object) -> bytes | None:
        """Quote the strings of a document, so many."""
        done = finish_json(text, string_count) if isinstance(string_count, int) else None
        return None if done is None or self._memory.is_short(len(done)) else done

    def on_read_messages(self, data: bytes, limit: object, offset: object) -> object:
        """Read MessagePack."""
        if self._memory.is_short(_DOCUMENT_FACTOR * len(data)):
            return (None, _NO_MEMORY)
        found = read_messages(data, limit, offset)
        code = found[0]
        return (None, _NO_MEMORY) if isinstance(code, bytes) and self._memory.is_short(len(code)) else found

    def on_pack_double(self, number: object) -> bytes:
        """Write a number that is no integer as MessagePack."""
        return pack_double(number)

    def on_bits(self, name: bytes, first: object, second: object) -> object:
        """Do a function of `bit`."""
        return bit_operation(name, first, second)

    def on_struct_pack(self, fmt: bytes, *values: object) -> object:
        """Do struct.pack."""
        return struct_pack(fmt, values)

    def on_struct_unpack(self, fmt: bytes, data: bytes, start: object) -> object:
        """Do struct.unpack."""
        return struct_unpack(fmt, data, start)

    def on_struct_size(self, fmt: bytes) -> object:
        """Do struct.size."""
        return struct_size(fmt)

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


def _command(values: tuple[object, ...], start: int) -> list[bytes]:
    """Return the values from `start` on as a command, [] if one of them is neither text nor number."""
    argv: list[bytes] = []
    for i in range(start, len(values)):
        value = values[i]
        if isinstance(value, bytes):
            argv.append(value)
        else:
            text = _number_text(value)
            if text is None:
                return []
            argv.append(text)
    return argv


def _site_command(site: Site, result: object, key_count: int, argv: list[bytes], start: int) -> list[bytes]:
    """Return the command that a script calls at `site`; `result` is what it yielded, `argv` what it was given.

    Returns [] if an argument is neither text nor number."""
    command = [site.name]
    sources = site.sources
    for i in range(len(sources)):
        source = sources[i]
        if source >= 0:
            if source >= key_count:
                return []
            command.append(argv[start + source])
        elif source == CONSTANT_TEXT:
            command.append(site.texts[i])
        elif source == DYNAMIC:
            value = cast("tuple[object, ...]", result)[i + 1]
            text = value if isinstance(value, bytes) else _number_text(value)
            if text is None:
                return []
            command.append(text)
        else:
            at = start + key_count + ARGUMENT - source
            if at >= len(argv):
                return []
            command.append(argv[at])
    return command


def _after_false(values: object) -> tuple[object, ...]:
    """Return what tells a script that waits for its last reply that this is it."""
    if isinstance(values, tuple):
        return (False, *values)
    return (False, values)
