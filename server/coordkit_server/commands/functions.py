"""Functions (group "scripting"): FCALL, FCALL_RO, FUNCTION and its subcommands."""

from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.commands.script_host import ScriptHost, script_host
from coordkit_server.context import (
    ALLOW_BUSY,
    DENYOOM,
    LOADING,
    MAY_REPLICATE,
    MOVABLE_KEYS,
    NO_MANDATORY_KEYS,
    NOSCRIPT,
    NUMKEYS2,
    READONLY,
    SKIP_MONITOR,
    STALE,
    WRITE,
    Command,
    Context,
)
from coordkit_server.errors import (
    BAD_KEY_COUNT,
    BAD_PAYLOAD,
    BUSY_SCRIPT,
    FUNCTION_FLUSH_MODE,
    FUNCTION_NOT_FOUND,
    LIBRARY_NOT_FOUND,
    NEGATIVE_KEYS,
    RESTORE_POLICY,
    TOO_MANY_KEYS,
    CommandError,
    subcommand_syntax,
    wrong_arity,
)
from coordkit_server.glob import match
from coordkit_server.persistence import rdb_format as rdb
from coordkit_server.persistence.dump import BadChecksum, opened, seal
from coordkit_server.persistence.packed import BadFormat
from coordkit_server.resp.reply import OK, MapReply, SetReply, Simple
from coordkit_server.scripting.cache import FLAG_NAMES, ScriptError
from coordkit_server.scripting.functions import ENGINE_NAME, Function, Library

_HELP: Final[list[bytes]] = [
    b"FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"DELETE <library>",
    b"    Remove a library.",
    b"DUMP",
    b"    Turn all libraries into bytes.",
    b"FLUSH [ASYNC|SYNC]",
    b"    Remove all libraries.",
    b"KILL",
    b"    End the function that is running, unless it has written.",
    b"LIST [LIBRARYNAME <pattern>] [WITHCODE]",
    b"    Describe the libraries and their functions.",
    b"LOAD [REPLACE] <code>",
    b"    Load a library.",
    b"RESTORE <payload> [FLUSH|APPEND|REPLACE]",
    b"    Load the libraries of a DUMP, in place of all, if no name is taken, or over those with the same names.",
    b"STATS",
    b"    Tell which function is running, and how many libraries and functions there are.",
    b"HELP",
    b"    Print this help.",
]


def fcall(cx: Context) -> object:
    """FCALL function numkeys [key ...] [arg ...] -> what the function returns."""
    return _fcall(cx, False)


def fcall_ro(cx: Context) -> object:
    """FCALL_RO function numkeys [key ...] [arg ...] -> what the function returns; it may not write."""
    return _fcall(cx, True)


def _fcall(cx: Context, read_only: bool) -> object:
    """Run a function."""
    argv = cx.argv
    host = script_host(cx)
    function = host.functions().find(argv[1])
    if function is None:
        raise CommandError(FUNCTION_NOT_FOUND)
    count = integer(argv[2], BAD_KEY_COUNT)
    if count > len(argv) - 3:
        raise CommandError(TOO_MANY_KEYS)
    if count < 0:
        raise CommandError(NEGATIVE_KEYS)
    return host.run_function(cx, function, count, read_only)


def function_delete(cx: Context) -> object:
    """FUNCTION DELETE library -> OK."""
    if not script_host(cx).functions().delete(cx.argv[2]):
        raise CommandError(LIBRARY_NOT_FOUND)
    cx.state.dirty += 1
    return OK


def function_dump(cx: Context) -> object:
    """FUNCTION DUMP -> all libraries as bytes."""
    writer = rdb.Writer(compress=cx.services.config.flag("rdbcompression"))
    for library in script_host(cx).functions().libraries.values():
        writer.byte(rdb.FUNCTION_2)
        writer.string(library.code)
    return seal(writer.collected())


def function_flush(cx: Context) -> object:
    """FUNCTION FLUSH [ASYNC|SYNC] -> OK; all libraries are gone."""
    argv = cx.argv
    if len(argv) > 3:
        raise CommandError(subcommand_syntax(b"FUNCTION", argv[1]))
    if len(argv) == 3 and argv[2].upper() not in (b"ASYNC", b"SYNC"):
        raise CommandError(FUNCTION_FLUSH_MODE)
    host = cx.services.scripts
    if isinstance(host, ScriptHost) and host.has_functions():
        host.functions().flush()
    cx.state.dirty += 1
    return OK


def function_help(cx: Context) -> object:
    """FUNCTION HELP -> lines of text."""
    return [Simple(line) for line in _HELP]


def function_kill(cx: Context) -> object:
    """FUNCTION KILL -> OK; the running function ends with an error."""
    script_host(cx).kill(False)
    return OK


def function_list(cx: Context) -> object:
    """FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE] -> a map for each library."""
    argv = cx.argv
    pattern: bytes | None = None
    with_code = False
    at = 2
    while at < len(argv):
        option = argv[at].upper()
        if option == b"WITHCODE" and not with_code:
            with_code = True
        elif option == b"LIBRARYNAME" and pattern is None:
            at += 1
            if at == len(argv):
                raise CommandError(b"ERR library name argument was not given")
            pattern = argv[at]
        else:
            raise CommandError(b"ERR Unknown argument " + argv[at])
        at += 1
    found: list[object] = []
    for library in script_host(cx).functions().libraries.values():
        if pattern is None or match(pattern.lower(), library.name.lower()):
            found.append(_describe(library, with_code))
    return found


def _describe(library: Library, with_code: bool) -> MapReply:
    """Return what FUNCTION LIST tells of a library."""
    functions: list[object] = [_describe_function(function) for function in library.functions]
    items: list[object] = [b"library_name", library.name, b"engine", ENGINE_NAME, b"functions", functions]
    if with_code:
        items.append(b"library_code")
        items.append(library.code)
    return MapReply(items)


def _describe_function(function: Function) -> MapReply:
    """Return what FUNCTION LIST tells of a function."""
    flags: list[object] = [Simple(name) for name, flag in FLAG_NAMES.items() if function.flags & flag]
    return MapReply([b"name", function.name, b"description", function.description, b"flags", SetReply(flags)])


def function_load(cx: Context) -> object:
    """FUNCTION LOAD [REPLACE] code -> the library's name."""
    argv = cx.argv
    for option in argv[2:-1]:
        if option.upper() != b"REPLACE":
            raise CommandError(b"ERR Unknown option given: " + option)
    try:
        name = script_host(cx).functions().load(argv[-1], len(argv) > 3)
    except ScriptError as error:
        raise CommandError(error.message) from error
    cx.state.dirty += 1
    return name


def function_restore(cx: Context) -> object:
    """FUNCTION RESTORE payload [FLUSH|APPEND|REPLACE] -> OK."""
    argv = cx.argv
    if len(argv) > 4:
        raise CommandError(subcommand_syntax(b"FUNCTION", argv[1]))
    policy = argv[3].upper() if len(argv) == 4 else b"APPEND"
    if policy not in (b"APPEND", b"FLUSH", b"REPLACE"):
        raise CommandError(RESTORE_POLICY)
    try:
        reader = rdb.Reader(opened(argv[2], check_sum=not cx.services.skip_checksums))
    except BadChecksum as damage:  # compiled code gives a name one type for the whole function
        raise CommandError(BAD_PAYLOAD) from damage
    try:
        codes = _codes(reader)
        script_host(cx).functions().restore(codes, replace=policy == b"REPLACE", flush=policy == b"FLUSH")
    except ScriptError as error:
        raise CommandError(error.message) from error
    cx.state.dirty += 1
    return OK


def _codes(reader: rdb.Reader) -> list[bytes]:
    """Return the sources of the libraries in a payload.  Raises ScriptError."""
    codes: list[bytes] = []
    while reader.has(1):
        kind = reader.byte()
        if kind == rdb.FUNCTION_PRE_GA:
            raise ScriptError(b"ERR Pre-GA function format not supported")
        if kind != rdb.FUNCTION_2:
            raise ScriptError(b"ERR given type is not a function")
        try:
            codes.append(reader.string())
        except BadFormat as error:
            raise ScriptError(b"ERR Failed loading library data") from error
    return codes


def function_stats(cx: Context) -> object:
    """FUNCTION STATS -> the running function, and counts of libraries and functions."""
    host = script_host(cx)
    running: object = None
    if host.is_running():
        if not host.runs_function:
            raise CommandError(BUSY_SCRIPT)
        command: list[object] = []
        command.extend(host.running_argv)
        running = MapReply(
            [b"name", host.running_name, b"command", command, b"duration_ms", host.running_ms()],
        )
    functions = host.functions()
    counts = MapReply([b"libraries_count", len(functions.libraries), b"functions_count", len(functions.by_name)])
    return MapReply([b"running_script", running, b"engines", MapReply([ENGINE_NAME, counts])])


def container(cx: Context) -> object:
    """Raise the arity error of a container called without a subcommand."""
    raise CommandError(wrong_arity(cx.argv[0].lower()))


def commands() -> list[Command]:
    """Return the rows of this file."""
    base = NOSCRIPT | SKIP_MONITOR | NO_MANDATORY_KEYS | STALE | MOVABLE_KEYS
    since = b"7.0.0"
    return [
        Command(b"FCALL", -3, base | MAY_REPLICATE, fcall, NUMKEYS2, since=since, summary=b"Runs a function."),
        Command(
            b"FCALL_RO",
            -3,
            base | READONLY,
            fcall_ro,
            NUMKEYS2,
            since=since,
            summary=b"Runs a function that does not write.",
        ),
        Command(
            b"FUNCTION",
            -2,
            0,
            container,
            since=since,
            summary=b"Manages libraries of functions.",
            subcommands=[
                Command(b"DELETE", 3, NOSCRIPT | WRITE, function_delete, since=since),
                Command(b"DUMP", 2, NOSCRIPT, function_dump, since=since),
                Command(b"FLUSH", -2, NOSCRIPT | WRITE, function_flush, since=since),
                Command(b"HELP", 2, LOADING | STALE, function_help, since=since),
                Command(b"KILL", 2, NOSCRIPT | ALLOW_BUSY, function_kill, since=since),
                Command(b"LIST", -2, NOSCRIPT, function_list, since=since),
                Command(b"LOAD", -3, NOSCRIPT | WRITE | DENYOOM, function_load, since=since),
                Command(b"RESTORE", -3, NOSCRIPT | WRITE | DENYOOM, function_restore, since=since),
                Command(b"STATS", 2, NOSCRIPT | ALLOW_BUSY, function_stats, since=since),
            ],
        ),
    ]
