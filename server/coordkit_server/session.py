"""The state of one client, with no socket: database, protocol, transaction, watches, subscriptions, blocking.

`gates` collects every reason for which dispatch must look twice at a command; it is 0 for an ordinary client.
"""

from typing import Final

from mypy_extensions import trait

from coordkit_server.keyspace.database import Database
from coordkit_server.keyspace.waiter import Waiter
from coordkit_server.keyspace.watch import Watcher
from coordkit_server.pubsub import PubSub, Subscriber, remove
from coordkit_server.resp.encoder import encode
from coordkit_server.resp.reply import PushReply

GATE_MULTI: Final = 1  # between MULTI and EXEC: commands are queued
GATE_AUTH: Final = 2  # not authenticated
GATE_SUBSCRIBED: Final = 4  # RESP2 with subscriptions: few commands allowed
GATE_NO_TOUCH: Final = 8  # CLIENT NO-TOUCH: reads leave access times alone
GATE_MONITOR: Final = 16  # it only listens, to MONITOR's lines
GATE_ACL: Final = 32  # its user may not do everything

# modes of CLIENT TRACKING
TRACK_ON: Final = 1
TRACK_BCAST: Final = 2
TRACK_OPTIN: Final = 4
TRACK_OPTOUT: Final = 8
TRACK_CACHING: Final = 16  # CLIENT CACHING was called: what it says holds for the next command
TRACK_NOLOOP: Final = 32
TRACK_BROKEN: Final = 64  # the client that messages go to has gone

REPLY_ON: Final = 0
REPLY_OFF: Final = 1
REPLY_SKIP_NEXT: Final = 2  # CLIENT REPLY SKIP: the reply of the next command is dropped
REPLY_SKIP: Final = 3  # the command that runs now is the one whose reply is dropped


@trait
class OutputSink:
    """The connection below a session."""

    def wake(self) -> None:
        """Send what the session has in `out` at the end of this turn of the event loop."""
        raise NotImplementedError

    def close_after_flush(self) -> None:
        """Close the connection once everything in `out` is sent."""
        raise NotImplementedError

    def close_now(self) -> None:
        """Close the connection at once."""
        raise NotImplementedError

    def resume(self) -> None:
        """Go on reading and executing: the session is no longer blocked."""
        raise NotImplementedError

    def input_bytes(self) -> int:
        """Return how many received bytes wait to be parsed."""
        raise NotImplementedError

    def input_room(self) -> int:
        """Return how many bytes the next read may bring, 0 if nothing is kept for a silent client."""
        raise NotImplementedError

    def trim_input(self, *, silent: bool) -> None:
        """Fit what is kept for reading to what came lately; give all of it back if the client is `silent`."""
        raise NotImplementedError

    def executing(self) -> bool:
        """Return True while a command of this very client runs."""
        raise NotImplementedError

    def check_output(self) -> None:
        """Close the connection if its peer has not read for too long."""
        raise NotImplementedError

    def run_later(self, argv: list[bytes]) -> None:
        """Execute `argv`, which was put off, before anything else that the client has sent."""
        raise NotImplementedError

    def output_bytes(self) -> int:
        """Return how many bytes of output the peer has not taken yet."""
        raise NotImplementedError


class NullSink(OutputSink):
    """A sink for sessions without a connection (scripts, replay): output is dropped."""

    def wake(self) -> None:
        """Do nothing: there is no peer."""

    def close_after_flush(self) -> None:
        """Do nothing: there is no peer."""

    def close_now(self) -> None:
        """Do nothing: there is no peer."""

    def resume(self) -> None:
        """Do nothing: there is no peer."""

    def input_bytes(self) -> int:
        """Return 0."""
        return 0

    def input_room(self) -> int:
        """Return 0."""
        return 0

    def trim_input(self, *, silent: bool) -> None:
        """Do nothing: nothing is read."""

    def executing(self) -> bool:
        """Return False: nothing has to be held back."""
        return False

    def check_output(self) -> None:
        """Do nothing: there is no output."""

    def run_later(self, argv: list[bytes]) -> None:
        """Do nothing: scripts and replay are never put off."""

    def output_bytes(self) -> int:
        """Return 0."""
        return 0


@trait
class Feeder:
    """Has more to send than should stand in memory at once."""

    def next_chunk(self) -> bytes:
        """Return what follows what the peer has taken, empty at the end."""
        raise NotImplementedError


class Queued:
    """A command between MULTI and EXEC.  `row` is its Command row, opaque here."""

    def __init__(self, row: object, argv: list[bytes]) -> None:
        self.row: Final = row
        self.argv: Final = argv


class Watched:
    """A watched key, and whether it was live at WATCH: its expiry then counts as a change."""

    def __init__(self, database: Database, key: bytes, was_live: bool) -> None:
        self.database: Final = database
        self.key: Final = key
        self.was_live: Final = was_live


class Session(Subscriber, Watcher):
    """One client."""

    def __init__(self, ident: int, database: Database, sink: OutputSink, created_us: int) -> None:
        self.id: Final = ident
        self.db: Database = database
        self.sink: OutputSink = sink
        self.created_us: Final = created_us
        self.active_us: int = created_us  # last command
        self.last_command: bytes = b"NULL"  # full name, for CLIENT LIST
        self.address: bytes = b""
        self.local_address: bytes = b""
        self.unix_socket: bool = False
        self.fd: int = -1
        self.gates: int = 0
        self.resp3: bool = False
        self.user: bytes = b"default"
        self.authenticated: bool = True
        self.name: bytes = b""
        self.lib_name: bytes = b""
        self.lib_version: bytes = b""
        self.reply_mode: int = REPLY_ON
        self.no_evict: bool = False
        self.no_touch: bool = False
        # client-side caching
        self.tracking: int = 0
        self.redirect: int = 0  # the client that gets the messages; 0: this one
        self.prefixes: list[bytes] = []
        self.closing: bool = False
        self.aof_position: int = 0  # in the streams of changes, after its last change
        self.replica_position: int = 0
        self.is_replica: bool = False
        self.feeder: Feeder | None = None  # asked for more once `out` is sent
        self.out: list[bytes] = []
        self.holding: bool = False  # a blocked command is being tried again
        self.pushes: list[bytes] = []  # messages to itself from the command that runs: they follow its reply
        # transaction
        self.queue: list[Queued] = []
        self.queue_failed: bool = False
        self.watched: list[Watched] = []
        self.watched_changed: bool = False
        # subscriptions
        self.channels: Final[dict[bytes, None]] = {}
        self.patterns: Final[dict[bytes, None]] = {}
        self.shard_channels: Final[dict[bytes, None]] = {}
        # blocking
        self.waiter: Waiter | None = None
        self.waiting_row: object = None
        self.waiting_argv: list[bytes] = []
        self.deny_blocking: bool = False  # inside EXEC or a script: blocking commands reply at once
        self.in_script: bool = False
        self.obeyed: bool = False  # it repeats what was done elsewhere (append-only file, primary)

    def deliver(self, message: PushReply) -> None:
        """Queue a pub/sub or invalidation message; CLIENT REPLY OFF does not hold it back."""
        if self.holding or self.sink.executing():
            encode(self.pushes, message, self.resp3)
        else:
            encode(self.out, message, self.resp3)
            self.sink.wake()

    def deliver_raw(self, line: bytes) -> None:
        """Queue bytes that are neither reply nor message: a line of MONITOR."""
        if self.holding or self.sink.executing():
            self.pushes.append(line)
        else:
            self.out.append(line)
            self.sink.wake()

    def send(self, reply: object) -> None:
        """Queue `reply` outside the usual request and reply turn."""
        encode(self.out, reply, self.resp3)
        self.sink.wake()

    def key_changed(self) -> None:
        """Note that a watched key changed."""
        self.watched_changed = True

    def watch(self, database: Database, key: bytes) -> None:
        """Note changes of `key` until EXEC, DISCARD or UNWATCH."""
        for watched in self.watched:
            if watched.database is database and watched.key == key:
                return
        self.watched.append(Watched(database, key, database.exists(key)))
        database.watch(key, self)

    def unwatch_all(self) -> None:
        """Stop watching."""
        for watched in self.watched:
            watched.database.unwatch(watched.key, self)
        self.watched = []
        self.watched_changed = False

    def reset_transaction(self) -> None:
        """Leave MULTI, drop the queue and all watches."""
        self.queue = []
        self.queue_failed = False
        self.gates &= ~GATE_MULTI
        self.unwatch_all()

    def leave(self, pubsub: PubSub) -> None:
        """End all subscriptions silently: the client is gone or was reset."""
        for name in self.channels:
            remove(pubsub.channels, name, self)
        for name in self.patterns:
            remove(pubsub.patterns, name, self)
        for name in self.shard_channels:
            remove(pubsub.shard_channels, name, self)
        self.channels.clear()
        self.patterns.clear()
        self.shard_channels.clear()
        self.set_subscribed_gate()

    def detach(self) -> None:
        """Let go of the connection, which has closed.

        The two refer to each other, and no collector looks for cycles that have lived for a while: without this
        neither would ever be freed, nor what the connection has read."""
        self.sink = NullSink()
        self.feeder = None
        self.out = []
        self.pushes = []

    def set_subscribed_gate(self) -> None:
        """Restrict a RESP2 client to the pub/sub commands while it has subscriptions."""
        if not self.resp3 and (self.subscription_count() or self.shard_channels):
            self.gates |= GATE_SUBSCRIBED
        else:
            self.gates &= ~GATE_SUBSCRIBED

    def client_type(self) -> bytes:
        """Return the client's class as CLIENT LIST TYPE names it."""
        if self.is_replica:
            return b"slave"
        return b"pubsub" if self.subscription_count() or self.shard_channels else b"normal"

    def subscription_count(self) -> int:
        """Return the number of channels and patterns."""
        return len(self.channels) + len(self.patterns)
