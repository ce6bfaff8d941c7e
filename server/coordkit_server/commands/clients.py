"""What the CLIENT commands share: the line of a client, its type, the choice of clients, the check of a name."""

from typing import Final

from coordkit_server.context import Context
from coordkit_server.errors import CLIENT_NAME_INVALID, CommandError, syntax_error
from coordkit_server.numeric import parse_int
from coordkit_server.session import (
    GATE_MONITOR,
    GATE_MULTI,
    TRACK_BCAST,
    TRACK_BROKEN,
    TRACK_ON,
    Session,
)

# a session, its connection and their collections, as `getsizeof` tells
_CLIENT_BYTES: Final = 4096


def check_client_name(name: bytes) -> None:
    """Raise if `name` has a space, a newline or another byte outside `!`..`~`."""
    for char in name:
        if char < 33 or char > 126:
            raise CommandError(CLIENT_NAME_INVALID)


def client_info_line(cx: Context, session: Session) -> bytes:
    """Return the `key=value` line of one client."""
    now_us = cx.services.clock.now_us()
    queued = len(session.queue) if session.gates & GATE_MULTI else -1
    queued_bytes = 0
    for command in session.queue:
        queued_bytes += sum_of_lengths(command.argv)
    input_bytes = session.sink.input_bytes()
    output = session.sink.output_bytes()
    argv_bytes = sum_of_lengths(cx.argv if session is cx.session else session.waiting_argv)
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
        (b"qbuf", b"%d" % input_bytes),
        (b"qbuf-free", b"%d" % session.sink.input_room()),
        (b"argv-mem", b"%d" % argv_bytes),
        (b"multi-mem", b"%d" % queued_bytes),
        (b"rbs", b"0"),
        (b"rbp", b"0"),
        (b"obl", b"0"),
        (b"oll", b"%d" % (1 if output else 0)),
        (b"omem", b"%d" % output),
        (b"tot-mem", b"%d" % (_CLIENT_BYTES + input_bytes + argv_bytes + queued_bytes + output)),
        (b"events", b"rw" if output else b"r"),
        (b"cmd", session.last_command),
        (b"user", session.user),
        (b"redir", b"%d" % (session.redirect if session.tracking & TRACK_ON else -1)),
        (b"resp", b"3" if session.resp3 else b"2"),
        (b"lib-name", session.lib_name),
        (b"lib-ver", session.lib_version),
    ]
    return b" ".join([name + b"=" + value for name, value in fields])


def sum_of_lengths(argv: list[bytes]) -> int:
    """Return the bytes of all arguments."""
    total = 0
    for arg in argv:
        total += len(arg)
    return total


def _flags(session: Session) -> bytes:
    """Return the letters of the client's states, `N` for none."""
    tracking = session.tracking
    states: list[tuple[bool, bytes]] = [
        (session.gates & GATE_MONITOR != 0, b"O"),
        (session.is_replica, b"S"),
        (session.subscription_count() + len(session.shard_channels) > 0, b"P"),
        (session.gates & GATE_MULTI != 0, b"x"),
        (session.waiter is not None, b"b"),
        (tracking & TRACK_ON != 0, b"t"),
        (tracking & TRACK_BROKEN != 0, b"R"),
        (tracking & TRACK_BCAST != 0, b"B"),
        (session.watched_changed, b"d"),
        (session.closing, b"c"),
        (session.unix_socket, b"U"),
        (session.no_evict, b"e"),
        (session.no_touch, b"T"),
    ]
    return b"".join([letter for holds, letter in states if holds]) or b"N"


def client_type(name: bytes) -> bytes:
    """Return the canonical name of a client type; raises for an unknown one."""
    lower = name.lower()
    if lower in (b"normal", b"master", b"pubsub"):
        return lower
    if lower in (b"slave", b"replica"):
        return b"slave"
    raise CommandError(b"ERR Unknown client type '" + name + b"'")


def matching_sessions(cx: Context) -> list[Session]:
    """Return the sessions that CLIENT LIST [TYPE type] [ID id ...] asks for, oldest first."""
    argv = cx.argv
    sessions = list(cx.services.sessions.values())
    if len(argv) == 2:
        return sessions
    option = argv[2].upper()
    if option == b"TYPE" and len(argv) == 4:
        wanted = client_type(argv[3])
        return [session for session in sessions if session.client_type() == wanted]
    if option == b"ID" and len(argv) > 3:
        idents: list[int] = []
        for text in argv[3:]:
            ident = parse_int(text)
            if ident is None:
                raise CommandError(b"ERR Invalid client ID")
            idents.append(ident)
        return [cx.services.sessions[ident] for ident in idents if ident in cx.services.sessions]
    raise syntax_error()
