"""COMMAND (group "server"): the command table as data.

Map: one row as COMMAND INFO replies it, COMMAND DOCS, COUNT, LIST, GETKEYS; rows.
"""

from typing import Final

from coordkit_server import glob
from coordkit_server.commands.acl_categories import categories
from coordkit_server.commands.help import help_reply
from coordkit_server.commands.key_specs import FoundKey, find_keys, flags_reply, specifications, tips
from coordkit_server.context import (
    FLAG_NAMES,
    LOADING,
    MOVABLE_KEYS,
    NO_MANDATORY_KEYS,
    STALE,
    Command,
    Context,
)
from coordkit_server.errors import CommandError, syntax_error, wrong_arity
from coordkit_server.resp.reply import MapReply, SetReply, Simple

_SPECS: Final = specifications()
_TIPS: Final = tips()


def command_row(row: Command) -> list[object]:
    """Return `row` as COMMAND INFO shows it: name, arity, flags, keys, categories, tips, key specs, subcommands."""
    subcommands: list[object] = []
    if row.subcommands is not None:
        for sub in row.subcommands.values():
            subcommands.append(command_row(sub))
    tips: list[object] = []
    tips.extend(_TIPS.get(row.full_name, []))
    return [
        row.full_name,
        row.arity,
        SetReply(_flags(row)),
        row.keys.first,
        row.keys.last,
        row.keys.step,
        SetReply([Simple(category) for category in categories(row)]),
        SetReply(tips),
        SetReply([spec.reply() for spec in _SPECS.get(row.full_name, [])]),
        SetReply(subcommands),
    ]


def _flags(row: Command) -> list[object]:
    """Return the flags as simple strings."""
    flags = row.flags | (MOVABLE_KEYS if row.keys.finder is not None else 0)
    names: list[object] = []
    for bit, name in FLAG_NAMES:
        if flags & bit:
            names.append(Simple(name))
    return names


def command(cx: Context) -> object:
    """COMMAND -> a row of properties for each command."""
    return [command_row(row) for row in cx.services.commands.values()]


def _named(cx: Context, name: bytes) -> Command | None:
    """Return the command called `name` (`container|sub` for a subcommand), None if there is none."""
    parts = name.split(b"|")
    row = cx.services.require_runner().find(parts)
    if len(parts) > 1 and row is not None and b"|" not in row.full_name:
        return None  # a command without subcommands was named with one
    return row if len(parts) < 3 else None


def command_info(cx: Context) -> object:
    """COMMAND INFO [name ...] -> a row for each, null for one that does not exist."""
    if len(cx.argv) == 2:
        return command(cx)
    rows: list[object] = []
    for name in cx.argv[2:]:
        row = _named(cx, name)
        rows.append(None if row is None else command_row(row))
    return rows


def command_count(cx: Context) -> object:
    """COMMAND COUNT -> number of commands."""
    return len(cx.services.commands)


def command_list(cx: Context) -> object:
    """COMMAND LIST [FILTERBY MODULE|ACLCAT|PATTERN value] -> names."""
    argv = cx.argv
    by = b""
    if len(argv) == 5 and argv[2].upper() == b"FILTERBY":
        by = argv[3].upper()
        if by not in (b"MODULE", b"ACLCAT", b"PATTERN"):
            raise syntax_error()
    elif len(argv) != 2:
        raise syntax_error()
    names: list[object] = []
    for row in cx.services.commands.values():
        for candidate in [row, *(row.subcommands.values() if row.subcommands is not None else [])]:
            if not by or _passes(candidate, by, argv[4]):
                names.append(candidate.full_name)
    return names


def _passes(row: Command, by: bytes, value: bytes) -> bool:
    """Return True if `row` passes a filter of COMMAND LIST."""
    if by == b"PATTERN":
        return glob.match(value.lower(), row.full_name)
    if by == b"ACLCAT":
        return b"@" + value.lower() in categories(row)
    return False


def command_docs(cx: Context) -> object:
    """COMMAND DOCS [name ...] -> name, documentation, ..."""
    rows = list(cx.services.commands.values())
    if len(cx.argv) > 2:
        rows = []
        for name in cx.argv[2:]:
            row = _named(cx, name)
            if row is not None:
                rows.append(row)
    items: list[object] = []
    for row in rows:
        items.append(row.full_name)
        items.append(_docs(row))
    return MapReply(items)


def _docs(row: Command) -> object:
    """Return the documentation of one command."""
    usage = row.handler.__doc__ or ""
    summary = row.summary or usage.split("\n", 1)[0].encode("utf-8")
    fields: list[object] = [b"summary", summary, b"since", row.since, b"group", row.group]
    if row.subcommands is not None:
        subs: list[object] = []
        for sub in row.subcommands.values():
            subs.append(sub.full_name)
            subs.append(_docs(sub))
        fields.append(b"subcommands")
        fields.append(MapReply(subs))
    return MapReply(fields)


def command_getkeys(cx: Context) -> object:
    """COMMAND GETKEYS command [arg ...] -> its keys."""
    argv = cx.argv[2:]
    return [argv[position] for position, _ in _keys_of(cx, argv)]


def command_getkeysandflags(cx: Context) -> object:
    """COMMAND GETKEYSANDFLAGS command [arg ...] -> pairs of key and flags."""
    argv = cx.argv[2:]
    return [[argv[position], flags_reply(flags)] for position, flags in _keys_of(cx, argv)]


def _keys_of(cx: Context, argv: list[bytes]) -> list[FoundKey]:
    """Return the keys of the command `argv`; raises as COMMAND GETKEYS does."""
    row = cx.services.require_runner().find(argv)
    if row is None:
        raise CommandError(b"ERR Invalid command specified")
    specs = [spec for spec in _SPECS.get(row.full_name, []) if not spec.has_flag(b"not_key")]
    if not specs:
        raise CommandError(b"ERR The command has no key arguments")
    if not (len(argv) == row.arity or (row.arity < 0 and len(argv) >= -row.arity)):
        raise CommandError(b"ERR Invalid number of arguments specified for command")
    found = find_keys(row.full_name, specs, argv)
    if not found:
        if row.flags & NO_MANDATORY_KEYS:
            return []
        raise CommandError(b"ERR Invalid arguments specified for command")
    return found


def command_help(cx: Context) -> object:
    """COMMAND HELP -> lines of help."""
    return help_reply(b"COMMAND", _HELP)


_HELP: Final[list[bytes]] = [
    b"(no subcommand)",
    b"    Describe all commands.",
    b"COUNT",
    b"    Tell how many commands there are.",
    b"DOCS [<command-name> [...]]",
    b"    Document these commands, or all.",
    b"GETKEYS <full-command>",
    b"    Tell which arguments of a command are keys.",
    b"GETKEYSANDFLAGS <full-command>",
    b"    Tell which arguments of a command are keys, and what it does to them.",
    b"INFO [<command-name> ...]",
    b"    Describe these commands, or all.",
    b"LIST [FILTERBY (MODULE|ACLCAT|PATTERN) <value>]",
    b"    List the names of commands.",
]


def _command_container(cx: Context) -> object:
    """COMMAND with a first argument that is no subcommand never comes here; without one it lists all."""
    if len(cx.argv) > 1:
        raise CommandError(wrong_arity(b"command"))
    return command(cx)


def commands() -> list[Command]:
    """Return the row of COMMAND."""
    base = LOADING | STALE
    return [
        Command(
            b"COMMAND",
            -1,
            base,
            _command_container,
            since=b"2.8.13",
            summary=b"Tells about the commands.",
            subcommands=[
                Command(b"COUNT", 2, base, command_count, since=b"2.8.13"),
                Command(b"HELP", 2, base, command_help, since=b"5.0.0"),
                Command(b"DOCS", -2, base, command_docs, since=b"7.0.0"),
                Command(b"GETKEYS", -3, base, command_getkeys, since=b"2.8.13"),
                Command(b"GETKEYSANDFLAGS", -3, base, command_getkeysandflags, since=b"7.0.0"),
                Command(b"INFO", -2, base, command_info, since=b"2.8.13"),
                Command(b"LIST", -2, base, command_list, since=b"7.0.0"),
            ],
        )
    ]
