"""What CLIENT LIST, CLIENT INFO and CLIENT KILL share: the line of a client and the choice of clients."""

from coordkit_server.context import Context
from coordkit_server.errors import CommandError, syntax_error
from coordkit_server.numeric import parse_int
from coordkit_server.session import GATE_MULTI, Session


def client_info_line(session: Session, now_us: int) -> bytes:
    """Return the `key=value` line of one client."""
    queued = len(session.queue) if session.gates & GATE_MULTI else -1
    fields: list[tuple[bytes, bytes]] = [
        (b"id", b"%d" % session.id),
        (b"addr", session.address),
        (b"laddr", session.local_address),
        (b"fd", b"%d" % session.fd),
        (b"name", session.name),
        (b"age", b"%d" % ((now_us - session.created_us) // 1000000)),
        (b"idle", b"%d" % max((now_us - session.active_us) // 1000000, 0)),
        (b"flags", _flags(session)),
        (b"db", b"%d" % session.db.index),
        (b"sub", b"%d" % len(session.channels)),
        (b"psub", b"%d" % len(session.patterns)),
        (b"ssub", b"%d" % len(session.shard_channels)),
        (b"multi", b"%d" % queued),
        (b"watch", b"%d" % len(session.watched)),
        (b"qbuf", b"%d" % session.sink.input_bytes()),
        (b"qbuf-free", b"0"),
        (b"argv-mem", b"0"),
        (b"multi-mem", b"0"),
        (b"rbs", b"0"),
        (b"rbp", b"0"),
        (b"obl", b"%d" % len(session.out)),
        (b"oll", b"0"),
        (b"omem", b"0"),
        (b"tot-mem", b"0"),
        (b"events", b"r"),
        (b"cmd", session.last_command),
        (b"user", session.user),
        (b"redir", b"-1"),
        (b"resp", b"3" if session.resp3 else b"2"),
        (b"lib-name", session.lib_name),
        (b"lib-ver", session.lib_version),
    ]
    return b" ".join([name + b"=" + value for name, value in fields])


def _flags(session: Session) -> bytes:
    """Return the letters of the client's states, `N` for none."""
    letters = b""
    if session.subscription_count() or session.shard_channels:
        letters += b"P"
    if session.gates & GATE_MULTI:
        letters += b"x"
    if session.waiter is not None:
        letters += b"b"
    if session.watched_changed:
        letters += b"d"
    if session.no_evict:
        letters += b"e"
    if session.no_touch:
        letters += b"T"
    return letters or b"N"


def matching_sessions(cx: Context) -> list[Session]:
    """Return the sessions that CLIENT LIST [TYPE type] [ID id ...] asks for, oldest first."""
    argv = cx.argv
    sessions = list(cx.services.sessions.values())
    if len(argv) == 2:
        return sessions
    option = argv[2].upper()
    if option == b"TYPE" and len(argv) == 4:
        wanted = argv[3].lower()
        if wanted not in (b"normal", b"master", b"replica", b"slave", b"pubsub"):
            raise CommandError(b"ERR Unknown client type '" + argv[3] + b"'")
        return [session for session in sessions if session.client_type() == wanted]
    if option == b"ID" and len(argv) > 3:
        idents: list[int] = []
        for text in argv[3:]:
            ident = parse_int(text)
            if ident is None or ident < 1:
                raise CommandError(b"ERR Invalid client ID")
            idents.append(ident)
        return [cx.services.sessions[ident] for ident in idents if ident in cx.services.sessions]
    raise syntax_error()
