"""Connection commands (group "connection"): AUTH, ECHO, HELLO, PING, QUIT, RESET, SELECT.

Order: handshake, PING and friends, rows.
"""

from typing import Final

from coordkit_server import REDIS_LEVEL
from coordkit_server.commands.accounts import authenticate, greet
from coordkit_server.commands.args import integer
from coordkit_server.commands.clients import check_client_name
from coordkit_server.context import (
    ALLOW_BUSY,
    FAST,
    LOADING,
    NO_AUTH,
    NOSCRIPT,
    STALE,
    Command,
    Context,
)
from coordkit_server.errors import (
    AUTH_NO_PASSWORD,
    DB_INDEX_OUT_OF_RANGE,
    HELLO_NO_AUTH,
    NO_PROTO,
    PROTO_NOT_INTEGER,
    CommandError,
    syntax_error,
    wrong_arity,
)
from coordkit_server.numeric import parse_int
from coordkit_server.resp.reply import (
    OK,
    PONG,
    MapReply,
    Simple,
)
from coordkit_server.session import (
    GATE_NO_TOUCH,
    REPLY_ON,
)

_RESET: Final = Simple(b"RESET")


def auth(cx: Context) -> object:
    """AUTH [username] password -> OK."""
    argv = cx.argv
    if len(argv) > 3:
        raise syntax_error()
    if len(argv) == 2 and cx.services.users.default.needs_no_password:
        raise CommandError(AUTH_NO_PASSWORD)
    user = argv[1] if len(argv) == 3 else b"default"
    authenticate(cx, user, argv[-1])
    return OK


def hello(cx: Context) -> object:
    """HELLO [protover [AUTH username password] [SETNAME clientname]] -> map of server properties."""
    argv = cx.argv
    protocol = 3 if cx.session.resp3 else 2
    if len(argv) > 1:
        parsed = parse_int(argv[1])
        if parsed is None:
            raise CommandError(PROTO_NOT_INTEGER)
        if parsed not in (2, 3):
            raise CommandError(NO_PROTO)
        protocol = parsed
    name: bytes | None = None
    credentials: list[bytes] = []  # user and password: of several the last count
    at = 2
    while at < len(argv):
        option = argv[at].upper()
        if option == b"AUTH" and at + 2 < len(argv):
            credentials = argv[at + 1 : at + 3]
            at += 3
        elif option == b"SETNAME" and at + 1 < len(argv):
            name = argv[at + 1]
            check_client_name(name)
            at += 2
        else:
            raise CommandError(b"ERR Syntax error in HELLO option '" + argv[at] + b"'")
    if credentials:
        authenticate(cx, credentials[0], credentials[1])
    if not cx.session.authenticated:
        raise CommandError(HELLO_NO_AUTH)
    if name is not None:
        cx.session.name = name
    cx.session.resp3 = protocol == 3
    cx.session.set_subscribed_gate()
    return MapReply(
        [
            b"server",
            b"redis",
            b"version",
            REDIS_LEVEL.encode("ascii"),
            b"proto",
            protocol,
            b"id",
            cx.session.id,
            b"mode",
            b"standalone",
            b"role",
            b"master",
            b"modules",
            [],
        ]
    )


def ping(cx: Context) -> object:
    """PING [message] -> PONG or the message; an array while subscribed in RESP2."""
    argv = cx.argv
    if len(argv) > 2:
        raise CommandError(wrong_arity(b"ping"))
    session = cx.session
    if not session.resp3 and (session.subscription_count() or session.shard_channels):
        return [b"pong", argv[1] if len(argv) == 2 else b""]
    return argv[1] if len(argv) == 2 else PONG


def echo(cx: Context) -> object:
    """ECHO message -> message."""
    return cx.argv[1]


def select(cx: Context) -> object:
    """SELECT index -> OK; the session uses another database."""
    index = integer(cx.argv[1])
    if not 0 <= index < len(cx.services.databases):
        raise CommandError(DB_INDEX_OUT_OF_RANGE)
    cx.session.db = cx.services.databases[index]
    return OK


def quit_(cx: Context) -> object:
    """QUIT -> OK, then the connection closes."""
    cx.session.sink.close_after_flush()
    return OK


def reset(cx: Context) -> object:
    """RESET -> RESET; the connection is as new."""
    session = cx.session
    session.reset_transaction()
    session.leave(cx.services.pubsub)
    cx.services.tracking.disable(session)
    cx.services.monitors.remove(session)
    session.gates &= ~GATE_NO_TOUCH
    session.db = cx.services.databases[0]
    session.resp3 = False
    session.name = b""
    session.reply_mode = REPLY_ON
    session.no_evict = False
    session.no_touch = False
    greet(cx.services, session)
    return _RESET


def commands() -> list[Command]:
    """Return the rows of this group."""
    open_ = NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY
    return [
        Command(b"AUTH", -2, open_, auth, summary=b"Logs the connection in."),
        Command(b"ECHO", 2, LOADING | STALE | FAST, echo, summary=b"Returns its argument."),
        Command(
            b"HELLO",
            -1,
            open_,
            hello,
            since=b"6.0.0",
            summary=b"Starts the protocol and tells about the server.",
        ),
        Command(
            b"PING",
            -1,
            FAST,
            ping,
            summary=b"Tells that the server answers.",
        ),
        Command(b"QUIT", -1, open_, quit_, summary=b"Closes the connection."),
        Command(
            b"RESET",
            1,
            open_,
            reset,
            since=b"6.2.0",
            summary=b"Makes the connection as new.",
        ),
        Command(
            b"SELECT",
            2,
            LOADING | STALE | FAST,
            select,
            summary=b"Chooses the database.",
        ),
    ]
