"""Whether a client's user may run a command: keys and channels of an argv, the texts of a refusal, its log."""

from typing import Final

from coordkit_server.access.catalog import Catalog
from coordkit_server.access.refusals import Refusal
from coordkit_server.access.selector import (
    ALLOWED,
    DENIED_CHANNEL,
    DENIED_COMMAND,
    DENIED_KEY,
    READ,
    WRITE,
    ChannelRef,
    KeyRef,
    Request,
    Verdict,
)
from coordkit_server.access.user import User
from coordkit_server.commands.acl_categories import ALL, categories
from coordkit_server.commands.clients import client_info_line
from coordkit_server.commands.key_specs import KeySpecification, find_keys, specifications
from coordkit_server.context import NO_AUTH, Command, Context
from coordkit_server.errors import NO_PERMISSION_CHANNEL, NO_PERMISSION_KEY, no_permission_command
from coordkit_server.session import GATE_ACL

_SPECS: Final[dict[bytes, list[KeySpecification]]] = specifications()
# full name -> (are they patterns, do all arguments name channels or only the first)
_CHANNELS: Final[dict[bytes, tuple[bool, bool]]] = {
    b"psubscribe": (True, True),
    b"publish": (False, False),
    b"spublish": (False, False),
    b"ssubscribe": (False, True),
    b"subscribe": (False, True),
}
_REASONS: Final[dict[int, bytes]] = {DENIED_COMMAND: b"command", DENIED_KEY: b"key", DENIED_CHANNEL: b"channel"}
_WRITING: Final = frozenset([b"insert", b"update", b"delete"])


class TableCatalog(Catalog):
    """The command table, as rules see it."""

    def __init__(self, table: dict[bytes, Command]) -> None:
        self._rows: Final[dict[bytes, Command]] = {}
        for row in table.values():
            for one in [row, *(row.subcommands.values() if row.subcommands is not None else [])]:
                self._rows[one.full_name] = one

    def has(self, name: bytes) -> bool:
        """Return True if there is a command, container or subcommand called `name`."""
        return name in self._rows

    def subcommands(self, name: bytes) -> list[bytes]:
        """Return the full names of the subcommands of `name`, none if it is no container."""
        row = self._rows.get(name)
        if row is None or row.subcommands is None:
            return []
        return [sub.full_name for sub in row.subcommands.values()]

    def category(self, name: bytes) -> list[bytes] | None:
        """Return the full names of the commands of the category `name` (without `@`), None if there is none."""
        if name == b"all":
            return list(self._rows)
        if name not in ALL:
            return None
        return [row.full_name for row in self._rows.values() if b"@" + name in categories(row)]


def request_of(row: Command, argv: list[bytes]) -> Request:
    """Return what `argv` asks for: the command, its keys and its channels."""
    keys: list[KeyRef] = []
    specs = _SPECS.get(row.full_name)
    if specs is not None:
        for position, flags in find_keys(row.full_name, specs, argv) or []:
            words = flags.split(b",")
            access = READ if b"access" in words else 0
            if not _WRITING.isdisjoint(words):
                access |= WRITE
            keys.append(KeyRef(position, access))
    channels: list[ChannelRef] = []
    rule = _CHANNELS.get(row.full_name)
    if rule is not None:
        is_pattern, every = rule
        for position in range(1, len(argv) if every else 2):
            channels.append(ChannelRef(position, is_pattern))
    return Request(row.full_name, argv, keys, channels, row.flags & NO_AUTH != 0)


def verdict_on(user: User | None, row: Command, argv: list[bytes]) -> Verdict:
    """Return whether `user` may run `argv`; nobody may run nothing."""
    return Verdict(DENIED_COMMAND, 0) if user is None else user.check(request_of(row, argv))


def refusal_text(user: bytes, row: Command, verdict: Verdict) -> bytes:
    """Return why, without a code."""
    if verdict.reason == DENIED_KEY:
        return NO_PERMISSION_KEY
    if verdict.reason == DENIED_CHANNEL:
        return NO_PERMISSION_CHANNEL
    return no_permission_command(user, row.full_name)


def check(cx: Context, row: Command, argv: list[bytes], where: bytes) -> Verdict | None:
    """Return None if the session's user may run `argv`, else why not, after an entry in the log.

    `where`: toplevel, multi, lua."""
    session = cx.session
    verdict = verdict_on(cx.services.users.by_name.get(session.user), row, argv)
    if verdict.reason == ALLOWED:
        return None
    stats = cx.services.stats
    what = argv[verdict.position]
    if verdict.reason == DENIED_COMMAND:
        stats.denied_commands += 1
        what = row.full_name
    elif verdict.reason == DENIED_KEY:
        stats.denied_keys += 1
    else:
        stats.denied_channels += 1
    log_refusal(cx, _REASONS[verdict.reason], where, what, session.user)
    return verdict


def log_refusal(cx: Context, reason: bytes, where: bytes, what: bytes, user: bytes) -> None:
    """Enter a refusal in the log."""
    services = cx.services
    entry = Refusal(services.refusals.next_id(), reason, where, what, user, cx.state.now_ms)
    services.refusals.add(entry, client_info_line(cx, cx.session), services.config.number("acllog-max-len"))


def may_read_every_key(cx: Context) -> bool:
    """Return True if the session's user may run the command that runs, and no key is hidden from it."""
    if not cx.session.gates & GATE_ACL:
        return True
    user = cx.services.users.by_name.get(cx.session.user)
    row = cx.command
    return user is not None and row is not None and user.reads_every_key(request_of(row, cx.argv))
