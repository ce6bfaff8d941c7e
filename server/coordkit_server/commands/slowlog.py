"""SLOWLOG (group "server"): the slowest commands."""

from typing import Final

from coordkit_server.commands.args import integer_between
from coordkit_server.commands.help import help_reply
from coordkit_server.commands.server import container
from coordkit_server.context import ADMIN, LOADING, STALE, Command, Context
from coordkit_server.numeric import INT64_MAX
from coordkit_server.resp.reply import OK


def slowlog_get(cx: Context) -> object:
    """SLOWLOG GET [count] -> the newest entries (10): id, time, microseconds, arguments, address, client name."""
    count = 10
    if len(cx.argv) == 3:
        count = integer_between(cx.argv[2], -1, INT64_MAX, b"ERR count should be greater than or equal to -1")
    log = cx.services.slowlog.entries
    chosen = log if count == -1 else log[:count]
    return [
        [entry.id, entry.at_us // 1_000_000, entry.duration_us, list(entry.argv), entry.address, entry.name]
        for entry in chosen
    ]


def slowlog_len(cx: Context) -> object:
    """SLOWLOG LEN -> number of entries."""
    return len(cx.services.slowlog.entries)


def slowlog_reset(cx: Context) -> object:
    """SLOWLOG RESET -> OK; the log is empty."""
    cx.services.slowlog.entries = []
    return OK


def slowlog_help(cx: Context) -> object:
    """SLOWLOG HELP -> lines of help."""
    return help_reply(b"SLOWLOG", _HELP)


_HELP: Final[list[bytes]] = [
    b"GET [<count>]",
    b"    Show the newest entries (10; -1 for all): id, time, microseconds, arguments, address, client name.",
    b"LEN",
    b"    Tell how many entries there are.",
    b"RESET",
    b"    Drop all entries.",
]


def commands() -> list[Command]:
    """Return the row of SLOWLOG."""
    admin = ADMIN | LOADING | STALE
    return [
        Command(
            b"SLOWLOG",
            -2,
            0,
            container,
            since=b"2.2.12",
            summary=b"Reads the log of slow commands.",
            subcommands=[
                Command(b"GET", -2, admin, slowlog_get, since=b"2.2.12"),
                Command(b"HELP", 2, LOADING | STALE, slowlog_help, since=b"6.2.0"),
                Command(b"LEN", 2, admin, slowlog_len, since=b"2.2.12"),
                Command(b"RESET", 2, admin, slowlog_reset, since=b"2.2.12"),
            ],
        )
    ]
