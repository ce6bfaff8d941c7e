"""Snapshot commands (group "server"): SAVE, BGSAVE, LASTSAVE; and what DEBUG RELOAD does."""

from coordkit_server.context import (
    ADMIN,
    FAST,
    LOADING,
    NO_ASYNC_LOADING,
    NO_MULTI,
    NOSCRIPT,
    STALE,
    Command,
    Context,
)
from coordkit_server.errors import (
    ANOTHER_CHILD,
    FAILED,
    RELOAD_FAILED,
    RELOAD_OPTIONS,
    SAVE_IN_PROGRESS,
    CommandError,
    syntax_error,
)
from coordkit_server.resp.reply import OK, Simple


def save(cx: Context) -> object:
    """SAVE -> OK once the snapshot is on the disk; nobody else is served until then."""
    snapshots = cx.services.snapshots
    if snapshots.running():
        raise CommandError(SAVE_IN_PROGRESS)
    if not snapshots.save():
        raise CommandError(FAILED)
    return OK


def bgsave(cx: Context) -> object:
    """BGSAVE [SCHEDULE] -> a line that says whether a child writes the snapshot now or later."""
    schedule = len(cx.argv) > 1
    if len(cx.argv) > 2 or (schedule and cx.argv[1].upper() != b"SCHEDULE"):
        raise syntax_error()
    snapshots = cx.services.snapshots
    if snapshots.running():
        raise CommandError(SAVE_IN_PROGRESS)
    in_exec = cx.session.deny_blocking
    if in_exec or cx.services.children.child_running():
        if not (schedule or in_exec):
            raise CommandError(ANOTHER_CHILD)
        snapshots.scheduled = True
        return Simple(b"Background saving scheduled")
    if not snapshots.start():
        raise CommandError(FAILED)
    return Simple(b"Background saving started")


def lastsave(cx: Context) -> object:
    """LASTSAVE -> the time of the last snapshot that succeeded, in seconds."""
    return cx.services.snapshots.last_save_s


def reload(cx: Context) -> object:
    """DEBUG RELOAD [MERGE] [NOFLUSH] [NOSAVE] -> OK; the data are what the snapshot file says."""
    keep = merge = False
    saves = True
    for word in cx.argv[2:]:
        option = word.upper()
        if option == b"MERGE":
            merge = True
        elif option == b"NOFLUSH":
            keep = True
        elif option == b"NOSAVE":
            saves = False
        else:
            raise CommandError(RELOAD_OPTIONS)
    snapshots = cx.services.snapshots
    if saves and not snapshots.save():
        raise CommandError(FAILED)
    if not snapshots.reload(keep=keep, merge=merge):
        raise CommandError(RELOAD_FAILED)
    cx.services.log.warning("DB reloaded by DEBUG RELOAD")
    return OK


def commands() -> list[Command]:
    """Return the rows of this part of the group."""
    flags = ADMIN | NOSCRIPT | NO_ASYNC_LOADING
    return [
        Command(b"BGSAVE", -1, flags, bgsave, summary=b"Writes a snapshot in the background."),
        Command(b"LASTSAVE", 1, LOADING | STALE | FAST, lastsave, summary=b"Tells when the last snapshot was made."),
        Command(b"SAVE", 1, flags | NO_MULTI, save, summary=b"Writes a snapshot now."),
    ]
