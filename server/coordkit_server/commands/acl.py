"""ACL (group "server"): one user, `default`, whom `requirepass` may give a password and who may do everything.

Users of one's own are not supported: ACL SETUSER says so.
"""

from hashlib import sha256
from secrets import token_hex
from typing import Final

from coordkit_server.commands.acl_categories import ALL, categories
from coordkit_server.commands.args import integer
from coordkit_server.commands.help import help_reply
from coordkit_server.commands.server import container
from coordkit_server.context import ADMIN, LOADING, NOSCRIPT, STALE, Command, Context
from coordkit_server.errors import CommandError, wrong_arity
from coordkit_server.resp.reply import OK, MapReply, SetReply

_NO_FILE: Final = (
    b"ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER "
    b"command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store "
    b"users in the Redis configuration."
)
_ONE_USER: Final = (
    b"ERR ACL SETUSER is not supported by this server: there is one user, 'default'; set its password with "
    b"CONFIG SET requirepass"
)
_BITS_MAX: Final = 4096


def _password_hash(cx: Context) -> bytes:
    """Return the hash that ACL shows for the password, empty if there is none."""
    password = cx.services.config.text("requirepass").encode("utf-8", "surrogateescape")
    return sha256(password).hexdigest().encode("ascii") if password else b""


def acl_whoami(cx: Context) -> object:
    """ACL WHOAMI -> the user of this connection."""
    return cx.session.user


def acl_users(cx: Context) -> object:
    """ACL USERS -> the users' names."""
    return [b"default"]


def acl_list(cx: Context) -> object:
    """ACL LIST -> the users as ACL rules."""
    hashed = _password_hash(cx)
    if hashed:
        return [b"user default on sanitize-payload #%b ~* &* +@all" % hashed]
    return [b"user default on nopass sanitize-payload ~* &* +@all"]


def acl_getuser(cx: Context) -> object:
    """ACL GETUSER username -> flags, passwords, commands, keys, channels, selectors; null for nobody."""
    if cx.argv[2] != b"default":
        return None
    hashed = _password_hash(cx)
    flags: list[object] = [b"on"] if hashed else [b"on", b"nopass"]
    flags.append(b"sanitize-payload")
    passwords: list[object] = [hashed] if hashed else []
    return MapReply(
        [
            b"flags",
            SetReply(flags),
            b"passwords",
            passwords,
            b"commands",
            b"+@all",
            b"keys",
            b"~*",
            b"channels",
            b"&*",
            b"selectors",
            [],
        ]
    )


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
    for row in cx.services.commands.values():
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
    """ACL LOG [count|RESET] -> what was refused: nothing, since there is nothing that the user may not do."""
    if len(cx.argv) == 3:
        if cx.argv[2].upper() == b"RESET":
            return OK
        integer(cx.argv[2])
    return []


def acl_dryrun(cx: Context) -> object:
    """ACL DRYRUN username command [arg ...] -> OK: the user may do everything."""
    argv = cx.argv
    if argv[2] != b"default":
        raise CommandError(b"ERR User '" + argv[2] + b"' not found")
    row = cx.services.require_runner().find(argv[3:])
    if row is None:
        raise CommandError(b"ERR Command '" + argv[3] + b"' not found")
    size = len(argv) - 3
    if not (size == row.arity or (row.arity < 0 and size >= -row.arity)):
        raise CommandError(wrong_arity(row.full_name))
    return OK


def acl_setuser(cx: Context) -> object:
    """ACL SETUSER username [rule ...]: refused, there is one user."""
    raise CommandError(_ONE_USER)


def acl_deluser(cx: Context) -> object:
    """ACL DELUSER username [username ...] -> 0; the default user stays."""
    if b"default" in cx.argv[2:]:
        raise CommandError(b"ERR The 'default' user cannot be removed")
    return 0


def acl_file(cx: Context) -> object:
    """ACL LOAD, ACL SAVE: refused, there is no ACL file."""
    raise CommandError(_NO_FILE)


def acl_help(cx: Context) -> object:
    """ACL HELP -> lines of help."""
    return help_reply(b"ACL", _HELP)


_HELP: Final[list[bytes]] = [
    b"CAT [<category>]",
    b"    List the categories of commands, or the commands of one.",
    b"DELUSER <username> [<username> ...]",
    b"    Remove users; this server has only the one that stays.",
    b"DRYRUN <username> <command> [<arg> ...]",
    b"    Tell whether a user may run a command.",
    b"GENPASS [<bits>]",
    b"    Make a random password.",
    b"GETUSER <username>",
    b"    Describe a user.",
    b"LIST",
    b"    Show the users as rules.",
    b"LOG [<count>|RESET]",
    b"    Tell what was refused.",
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
                Command(b"LOAD", 2, admin, acl_file, since=since),
                Command(b"LOG", -2, admin, acl_log, since=since),
                Command(b"SAVE", 2, admin, acl_file, since=since),
                Command(b"SETUSER", -3, admin, acl_setuser, since=since),
                Command(b"USERS", 2, admin, acl_users, since=since),
                Command(b"WHOAMI", 2, base, acl_whoami, since=since),
            ],
        )
    ]
