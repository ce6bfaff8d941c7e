"""Reading what comes after an id (group "stream"): XREAD and XREADGROUP, which can wait.

Each tries first and blocks if there is nothing; when a stream is ready the same handler runs again.  XREADGROUP wakes
also when its key goes away or changes its type: then it replies the error that it finds.
"""

from typing import Final

from coordkit_server.commands.args import integer, timeout_ms_us
from coordkit_server.commands.stream_ids import as_stream, strict_id
from coordkit_server.commands.stream_propagation import propagate_claim, propagate_consumer, propagate_group_id
from coordkit_server.context import BLOCKING, READONLY, WRITE, Command, Context, KeySpec
from coordkit_server.datatypes.stream import StreamValue
from coordkit_server.datatypes.stream_entry import ID_MAX, id_text
from coordkit_server.datatypes.stream_group import Consumer, Group
from coordkit_server.errors import (
    XREAD_GROUP,
    XREAD_NEW,
    XREAD_NOACK,
    XREADGROUP_LAST,
    XREADGROUP_NO_GROUP,
    CommandError,
    no_key_or_group,
    syntax_error,
)
from coordkit_server.keyspace.notify import STREAM
from coordkit_server.resp.encoder import array_head
from coordkit_server.resp.reply import NULL_ARRAY, NamedReply, WireReply

_NO_BLOCK: Final = -1
_NEW: Final = ID_MAX  # what `>` stands for


class ReadRequest:
    """The arguments of XREAD and XREADGROUP."""

    def __init__(self, cx: Context, *, in_group: bool) -> None:
        self.wait_us: int = _NO_BLOCK
        self.count: int = 0
        self.noack: bool = False
        self.group: bytes = b""
        self._group_given: bool = False
        self.consumer: bytes = b""
        self.first: int = 0  # place of the first key
        self.streams: int = 0
        self._read(cx, in_group)
        if self.first == 0:
            raise syntax_error()
        if in_group and not self._group_given:
            raise CommandError(XREADGROUP_NO_GROUP)

    def _read(self, cx: Context, in_group: bool) -> None:
        """Read options up to the keys."""
        argv = cx.argv
        size = len(argv)
        at = 1
        while at < size:
            word = argv[at].upper()
            more = size - at - 1
            if word == b"STREAMS" and more:
                self._find_streams(argv, at + 1, in_group)
                return
            if word == b"COUNT" and more:
                at += 1
                self.count = max(integer(argv[at]), 0)
            elif word == b"BLOCK" and more:
                if cx.session.in_script:
                    raise CommandError(b"ERR " + argv[0] + b" command is not allowed with BLOCK option from scripts")
                at += 1
                self.wait_us = timeout_ms_us(argv[at], cx.state.now_ms)
            elif word == b"GROUP" and more >= 2:
                if not in_group:
                    raise CommandError(XREAD_GROUP)
                self._group_given = True
                self.group = argv[at + 1]
                self.consumer = argv[at + 2]
                at += 2
            elif word == b"NOACK":
                if not in_group:
                    raise CommandError(XREAD_NOACK)
                self.noack = True
            else:
                raise syntax_error()
            at += 1

    def _find_streams(self, argv: list[bytes], first: int, in_group: bool) -> None:
        """Note where keys and ids stand; raises if they are not equally many."""
        rest = len(argv) - first
        if rest & 1:
            name, sign = (b"xreadgroup", b">") if in_group else (b"xread", b"$")
            raise CommandError(
                b"ERR Unbalanced '"
                + name
                + b"' list of streams: for each stream key an ID or '"
                + sign
                + b"' must be specified."
            )
        self.first = first
        self.streams = rest >> 1


def xread(cx: Context) -> object:
    """XREAD [COUNT count] [BLOCK ms] STREAMS key [...] id [...] -> entries behind the ids by key, null if none."""
    request = ReadRequest(cx, in_group=False)
    argv = cx.argv
    first = request.first
    idents: list[int] = []
    for at in range(first, first + request.streams):
        stream = as_stream(cx.db.lookup_read(argv[at]))
        text = argv[at + request.streams]
        if text == b"$":
            ident = 0 if stream is None else stream.last_id
        elif text == b">":
            raise CommandError(XREAD_NEW)
        else:
            ident = strict_id(text)
        idents.append(ident)
    found: list[object] = []
    for i in range(request.streams):
        stream = as_stream(cx.db.lookup_read(argv[first + i]))  # counted and announced once more, as in Redis
        if stream is not None and stream.last_entry_id() > idents[i]:
            parts = [b""]
            parts[0] = array_head(stream.read(idents[i] + 1, ID_MAX, request.count, parts))
            found.append(argv[first + i])
            found.append(WireReply(parts))
    if found:
        return NamedReply(found)
    if request.wait_us == _NO_BLOCK:
        return NULL_ARRAY
    if not cx.session.deny_blocking:
        cx.argv = _without_last(argv, first + request.streams, idents)
    return cx.block(b"stream", argv[first : first + request.streams], request.wait_us, NULL_ARRAY)


def _without_last(argv: list[bytes], at: int, idents: list[int]) -> list[bytes]:
    """Return `argv` with ids in place of `$`: when the command runs again, it is to go on from what is there now."""
    settled = argv[:]
    for i in range(len(idents)):
        if settled[at + i] == b"$":
            settled[at + i] = id_text(idents[i])
    return settled


def xreadgroup(cx: Context) -> object:
    """XREADGROUP GROUP group consumer [COUNT n] [BLOCK ms] [NOACK] STREAMS key [...] >|id [...] -> entries by key."""
    request = ReadRequest(cx, in_group=True)
    argv = cx.argv
    first = request.first
    streams: list[StreamValue] = []
    groups: list[Group] = []
    idents: list[int] = []
    for at in range(first, first + request.streams):
        stream = as_stream(cx.db.lookup_read(argv[at]))
        group = None if stream is None else stream.groups.get(request.group)
        if stream is None or group is None:
            raise no_key_or_group(argv[at], request.group, b" in XREADGROUP with GROUP option")
        text = argv[at + request.streams]
        if text == b"$":
            raise CommandError(XREADGROUP_LAST)
        idents.append(_NEW if text == b">" else strict_id(text))
        streams.append(stream)
        groups.append(group)
    cx.prevent_propagation()  # what this changes is propagated as claims
    found: list[object] = []
    for i in range(request.streams):
        cx.db.lookup_read(argv[first + i])
        consumer = groups[i].consumers.get(request.consumer)
        if consumer is None:
            consumer = add_consumer(cx, argv[first + i], groups[i], request.consumer)
            if request.noack:
                propagate_consumer(cx, argv[first + i], request.group, request.consumer)
        consumer.seen_ms = cx.state.now_ms
        if idents[i] != _NEW:
            entries: object = _history(cx, streams[i], consumer, idents[i], request.count)
        elif streams[i].last_entry_id() > groups[i].last_id:
            entries = _deliver(cx, argv[first + i], streams[i], groups[i], consumer, request)
        else:
            continue
        cx.state.dirty += 1
        found.append(argv[first + i])
        found.append(entries)
    if found:
        return NamedReply(found)
    if request.wait_us == _NO_BLOCK:
        return NULL_ARRAY
    keys = argv[first : first + request.streams]
    return cx.block(b"stream", keys, request.wait_us, NULL_ARRAY, wakes_on_missing=True)


def add_consumer(cx: Context, key: bytes, group: Group, name: bytes) -> Consumer:
    """Return a new consumer of `group`, counted and announced."""
    consumer = group.add_consumer(name, cx.state.now_ms)
    cx.state.dirty += 1
    cx.db.resized(key)
    cx.db.notify(STREAM, b"xgroup-createconsumer", key)
    return consumer


def _deliver(
    cx: Context, key: bytes, stream: StreamValue, group: Group, consumer: Consumer, request: ReadRequest
) -> object:
    """Return the entries that `group` has not had, which go to `consumer` and await its acknowledgement."""
    start = group.last_id + 1
    parts = [b""]
    idents: list[int] = []
    parts[0] = array_head(stream.read(start, ID_MAX, request.count, parts, idents))
    stream.count_read(group, idents)
    if request.noack:
        if cx.propagates():
            propagate_group_id(cx, key, request.group, group)
        return WireReply(parts)
    now_ms = cx.state.now_ms
    followed = cx.propagates()
    for ident in idents:
        nack = group.deliver(ident, consumer, now_ms)
        if followed:
            propagate_claim(cx, key, request.group, ident, nack, id_text(ident))
    consumer.active_ms = now_ms
    cx.db.resized(key)
    return WireReply(parts)


def _history(cx: Context, stream: StreamValue, consumer: Consumer, after: int, count: int) -> object:
    """Return what is pending for `consumer` behind the id `after`; null for the fields of removed entries."""
    now_ms = cx.state.now_ms
    pending = consumer.pending
    entries: list[object] = []
    for nack in pending.take_from(after + 1, count or pending.size):
        packed = stream.entry(nack.ident)
        if packed is None:
            entries.append([id_text(nack.ident), NULL_ARRAY])
        else:
            nack.delivered_ms = now_ms
            nack.count += 1
            entries.append(WireReply([packed]))
    return entries


def _read_positions(argv: list[bytes]) -> list[int] | None:
    return _positions_behind_streams(argv, 1)


def _group_read_positions(argv: list[bytes]) -> list[int] | None:
    return _positions_behind_streams(argv, 4)


def _positions_behind_streams(argv: list[bytes], start: int) -> list[int] | None:
    """Return where the keys stand: the first half of what follows STREAMS; None if there is none."""
    for at in range(start, len(argv)):
        if argv[at].upper() == b"STREAMS":
            keys = (len(argv) - at - 1) // 2
            return list(range(at + 1, at + 1 + keys)) if keys else None
    return None


def commands() -> list[Command]:
    """Return the rows of this part of the group."""
    keys = KeySpec(0, 0, 0, _read_positions)
    group_keys = KeySpec(0, 0, 0, _group_read_positions)
    return [
        Command(
            b"XREAD", -4, READONLY | BLOCKING, xread, keys, since=b"5.0.0", summary=b"Reads what follows ids, or waits."
        ),
        Command(
            b"XREADGROUP",
            -7,
            WRITE | BLOCKING,
            xreadgroup,
            group_keys,
            since=b"5.0.0",
            summary=b"Reads for a consumer of a group, or waits.",
        ),
    ]
