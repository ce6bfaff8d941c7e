"""The ACL categories of commands: what follows from flags and group, and the exceptions."""

from typing import Final

from coordkit_server.context import ADMIN, BLOCKING, FAST, PUBSUB, READONLY, WRITE, Command

ALL: Final[list[bytes]] = [
    b"keyspace",
    b"read",
    b"write",
    b"set",
    b"sortedset",
    b"list",
    b"hash",
    b"string",
    b"bitmap",
    b"hyperloglog",
    b"geo",
    b"stream",
    b"pubsub",
    b"admin",
    b"fast",
    b"slow",
    b"blocking",
    b"dangerous",
    b"connection",
    b"transaction",
    b"scripting",
]
_BY_FLAG: Final[list[tuple[int, bytes]]] = [
    (WRITE, b"@write"),
    (READONLY, b"@read"),
    (ADMIN, b"@admin"),
    (ADMIN, b"@dangerous"),
    (PUBSUB, b"@pubsub"),
    (BLOCKING, b"@blocking"),
]
# groups without one (server) have only the categories of their flags
_BY_GROUP: Final[dict[bytes, bytes]] = {
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
# (category, commands that have it besides those whose flags and group say so)
_COMMAND_ROWS: Final = (
    b"command command|count command|docs command|getkeys command|getkeysandflags command|help command|info command|list"
)
_MORE: Final[list[tuple[bytes, bytes]]] = [
    (b"@admin", b"lastsave role"),
    (b"@connection", _COMMAND_ROWS + b" asking readonly readwrite wait waitaof"),
    (b"@dangerous", b"flushall flushdb info keys lastsave migrate restore restore-asking role sort sort_ro swapdb"),
    (b"@keyspace", b"dbsize flushall flushdb swapdb"),
    (b"@list", b"sort sort_ro"),
    (b"@set", b"sort sort_ro"),
    (b"@sortedset", b"sort sort_ro"),
]
# their group says nothing about them
_NO_GROUP: Final = frozenset([b"sort", b"sort_ro", b"wait", b"waitaof"])


def categories(row: Command) -> list[bytes]:
    """Return the categories of `row`, each with its `@`, in Redis's order."""
    names: list[bytes] = []
    for bit, name in _BY_FLAG:
        if row.flags & bit and not (bit == READONLY and row.group == b"scripting"):
            names.append(name)
    own = _BY_GROUP.get(row.group)
    if own is not None and row.subcommands is None and row.full_name not in _NO_GROUP:
        names.append(own)
    names.append(b"@fast" if row.flags & FAST else b"@slow")
    for name, commands in _MORE:
        if name not in names and row.full_name in commands.split(b" "):
            names.append(name)
    return [b"@" + name for name in ALL if b"@" + name in names]
