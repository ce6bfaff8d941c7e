"""Commands of replication (groups "server" and "generic"): SYNC, PSYNC, REPLCONF, ROLE, REPLICAOF, WAIT, WAITAOF...

Map: what replicas send, what administrators ask, waiting for acknowledgements, rows.
"""

from typing import Final

from coordkit_server.commands.args import integer, integer_between
from coordkit_server.context import (
    ADMIN,
    ALLOW_BUSY,
    FAST,
    LOADING,
    NO_ASYNC_LOADING,
    NO_MULTI,
    NOSCRIPT,
    STALE,
    Command,
    Context,
    Services,
)
from coordkit_server.errors import (
    FAILOVER_UNSUPPORTED,
    NEGATIVE_TIMEOUT,
    NO_FAILOVER,
    NOT_A_REPLICA,
    NOT_INTEGER,
    PENDING_OUTPUT,
    TIMEOUT_NOT_INTEGER,
    WAITAOF_WITHOUT_AOF,
    CommandError,
    syntax_error,
)
from coordkit_server.numeric import INT64_MAX, parse_int
from coordkit_server.replication.primary import Primary
from coordkit_server.replication.replica import Replica
from coordkit_server.resp.reply import NO_REPLY, OK
from coordkit_server.session import Session

_MAX_PORT: Final = 65535


def sync(cx: Context) -> object:
    """SYNC: all data, then every change as it happens; there is no other reply."""
    session = cx.session
    if session.is_replica:
        return NO_REPLY
    _check_no_output(session)
    cx.services.primary.attach(session)
    return NO_REPLY


def psync(cx: Context) -> object:
    """PSYNC replication-id offset: what the replica has missed, or all data; then every change as it happens."""
    session = cx.session
    if session.is_replica:
        return NO_REPLY
    offset = integer(cx.argv[2])
    if len(cx.argv) > 3:
        raise CommandError(FAILOVER_UNSUPPORTED)
    _check_no_output(session)
    cx.services.primary.resynchronize(session, cx.argv[1], offset)
    return NO_REPLY


def _check_no_output(session: Session) -> None:
    """Raise if replies wait in front of the data, where the replica would not expect them."""
    if session.out:
        raise CommandError(PENDING_OUTPUT)


def replconf(cx: Context) -> object:
    """REPLCONF option value [option value ...] -> OK; acknowledgements get no reply."""
    argv = cx.argv
    if len(argv) % 2 == 0:
        raise syntax_error()
    primary = cx.services.primary
    replica = primary.prepared(cx.session)
    for at in range(1, len(argv), 2):
        option = argv[at].lower()
        if option == b"ack":
            _acknowledge(cx, primary, at)
            return NO_REPLY
        if option == b"getack":
            return NO_REPLY  # for replicas
        _configure(replica, argv[at], option, argv[at + 1])
    return OK


def _configure(replica: Replica, shown: bytes, option: bytes, value: bytes) -> None:
    """Note what a replica tells about itself."""
    if option == b"listening-port":
        replica.listening_port = integer_between(value, 0, _MAX_PORT, NOT_INTEGER)
    elif option == b"ip-address":
        if len(value) > 255:
            raise CommandError(
                b"ERR REPLCONF ip-address provided by replica instance is too long: %d bytes" % len(value)
            )
        replica.address = value
    elif option == b"capa":
        replica.knows_replid = replica.knows_replid or value.lower() == b"psync2"
    elif option == b"rdb-only":
        replica.data_only = integer_between(value, 0, 1, NOT_INTEGER) == 1
    elif option == b"rdb-filter-only":
        words = value.split()
        for word in words:
            if word.lower() != b"functions":
                raise CommandError(b"ERR Unsupported rdb-filter-only option: " + word)
        replica.functions_only = len(words) > 0
    elif option != b"version":
        raise CommandError(b"ERR Unrecognized REPLCONF option: " + shown)


def _acknowledge(cx: Context, primary: Primary, at: int) -> None:
    """Take ACK offset [FACK offset] of a replica; release the clients who waited for it."""
    if not cx.session.is_replica:
        return
    offset = parse_int(cx.argv[at + 1])
    if offset is None:
        return
    fsynced = -1
    if len(cx.argv) > at + 3 and cx.argv[at + 2].lower() == b"fack":
        fsynced = parse_int(cx.argv[at + 3]) or -1
    primary.acknowledged(cx.session, offset, fsynced)
    primary.check_replicas()
    serve_waiting(cx.services)


def role(cx: Context) -> object:
    """ROLE -> master, offset, and address, port and acknowledged offset of each replica."""
    primary = cx.services.primary
    replicas: list[object] = []
    for replica in primary.replicas.values():
        replicas.append([replica.host(), b"%d" % replica.port(), b"%d" % replica.acked])
    return [b"master", primary.offset, replicas]


def replicaof(cx: Context) -> object:
    """REPLICAOF NO ONE -> OK; following another server is refused: this one can be a primary only."""
    if cx.argv[1].upper() == b"NO" and cx.argv[2].upper() == b"ONE":
        return OK
    integer_between(cx.argv[2], 0, _MAX_PORT, b"ERR Invalid master port")
    raise CommandError(NOT_A_REPLICA)


def failover(cx: Context) -> object:
    """FAILOVER ...: refused; no server takes over by itself."""
    if len(cx.argv) == 2 and cx.argv[1].upper() == b"ABORT":
        raise CommandError(NO_FAILOVER)
    raise CommandError(FAILOVER_UNSUPPORTED)


# -- waiting -----------------------------------------------------------------------------------------------------------


class Wanted:
    """What a client waits for: copies of its last change on replicas, and in the append-only file for WAITAOF."""

    def __init__(self, session: Session, *, replicas: int, local: int, on_disk: bool) -> None:
        self.session: Final = session
        self.replicas: Final = replicas
        self.local: Final = local
        self.on_disk: Final = on_disk
        self.offset: Final = session.replica_position
        self.aof_position: Final = session.aof_position

    def reply(self, services: Services) -> object:
        """Return how many copies there are."""
        primary = services.primary
        if not self.on_disk:
            return primary.count_acknowledged(self.offset)
        return [self._local(services), primary.count_fsynced(self.offset)]

    def _local(self, services: Services) -> int:
        """Return 1 if the change is on this server's disk."""
        return 1 if services.aof_synced(self.aof_position) else 0

    def satisfied(self, services: Services) -> bool:
        """Return True if there are enough copies."""
        primary = services.primary
        if not self.on_disk:
            return primary.count_acknowledged(self.offset) >= self.replicas
        return self._local(services) >= self.local and primary.count_fsynced(self.offset) >= self.replicas


def wait(cx: Context) -> object:
    """WAIT numreplicas timeout -> number of replicas that have all changes of this client."""
    replicas = integer(cx.argv[1])
    timeout_ms = _timeout_ms(cx.argv[2])
    return _wait(cx, Wanted(cx.session, replicas=replicas, local=0, on_disk=False), timeout_ms)


def waitaof(cx: Context) -> object:
    """WAITAOF numlocal numreplicas timeout -> how many servers, this one and replicas, have the changes on disk."""
    local = integer(cx.argv[1])
    if not 0 <= local <= 1:
        raise CommandError(b"ERR value is out of range, value must between 0 and 1")
    replicas = integer_between(cx.argv[2], 0, INT64_MAX, b"ERR value is out of range, must be positive")
    timeout_ms = _timeout_ms(cx.argv[3])
    if local and not cx.services.config.flag("appendonly"):
        raise CommandError(WAITAOF_WITHOUT_AOF)
    return _wait(cx, Wanted(cx.session, replicas=replicas, local=local, on_disk=True), timeout_ms)


def _timeout_ms(text: bytes) -> int:
    """Return the timeout; 0 waits for ever."""
    timeout_ms = integer_between(text, -INT64_MAX, INT64_MAX, TIMEOUT_NOT_INTEGER)
    if timeout_ms < 0:
        raise CommandError(NEGATIVE_TIMEOUT)
    return timeout_ms


def _wait(cx: Context, wanted: Wanted, timeout_ms: int) -> object:
    """Reply at once if there are enough copies, else wait for them."""
    if wanted.satisfied(cx.services):
        return wanted.reply(cx.services)
    if not cx.session.deny_blocking:
        cx.services.waiting_for_copies[cx.session.id] = wanted
        cx.services.primary.want_acknowledgements()
    return cx.block(b"replica", [], timeout_ms * 1000, wanted.reply(cx.services))


def serve_waiting(services: Services) -> None:
    """Reply to the clients whose changes have enough copies now."""
    waiting = services.waiting_for_copies
    for ident in list(waiting):
        wanted = waiting[ident]
        if not isinstance(wanted, Wanted) or wanted.session.waiter is None or wanted.session.waiter.kind != b"replica":
            del waiting[ident]  # its time was up, or it has gone
        elif wanted.satisfied(services):
            del waiting[ident]
            services.require_runner().release(wanted.session, wanted.reply(services))
        else:
            wanted.session.waiter.timeout_reply = wanted.reply(services)


def commands() -> list[Command]:
    """Return the rows of the group "server"."""
    admin = ADMIN | NOSCRIPT
    sync_flags = admin | NO_ASYNC_LOADING | NO_MULTI
    replconf_flags = admin | LOADING | STALE | ALLOW_BUSY
    return [
        Command(b"FAILOVER", -1, admin | STALE, failover, since=b"6.2.0", summary=b"Refused: nothing takes over."),
        Command(b"PSYNC", -3, sync_flags, psync, since=b"2.8.0", summary=b"Starts or goes on to follow the changes."),
        Command(b"REPLCONF", -1, replconf_flags, replconf, since=b"3.0.0", summary=b"Tells about a replica."),
        Command(
            b"REPLICAOF",
            3,
            admin | STALE | NO_ASYNC_LOADING,
            replicaof,
            since=b"5.0.0",
            summary=b"Confirms that the server is a primary.",
        ),
        Command(
            b"ROLE",
            1,
            NOSCRIPT | LOADING | STALE | FAST,
            role,
            since=b"2.8.12",
            summary=b"Tells the role of the server, and who follows it.",
        ),
        Command(b"SLAVEOF", 3, admin | STALE | NO_ASYNC_LOADING, replicaof, summary=b"Old name of REPLICAOF."),
        Command(b"SYNC", 1, sync_flags, sync, summary=b"Starts to follow the changes (old form)."),
    ]


def waiting_commands() -> list[Command]:
    """Return the rows of the group "generic"."""
    return [
        Command(b"WAIT", 3, 0, wait, since=b"3.0.0", summary=b"Waits for replicas to confirm writes."),
        Command(b"WAITAOF", 4, NOSCRIPT, waitaof, since=b"7.2.0", summary=b"Waits for writes to be on disk."),
    ]
