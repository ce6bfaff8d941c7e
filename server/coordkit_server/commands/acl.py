"""ACL (group "server"): users, what they may do, and what was refused.

Map: the user of this connection, describing and changing users, categories, the log, the ACL file, rows.
"""

from secrets import token_hex
from typing import Final

from coordkit_server.access.refusals import Refusal
from coordkit_server.access.selector import ALLOWED, DENIED_COMMAND, DENIED_KEY, Selector, has_spaces
from coordkit_server.access.users import DEFAULT, UserError
from coordkit_server.commands.accounts import disconnect, disconnect_subscribers, users_changed
from coordkit_server.commands.acl_categories import ALL, categories
from coordkit_server.commands.acl_files import load_file, save_file
from coordkit_server.commands.args import integer
from coordkit_server.commands.help import help_reply
from coordkit_server.commands.permissions import refusal_text, verdict_on
from coordkit_server.commands.server import container
from coordkit_server.context import ADMIN, LOADING, NOSCRIPT, STALE, Command, Context
from coordkit_server.errors import CommandError, wrong_arity
from coordkit_server.resp.reply import OK, MapReply, SetReply

_NO_FILE: Final = (
    b"ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER "
    b"command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store "
    b"users in the Redis configuration."
)
_NOT_SAVED: Final = b"ERR There was an error trying to save the ACLs. Please check the server logs for more information"
_BITS_MAX: Final = 4096
_LOGGED: Final = 10  # entries of ACL LOG without a number


def acl_whoami(cx: Context) -> object:
    """ACL WHOAMI -> the user of this connection."""
    return cx.session.user


# -- users -----------------------------------------------------------------------------------------------------------


def acl_users(cx: Context) -> object:
    """ACL USERS -> the users' names."""
    return [user.name for user in cx.services.users.sorted()]


def acl_list(cx: Context) -> object:
    """ACL LIST -> the users as ACL rules."""
    return list(cx.services.users.lines())


def acl_getuser(cx: Context) -> object:
    """ACL GETUSER username -> flags, passwords, commands, keys, channels, selectors; null for nobody."""
    user = cx.services.users.by_name.get(cx.argv[2])
    if user is None:
        return None
    flags: list[object] = []
    flags.extend(user.flags())
    fields: list[object] = [b"flags", SetReply(flags), b"passwords", list(user.passwords)]
    fields.extend(_described(user.selectors[0]))
    fields.append(b"selectors")
    fields.append([MapReply(_described(selector)) for selector in user.selectors[1:]])
    return MapReply(fields)


def _described(selector: Selector) -> list[object]:
    """Return the fields of a selector."""
    return [
        b"commands",
        selector.described_commands(),
        b"keys",
        selector.described_keys(),
        b"channels",
        selector.described_channels(),
    ]


def acl_setuser(cx: Context) -> object:
    """ACL SETUSER username [rule [rule ...]] -> OK; the user has these permissions, all of them or none changed."""
    name = cx.argv[2]
    if has_spaces(name):
        raise CommandError(b"ERR Usernames can't contain spaces or null characters")
    users = cx.services.users
    try:
        staged = users.changed(name, cx.argv[3:])
    except UserError as error:
        raise CommandError(b"ERR " + error.reason) from error
    known = users.by_name.get(name)
    if known is not None:
        disconnect_subscribers(cx, known, staged)
    users.adopt(staged)
    users_changed(cx.services)
    return OK


def acl_deluser(cx: Context) -> object:
    """ACL DELUSER username [username ...] -> number of users removed; their connections are closed."""
    names = cx.argv[2:]
    if DEFAULT in names:
        raise CommandError(b"ERR The 'default' user cannot be removed")
    users = cx.services.users
    removed: set[bytes] = set()
    for name in names:
        if users.by_name.pop(name, None) is not None:
            removed.add(name)
    _disconnect_all(cx, removed)
    return len(removed)


def _disconnect_all(cx: Context, names: set[bytes]) -> None:
    """Close the connections of these users."""
    for session in list(cx.services.sessions.values()):
        if session.user in names:
            disconnect(cx, session)


def acl_cat(cx: Context) -> object:
    """ACL CAT [category] -> the categories, or the commands of one."""
    if len(cx.argv) > 3:
        raise CommandError(
            b"ERR unknown subcommand or wrong number of arguments for '" + cx.argv[1] + b"'. Try ACL HELP."
        )
    if len(cx.argv) == 2:
        return list(ALL)
    wanted = cx.argv[2].lower()
    if wanted not in ALL:
        raise CommandError(b"ERR Unknown category '" + cx.argv[2] + b"'")
    names: list[object] = []
    for row in cx.services.all_commands.values():
        for candidate in [row, *(row.subcommands.values() if row.subcommands is not None else [])]:
            if b"@" + wanted in categories(candidate):
                names.append(candidate.full_name)
    return names


def acl_genpass(cx: Context) -> object:
    """ACL GENPASS [bits] -> a random password of that many bits (256), in hexadecimal."""
    bits = 256
    if len(cx.argv) > 3:
        raise CommandError(
            b"ERR unknown subcommand or wrong number of arguments for '" + cx.argv[1] + b"'. Try ACL HELP."
        )
    if len(cx.argv) == 3:
        bits = integer(cx.argv[2])
        if not 0 < bits <= _BITS_MAX:
            raise CommandError(
                b"ERR ACL GENPASS argument must be the number of bits for the output password, a "
                b"positive number up to %d" % _BITS_MAX
            )
    digits = (bits + 3) // 4
    return token_hex((digits + 1) // 2)[:digits].encode("ascii")


def acl_log(cx: Context) -> object:
    """ACL LOG [count|RESET] -> what was refused, newest first; OK for RESET."""
    log = cx.services.refusals
    count = _LOGGED
    if len(cx.argv) > 3:
        raise CommandError(
            b"ERR unknown subcommand or wrong number of arguments for '" + cx.argv[1] + b"'. Try ACL HELP."
        )
    if len(cx.argv) == 3:
        if cx.argv[2].upper() == b"RESET":
            log.clear()
            return OK
        count = max(integer(cx.argv[2]), 0)
    return [_logged(cx, entry) for entry in log.entries[:count]]


def _logged(cx: Context, entry: Refusal) -> object:
    """Return an entry of the log as ACL LOG shows it."""
    return MapReply(
        [
            b"count",
            entry.count,
            b"reason",
            entry.reason,
            b"context",
            entry.where,
            b"object",
            entry.what,
            b"username",
            entry.user,
            b"age-seconds",
            (cx.state.now_ms - entry.updated_ms) / 1000,
            b"client-info",
            entry.client,
            b"entry-id",
            entry.id,
            b"timestamp-created",
            entry.created_ms,
            b"timestamp-last-updated",
            entry.updated_ms,
        ]
    )


def acl_dryrun(cx: Context) -> object:
    """ACL DRYRUN username command [arg ...] -> OK if the user may run it, else why not."""
    argv = cx.argv[3:]
    user = cx.services.users.by_name.get(cx.argv[2])
    if user is None:
        raise CommandError(b"ERR User '" + cx.argv[2] + b"' not found")
    row = cx.services.require_runner().find(argv)
    if row is None:
        raise CommandError(b"ERR Command '" + argv[0] + b"' not found")
    size = len(argv)
    if not (size == row.arity or (row.arity < 0 and size >= -row.arity)):
        raise CommandError(wrong_arity(row.full_name))
    verdict = verdict_on(user, row, argv)
    if verdict.reason == ALLOWED:
        return OK
    if verdict.reason == DENIED_COMMAND:
        return refusal_text(user.name, row, verdict)
    kind = b"key" if verdict.reason == DENIED_KEY else b"channel"
    return b"User %b has no permissions to access the '%b' %b" % (user.name, argv[verdict.position], kind)


# -- the file ----------------------------------------------------------------------------------------------------------


def acl_load(cx: Context) -> object:
    """ACL LOAD -> OK; the users are those of the ACL file, and everybody but the default user is disconnected."""
    _require_file(cx)
    try:
        before = load_file(cx.services)
    except UserError as error:
        raise CommandError(b"ERR " + error.reason) from error
    _disconnect_all(cx, set(before) - {DEFAULT})
    users_changed(cx.services)
    return OK


def acl_save(cx: Context) -> object:
    """ACL SAVE -> OK; the ACL file holds the users of now."""
    _require_file(cx)
    if not save_file(cx.services):
        raise CommandError(_NOT_SAVED)
    return OK


def _require_file(cx: Context) -> None:
    """Raise if there is no ACL file."""
    if not cx.services.config.text("aclfile"):
        raise CommandError(_NO_FILE)


def acl_help(cx: Context) -> object:
    """ACL HELP -> lines of help."""
    return help_reply(b"ACL", _HELP)


_HELP: Final[list[bytes]] = [
    b"CAT [<category>]",
    b"    List the categories of commands, or the commands of one.",
    b"DELUSER <username> [<username> ...]",
    b"    Remove users and close their connections.",
    b"DRYRUN <username> <command> [<arg> ...]",
    b"    Tell whether a user may run a command.",
    b"GENPASS [<bits>]",
    b"    Make a random password.",
    b"GETUSER <username>",
    b"    Describe a user.",
    b"LIST",
    b"    Show the users as rules.",
    b"LOAD",
    b"    Take the users from the ACL file.",
    b"LOG [<count>|RESET]",
    b"    Tell what was refused.",
    b"SAVE",
    b"    Write the users to the ACL file.",
    b"SETUSER <username> <rule> [<rule> ...]",
    b"    Make or change a user.",
    b"USERS",
    b"    List the users.",
    b"WHOAMI",
    b"    Tell the user of this connection.",
]


def commands() -> list[Command]:
    """Return the row of ACL."""
    base = NOSCRIPT | LOADING | STALE
    admin = base | ADMIN
    since = b"6.0.0"
    return [
        Command(
            b"ACL",
            -2,
            0,
            container,
            since=since,
            summary=b"Tells about users and what they may do.",
            subcommands=[
                Command(b"CAT", -2, base, acl_cat, since=since),
                Command(b"DELUSER", -3, admin, acl_deluser, since=since),
                Command(b"DRYRUN", -4, admin, acl_dryrun, since=b"7.0.0"),
                Command(b"GENPASS", -2, base, acl_genpass, since=since),
                Command(b"GETUSER", 3, admin, acl_getuser, since=since),
                Command(b"HELP", 2, LOADING | STALE, acl_help, since=since),
                Command(b"LIST", 2, admin, acl_list, since=since),
                Command(b"LOAD", 2, admin, acl_load, since=since),
                Command(b"LOG", -2, admin, acl_log, since=since),
                Command(b"SAVE", 2, admin, acl_save, since=since),
                Command(b"SETUSER", -3, admin, acl_setuser, since=since),
                Command(b"USERS", 2, admin, acl_users, since=since),
                Command(b"WHOAMI", 2, base, acl_whoami, since=since),
            ],
        )
    ]
