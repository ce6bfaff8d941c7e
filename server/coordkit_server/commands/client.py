"""CLIENT (group "connection"): names, lists, KILL, REPLY, PAUSE, UNBLOCK and their rows; caching is in
client_tracking.
"""

from typing import Final

from coordkit_server.commands import client_tracking
from coordkit_server.commands.args import integer
from coordkit_server.commands.clients import (
    check_client_name,
    client_info_line,
    client_type,
    matching_sessions,
)
from coordkit_server.commands.help import help_reply
from coordkit_server.context import ADMIN, LOADING, NOSCRIPT, STALE, Command, Context
from coordkit_server.errors import (
    NEGATIVE_TIMEOUT,
    NO_SUCH_CLIENT,
    TIMEOUT_NOT_INTEGER,
    TIMEOUT_OUT_OF_RANGE,
    CommandError,
    syntax_error,
    wrong_arity,
)
from coordkit_server.numeric import INT64_MAX, parse_int
from coordkit_server.pause import PAUSE_ALL, PAUSE_WRITE, POSTPONED
from coordkit_server.resp.reply import NO_REPLY, OK, ErrorReply, VerbatimReply
from coordkit_server.session import (
    GATE_NO_TOUCH,
    REPLY_OFF,
    REPLY_ON,
    REPLY_SKIP_NEXT,
    Session,
)

# -- about this client -----------------------------------------------------------------------------------------------


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


def client_info(cx: Context) -> object:
    """CLIENT INFO -> the line of CLIENT LIST for this connection."""
    return VerbatimReply(b"txt", client_info_line(cx, cx.session) + b"\n")


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


def client_no_evict(cx: Context) -> object:
    """CLIENT NO-EVICT ON|OFF -> OK."""
    cx.session.no_evict = _on_off(cx.argv[2])
    return OK


def client_no_touch(cx: Context) -> object:
    """CLIENT NO-TOUCH ON|OFF -> OK; with ON, reads leave access times alone."""
    session = cx.session
    session.no_touch = _on_off(cx.argv[2])
    session.gates = session.gates | GATE_NO_TOUCH if session.no_touch else session.gates & ~GATE_NO_TOUCH
    return OK


def _on_off(word: bytes) -> bool:
    """Return True for ON, False for OFF; raises a syntax error otherwise."""
    upper = word.upper()
    if upper not in (b"ON", b"OFF"):
        raise syntax_error()
    return upper == b"ON"


# -- about all clients -----------------------------------------------------------------------------------------------


def client_list(cx: Context) -> object:
    """CLIENT LIST [TYPE type] [ID id [id ...]] -> one line a client."""
    sessions = matching_sessions(cx)
    return VerbatimReply(b"txt", b"".join([client_info_line(cx, session) + b"\n" for session in sessions]))


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
    for at in range(2, len(argv), 2):
        if at + 1 >= len(argv):
            raise syntax_error()
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
            if value not in cx.services.users.by_name:
                raise CommandError(b"ERR No such user '" + value + b"'")
            victims = [session for session in victims if session.user == value]
        elif option == b"TYPE":
            wanted = client_type(value)
            victims = [session for session in victims if session.client_type() == wanted]
        elif option == b"SKIPME":
            if value.lower() not in (b"yes", b"no"):
                raise syntax_error()
            skip_me = value.lower() == b"yes"
        else:
            raise syntax_error()
    return [session for session in victims if not (skip_me and session is cx.session)]


def client_pause(cx: Context) -> object:
    """CLIENT PAUSE timeout [WRITE|ALL] -> OK; commands of clients wait for that many ms."""
    kind = PAUSE_ALL
    if len(cx.argv) > 4:
        raise CommandError(
            b"ERR unknown subcommand or wrong number of arguments for '" + cx.argv[1] + b"'. Try CLIENT HELP."
        )
    if len(cx.argv) == 4:
        word = cx.argv[3].upper()
        if word not in (b"WRITE", b"ALL"):
            raise CommandError(b"ERR CLIENT PAUSE mode must be WRITE or ALL")
        kind = PAUSE_WRITE if word == b"WRITE" else PAUSE_ALL
    timeout_ms = integer(cx.argv[2], TIMEOUT_NOT_INTEGER)
    if timeout_ms < 0:
        raise CommandError(NEGATIVE_TIMEOUT)
    if timeout_ms > INT64_MAX - cx.state.now_ms:
        raise CommandError(TIMEOUT_OUT_OF_RANGE)
    cx.services.pause.begin(kind, timeout_ms)
    return OK


def client_unpause(cx: Context) -> object:
    """CLIENT UNPAUSE -> OK; commands that were put off run."""
    cx.services.pause.end()
    return OK


def client_unblock(cx: Context) -> object:
    """CLIENT UNBLOCK id [TIMEOUT|ERROR] -> 1 if the client was blocked and is released."""
    as_error = False
    if len(cx.argv) > 4:
        raise CommandError(
            b"ERR unknown subcommand or wrong number of arguments for '" + cx.argv[1] + b"'. Try CLIENT HELP."
        )
    if len(cx.argv) == 4:
        reason = cx.argv[3].upper()
        if reason not in (b"TIMEOUT", b"ERROR"):
            raise CommandError(b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
        as_error = reason == b"ERROR"
    session = cx.services.sessions.get(integer(cx.argv[2]))
    if session is None or session.waiter is None or session.waiter.kind == POSTPONED:
        return 0
    reply: object = session.waiter.timeout_reply
    if as_error:
        reply = ErrorReply(b"UNBLOCKED client unblocked via CLIENT UNBLOCK")
    cx.services.require_runner().release(session, reply)
    return 1


# -- rows ------------------------------------------------------------------------------------------------------------


def client_container(cx: Context) -> object:
    """CLIENT subcommand: never reached without one (arity)."""
    raise CommandError(wrong_arity(b"client"))


def client_help(cx: Context) -> object:
    """CLIENT HELP -> lines of help."""
    return help_reply(b"CLIENT", _HELP)


_HELP: Final[list[bytes]] = [
    b"CACHING (YES|NO)",
    b"    Say whether the keys of the next command are tracked, in OPTIN or OPTOUT mode.",
    b"GETNAME",
    b"    Tell this connection's name.",
    b"GETREDIR",
    b"    Tell which client gets this connection's invalidation messages.",
    b"ID",
    b"    Tell this connection's number.",
    b"INFO",
    b"    Describe this connection in one line.",
    b"KILL <ip:port>",
    b"    Close the connection with this address.",
    b"KILL <option> <value> [<option> <value> [...]]",
    b"    Close the connections that match every option: ID <id>, ADDR <address>, LADDR <address>,",
    b"    TYPE (NORMAL|MASTER|REPLICA|PUBSUB), USER <username>, SKIPME (YES|NO).",
    b"LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <id> [<id> ...]]",
    b"    Describe connections, one line each.",
    b"NO-EVICT (ON|OFF)",
    b"    Keep this connection when the memory of clients runs out.",
    b"NO-TOUCH (ON|OFF)",
    b"    Leave access times and frequencies of keys alone.",
    b"PAUSE <timeout> [WRITE|ALL]",
    b"    Put off commands, or only those that write, for <timeout> milliseconds.",
    b"REPLY (ON|OFF|SKIP)",
    b"    Say whether this connection gets replies.",
    b"SETINFO <option> <value>",
    b"    Note the library behind this connection: LIB-NAME, LIB-VER.",
    b"SETNAME <name>",
    b"    Name this connection.",
    b"TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
    b"    Tell this connection about changes of the keys that it caches.",
    b"TRACKINGINFO",
    b"    Tell how this connection tracks keys.",
    b"UNBLOCK <clientid> [TIMEOUT|ERROR]",
    b"    End the wait of a blocked connection.",
    b"UNPAUSE",
    b"    Let commands run that were put off.",
]


def commands() -> list[Command]:
    """Return the row of CLIENT."""
    base = NOSCRIPT | LOADING | STALE
    admin = base | ADMIN
    subcommands = [
        Command(b"GETNAME", 2, base, client_getname, since=b"2.6.9"),
        Command(b"HELP", 2, LOADING | STALE, client_help, since=b"5.0.0"),
        Command(b"ID", 2, base, client_id, since=b"5.0.0"),
        Command(b"INFO", 2, base, client_info, since=b"6.2.0"),
        Command(b"KILL", -3, admin, client_kill, since=b"2.4.0"),
        Command(b"LIST", -2, admin, client_list, since=b"2.4.0"),
        Command(b"NO-EVICT", 3, admin, client_no_evict, since=b"7.0.0"),
        Command(b"NO-TOUCH", 3, base, client_no_touch, since=b"7.2.0"),
        Command(b"PAUSE", -3, admin, client_pause, since=b"3.0.0"),
        Command(b"REPLY", 3, base, client_reply, since=b"3.2.0"),
        Command(b"SETINFO", 4, base, client_setinfo, since=b"7.2.0"),
        Command(b"SETNAME", 3, base, client_setname, since=b"2.6.9"),
        Command(b"UNBLOCK", -3, admin, client_unblock, since=b"5.0.0"),
        Command(b"UNPAUSE", 2, admin, client_unpause, since=b"6.2.0"),
        *client_tracking.rows(),
    ]
    return [
        Command(
            b"CLIENT",
            -2,
            0,
            client_container,
            since=b"2.4.0",
            summary=b"Manages connections.",
            subcommands=subcommands,
        )
    ]
