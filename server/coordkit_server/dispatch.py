"""From an argv to a reply: look the command up, pass the gates, run it, serve the clients it made ready.

Map: Dispatcher.execute (one request of a client), _gate (the checks that ordinary clients skip), call (one command:
handler, statistics), serve_ready (blocked clients), find (the command table).
"""

from itertools import islice
from typing import Final

from coordkit_server.commands.pausing import may_replicate
from coordkit_server.commands.permissions import check, refusal_text
from coordkit_server.context import (
    ADMIN,
    ALLOW_BUSY,
    DENYOOM,
    FAST,
    LOADING,
    MAY_REPLICATE,
    NO_AUTH,
    NO_MULTI,
    READONLY,
    SKIP_MONITOR,
    SKIP_SLOWLOG,
    WRITE,
    Command,
    CommandRunner,
    Context,
    Services,
)
from coordkit_server.errors import (
    BUSY_SCRIPT,
    EXEC_ABORT_BECAUSE,
    NO_REPLICAS,
    NOT_IN_MULTI,
    NOT_WHILE_MONITORING,
    OOM,
    CommandError,
    clean,
    unknown_command,
    unknown_subcommand,
    wrong_arity,
)
from coordkit_server.errors import LOADING as LOADING_TEXT
from coordkit_server.errors import NO_AUTH as NO_AUTH_TEXT
from coordkit_server.keyspace.database import Database, type_name
from coordkit_server.keyspace.propagation import TO_ALL, command_bytes
from coordkit_server.keyspace.waiter import Waiter
from coordkit_server.latency import Histogram
from coordkit_server.monitor import redact
from coordkit_server.pause import PAUSE_NONE, PAUSE_WRITE
from coordkit_server.resp.reply import BLOCKED, NO_REPLY, QUEUED, ErrorReply
from coordkit_server.session import (
    GATE_ACL,
    GATE_AUTH,
    GATE_MONITOR,
    GATE_MULTI,
    GATE_NO_TOUCH,
    GATE_SUBSCRIBED,
    REPLY_OFF,
    REPLY_ON,
    REPLY_SKIP,
    REPLY_SKIP_NEXT,
    TRACK_CACHING,
    Queued,
    Session,
)

# what a RESP2 client may call while it is subscribed
_SUBSCRIBED_COMMANDS: Final = frozenset(
    [
        b"SUBSCRIBE",
        b"PSUBSCRIBE",
        b"SSUBSCRIBE",
        b"UNSUBSCRIBE",
        b"PUNSUBSCRIBE",
        b"SUNSUBSCRIBE",
        b"PING",
        b"QUIT",
        b"RESET",
    ]
)
# what runs at once between MULTI and EXEC
_NEVER_QUEUED: Final = frozenset([b"EXEC", b"DISCARD", b"MULTI", b"WATCH", b"QUIT", b"RESET"])

# they may remove expired keys anywhere: these removals are no unit
_TOUCH_ANY_KEY: Final = frozenset([b"SCAN", b"RANDOMKEY"])
# their commands' keys are tracked, not those the scripts were given
_READ_ONLY_SCRIPTS: Final = frozenset([b"EVAL_RO", b"EVALSHA_RO", b"FCALL_RO"])

# lines of HTTP: Redis's commands in a form that a web page sends would be executed behind them
_WEB_WORDS: Final = frozenset([b"post", b"host:"])
_ATTACK_TOLD_EVERY_US: Final = 60_000_000

# waiters of one key that are looked at before its queue is copied
FEW: Final = 8


class Dispatcher(CommandRunner):
    """The one gate through which every command passes."""

    def __init__(self, services: Services) -> None:
        self._services: Final = services
        self._state: Final = services.state
        self._clock: Final = services.clock
        self._stats: Final = services.stats
        self._propagation: Final = services.state.propagation
        self._pause: Final = services.pause
        self._tracking: Final = services.tracking
        self._listeners: Final = services.monitors.sessions
        self.notable_us: int = 0  # what took as long as this is for the slow log or the latency monitor; -1: nothing
        self.times_commands: bool = True  # each command keeps a histogram (latency-tracking)
        self._table: Final[dict[bytes, Command]] = {}
        self._now_us: int = services.clock.now_us()
        self.script_busy: bool = False  # a script has run past busy-reply-threshold
        self.busy_text: bytes = BUSY_SCRIPT
        self.loading: bool = False  # the snapshot file is read: few commands may run
        self._serving: bool = False
        self._attack_told_us: int = -_ATTACK_TOLD_EVERY_US
        for name, row in services.commands.items():
            self._table[name] = row
            self._table[name.lower()] = row

    def begin_batch(self) -> None:
        """Read the clock: the event loop calls it before it executes what one read brought."""
        self._now_us = self._clock.now_us()

    def find(self, argv: list[bytes]) -> Command | None:
        """Return the row for `argv`, the subcommand's row for a container; None if there is none."""
        row = self._table.get(argv[0])
        if row is None:
            row = self._table.get(argv[0].upper())
            if row is None:
                return None
        subcommands = row.subcommands
        if subcommands is not None and len(argv) > 1:
            return subcommands.get(argv[1].upper())
        return row

    def refusal(self, argv: list[bytes]) -> bytes | None:
        """Return the error text if `argv` names no command or has a wrong number of arguments, else None."""
        row = self.find(argv)
        if row is not None:
            size = len(argv)
            if size == row.arity or (row.arity < 0 and size >= -row.arity):
                return None
            row.rejected_calls += 1
            return wrong_arity(row.full_name)
        if len(argv) > 1 and self._table.get(argv[0].upper()) is not None:
            return unknown_subcommand(argv[0].upper(), argv[1])
        return unknown_command(argv)

    def execute(self, cx: Context, argv: list[bytes]) -> object:
        """Return the reply to one request; errors come back as ErrorReply."""
        session = cx.session
        now_us = self._now_us
        self._state.set_time(now_us)
        session.active_us = now_us
        row = self.find(argv)
        size = len(argv)
        if row is None or not (size == row.arity or (row.arity < 0 and size >= -row.arity)):
            if row is None and argv[0].lower() in _WEB_WORDS:
                return self._cut_off(session)
            return self._refuse_form(session, row, self.refusal(argv) or unknown_command(argv))
        session.last_command = row.full_name
        if self._state.tracking:
            self._limit_tracking(session)
        if (
            session.gates
            or self.script_busy
            or self.loading
            or self._state.over_limit
            or self._pause.kind
            or self._state.writes_refused
        ):
            refused = self._gate(session, row, argv)
            if refused is not None:
                return refused
        cx.argv = argv
        cx.db = session.db
        reply = self._tracked_call(cx, row) if self._state.tracking else self.call(cx, row)
        if self._state.no_touch:
            self._state.hold_touches(False)
        if self._state.ready and not self._serving and not self.script_busy:
            self.serve_ready()
        return reply

    def _limit_tracking(self, session: Session) -> None:
        """Forget tracked keys beyond the limit; what that tells the client itself stands before its reply."""
        if self._tracking.client_count:
            self._tracking.limit()
            if session.pushes:
                session.out.extend(session.pushes)
                session.pushes = []

    def _tracked_call(self, cx: Context, row: Command) -> object:
        """Run `row` while some client tracks keys: its session is the one that reads and changes them."""
        session = cx.session
        before = self._tracking.current  # a client whose script lets others be answered
        self._tracking.current = session
        reply = self.call(cx, row)
        self._tracking.current = before
        if (
            session.tracking & TRACK_CACHING
            and not session.gates & GATE_MULTI
            and not row.full_name.startswith(b"client|")
        ):
            session.tracking &= ~TRACK_CACHING
        return reply

    def _cut_off(self, session: Session) -> object:
        """Close the connection of a browser that was made to send commands, as lines behind those of HTTP."""
        now_us = self._clock.monotonic_us()
        if now_us - self._attack_told_us > _ATTACK_TOLD_EVERY_US:
            self._attack_told_us = now_us
            self._services.log.warning(
                "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Redis. "
                "This is likely due to an attacker attempting to use Cross Protocol Scripting to compromise your Redis "
                "instance. Connection from %s aborted." % session.address.decode("utf-8", "replace")
            )
        session.sink.close_now()
        return NO_REPLY

    def _refuse_form(self, session: Session, row: Command | None, text: bytes) -> object:
        """Refuse an unknown command or a wrong number of arguments; EXEC ends the transaction even so."""
        if row is not None and row.name == b"EXEC":
            session.reset_transaction()
            text = EXEC_ABORT_BECAUSE + text.removeprefix(b"ERR ")
        return self._refuse(session, text)

    def _refuse(self, session: Session, text: bytes) -> object:
        """Return an error that was found before the command ran; it also dooms an open transaction."""
        if session.gates & GATE_MULTI:
            session.queue_failed = True
        self._stats.count_error(text)
        return ErrorReply(text)

    def _reject(self, session: Session, row: Command, text: bytes) -> object:
        """Refuse `row` because of the server's state; EXEC also loses its transaction and says why."""
        row.rejected_calls += 1
        if row.name == b"EXEC" and session.gates & GATE_MULTI:
            session.reset_transaction()
            text = EXEC_ABORT_BECAUSE + text
        return self._refuse(session, text)

    def _gate(self, session: Session, row: Command, argv: list[bytes]) -> object:
        """Return what a client in a special state gets instead of the command; None to let it run."""
        gates = session.gates
        if gates & GATE_AUTH and not row.flags & NO_AUTH:
            row.rejected_calls += 1
            return self._refuse(session, NO_AUTH_TEXT)
        if gates & GATE_ACL:
            refusal = self._permission(session, row, argv)
            if refusal:
                return self._reject(session, row, refusal)
        if self.loading:
            if not row.flags & LOADING:
                return self._reject(session, row, LOADING_TEXT)
        elif self.script_busy and not row.flags & ALLOW_BUSY:
            return self._reject(session, row, self.busy_text)
        if self._state.over_limit and not self.script_busy:
            self._make_room(session)
        if self._state.memory_exceeded and self._grows(session, row):
            return self._reject(session, row, OOM)
        if self._state.writes_refused:
            refusal = self._write_refusal(session, row)
            if refusal:
                return self._reject(session, row, refusal)
        if gates & GATE_SUBSCRIBED and row.name not in _SUBSCRIBED_COMMANDS:
            return self._refuse(
                session,
                b"ERR Can't execute '" + row.full_name + b"': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                b"RESET are allowed in this context",
            )
        if gates & GATE_MONITOR and row.flags & (READONLY | WRITE | MAY_REPLICATE):
            return self._reject(session, row, NOT_WHILE_MONITORING)
        if self._pause.kind != PAUSE_NONE and self._is_paused(session, row, argv):
            self._pause.postpone(session, argv)
            return BLOCKED
        if gates & GATE_MULTI and row.name not in _NEVER_QUEUED:
            if row.flags & NO_MULTI:
                row.rejected_calls += 1
                return self._refuse(session, NOT_IN_MULTI)
            session.queue.append(Queued(row, argv))
            return QUEUED
        if gates & GATE_NO_TOUCH:
            self._state.hold_touches(True)
        return None

    def _permission(self, session: Session, row: Command, argv: list[bytes]) -> bytes:
        """Return why the session's user may not run `argv`, empty if it may."""
        cx = Context(session, self._services)
        cx.argv = argv
        verdict = check(cx, row, argv, b"multi" if session.gates & GATE_MULTI else b"toplevel")
        return b"" if verdict is None else b"NOPERM " + refusal_text(session.user, row, verdict)

    def _make_room(self, session: Session) -> None:
        """Evict keys before a command runs; what that tells the client itself stands before its reply."""
        start_us = self._clock.monotonic_us()
        self._state.memory_exceeded = not self._services.eviction.make_room()
        self._state.over_limit = self._state.exceeds_limit()
        took_us = self._clock.monotonic_us() - start_us
        self._services.latency.note(b"eviction-cycle", self._now_us, took_us)
        if session.pushes:
            session.out.extend(session.pushes)
            session.pushes = []

    def _is_paused(self, session: Session, row: Command, argv: list[bytes]) -> bool:
        """Return True if CLIENT PAUSE keeps this command waiting."""
        self._pause.end_if_due()
        if self._pause.kind != PAUSE_WRITE:
            return self._pause.kind != PAUSE_NONE
        return may_replicate(self._services, session, row, argv)

    def _write_refusal(self, session: Session, row: Command) -> bytes:
        """Return why `row` may not run while writes are refused, empty if it may.  PING tells of a broken disk."""
        state = self._state
        if not self._writes(session, row):
            return state.disk_error if row.name == b"PING" else b""
        return state.disk_error or NO_REPLICAS

    def _writes(self, session: Session, row: Command) -> bool:
        """Return True if `row`, or what EXEC would run, changes data."""
        if row.flags & WRITE:
            return True
        if row.name == b"EXEC":
            for queued in session.queue:
                inner = queued.row
                if isinstance(inner, Command) and inner.flags & WRITE:
                    return True
        return False

    def _grows(self, session: Session, row: Command) -> bool:
        """Return True if `row`, or what EXEC would run, may need more memory."""
        if row.flags & DENYOOM:
            return True
        if row.name == b"EXEC":
            for queued in session.queue:
                inner = queued.row
                if isinstance(inner, Command) and inner.flags & DENYOOM:
                    return True
        return False

    def call(self, cx: Context, row: Command) -> object:
        """Run `row` on `cx` (its argv set): handler, statistics, propagation.

        Returns the reply, an ErrorReply for an error."""
        if self._propagation.active:
            return self._run_and_propagate(cx, row)
        return self._run(cx, row)

    def _run_and_propagate(self, cx: Context, row: Command) -> object:
        """Run `row` and let those who follow know what it changed."""
        propagation = self._propagation
        before = self._state.dirty
        cx.forget_rewriting()
        propagation.depth += 1
        reply = self._run(cx, row)
        propagation.depth -= 1
        targets = (cx.forced if self._state.dirty == before else TO_ALL) & cx.targets
        if targets and row.name != b"EXEC":
            argv = cx.argv if cx.rewritten is None else cx.rewritten
            if argv:
                if propagation.depth == 0 and not propagation.pending:
                    parser = cx.parser
                    wire = parser.wire_of(argv) if parser is not None else None
                    propagation.deliver_one(cx.db.index, command_bytes(argv) if wire is None else wire, targets)
                    cx.session.aof_position = propagation.aof_position
                    cx.session.replica_position = propagation.replica_position
                    return reply
                propagation.add(cx.db.index, argv, targets)
        if propagation.pending and propagation.depth == 0:
            propagation.deliver(as_unit=row.name not in _TOUCH_ANY_KEY)
            cx.session.aof_position = propagation.aof_position
            cx.session.replica_position = propagation.replica_position
        return reply

    def _run(self, cx: Context, row: Command) -> object:
        """Run the handler of `row` and count it; return the reply."""
        start_us = self._now_us
        cx.command = row
        if self._listeners and row.flags & SKIP_MONITOR and row.group == b"scripting":
            # a script stands before the commands that it calls
            self._services.monitors.feed(cx.session, cx.db.index, cx.argv, start_us)
        try:
            reply = row.handler(cx)
        except CommandError as error:
            row.failed_calls += 1
            self._stats.count_error(error.message)
            reply = ErrorReply(clean(error.message))
        end_us = self._clock.now_us()
        self._now_us = end_us
        duration_us = end_us - start_us
        if self._listeners and not row.flags & (SKIP_MONITOR | ADMIN) and not cx.session.holding:
            self._services.monitors.feed(cx.session, cx.db.index, cx.argv, start_us)
        if reply is BLOCKED:
            return reply  # counted when it is served
        row.usec += duration_us
        row.calls += 1
        self._stats.commands_processed += 1
        if self.times_commands:
            histogram = row.histogram
            if histogram is None:
                histogram = Histogram()
                row.histogram = histogram
            histogram.add(duration_us)
        if duration_us >= self.notable_us >= 0:
            self._note(cx, row, start_us, duration_us)
        if self._state.tracking and row.flags & READONLY and row.name not in _READ_ONLY_SCRIPTS:
            positions = row.keys.positions(cx.argv)
            if positions:
                self._tracking.remember(cx.argv, positions)
        return reply

    def _note(self, cx: Context, row: Command, start_us: int, duration_us: int) -> None:
        """Enter a command that took long in the slow log and with the latency monitor, as far as they want it."""
        services = self._services
        services.latency.note(b"fast-command" if row.flags & FAST else b"command", start_us, duration_us)
        slowlog = services.slowlog
        if 0 <= slowlog.threshold_us <= duration_us and not row.flags & SKIP_SLOWLOG:
            slowlog.add(redact(cx.argv), start_us, duration_us, cx.session.address, cx.session.name)

    def watch_durations(self) -> None:
        """Take over the thresholds of the slow log and the latency monitor."""
        self.notable_us = self._services.slowlog.threshold_us
        latency_us = self._services.latency.threshold_ms * 1000
        if latency_us and (self.notable_us < 0 or latency_us < self.notable_us):
            self.notable_us = latency_us

    # -- blocked clients -----------------------------------------------------------------------------------------

    def serve_ready(self) -> None:
        """Run the commands of blocked clients again whose keys have become ready, in order of arrival."""
        self._serving = True
        state = self._state
        while state.ready:
            ready = state.ready
            state.ready = []
            for database, key in ready:
                queue = database.waiting.get(key)
                # one is most often enough: the queue is copied only if many can be served
                if queue is not None and self._offer(database, key, list(islice(queue, FEW))) and len(queue) > 0:
                    self._offer(database, key, list(queue))
        self._serving = False

    def _offer(self, database: Database, key: bytes, waiters: list[Waiter]) -> bool:
        """Let `waiters` try what is at `key` now; return False once there is nothing left for anybody."""
        kind = self._kind_at(database, key)
        for waiter in waiters:
            if waiter.active and (kind == waiter.kind or waiter.wakes_on_missing):
                self._retry(waiter)
                kind = self._kind_at(database, key)
            if not kind and not self._services.blocking.missing_count:
                return False
        return True

    def _kind_at(self, database: Database, key: bytes) -> bytes:
        """Return the type of the value at `key` by the time it is now, empty for none."""
        self._state.set_time(self._now_us)
        entry = database.glance(key)
        return b"" if entry is None else type_name(entry.value)

    def _retry(self, waiter: Waiter) -> None:
        """Run the blocked command again; if it gets a reply, send it and let the client go on."""
        session = waiter.client
        if not isinstance(session, Session) or session.waiter is not waiter:
            return
        row = session.waiting_row
        if not isinstance(row, Command):
            return
        cx = Context(session, self._services)
        cx.argv = session.waiting_argv
        if self._pause.kind != PAUSE_NONE and self._is_paused(session, row, cx.argv):
            self._services.blocking.remove(waiter, session.db)
            session.waiting_row = None
            self._pause.postpone(session, cx.argv)
            return
        reply: object = None
        if self._state.memory_exceeded or self._state.writes_refused or session.gates & GATE_ACL:
            reply = self._gate(session, row, cx.argv)
        if reply is None:
            session.holding = True
            reply = self._tracked_call(cx, row) if self._state.tracking else self.call(cx, row)
            session.holding = False
        if reply is not BLOCKED:
            self._end_wait(session, waiter, reply)
        if session.pushes:
            session.out.extend(session.pushes)
            session.pushes = []
            session.sink.wake()

    def release(self, session: Session, reply: object) -> None:
        """End the wait of a blocked session that was not served (timeout, CLIENT UNBLOCK) with `reply`."""
        waiter = session.waiter
        if waiter is None:
            return
        row = session.waiting_row
        if isinstance(row, Command):
            row.calls += 1
            if isinstance(reply, ErrorReply):
                row.failed_calls += 1
                self._stats.count_error(reply.text)
        self._end_wait(session, waiter, reply)

    def _end_wait(self, session: Session, waiter: Waiter, reply: object) -> None:
        """Send `reply` to a blocked session and let it go on."""
        self._services.blocking.remove(waiter, session.db)
        session.waiter = None
        session.waiting_row = None
        session.waiting_argv = []
        if session.reply_mode == REPLY_ON or wants_reply(session, reply):
            session.send(reply)
        session.sink.resume()

    def expire_waiters(self) -> None:
        """Reply to the blocked clients whose timeout has passed."""
        now_us = self._clock.monotonic_us()
        while True:
            waiter = self._services.blocking.pop_due(now_us)
            if waiter is None:
                return
            session = waiter.client
            if isinstance(session, Session):
                self.release(session, waiter.timeout_reply)


def wants_reply(session: Session, reply: object) -> bool:
    """Return True if `reply` is to be sent, in the session's reply mode (CLIENT REPLY), which moves on."""
    if reply is BLOCKED:
        return False  # the mode counts for the reply that is still to come
    if session.reply_mode == REPLY_ON:
        return reply is not NO_REPLY
    if session.reply_mode == REPLY_SKIP_NEXT:
        session.reply_mode = REPLY_SKIP
        return False
    if session.reply_mode == REPLY_SKIP:
        session.reply_mode = REPLY_ON
        return False
    return session.reply_mode != REPLY_OFF
