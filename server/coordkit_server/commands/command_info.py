"""COMMAND (group "server"): the command table as data.

Map: one row as COMMAND INFO replies it, COMMAND DOCS, COUNT, LIST, GETKEYS; rows.
"""

from typing import Final

from coordkit_server import glob
from coordkit_server.context import (
    ADMIN,
    BLOCKING,
    FAST,
    FLAG_NAMES,
    LOADING,
    MOVABLE_KEYS,
    PUBSUB,
    READONLY,
    STALE,
    WRITE,
    Command,
    Context,
    KeySpec,
)
from coordkit_server.errors import CommandError, syntax_error, wrong_arity
from coordkit_server.resp.reply import NULL_ARRAY, MapReply, SetReply, Simple

# ACL category of each command group; groups without one (server) have only the categories of their flags
_GROUP_CATEGORIES: Final[dict[bytes, bytes]] = {
    b"bitmap": b"@bitmap",
    b"connection": b"@connection",
    b"generic": b"@keyspace",
    b"geo": b"@geo",
    b"hash": b"@hash",
    b"hyperloglog": b"@hyperloglog",
    b"list": b"@list",
    b"scripting": b"@scripting",
    b"set": b"@set",
    b"sorted-set": b"@sortedset",
    b"stream": b"@stream",
    b"string": b"@string",
    b"transactions": b"@transaction",
}


def command_row(row: Command) -> list[object]:
    """Return `row` as COMMAND INFO shows it: name, arity, flags, keys, categories, tips, key specs, subcommands."""
    subcommands: list[object] = []
    if row.subcommands is not None:
        for sub in row.subcommands.values():
            subcommands.append(command_row(sub))
    return [
        row.full_name,
        row.arity,
        SetReply(_flags(row)),
        row.keys.first,
        row.keys.last,
        row.keys.step,
        SetReply(_categories(row)),
        SetReply([]),
        SetReply(_key_specs(row)),
        subcommands,
    ]


def _flags(row: Command) -> list[object]:
    """Return the flags as simple strings."""
    flags = row.flags | (MOVABLE_KEYS if row.keys.finder is not None else 0)
    names: list[object] = []
    for bit, name in FLAG_NAMES:
        if flags & bit:
            names.append(Simple(name))
    return names


def _categories(row: Command) -> list[object]:
    """Return the ACL categories that flags and group imply."""
    names: list[object] = []
    for bit, name in ((WRITE, b"@write"), (READONLY, b"@read"), (ADMIN, b"@admin"), (PUBSUB, b"@pubsub")):
        if row.flags & bit:
            names.append(Simple(name))
    own = _GROUP_CATEGORIES.get(row.group)
    if own is not None:
        names.append(Simple(own))
    names.append(Simple(b"@fast" if row.flags & FAST else b"@slow"))
    if row.flags & BLOCKING:
        names.append(Simple(b"@blocking"))
    if row.flags & ADMIN:
        names.append(Simple(b"@dangerous"))
    return names


def _key_specs(row: Command) -> list[object]:
    """Return where the keys stand as one range specification; movable keys are found by COMMAND GETKEYS."""
    spec = row.keys
    if spec.first == 0:
        return []
    flags: list[object] = [Simple(b"RW" if row.flags & WRITE else b"RO"), Simple(b"access")]
    begin = MapReply([b"type", b"index", b"spec", MapReply([b"index", spec.first])])
    last = spec.last if spec.last < 0 else spec.last - spec.first
    find = MapReply([b"type", b"range", b"spec", MapReply([b"lastkey", last, b"keystep", spec.step, b"limit", 0])])
    return [MapReply([b"flags", SetReply(flags), b"begin_search", begin, b"find_keys", find])]


def command(cx: Context) -> object:
    """COMMAND -> a row of properties for each command."""
    return [command_row(row) for row in cx.services.commands.values()]


def _named(cx: Context, name: bytes) -> Command | None:
    """Return the command called `name` (`container|sub` for a subcommand), None if there is none."""
    return cx.services.require_runner().find(name.split(b"|", 1))


def command_info(cx: Context) -> object:
    """COMMAND INFO [name ...] -> a row for each, null for one that does not exist."""
    if len(cx.argv) == 2:
        return command(cx)
    rows: list[object] = []
    for name in cx.argv[2:]:
        row = _named(cx, name)
        rows.append(NULL_ARRAY if row is None else command_row(row))
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
        for category in _categories(row):
            if isinstance(category, Simple) and category.text == b"@" + value.lower():
                return True
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
    return list(_keys_of(cx)[1])


def command_getkeysandflags(cx: Context) -> object:
    """COMMAND GETKEYSANDFLAGS command [arg ...] -> pairs of key and flags."""
    row, keys = _keys_of(cx)
    flags: list[object] = [Simple(b"RW" if row.flags & WRITE else b"RO"), Simple(b"access")]
    return [[key, SetReply(flags)] for key in keys]


def _keys_of(cx: Context) -> tuple[Command, list[bytes]]:
    """Return the row and the keys of the command in the arguments; raises as COMMAND GETKEYS does."""
    argv = cx.argv[2:]
    row = cx.services.require_runner().find(argv)
    if row is None:
        raise CommandError(b"ERR Invalid command specified")
    if not (len(argv) == row.arity or (row.arity < 0 and len(argv) >= -row.arity)):
        raise CommandError(b"ERR Invalid number of arguments specified for command")
    spec: KeySpec = row.keys
    if spec.first == 0 and spec.finder is None:
        raise CommandError(b"ERR The command has no key arguments")
    positions = spec.positions(argv)
    if positions is None:
        raise CommandError(b"ERR Invalid arguments specified for command")
    if not positions:
        raise CommandError(b"ERR The command has no key arguments")
    return row, [argv[position] for position in positions]


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
                Command(b"DOCS", -2, base, command_docs, since=b"7.0.0"),
                Command(b"GETKEYS", -3, base, command_getkeys, since=b"2.8.13"),
                Command(b"GETKEYSANDFLAGS", -3, base, command_getkeysandflags, since=b"7.0.0"),
                Command(b"INFO", -2, base, command_info, since=b"2.8.13"),
                Command(b"LIST", -2, base, command_list, since=b"7.0.0"),
            ],
        )
    ]
