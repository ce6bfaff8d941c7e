"""The command table beside what redis-server 7.2.6 replies to COMMAND: every property of every row."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordkit_server.commands.command_info import command_row
from coordkit_server.commands.table import build_table
from coordkit_server.resp.reply import MapReply, SetReply, Simple

# the reply of redis-server 7.2.6 to COMMAND, as JSON
REPLY = Path(__file__).parent / "command_reply_7.2.json"
# what this server need not have; rows of it that it has are compared as well
MAY_BE_ABSENT = frozenset(
    [
        "bgrewriteaof",
        "bgsave",
        "failover",
        "function|dump",
        "function|restore",
        "lastsave",
        "pfdebug",
        "pfselftest",
        "restore-asking",
        "save",
        "script|debug",
    ]
)
FIELDS = ["name", "arity", "flags", "first key", "last key", "step", "categories", "tips", "key specifications"]


def plain(value: object) -> Any:
    """A reply value as JSON would hold it, sets sorted."""
    match value:
        case bytes():
            return value.decode()
        case Simple():
            return value.text.decode()
        case SetReply():
            return sorted((plain(item) for item in value.items), key=repr)
        case MapReply():
            return [plain(item) for item in value.items]
        case list():
            return [plain(item) for item in value]
    return value


def flattened(rows: list[Any]) -> Iterator[list[Any]]:
    """All rows, subcommands included."""
    for row in rows:
        yield row
        yield from flattened(row[9])


def ordered(row: list[Any]) -> list[Any]:
    """A row of the reference with its sets sorted, without subcommands."""
    specs = [[spec[0], sorted(spec[1]), *spec[2:]] for spec in row[8]]
    return [*row[:2], sorted(row[2]), *row[3:6], sorted(row[6]), sorted(row[7]), sorted(specs, key=repr)]


OURS = {row[0]: row[:9] for row in flattened([plain(command_row(row)) for row in build_table().values()])}
REFERENCE = {row[0]: ordered(row) for row in flattened(json.loads(REPLY.read_text())["COMMAND"])}


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_command_row_as_redis_replies_it(name: str) -> None:
    if name not in OURS:
        assert name in MAY_BE_ABSENT
        pytest.skip("this server has no such command")
    for field, expected, got in zip(FIELDS, REFERENCE[name], OURS[name], strict=True):
        assert got == expected, field


def test_command_table_nothing_beside_redis() -> None:
    assert [name for name in OURS if name not in REFERENCE] == []
