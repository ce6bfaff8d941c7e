"""One client's socket: read once, parse, execute everything that arrived, write once at the end of the turn.

Back-pressure: a client that does not read its replies is not read from while its output is over the soft mark, and is
closed at the hard limit of its class (client-output-buffer-limit).  A blocked client is not read from either: what it
pipelined waits in the kernel and in the parser.
"""

import socket
from contextlib import suppress
from typing import Final

from mypy_extensions import trait

from coordkit_server.commands.clients import client_info_line
from coordkit_server.context import Context, Services
from coordkit_server.dispatch import Dispatcher, wants_reply
from coordkit_server.errors import ProtocolError
from coordkit_server.networking.eventloop import EventLoop, Flushable, Handler
from coordkit_server.networking.poller import READ, WRITE
from coordkit_server.resp.encoder import encode
from coordkit_server.resp.reply import BLOCKED, NO_REPLY, ErrorReply
from coordkit_server.resp.request import RequestParser, quoted
from coordkit_server.session import GATE_AUTH, REPLY_ON, OutputSink, Session

READ_SIZE: Final = 16 * 1024
READ_SIZE_MAX: Final = 1024 * 1024
# a larger room for reading shrinks again when it is not used
READ_SIZE_TRIMMED: Final = 32 * 1024
# replies of a pipeline are sent when so many chunks have gathered, so that a long pipeline streams
FLUSH_CHUNKS: Final = 4096
# and behind a reply as large as this
BIG_REPLY: Final = 64 * 1024
# up to so many chunks are sent as one; more of them in parts of JOIN_LIMIT
JOIN_CHUNKS: Final = 4096
# a client with more unsent output than this is not read from until it has taken some
OUTPUT_SOFT: Final = 1024 * 1024
JOIN_LIMIT: Final = 256 * 1024
# requests of a pipeline whose keys are looked up together
READ_AHEAD: Final = 16
# client-query-buffer-limit cannot be lower: with less to parse nobody has to ask for it
QUERY_LIMIT_MIN: Final = 1024 * 1024
# bytes of a client's input that the log shows: of what broke the protocol, and of what was too much
PROTOCOL_SAMPLE: Final = 128
QUERY_SAMPLE: Final = 64
# pieces that a feeder is asked for in one turn
FEED_CHUNKS: Final = 16


@trait
class ConnectionOwner:
    """Told when a connection ends."""

    def connection_closed(self, connection: "Connection") -> None:
        """Drop what is kept for `connection`."""
        raise NotImplementedError


class OutputLimit:
    """client-output-buffer-limit of one class: hard bytes, soft bytes, soft seconds; 0 means none."""

    def __init__(self) -> None:
        self.hard: int = 0
        self.soft: int = 0
        self.soft_us: int = 0


class Connection(Handler, Flushable, OutputSink):
    """A connected client."""

    def __init__(
        self,
        sock: socket.socket,
        ident: int,
        loop: EventLoop,
        dispatcher: Dispatcher,
        services: Services,
        owner: ConnectionOwner,
    ) -> None:
        self._socket: Final = sock
        self._fd: Final = sock.fileno()
        self._loop: Final = loop
        self._dispatcher: Final = dispatcher
        self._services: Final = services
        self._stats: Final = services.stats
        self._owner: Final = owner
        self._parser: Final = RequestParser(services.config.number("proto-max-bulk-len"))
        self._read_size: int = READ_SIZE
        self._read_peak: int = 0  # largest read since the last trim
        self._released: bool = False  # nothing is kept for a client that is silent
        self._unsent: list[bytes] = []  # taken from session.out, refused by the socket so far
        self._unsent_bytes: int = 0
        self._soft_since_us: int = 0
        self._mask: int = READ
        self._flush_asked: bool = False
        self._executing: bool = False
        self._held: list[bytes] = []  # a request that was put off: it runs before what came after it
        self._closing: bool = False  # close once everything is sent
        self._closed: bool = False
        self.limit_normal: OutputLimit = OutputLimit()
        self.limit_pubsub: OutputLimit = OutputLimit()
        self.limit_replica: OutputLimit = OutputLimit()
        self.session: Final[Session] = Session(ident, services.databases[0], self, services.clock.now_us())
        self._cx: Final = Context(self.session, services, self._parser)

    # -- input ---------------------------------------------------------------------------------------------------

    def on_readable(self) -> None:
        """Read once and execute what is complete; nothing is read while a command of this client runs (a script)."""
        if self._executing:
            return
        try:
            room = self._room()
            data = self._socket.recv(room)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._services.log.verbose("Reading from client: %s" % error.strerror)
            self.close_now()
            return
        size = len(data)
        if size == 0:
            if self._services.log.shows_verbose():
                self._services.log.verbose("Client closed connection %s" % self._description())
            self.close_now()
            return
        self._stats.net_input_bytes += size
        self._stats.reads += 1
        if size == room and size < READ_SIZE_MAX:
            self._read_size = size * 2
        elif room > self._read_size:
            self._read_size = room
        self._read_peak = max(self._read_peak, size)
        self._released = False
        self._parser.feed(data)
        self._process()
        if self._parser.buffered() > QUERY_LIMIT_MIN:
            self._check_query_limit()

    def _check_query_limit(self) -> None:
        """Close the connection if more waits to be parsed than a client may have waiting."""
        if self._closed or self._parser.buffered() <= self._services.config.number("client-query-buffer-limit"):
            return
        start = quoted(self._parser.unparsed()[:QUERY_SAMPLE]).decode("ascii")
        self._services.log.warning(
            "Closing client that reached max query buffer length: %s (qbuf initial bytes: %s)"
            % (self._description(), start)
        )
        self.close_now()

    def _description(self) -> str:
        """Return the client's line as CLIENT LIST has it, for the log."""
        return client_info_line(self._cx, self.session).decode("utf-8", "replace")

    def _room(self) -> int:
        """Return how many bytes the next read may bring: more than usual while a large argument is coming."""
        missing = self._parser.missing()
        return min(missing, READ_SIZE_MAX) if missing > self._read_size else self._read_size

    def input_room(self) -> int:
        """Return how many bytes the next read may bring, 0 if nothing is kept for a silent client."""
        return 0 if self._released else self._room()

    def trim_input(self, *, silent: bool) -> None:
        """Fit the room for reading to what came since the last trim; keep nothing for a `silent` client."""
        peak = self._read_peak
        self._read_peak = 0
        if silent and peak == 0:
            self._read_size = READ_SIZE
            self._released = True
            self._parser.forget_parsed()
        elif self._read_size > READ_SIZE_TRIMMED and self._read_size // 2 > peak:
            self._read_size = max(peak, READ_SIZE)

    def _process(self) -> None:
        """Execute the requests that are complete, then send the replies."""
        session = self.session
        self._parser.authenticated = not session.gates & GATE_AUTH
        self._executing = True
        self._dispatcher.begin_batch()
        try:
            self._execute_all(session)
        except ProtocolError as error:
            if self._services.log.shows_verbose():
                sample = protocol_sample(self._parser.unparsed())
                self._services.log.verbose(
                    "Protocol error (%s) from client: %s. %s" % (error.logged, self._description(), sample)
                )
            encode(
                session.out,
                ErrorReply(b"ERR Protocol error: " + error.message),
                session.resp3,
            )
            self._closing = True
        self._parser.put_back()
        self._executing = False
        self._reply()

    def _reply(self) -> None:
        """Send replies at the end of the turn, when all have been served who asked.

        The first reply often wakes another process, which is the dearest part of a turn: with all replies sent in a
        row its processor is awake for the others."""
        self._ask_flush()

    def _execute_all(self, session: Session) -> None:
        """Execute requests until none is complete, the client blocks, closes, or has too much output."""
        parser = self._parser
        dispatcher = self._dispatcher
        cx = self._cx
        while session.waiter is None and not session.closing and not self._closing and not self._closed:
            argv: list[bytes] | None = self._held
            if self._held:
                self._held = []
            else:
                argv = parser.next_request()
                if argv is not None and parser.may_read_ahead() and session.db.outgrows_caches():
                    session.db.warm(parser.read_ahead(READ_AHEAD))
            if argv is None:
                return
            if len(argv) == 0:
                continue
            reply = dispatcher.execute(cx, argv)
            if session.reply_mode == REPLY_ON:
                encode_reply(session, reply)
            elif wants_reply(session, reply):
                encode_reply(session, reply)
            if session.pushes:
                session.out.extend(session.pushes)
                session.pushes = []
            if len(session.out) > FLUSH_CHUNKS or (isinstance(reply, bytes) and len(reply) >= BIG_REPLY):
                if self._loop.barrier is not None:
                    self._loop.barrier.settle()
                self.flush()
                if self._unsent_bytes > OUTPUT_SOFT:
                    return

    def resume(self) -> None:
        """Go on after a block: what was pipelined behind the blocking command runs at the end of this turn."""
        self._ask_flush()

    def run_later(self, argv: list[bytes]) -> None:
        """Execute `argv` before anything else, at the end of this turn."""
        self._held = argv
        self._ask_flush()

    def input_bytes(self) -> int:
        """Return how many received bytes wait to be parsed, those of the command that runs included."""
        return self._parser.received() if self._executing else self._parser.buffered()

    def executing(self) -> bool:
        """Return True while a command of this client runs."""
        return self._executing

    # -- output --------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Send what the session has in `out` at the end of this turn."""
        if not self._executing:
            self._ask_flush()

    def _ask_flush(self) -> None:
        """Enter this connection in the loop's list, once."""
        if not self._flush_asked and not self._closed:
            self._flush_asked = True
            self._loop.flush_later(self)

    def flush(self) -> None:
        """Send as much as the peer takes, then go on with requests that waited."""
        self._flush_asked = False
        if self._closed:
            return
        session = self.session
        if session.aof_position and not self._services.aof.appender.is_durable(session.aof_position):
            self.close_now()  # its change may be lost: no reply may say that it was made
            return
        out = session.out
        if out:
            session.out = []
            if self._exceeds(out):
                self._close_over_limit("scheduled to be closed ASAP")  # what it may not have waiting is not sent either
                return
            if self._unsent:
                self._unsent.extend(out)
                for chunk in out:
                    self._unsent_bytes += len(chunk)
            else:
                self._send_fresh(out)
        if self.closed():
            return
        if self._unsent:
            self._after_partial()
        elif self._closing:
            self.close_now()
            return
        elif session.feeder is not None:
            self._feed(session)
        elif self._mask != READ:
            self._soft_since_us = 0
            self._watch(READ)
        if not self._executing and session.waiter is None and self._unsent_bytes <= OUTPUT_SOFT:
            waits = self._held or self._parser.has_more()
            if waits and not self._closing and not self._services.control.stopping():
                self._process()

    def _feed(self, session: Session) -> None:
        """Send some of what the session's feeder has; the rest when the peer has taken it, or next turn."""
        for _ in range(FEED_CHUNKS):
            if session.feeder is None or self._unsent or self.closed():
                break
            data = session.feeder.next_chunk()
            if data:
                self._send_fresh([data])
        if not self.closed():
            self._watch(READ | WRITE)  # the loop comes back when the peer has room

    def closed(self) -> bool:
        """Return True once the socket is closed."""
        return self._closed

    def _send_fresh(self, out: list[bytes]) -> None:
        """Send new output while nothing older waits."""
        if len(out) > JOIN_CHUNKS:
            self._send_in_parts(out)
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        sent = self._send(data)
        if sent < len(data) and not self._closed:
            self._unsent = [data[sent:]]
            self._unsent_bytes = len(data) - sent

    def _send_in_parts(self, out: list[bytes]) -> None:
        """Send much new output without a copy of all of it."""
        total = 0
        for chunk in out:
            total += len(chunk)
        self._unsent = out
        self._unsent_bytes = total
        self._send_unsent()

    def _send_unsent(self) -> bool:
        """Send what waits; return True once nothing does."""
        while self._unsent and not self._closed:
            data = self._take()
            sent = self._send(data)
            self._unsent_bytes -= sent
            if sent < len(data):
                if not self._closed:
                    self._unsent.insert(0, data[sent:])
                return False
        return True

    def _send(self, data: bytes) -> int:
        """Return how many bytes the socket took; closes the connection on an error."""
        try:
            sent = self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._services.log.verbose("Error writing to client: %s" % error.strerror)
            self.close_now()
            return 0
        self._stats.net_output_bytes += sent
        self._stats.writes += 1
        return sent

    def on_writable(self) -> None:
        """Send what waits."""
        if self._send_unsent():
            self._reply()

    def _take(self) -> bytes:
        """Return the next bytes to send, up to about JOIN_LIMIT."""
        if self._unsent_bytes <= JOIN_LIMIT:
            data = b"".join(self._unsent)
            self._unsent = []
            return data
        size = 0
        count = 0
        for chunk in self._unsent:
            if count > 0 and size + len(chunk) > JOIN_LIMIT:
                break
            size += len(chunk)
            count += 1
        data = self._unsent[0] if count == 1 else b"".join(self._unsent[:count])
        del self._unsent[:count]
        return data

    def _after_partial(self) -> None:
        """Wait for the peer to read; stop reading from it if it lags; close it at its hard limit."""
        if self._over_limit():
            self._close_over_limit("scheduled to be closed ASAP")
            return
        lags = self._unsent_bytes > OUTPUT_SOFT and not self.session.is_replica
        self._watch(WRITE if lags or self._closing else READ | WRITE)

    def _over_limit(self) -> bool:
        """Return True if more output waits than the client's class may have, or too much for too long."""
        session = self.session
        limit = self._limit(session)
        if limit.hard and self._unsent_bytes > limit.hard:
            return True
        if limit.soft == 0 or self._unsent_bytes <= limit.soft:
            self._soft_since_us = 0
            return False
        now_us = self._services.clock.monotonic_us()
        if self._soft_since_us == 0:
            self._soft_since_us = now_us
        return now_us - self._soft_since_us > limit.soft_us

    def check_output(self) -> None:
        """Close the connection if its output has been over the soft limit for too long and nothing new is sent."""
        if self._soft_since_us and self._over_limit():
            self._close_over_limit("closed")

    def _close_over_limit(self, how: str) -> None:
        """Close the connection because of its output, and say so."""
        self._services.log.warning("Client %s %s for overcoming of output buffer limits." % (self._description(), how))
        self.close_now()

    def _exceeds(self, out: list[bytes]) -> bool:
        """Return True if new output takes the client over its hard limit, whether or not the peer reads."""
        limit = self._limit(self.session)
        if limit.hard == 0:
            return False
        total = self._unsent_bytes
        for chunk in out:
            total += len(chunk)
        return total > limit.hard

    def _limit(self, session: Session) -> OutputLimit:
        """Return the limit of the session's class."""
        if session.is_replica:
            return self.limit_replica
        return self.limit_pubsub if session.subscription_count() or session.shard_channels else self.limit_normal

    def _watch(self, mask: int) -> None:
        """Change what the loop watches, if it differs."""
        if mask != self._mask:
            self._mask = mask
            self._loop.watch(self._fd, mask)

    def output_bytes(self) -> int:
        """Return the bytes of output that the peer has not taken yet."""
        return self._unsent_bytes

    # -- end -----------------------------------------------------------------------------------------------------

    def close_after_flush(self) -> None:
        """Close once everything is sent; no further request runs."""
        self._closing = True
        self.session.closing = True
        if not self._executing:
            self._ask_flush()

    def close_now(self) -> None:
        """Close at once."""
        if self._closed:
            return
        self._closed = True
        self.session.closing = True
        self._loop.remove(self._fd)
        if self._services.children.child_running():  # its copy of the socket would keep the connection open
            with suppress(OSError):  # the peer was faster
                self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._owner.connection_closed(self)


def encode_reply(session: Session, reply: object) -> None:
    """Append `reply` to the session's output unless it is a marker for none."""
    if reply is not BLOCKED and reply is not NO_REPLY:
        encode(session.out, reply, session.resp3)


def protocol_sample(data: bytes) -> str:
    """Return the start and the end of what was not understood, as the log shows it."""
    if len(data) < PROTOCOL_SAMPLE:
        shown = b"'" + data.partition(b"\0")[0] + b"'"
    else:
        half = PROTOCOL_SAMPLE // 2
        more = b"' (... more %d bytes ...) '" % (len(data) - PROTOCOL_SAMPLE)
        shown = b"'" + data[:half].partition(b"\0")[0] + more + data[-half:].partition(b"\0")[0] + b"'"
    signs = [chr(char) if 32 <= char < 127 else "." for char in shown]
    return "Query buffer during protocol error: " + "".join(signs)
