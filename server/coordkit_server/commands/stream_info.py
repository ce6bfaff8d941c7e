"""XINFO (group "stream"): what a stream, its groups and their consumers hold."""

from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.commands.server import container
from coordkit_server.commands.stream_ids import stream_of
from coordkit_server.context import KEY2, LOADING, READONLY, STALE, Command, Context
from coordkit_server.datatypes.radix import node_count
from coordkit_server.datatypes.stream import StreamValue
from coordkit_server.datatypes.stream_entry import ID_MAX, id_text
from coordkit_server.datatypes.stream_group import ENTRIES_READ_UNKNOWN, NEVER_ACTIVE, Consumer, Group, Pending
from coordkit_server.errors import NO_SUCH_KEY, CommandError, no_group, subcommand_syntax
from coordkit_server.resp.encoder import array_head
from coordkit_server.resp.reply import MapReply, Simple, WireReply

_FULL_DEFAULT: Final = 10


def _stream_at(cx: Context) -> StreamValue:
    """Return the stream that an XINFO command names; raises `no such key`."""
    entry = cx.db.lookup_read(cx.argv[2])
    if entry is None:
        raise CommandError(NO_SUCH_KEY)
    return stream_of(entry)


def xinfo_stream(cx: Context) -> object:
    """XINFO STREAM key [FULL [COUNT count]] -> what the stream holds; COUNT 0 shows everything."""
    stream = _stream_at(cx)
    limit = _full_limit(cx.argv)
    keys: list[int] = []
    for node in stream.nodes:
        keys.append(node.key)
    items: list[object] = [
        b"length",
        stream.length(),
        b"radix-tree-keys",
        len(keys),
        b"radix-tree-nodes",
        node_count(keys),
        b"last-generated-id",
        id_text(stream.last_id),
        b"max-deleted-entry-id",
        id_text(stream.max_deleted_id),
        b"entries-added",
        stream.entries_added,
        b"recorded-first-entry-id",
        id_text(stream.first_id),
    ]
    if limit < 0:
        items += [b"groups", len(stream.groups)]
        items += [b"first-entry", _edge(stream, False), b"last-entry", _edge(stream, True)]
    else:
        parts = [b""]
        parts[0] = array_head(stream.read(0, ID_MAX, limit, parts))
        groups: list[object] = []
        for name in sorted(stream.groups):
            groups.append(_full_group(stream, name, stream.groups[name], limit))
        items += [b"entries", WireReply(parts), b"groups", groups]
    return MapReply(items)


def _full_limit(argv: list[bytes]) -> int:
    """Return how many entries FULL shows (0: all), -1 without FULL."""
    size = len(argv)
    if size == 3:
        return -1
    if size not in (4, 6) or argv[3].upper() != b"FULL" or (size == 6 and argv[4].upper() != b"COUNT"):
        raise CommandError(subcommand_syntax(b"XINFO", argv[1]))
    count = integer(argv[5]) if size == 6 else _FULL_DEFAULT
    return count if count >= 0 else _FULL_DEFAULT


def _edge(stream: StreamValue, last: bool) -> object:
    """Return the first or last entry, null if there is none."""
    parts: list[bytes] = []
    found = stream.read_back(0, ID_MAX, 1, parts) if last else stream.read(0, ID_MAX, 1, parts)
    return WireReply(parts) if found else None


def _entries_read(group: Group) -> int | None:
    """Return the group's counter, None if it is unknown."""
    return None if group.entries_read == ENTRIES_READ_UNKNOWN else group.entries_read


def _full_group(stream: StreamValue, name: bytes, group: Group, limit: int) -> object:
    """Return a group with what is pending and its consumers."""
    consumers: list[object] = []
    for consumer in group.consumers_by_name():
        consumers.append(_full_consumer(consumer, limit))
    return MapReply(
        [
            b"name",
            name,
            b"last-delivered-id",
            id_text(group.last_id),
            b"entries-read",
            _entries_read(group),
            b"lag",
            stream.lag(group),
            b"pel-count",
            group.pending.size,
            b"pending",
            _pending(group.pending, limit, True),
            b"consumers",
            consumers,
        ]
    )


def _full_consumer(consumer: Consumer, limit: int) -> object:
    """Return a consumer with what is pending for it."""
    return MapReply(
        [
            b"name",
            consumer.name,
            b"seen-time",
            consumer.seen_ms,
            b"active-time",
            consumer.active_ms,
            b"pel-count",
            consumer.pending.size,
            b"pending",
            _pending(consumer.pending, limit, False),
        ]
    )


def _pending(pending: Pending, limit: int, with_owner: bool) -> list[object]:
    """Return id, owner if asked for, delivery time and count of the first `limit` nacks (0: all)."""
    rows: list[object] = []
    for nack in pending.take_from(0, limit or pending.size):
        row: list[object] = [id_text(nack.ident)]
        owner = nack.consumer
        if with_owner and owner is not None:
            row.append(owner.name)
        row.append(nack.delivered_ms)
        row.append(nack.count)
        rows.append(row)
    return rows


def xinfo_groups(cx: Context) -> object:
    """XINFO GROUPS key -> a map for each consumer group."""
    stream = _stream_at(cx)
    rows: list[object] = []
    for name in sorted(stream.groups):
        group = stream.groups[name]
        rows.append(
            MapReply(
                [
                    b"name",
                    name,
                    b"consumers",
                    len(group.consumers),
                    b"pending",
                    group.pending.size,
                    b"last-delivered-id",
                    id_text(group.last_id),
                    b"entries-read",
                    _entries_read(group),
                    b"lag",
                    stream.lag(group),
                ]
            )
        )
    return rows


def xinfo_consumers(cx: Context) -> object:
    """XINFO CONSUMERS key group -> a map for each consumer."""
    group = _stream_at(cx).groups.get(cx.argv[3])
    if group is None:
        raise no_group(cx.argv[3], cx.argv[2])
    now_ms = cx.state.now_ms
    rows: list[object] = []
    for consumer in group.consumers_by_name():
        active_ms = consumer.active_ms
        rows.append(
            MapReply(
                [
                    b"name",
                    consumer.name,
                    b"pending",
                    consumer.pending.size,
                    b"idle",
                    max(now_ms - consumer.seen_ms, 0),
                    b"inactive",
                    NEVER_ACTIVE if active_ms == NEVER_ACTIVE else now_ms - active_ms,
                ]
            )
        )
    return rows


def xinfo_help(cx: Context) -> object:
    """XINFO HELP -> lines of help."""
    return [
        Simple(line)
        for line in (
            b"XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            b"CONSUMERS <key> <groupname>",
            b"    Show consumers of <groupname>.",
            b"GROUPS <key>",
            b"    Show the stream consumer groups.",
            b"STREAM <key> [FULL [COUNT <count>]",
            b"    Show information about the stream.",
            b"HELP",
            b"    Print this help.",
        )
    ]


def commands() -> list[Command]:
    """Return the row of XINFO."""
    since = b"5.0.0"
    return [
        Command(
            b"XINFO",
            -2,
            0,
            container,
            since=since,
            summary=b"Tells about a stream.",
            subcommands=[
                Command(b"CONSUMERS", 4, READONLY, xinfo_consumers, KEY2, since=since),
                Command(b"GROUPS", 3, READONLY, xinfo_groups, KEY2, since=since),
                Command(b"HELP", 2, LOADING | STALE, xinfo_help, since=since),
                Command(b"STREAM", -3, READONLY, xinfo_stream, KEY2, since=since),
            ],
        )
    ]
