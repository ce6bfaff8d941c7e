"""Scripting commands (group "scripting"): EVAL, EVALSHA, their read-only forms, SCRIPT.

Order: running scripts, SCRIPT subcommands, rows.
"""

from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.commands.script_host import ScriptHost, script_host
from coordkit_server.context import (
    ALLOW_BUSY,
    LOADING,
    MAY_REPLICATE,
    MOVABLE_KEYS,
    NO_MANDATORY_KEYS,
    NOSCRIPT,
    NUMKEYS2,
    READONLY,
    SKIP_MONITOR,
    STALE,
    Command,
    Context,
)
from coordkit_server.errors import (
    NEGATIVE_KEYS,
    NO_SCRIPT,
    SCRIPT_FLUSH_MODE,
    TOO_MANY_KEYS,
    CommandError,
    wrong_arity,
)
from coordkit_server.resp.reply import OK, Simple

_ONE: Final = b"1"
_SCRIPT_HELP: Final[list[bytes]] = [
    b"SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    b"EXISTS <sha1> [<sha1> ...]",
    b"    Tell for each script whether it is loaded.",
    b"FLUSH [ASYNC|SYNC]",
    b"    Forget all loaded scripts.",
    b"KILL",
    b"    End the script that is running, unless it has written.",
    b"LOAD <script>",
    b"    Load a script without running it.",
    b"HELP",
    b"    Print this help.",
]


def _key_count(argv: list[bytes]) -> int:
    """Return the number of keys that EVAL and the like are given."""
    text = argv[2]
    count = 1 if text == _ONE else integer(text)
    if count > len(argv) - 3:
        raise CommandError(TOO_MANY_KEYS)
    if count < 0:
        raise CommandError(NEGATIVE_KEYS)
    return count


def eval_(cx: Context) -> object:
    """EVAL script numkeys [key ...] [arg ...] -> what the script returns."""
    return _eval(cx, False)


def eval_ro(cx: Context) -> object:
    """EVAL_RO script numkeys [key ...] [arg ...] -> what the script returns; it may not write."""
    return _eval(cx, True)


def _eval(cx: Context, read_only: bool) -> object:
    """Load and run a script."""
    key_count = _key_count(cx.argv)
    host = script_host(cx)
    return host.run(cx, host.load(cx.argv[1]), key_count, read_only)


def evalsha(cx: Context) -> object:
    """EVALSHA sha1 numkeys [key ...] [arg ...] -> what the script returns."""
    return _evalsha(cx, False)


def evalsha_ro(cx: Context) -> object:
    """EVALSHA_RO sha1 numkeys [key ...] [arg ...] -> what the script returns; it may not write."""
    return _evalsha(cx, True)


def _evalsha(cx: Context, read_only: bool) -> object:
    """Run a loaded script."""
    if len(cx.argv[1]) != 40:
        raise CommandError(NO_SCRIPT)
    key_count = _key_count(cx.argv)
    host = script_host(cx)
    script = host.find(cx.argv[1])
    if script is None:
        raise CommandError(NO_SCRIPT)
    return host.run(cx, script, key_count, read_only)


def script_exists(cx: Context) -> object:
    """SCRIPT EXISTS sha1 [sha1 ...] -> 1 or 0 for each."""
    host = script_host(cx)
    return [0 if host.find(sha) is None else 1 for sha in cx.argv[2:]]


def script_flush(cx: Context) -> object:
    """SCRIPT FLUSH [ASYNC|SYNC] -> OK; all scripts are forgotten."""
    _check_mode(cx, SCRIPT_FLUSH_MODE)
    host = cx.services.scripts
    if isinstance(host, ScriptHost):
        host.flush()
    return OK


def _check_mode(cx: Context, error: bytes) -> None:
    """Raise `error` unless the only option is ASYNC or SYNC."""
    if len(cx.argv) > 3 or (len(cx.argv) == 3 and cx.argv[2].upper() not in (b"ASYNC", b"SYNC")):
        raise CommandError(error)


def script_help(cx: Context) -> object:
    """SCRIPT HELP -> lines of text."""
    return [Simple(line) for line in _SCRIPT_HELP]


def script_kill(cx: Context) -> object:
    """SCRIPT KILL -> OK; the running script ends with an error."""
    script_host(cx).kill(True)
    return OK


def script_load(cx: Context) -> object:
    """SCRIPT LOAD script -> its SHA-1."""
    return script_host(cx).load(cx.argv[2]).sha


def container(cx: Context) -> object:
    """Raise the arity error of a container called without a subcommand."""
    raise CommandError(wrong_arity(cx.argv[0].lower()))


def commands() -> list[Command]:
    """Return the rows of this group."""
    base = NOSCRIPT | SKIP_MONITOR | NO_MANDATORY_KEYS | STALE | MOVABLE_KEYS
    return [
        Command(
            b"EVAL",
            -3,
            base | MAY_REPLICATE,
            eval_,
            NUMKEYS2,
            since=b"2.6.0",
            summary=b"Runs a Lua script.",
        ),
        Command(
            b"EVALSHA",
            -3,
            base | MAY_REPLICATE,
            evalsha,
            NUMKEYS2,
            since=b"2.6.0",
            summary=b"Runs a loaded Lua script.",
        ),
        Command(
            b"EVALSHA_RO",
            -3,
            base | READONLY,
            evalsha_ro,
            NUMKEYS2,
            since=b"7.0.0",
            summary=b"Runs a loaded Lua script that does not write.",
        ),
        Command(
            b"EVAL_RO",
            -3,
            base | READONLY,
            eval_ro,
            NUMKEYS2,
            since=b"7.0.0",
            summary=b"Runs a Lua script that does not write.",
        ),
        Command(
            b"SCRIPT",
            -2,
            0,
            container,
            since=b"2.6.0",
            summary=b"Manages loaded scripts.",
            subcommands=[
                Command(b"EXISTS", -3, NOSCRIPT, script_exists, since=b"2.6.0"),
                Command(b"FLUSH", -2, NOSCRIPT, script_flush, since=b"2.6.0"),
                Command(b"HELP", 2, LOADING | STALE, script_help, since=b"5.0.0"),
                Command(b"KILL", 2, NOSCRIPT | ALLOW_BUSY, script_kill, since=b"2.6.0"),
                Command(b"LOAD", 3, NOSCRIPT | STALE, script_load, since=b"2.6.0"),
            ],
        ),
    ]
