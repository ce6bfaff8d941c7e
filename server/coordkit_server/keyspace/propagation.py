"""The stream of commands that repeats every change of the data elsewhere: in the append-only file and on replicas.

A command that changed something is repeated as it came, or as its handler rewrote it (`Context.rewrite`): by effect,
so that time and chance play no part where it is repeated.  A unit of execution (one command of a client, a script, an
EXEC) that yields several commands is wrapped in MULTI and EXEC.

While nobody listens `active` is False, and the only cost of all this is that dispatch looks at it once a command.
"""

from typing import Final

from mypy_extensions import trait

# who gets a command
TO_AOF: Final = 1
TO_REPLICAS: Final = 2
TO_ALL: Final = TO_AOF | TO_REPLICAS

_SMALL: Final = 1024
_STARTS: Final[list[bytes]] = [b"*%d" % n for n in range(_SMALL)]
_NEXT_HEADS: Final[list[bytes]] = [b"\r\n$%d\r\n" % n for n in range(_SMALL)]
_END: Final = b"\r\n"
_ANY_DATABASE: Final = -1  # MULTI and EXEC need no SELECT in front
_MULTI: Final = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC: Final = b"*1\r\n$4\r\nEXEC\r\n"


def command_bytes(argv: list[bytes]) -> bytes:
    """Return `argv` as a client would send it."""
    count = len(argv)
    parts: list[bytes] = [_STARTS[count] if count < _SMALL else b"*%d" % count]
    for arg in argv:
        size = len(arg)
        parts.append(_NEXT_HEADS[size] if size < _SMALL else b"\r\n$%d\r\n" % size)
        parts.append(arg)
    parts.append(_END)
    return b"".join(parts)


def select_bytes(db_index: int) -> bytes:
    """Return the SELECT that a stream needs in front of the first command for another database."""
    return command_bytes([b"SELECT", b"%d" % db_index])


@trait
class StreamSink:
    """Takes the stream."""

    def feed(self, db_index: int, wire: bytes) -> int:
        """Append the command `wire` for database `db_index` (-1: any); return the position in the stream after it."""
        raise NotImplementedError


class Operation:
    """A command to be repeated: where, what, and by whom."""

    def __init__(self, db_index: int, argv: list[bytes], targets: int) -> None:
        self.db_index: Final = db_index
        self.argv: Final = argv
        self.targets: Final = targets


class Propagation:
    """What the running unit of execution has changed so far, and who wants to know."""

    def __init__(self) -> None:
        self.active: bool = False
        self.depth: int = 0  # commands that run inside each other: EXEC, scripts
        self.pending: list[Operation] = []
        self.aof_position: int = 0  # where the streams have got to
        self.replica_position: int = 0
        self.lazy_expire: bool = False  # lazyfree-lazy-expire: expired keys are repeated as UNLINK
        self.lazy_eviction: bool = False
        self.lazy_server_del: bool = False
        self._aof: StreamSink | None = None
        self._replicas: StreamSink | None = None

    def listen(self, *, aof: StreamSink | None, replicas: StreamSink | None) -> None:
        """Send the stream to these from now on."""
        self._aof = aof
        self._replicas = replicas
        self.active = aof is not None or replicas is not None

    def listen_aof(self, sink: StreamSink | None) -> None:
        """Send the stream to this append-only file from now on, None for no file."""
        self.listen(aof=sink, replicas=self._replicas)

    def listen_replicas(self, sink: StreamSink | None) -> None:
        """Send the stream to these replicas from now on, None for no replicas."""
        self.listen(aof=self._aof, replicas=sink)

    def add(self, db_index: int, argv: list[bytes], targets: int) -> None:
        """Enter a command; it is delivered at the end of the unit of execution."""
        self.pending.append(Operation(db_index, argv, targets))

    def removed(self, db_index: int, key: bytes, *, lazy: bool) -> None:
        """Enter the removal of a key that no command asked for: it expired or was evicted."""
        self.pending.append(Operation(db_index, [b"UNLINK" if lazy else b"DEL", key], TO_ALL))

    def expired(self, db_index: int, key: bytes) -> None:
        """Enter the removal of a key whose time had come; outside of a command it is a unit of its own."""
        self.removed(db_index, key, lazy=self.lazy_expire)
        if self.depth == 0:
            self.deliver()

    def evicted(self, db_index: int, key: bytes) -> None:
        """Enter the removal of a key for want of memory; outside of a command it is a unit of its own."""
        self.removed(db_index, key, lazy=self.lazy_eviction)
        if self.depth == 0:
            self.deliver()

    def deliver_one(self, db_index: int, wire: bytes, targets: int) -> None:
        """Send the command `wire`, which is a unit of execution by itself."""
        self._send(db_index, wire, targets)

    def deliver(self, *, as_unit: bool = True) -> None:
        """Send what is pending: the unit of execution has ended.  `as_unit` False: removals that belong to nothing."""
        operations = self.pending
        self.pending = []
        wrap = as_unit and len(operations) > 1
        if wrap:
            self._send(_ANY_DATABASE, _MULTI, TO_ALL)
        for operation in operations:
            self._send(operation.db_index, command_bytes(operation.argv), operation.targets)
        if wrap:
            self._send(_ANY_DATABASE, _EXEC, TO_ALL)

    def _send(self, db_index: int, wire: bytes, targets: int) -> None:
        """Hand one command to those who are to get it."""
        aof = self._aof
        if aof is not None and targets & TO_AOF:
            self.aof_position = aof.feed(db_index, wire)
        replicas = self._replicas
        if replicas is not None and targets & TO_REPLICAS:
            self.replica_position = replicas.feed(db_index, wire)
