"""Append-only file commands (group "server"): BGREWRITEAOF; what DEBUG LOADAOF and the start of the server do."""

from coordkit_server.commands.replaying import CommandReplay
from coordkit_server.context import ADMIN, NO_ASYNC_LOADING, NOSCRIPT, Command, Context, Services
from coordkit_server.errors import REWRITE_FAILED, REWRITE_IN_PROGRESS, CommandError
from coordkit_server.persistence.aof import ON
from coordkit_server.persistence.aof_load import AofLoader
from coordkit_server.resp.reply import OK, Simple


def bgrewriteaof(cx: Context) -> object:
    """BGREWRITEAOF -> a line that says whether a child writes a new base now or later."""
    aof = cx.services.aof
    if aof.rewriting:
        raise CommandError(REWRITE_IN_PROGRESS)
    if cx.services.children.child_running() or cx.session.deny_blocking:
        aof.scheduled = True
        aof.failures = 0
        return Simple(b"Background append only file rewriting scheduled")
    if not aof.start_rewrite():
        raise CommandError(REWRITE_FAILED)
    return Simple(b"Background append only file rewriting started")


def load_files(services: Services) -> bool:
    """Load the append-only file; return False if there is none.  Raises AppendOnlyError, LoadStopped, OSError."""
    aof = services.aof
    state = services.state
    propagation = state.propagation
    heard = propagation.active
    propagation.active = False
    state.loading = True
    services.control.set_loading(True)
    started_us = services.clock.monotonic_us()
    try:
        loader = AofLoader(
            aof, services.log, CommandReplay(services), truncate=services.config.flag("aof-load-truncated")
        )
        loaded = loader.load()
    finally:
        state.loading = False
        services.control.set_loading(False)
        services.snapshots.end_loading()
        propagation.active = heard
    state.ready = []
    if loaded:
        seconds = (services.clock.monotonic_us() - started_us) / 1e6
        services.log.notice(f"DB loaded from append only file: {seconds:.3f} seconds")
    return loaded


def load_again(services: Services) -> object:
    """DEBUG LOADAOF -> OK; the data are what the append-only file says."""
    aof = services.aof
    if aof.state == ON:
        aof.appender.flush(force=True)
    for database in services.databases:
        database.flush()
    aof.read_manifest()
    if aof.state == ON:
        aof.remove_history()
    load_files(services)
    services.snapshots.forget_changes()
    return OK


def commands() -> list[Command]:
    """Return the row of this part of the group."""
    flags = ADMIN | NOSCRIPT | NO_ASYNC_LOADING
    return [Command(b"BGREWRITEAOF", 1, flags, bgrewriteaof, summary=b"Writes the append-only file anew.")]
