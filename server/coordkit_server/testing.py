"""Recorders that stand in for a neighbour in a unit test of one room.

They live here and not in the tests because an interpreted class can't implement a trait of the compiled server.
"""

from coordkit_server.keyspace.notify import EventSink
from coordkit_server.keyspace.propagation import StreamSink
from coordkit_server.keyspace.watch import Tracker, Watcher
from coordkit_server.scripting.engine import ScriptServer
from coordkit_server.scripting.sites import Site


class RecordedEvents(EventSink):
    """Keyspace events in the order in which they were published, as (event, key)."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes]] = []

    def publish_event(self, flags: int, db_index: int, event: bytes, key: bytes) -> None:
        """Record the event."""
        self.seen.append((event, key))


class RecordedChanges(Tracker):
    """Modified keys as a tracking client would be told of them, as (key, db)."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, int]] = []

    def key_modified(self, key: bytes, db_index: int) -> None:
        """Record the key."""
        self.seen.append((key, db_index))

    def key_removed(self, key: bytes, db_index: int) -> None:
        """Record the key."""
        self.seen.append((key, db_index))

    def flushed(self) -> None:
        """Record that everything has gone, as an empty key in no database."""
        self.seen.append((b"", -1))


class RecordedWatch(Watcher):
    """Whether a watched key was changed."""

    def __init__(self) -> None:
        self.raised = False

    def key_changed(self) -> None:
        """Record the change."""
        self.raised = True


class RecordedScriptServer(ScriptServer):
    """Answers every command that a script calls with `reply`, and keeps what it was asked."""

    def __init__(self) -> None:
        self.reply: object = None
        self.failure: Exception | None = None
        self.called: list[list[bytes]] = []
        self.logged: list[tuple[int, bytes]] = []

    def call(self, argv: list[bytes]) -> object:
        """Record the command."""
        self.called.append(argv)
        if self.failure is not None:
            raise self.failure
        return self.reply

    def call_site(self, site: Site, argv: list[bytes]) -> object:
        """Record the command."""
        return self.call(argv)

    def tick(self) -> bytes | None:
        """Let every script go on."""
        return None

    def is_late(self, limit_ms: int) -> bool:
        """Return False: there is time."""
        return False

    def log(self, level: int, text: bytes) -> None:
        """Record the line."""
        self.logged.append((level, text))

    def targets_chosen(self, targets: int) -> None:
        """Do nothing: nothing is propagated."""

    def protocol_chosen(self, resp3: bool) -> None:
        """Do nothing: the replies are given."""

    def allowed(self, argv: list[bytes]) -> int:
        """Return 1 for GET, 0 for SET, -1 for anything else."""
        return {b"GET": 1, b"SET": 0}.get(argv[0], -1)


class RecordedStream(StreamSink):
    """The stream of changes as (database, bytes)."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, bytes]] = []
        self.position: int = 0

    def feed(self, db_index: int, wire: bytes) -> int:
        """Record the command."""
        self.seen.append((db_index, wire))
        self.position += len(wire)
        return self.position
