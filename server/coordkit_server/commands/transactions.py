"""Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH (group "transactions")."""

from coordkit_server.context import (
    ALL_KEYS,
    ALLOW_BUSY,
    FAST,
    LOADING,
    NOSCRIPT,
    SKIP_SLOWLOG,
    STALE,
    Command,
    Context,
)
from coordkit_server.errors import (
    DISCARD_WITHOUT_MULTI,
    EXEC_ABORT,
    EXEC_WITHOUT_MULTI,
    NESTED_MULTI,
    WATCH_IN_MULTI,
    CommandError,
)
from coordkit_server.resp.reply import NO_REPLY, NULL_ARRAY, OK, WireReply
from coordkit_server.session import GATE_MULTI, Session


def multi(cx: Context) -> object:
    """MULTI -> OK; the commands that follow are queued."""
    session = cx.session
    if session.gates & GATE_MULTI:
        raise CommandError(NESTED_MULTI)
    session.gates |= GATE_MULTI
    return OK


def discard(cx: Context) -> object:
    """DISCARD -> OK; the queue and all watches are dropped."""
    if not cx.session.gates & GATE_MULTI:
        raise CommandError(DISCARD_WITHOUT_MULTI)
    cx.session.reset_transaction()
    return OK


def exec_(cx: Context) -> object:
    """EXEC -> the replies of the queued commands; null if a watched key changed."""
    session = cx.session
    if not session.gates & GATE_MULTI:
        raise CommandError(EXEC_WITHOUT_MULTI)
    if session.queue_failed:
        session.reset_transaction()
        raise CommandError(EXEC_ABORT)
    if session.watched_changed or _watched_expired(session):
        session.reset_transaction()
        return NULL_ARRAY
    queue = session.queue
    session.reset_transaction()
    row = cx.command
    argv = cx.argv
    runner = cx.services.require_runner()
    replies: list[object] = []
    session.deny_blocking = True
    for queued in queue:
        queued_row = queued.row
        if isinstance(queued_row, Command):
            cx.argv = queued.argv
            cx.db = session.db
            written = len(session.out)
            reply = runner.call(cx, queued_row)
            if reply is NO_REPLY:  # it has confirmed by itself: that stands in the place of its reply
                reply = WireReply(session.out[written:])
                del session.out[written:]
            replies.append(reply)
    session.deny_blocking = False
    cx.argv = argv
    cx.command = row
    return replies


def _watched_expired(session: Session) -> bool:
    """Return True if a key that lived when it was watched has expired since."""
    for watched in session.watched:
        if watched.was_live and not watched.database.exists(watched.key):
            return True
    return False


def watch(cx: Context) -> object:
    """WATCH key [key ...] -> OK; EXEC replies null if one of them changes before it."""
    if cx.session.gates & GATE_MULTI:
        raise CommandError(WATCH_IN_MULTI)
    for i in range(1, len(cx.argv)):
        cx.session.watch(cx.db, cx.argv[i])
    return OK


def unwatch(cx: Context) -> object:
    """UNWATCH -> OK; all watches are dropped."""
    cx.session.unwatch_all()
    return OK


def commands() -> list[Command]:
    """Return the rows of this group."""
    base = NOSCRIPT | LOADING | STALE | FAST
    return [
        Command(
            b"DISCARD",
            1,
            base | ALLOW_BUSY,
            discard,
            since=b"2.0.0",
            summary=b"Drops the queued commands.",
        ),
        Command(
            b"EXEC",
            1,
            NOSCRIPT | LOADING | STALE | SKIP_SLOWLOG,
            exec_,
            since=b"1.2.0",
            summary=b"Runs the queued commands.",
        ),
        Command(
            b"MULTI",
            1,
            base | ALLOW_BUSY,
            multi,
            since=b"1.2.0",
            summary=b"Starts queuing commands.",
        ),
        Command(
            b"UNWATCH",
            1,
            base | ALLOW_BUSY,
            unwatch,
            since=b"2.2.0",
            summary=b"Forgets all watched keys.",
        ),
        Command(
            b"WATCH",
            -2,
            base | ALLOW_BUSY,
            watch,
            ALL_KEYS,
            since=b"2.2.0",
            summary=b"Makes the next EXEC depend on keys not changing.",
        ),
    ]
