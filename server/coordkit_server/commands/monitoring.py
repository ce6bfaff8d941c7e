"""MONITOR (group "server"): the client gets a line for each command that any client runs."""

from coordkit_server.context import ADMIN, LOADING, NOSCRIPT, STALE, Command, Context
from coordkit_server.errors import CommandError
from coordkit_server.resp.reply import OK


def monitor(cx: Context) -> object:
    """MONITOR -> OK, then lines until QUIT or RESET."""
    if cx.session.deny_blocking:
        raise CommandError(b"ERR MONITOR isn't allowed for DENY BLOCKING client")
    cx.services.monitors.add(cx.session)
    return OK


def commands() -> list[Command]:
    """Return the row of MONITOR."""
    flags = ADMIN | NOSCRIPT | LOADING | STALE
    return [Command(b"MONITOR", 1, flags, monitor, summary=b"Shows every command that the server runs.")]
