"""Server commands (group "server"): CONFIG, DBSIZE, FLUSHALL, FLUSHDB, SHUTDOWN, SWAPDB, TIME."""

from typing import Final

from coordkit_server.commands.acl_files import user_lines
from coordkit_server.commands.args import integer
from coordkit_server.commands.help import help_reply
from coordkit_server.config import ConfigError
from coordkit_server.configrewrite import rewrite
from coordkit_server.context import (
    ADMIN,
    ALLOW_BUSY,
    FAST,
    LOADING,
    NO_MULTI,
    NOSCRIPT,
    READONLY,
    SAVE_ALWAYS,
    SAVE_AS_CONFIGURED,
    SAVE_NEVER,
    STALE,
    WRITE,
    Command,
    Context,
)
from coordkit_server.errors import (
    DB_INDEX_OUT_OF_RANGE,
    SHUTDOWN_FAILED,
    CommandError,
    syntax_error,
    wrong_arity,
)
from coordkit_server.resp.reply import NO_REPLY, OK, MapReply


def dbsize(cx: Context) -> object:
    """DBSIZE -> number of keys in the selected database."""
    return len(cx.db)


def time(cx: Context) -> object:
    """TIME -> [seconds, microseconds]; inside a script the time at which it started."""
    us = cx.state.now_us if cx.session.in_script else cx.services.clock.now_us()
    return [b"%d" % (us // 1_000_000), b"%d" % (us % 1_000_000)]


def flushdb(cx: Context) -> object:
    """FLUSHDB [ASYNC|SYNC] -> OK; every key of the selected database is gone."""
    later = _frees_later(cx)
    cx.force_propagation()
    removed = cx.db.flush()
    cx.state.lazyfreed += removed if later else 0
    _tell_of_flush(cx)
    return OK


def _tell_of_flush(cx: Context) -> None:
    """Tell tracking clients to drop what they cache."""
    if cx.state.tracking:
        cx.services.tracking.flushed()


def flushall(cx: Context) -> object:
    """FLUSHALL [ASYNC|SYNC] -> OK; every key of every database is gone."""
    later = _frees_later(cx)
    cx.force_propagation()
    for database in cx.services.databases:
        removed = database.flush()
        cx.state.lazyfreed += removed if later else 0
    _tell_of_flush(cx)
    cx.services.snapshots.after_flush()
    return OK


def _frees_later(cx: Context) -> bool:
    """Return True if a flush counts as lazy; raises a syntax error unless the only option is ASYNC or SYNC."""
    if len(cx.argv) == 1:
        return cx.services.config.flag("lazyfree-lazy-user-flush")
    mode = cx.argv[1].upper()
    if len(cx.argv) > 2 or mode not in (b"ASYNC", b"SYNC"):
        raise syntax_error()
    return mode == b"ASYNC"


def swapdb(cx: Context) -> object:
    """SWAPDB index1 index2 -> OK; the two databases exchange their keys."""
    databases = cx.services.databases
    first = integer(cx.argv[1], b"ERR invalid first DB index")
    second = integer(cx.argv[2], b"ERR invalid second DB index")
    if not (0 <= first < len(databases) and 0 <= second < len(databases)):
        raise CommandError(DB_INDEX_OUT_OF_RANGE)
    if first != second:
        databases[first].swap_contents(databases[second])
    cx.state.dirty += 1
    return OK


_SHUTDOWN_WORDS: Final = {
    b"SAVE": SAVE_ALWAYS,
    b"NOSAVE": SAVE_NEVER,
    b"NOW": SAVE_AS_CONFIGURED,
    b"FORCE": SAVE_AS_CONFIGURED,
}


def shutdown(cx: Context) -> object:
    """SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]: the server ends; there is no reply unless it could not save."""
    save = SAVE_AS_CONFIGURED
    words = [word.upper() for word in cx.argv[1:]]
    if words == [b"ABORT"]:
        raise CommandError(b"ERR No shutdown in progress.")
    for word in words:
        asked = _SHUTDOWN_WORDS.get(word)
        if asked is None or (asked and save not in (SAVE_AS_CONFIGURED, asked)):
            raise syntax_error()
        save = asked or save
    if not cx.services.control.shutdown(save, b"FORCE" in words):
        raise CommandError(SHUTDOWN_FAILED)
    cx.session.sink.close_after_flush()  # what was sent behind it does not run
    return NO_REPLY


def config_get(cx: Context) -> object:
    """CONFIG GET parameter [parameter ...] -> name, value, ..."""
    items: list[object] = []
    for name, value in cx.services.config.matching(cx.argv[2:]):
        items.append(name.encode())
        items.append(value.encode("utf-8", "surrogateescape"))
    return MapReply(items)


def config_set(cx: Context) -> object:
    """CONFIG SET parameter value [parameter value ...] -> OK; all of them or none."""
    argv = cx.argv
    if len(argv) % 2:
        raise syntax_error()
    config = cx.services.config
    before: list[tuple[str, str]] = []
    for at in range(2, len(argv), 2):
        shown = argv[at]
        name = shown.decode("utf-8", "surrogateescape")
        row = config.find(name)
        if row is None:
            raise CommandError(b"ERR Unknown option or number of arguments for CONFIG SET - '" + shown + b"'")
        if row.fixed:
            raise _config_set_failed(shown, "can't set immutable config")
        if row.protected and not allowed(cx, "enable-protected-configs"):
            raise _config_set_failed(shown, "can't set protected config")
        for earlier, _ in before:
            if earlier == row.name:
                raise _config_set_failed(shown, "duplicate parameter")
        before.append((row.name, config.text(row.name)))
    for at in range(2, len(argv), 2):
        try:
            config.set(
                argv[at].decode("utf-8", "surrogateescape"),
                argv[at + 1].decode("utf-8", "surrogateescape"),
            )
            _apply(cx, argv[at], before[at // 2 - 1][1])
        except (ConfigError, OSError) as error:
            _restore(cx, before)
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise _config_set_failed(argv[at], reason) from error
    return OK


def allowed(cx: Context, parameter: str) -> bool:
    """Return True if the parameter (no, yes, local) lets this client do what it guards."""
    mode = cx.services.config.text(parameter)
    return mode == "yes" or (mode == "local" and _is_local(cx.session.address))


def _is_local(address: bytes) -> bool:
    """Return True for a client on this machine."""
    return address.startswith((b"127.", b"[::1]", b"/")) or b":" not in address


def config_rewrite(cx: Context) -> object:
    """CONFIG REWRITE -> OK; the configuration file holds the values of now."""
    try:
        rewrite(cx.services.config, user_lines(cx.services))
    except ConfigError as error:
        raise CommandError(b"ERR " + str(error).encode()) from error
    except OSError as failure:
        reason = (failure.strerror or str(failure)).encode("utf-8", "replace")
        raise CommandError(b"ERR Rewriting config file: " + reason) from failure
    return OK


def config_help(cx: Context) -> object:
    """CONFIG HELP -> lines of help."""
    return help_reply(b"CONFIG", _HELP)


_HELP: Final[list[bytes]] = [
    b"GET <pattern> [<pattern> ...]",
    b"    Tell the parameters that match, and their values.",
    b"RESETSTAT",
    b"    Start the counters of INFO again.",
    b"REWRITE",
    b"    Write the values of now to the configuration file.",
    b"SET <parameter> <value> [<parameter> <value> ...]",
    b"    Change parameters, all of them or none.",
]


def _apply(cx: Context, shown: bytes, before: str) -> None:
    """Let the server take over the parameter `shown` names, if it had another value `before`."""
    row = cx.services.config.find(shown.decode("utf-8", "surrogateescape"))
    if row is not None and cx.services.config.text(row.name) != before:
        cx.services.control.apply_config(row.name)


def _restore(cx: Context, before: list[tuple[str, str]]) -> None:
    """Undo a CONFIG SET that failed half way."""
    for name, value in before:
        cx.services.config.values[name] = value
        cx.services.control.apply_config(name)


def _config_set_failed(shown: bytes, reason: str) -> CommandError:
    """Return the error of CONFIG SET for one parameter."""
    return CommandError(
        b"ERR CONFIG SET failed (possibly related to argument '" + shown + b"') - " + reason.encode("utf-8", "replace")
    )


def config_resetstat(cx: Context) -> object:
    """CONFIG RESETSTAT -> OK; the counters behind INFO start again."""
    cx.services.stats.reset()
    cx.state.hits = 0
    cx.state.misses = 0
    cx.state.expired_keys = 0
    cx.state.lazyfreed = 0
    cx.services.eviction.evicted_keys = 0
    for row in cx.services.commands.values():
        row.reset_statistics()
    return OK


def container(cx: Context) -> object:
    """Raise the arity error of a container called without a subcommand."""
    raise CommandError(wrong_arity(cx.argv[0].lower()))


def commands() -> list[Command]:
    """Return the rows of this group."""
    admin = ADMIN | NOSCRIPT | LOADING | STALE
    return [
        Command(
            b"CONFIG",
            -2,
            0,
            container,
            since=b"2.0.0",
            summary=b"Reads and changes the configuration.",
            subcommands=[
                Command(b"GET", -3, admin, config_get, since=b"2.0.0"),
                Command(b"HELP", 2, LOADING | STALE, config_help, since=b"5.0.0"),
                Command(b"RESETSTAT", 2, admin, config_resetstat, since=b"2.0.0"),
                Command(b"REWRITE", 2, admin, config_rewrite, since=b"2.8.0"),
                Command(b"SET", -4, admin, config_set, since=b"2.0.0"),
            ],
        ),
        Command(b"DBSIZE", 1, READONLY | FAST, dbsize, summary=b"Counts the keys."),
        Command(
            b"FLUSHALL",
            -1,
            WRITE,
            flushall,
            summary=b"Removes every key of every database.",
        ),
        Command(
            b"FLUSHDB",
            -1,
            WRITE,
            flushdb,
            summary=b"Removes every key of the database.",
        ),
        Command(
            b"SHUTDOWN",
            -1,
            admin | NO_MULTI | ALLOW_BUSY,
            shutdown,
            summary=b"Ends the server.",
        ),
        Command(
            b"SWAPDB",
            3,
            WRITE | FAST,
            swapdb,
            since=b"4.0.0",
            summary=b"Exchanges two databases.",
        ),
        Command(
            b"TIME",
            1,
            LOADING | STALE | FAST,
            time,
            since=b"2.6.0",
            summary=b"Tells the server's time.",
        ),
    ]
