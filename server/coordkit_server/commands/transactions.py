"""Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH (group "transactions")."""

from typing import Final

from coordkit_server.access.selector import DENIED_CHANNEL, DENIED_COMMAND, DENIED_KEY
from coordkit_server.commands.permissions import check
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
    NO_PERMISSION_ANY_MORE,
    WATCH_IN_MULTI,
    CommandError,
)
from coordkit_server.resp.reply import NO_REPLY, NULL_ARRAY, OK, ErrorReply, WireReply
from coordkit_server.session import GATE_ACL, GATE_MULTI, Session

_REASONS: Final[dict[int, bytes]] = {
    DENIED_COMMAND: b"no permission to execute the command or subcommand",
    DENIED_KEY: b"no permission to touch the specified keys",
    DENIED_CHANNEL: b"no permission to access one of the channels used as arguments",
}


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
            reply = _refusal(cx, queued_row) if session.gates & GATE_ACL else None
            if reply is None:
                reply = runner.call(cx, queued_row)
            if reply is NO_REPLY:  # it has confirmed by itself: that stands in the place of its reply
                reply = WireReply(session.out[written:])
                del session.out[written:]
            replies.append(reply)
    session.deny_blocking = False
    cx.argv = argv
    cx.command = row
    return replies


def _refusal(cx: Context, row: Command) -> object:
    """Return the error if the user may not run a queued command any more, None if it may."""
    verdict = check(cx, row, cx.argv, b"multi")
    if verdict is None:
        return None
    text = NO_PERMISSION_ANY_MORE + _REASONS[verdict.reason]
    cx.services.stats.count_error(text)
    return ErrorReply(text)


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
