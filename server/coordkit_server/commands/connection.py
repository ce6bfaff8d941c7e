"""Connection commands (group "connection"): AUTH, CLIENT, ECHO, HELLO, PING, QUIT, RESET, SELECT.

Order: handshake, PING and friends, CLIENT subcommands, rows.
"""

from typing import Final

from coordkit_server import REDIS_LEVEL
from coordkit_server.commands.args import integer
from coordkit_server.commands.clients import client_info_line, matching_sessions
from coordkit_server.context import (
    ADMIN,
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
    CLIENT_NAME_INVALID,
    DB_INDEX_OUT_OF_RANGE,
    HELLO_NO_AUTH,
    NO_PROTO,
    NO_SUCH_CLIENT,
    PROTO_NOT_INTEGER,
    WRONG_PASS,
    CommandError,
    syntax_error,
    wrong_arity,
)
from coordkit_server.numeric import parse_int
from coordkit_server.resp.reply import (
    NO_REPLY,
    OK,
    PONG,
    ErrorReply,
    MapReply,
    Simple,
    VerbatimReply,
)
from coordkit_server.session import (
    GATE_AUTH,
    REPLY_OFF,
    REPLY_ON,
    REPLY_SKIP_NEXT,
    Session,
)

_RESET: Final = Simple(b"RESET")


def auth(cx: Context) -> object:
    """AUTH [username] password -> OK."""
    argv = cx.argv
    if len(argv) > 3:
        raise syntax_error()
    if len(argv) == 2 and not cx.services.config.text("requirepass"):
        raise CommandError(AUTH_NO_PASSWORD)
    user = argv[1] if len(argv) == 3 else b"default"
    authenticate(cx, user, argv[-1])
    return OK


def authenticate(cx: Context, user: bytes, password: bytes) -> None:
    """Log the session in as `user`; raises WRONGPASS.  The default user without a password takes any."""
    expected = cx.services.config.text("requirepass").encode("utf-8", "surrogateescape")
    if user != b"default" or (expected and password != expected):
        raise CommandError(WRONG_PASS)
    cx.session.authenticated = True
    cx.session.user = user
    cx.session.gates &= ~GATE_AUTH


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
    at = 2
    while at < len(argv):
        option = argv[at].upper()
        if option == b"AUTH" and at + 2 < len(argv):
            authenticate(cx, argv[at + 1], argv[at + 2])
            at += 3
        elif option == b"SETNAME" and at + 1 < len(argv):
            name = argv[at + 1]
            check_client_name(name)
            at += 2
        else:
            raise CommandError(b"ERR Syntax error in HELLO option '" + argv[at] + b"'")
    if cx.session.gates & GATE_AUTH:
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
    session.db = cx.services.databases[0]
    session.resp3 = False
    session.name = b""
    session.reply_mode = REPLY_ON
    session.no_evict = False
    session.no_touch = False
    session.user = b"default"
    if cx.services.config.text("requirepass"):
        session.authenticated = False
        session.gates |= GATE_AUTH
    return _RESET


def check_client_name(name: bytes) -> None:
    """Raise if `name` has a space, a newline or another byte outside `!`..`~`."""
    for char in name:
        if char < 33 or char > 126:
            raise CommandError(CLIENT_NAME_INVALID)


def client_id(cx: Context) -> object:
    """CLIENT ID -> the connection's number."""
    return cx.session.id


def client_getname(cx: Context) -> object:
    """CLIENT GETNAME -> the name, null if none was set."""
    return cx.session.name or None


def client_setname(cx: Context) -> object:
    """CLIENT SETNAME name -> OK; an empty name removes it."""
    check_client_name(cx.argv[2])
    cx.session.name = cx.argv[2]
    return OK


def client_setinfo(cx: Context) -> object:
    """CLIENT SETINFO LIB-NAME|LIB-VER value -> OK."""
    attribute = cx.argv[2].lower()
    value = cx.argv[3]
    if attribute not in (b"lib-name", b"lib-ver"):
        raise CommandError(b"ERR Unrecognized option '" + cx.argv[2] + b"'")
    for char in value:
        if char < 33 or char > 126:
            raise CommandError(b"ERR " + cx.argv[2] + b" cannot contain spaces, newlines or special characters.")
    if attribute == b"lib-name":
        cx.session.lib_name = value
    else:
        cx.session.lib_version = value
    return OK


def client_list(cx: Context) -> object:
    """CLIENT LIST [TYPE type] [ID id [id ...]] -> one line a client."""
    sessions = matching_sessions(cx)
    now_us = cx.services.clock.now_us()
    return VerbatimReply(
        b"txt",
        b"".join([client_info_line(session, now_us) + b"\n" for session in sessions]),
    )


def client_info(cx: Context) -> object:
    """CLIENT INFO -> the line of CLIENT LIST for this connection."""
    return VerbatimReply(b"txt", client_info_line(cx.session, cx.services.clock.now_us()) + b"\n")


def client_kill(cx: Context) -> object:
    """CLIENT KILL addr | filters -> OK, or the number of connections closed."""
    argv = cx.argv
    if len(argv) == 3:
        for session in list(cx.services.sessions.values()):
            if session.address == argv[2]:
                _kill(cx, session)
                return OK
        raise CommandError(NO_SUCH_CLIENT)
    victims = _kill_filter(cx)
    for session in victims:
        _kill(cx, session)
    return len(victims)


def _kill(cx: Context, session: Session) -> None:
    """Close `session`; the caller's own once its reply is sent."""
    if session is cx.session:
        session.sink.close_after_flush()
    else:
        session.sink.close_now()


def _kill_filter(cx: Context) -> list[Session]:
    """Return the sessions that all filters of CLIENT KILL match."""
    argv = cx.argv
    skip_me = True
    victims = list(cx.services.sessions.values())
    if len(argv) % 2:
        raise syntax_error()
    for at in range(2, len(argv), 2):
        option = argv[at].upper()
        value = argv[at + 1]
        if option == b"ID":
            ident = parse_int(value)
            if ident is None or ident < 1:
                raise CommandError(b"ERR client-id should be greater than 0")
            victims = [session for session in victims if session.id == ident]
        elif option == b"ADDR":
            victims = [session for session in victims if session.address == value]
        elif option == b"LADDR":
            victims = [session for session in victims if session.local_address == value]
        elif option == b"USER":
            if value != b"default":
                raise CommandError(b"ERR No such user '" + value + b"'")
        elif option == b"TYPE":
            victims = [session for session in victims if session.client_type() == _client_type(value)]
        elif option == b"SKIPME":
            if value.lower() not in (b"yes", b"no"):
                raise syntax_error()
            skip_me = value.lower() == b"yes"
        else:
            raise syntax_error()
    return [session for session in victims if not (skip_me and session is cx.session)]


def _client_type(name: bytes) -> bytes:
    """Return the canonical client type; raises for an unknown one."""
    lower = name.lower()
    if lower in (b"normal", b"master", b"pubsub"):
        return lower
    if lower in (b"slave", b"replica"):
        return b"slave"
    raise CommandError(b"ERR Unknown client type '" + name + b"'")


def client_reply(cx: Context) -> object:
    """CLIENT REPLY ON|OFF|SKIP -> OK for ON, nothing otherwise."""
    mode = cx.argv[2].upper()
    if mode == b"ON":
        cx.session.reply_mode = REPLY_ON
        return OK
    if mode == b"OFF":
        cx.session.reply_mode = REPLY_OFF
        return NO_REPLY
    if mode == b"SKIP":
        if cx.session.reply_mode == REPLY_ON:
            cx.session.reply_mode = REPLY_SKIP_NEXT
        return NO_REPLY
    raise syntax_error()


def client_unblock(cx: Context) -> object:
    """CLIENT UNBLOCK id [TIMEOUT|ERROR] -> 1 if the client was blocked and is released."""
    as_error = False
    if len(cx.argv) == 4:
        reason = cx.argv[3].upper()
        if reason not in (b"TIMEOUT", b"ERROR"):
            raise CommandError(b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
        as_error = reason == b"ERROR"
    session = cx.services.sessions.get(integer(cx.argv[2]))
    if session is None or session.waiter is None:
        return 0
    reply: object = session.waiter.timeout_reply
    if as_error:
        reply = ErrorReply(b"UNBLOCKED client unblocked via CLIENT UNBLOCK")
    cx.services.require_runner().release(session, reply)
    return 1


def client_no_evict(cx: Context) -> object:
    """CLIENT NO-EVICT ON|OFF -> OK."""
    cx.session.no_evict = _on_off(cx.argv[2])
    return OK


def client_no_touch(cx: Context) -> object:
    """CLIENT NO-TOUCH ON|OFF -> OK; with ON, reads leave access times alone."""
    cx.session.no_touch = _on_off(cx.argv[2])
    return OK


def _on_off(word: bytes) -> bool:
    """Return True for ON, False for OFF; raises a syntax error otherwise."""
    upper = word.upper()
    if upper not in (b"ON", b"OFF"):
        raise syntax_error()
    return upper == b"ON"


def client_container(cx: Context) -> object:
    """CLIENT subcommand: never reached without one (arity)."""
    raise CommandError(wrong_arity(b"client"))


_CLIENT_BASE: Final = NOSCRIPT | LOADING | STALE


def _client_rows() -> list[Command]:
    """Return the subcommands of CLIENT."""
    admin = _CLIENT_BASE | ADMIN
    return [
        Command(b"GETNAME", 2, _CLIENT_BASE, client_getname, since=b"2.6.9"),
        Command(b"ID", 2, _CLIENT_BASE, client_id, since=b"5.0.0"),
        Command(b"INFO", 2, _CLIENT_BASE, client_info, since=b"6.2.0"),
        Command(b"KILL", -3, admin, client_kill, since=b"2.4.0"),
        Command(b"LIST", -2, admin, client_list, since=b"2.4.0"),
        Command(b"NO-EVICT", 3, admin, client_no_evict, since=b"7.0.0"),
        Command(b"NO-TOUCH", 3, _CLIENT_BASE, client_no_touch, since=b"7.2.0"),
        Command(b"REPLY", 3, _CLIENT_BASE, client_reply, since=b"3.2.0"),
        Command(b"SETINFO", 4, _CLIENT_BASE, client_setinfo, since=b"7.2.0"),
        Command(b"SETNAME", 3, _CLIENT_BASE, client_setname, since=b"2.6.9"),
        Command(b"UNBLOCK", -3, admin, client_unblock, since=b"5.0.0"),
    ]


def commands() -> list[Command]:
    """Return the rows of this group."""
    open_ = NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY
    return [
        Command(b"AUTH", -2, open_, auth, summary=b"Logs the connection in."),
        Command(
            b"CLIENT",
            -2,
            0,
            client_container,
            since=b"2.4.0",
            summary=b"Manages connections.",
            subcommands=_client_rows(),
        ),
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
