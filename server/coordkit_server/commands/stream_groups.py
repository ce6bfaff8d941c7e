"""Consumer groups (group "stream"): XGROUP, XACK, XPENDING, XCLAIM, XAUTOCLAIM.

Map: XGROUP, acknowledging, looking at what is pending, claiming, rows.
"""

from typing import Final

from coordkit_server.commands.args import integer, integer_between
from coordkit_server.commands.server import container
from coordkit_server.commands.stream_ids import (
    any_id,
    as_stream,
    interval_end,
    interval_start,
    stream_of,
    strict_id,
    try_id,
)
from coordkit_server.commands.stream_propagation import propagate_claim, propagate_group_id
from coordkit_server.commands.stream_reads import add_consumer
from coordkit_server.context import DENYOOM, FAST, KEY1, KEY2, LOADING, READONLY, STALE, WRITE, Command, Context
from coordkit_server.datatypes.stream import StreamValue
from coordkit_server.datatypes.stream_entry import id_text
from coordkit_server.datatypes.stream_group import ENTRIES_READ_UNKNOWN, Consumer, Group, Nack
from coordkit_server.errors import (
    XAUTOCLAIM_COUNT,
    XAUTOCLAIM_MEMORY,
    XAUTOCLAIM_MIN_IDLE,
    XCLAIM_IDLE,
    XCLAIM_MIN_IDLE,
    XCLAIM_RETRYCOUNT,
    XCLAIM_TIME,
    XGROUP_ENTRIES_READ,
    XGROUP_EXISTS,
    XGROUP_NO_KEY,
    CommandError,
    no_group,
    no_key_or_group,
    subcommand_syntax,
    syntax_error,
)
from coordkit_server.keyspace.notify import STREAM
from coordkit_server.numeric import INT64_MAX
from coordkit_server.resp.encoder import array_head
from coordkit_server.resp.reply import NULL_ARRAY, OK, Simple, WireReply

_CREATE_MAX: Final = 8
_NACK_BATCH: Final = 64
_AUTOCLAIM_DEFAULT: Final = 100
_AUTOCLAIM_TRIES: Final = 10  # XAUTOCLAIM looks at so many nacks for each that it may claim
_ID_BYTES: Final = 16
_MEMORY_MAX: Final = 1 << 46  # more than a process can have

# -- XGROUP ------------------------------------------------------------------------------------------------------------


class _GroupOptions:
    """MKSTREAM and ENTRIESREAD of XGROUP CREATE and SETID."""

    def __init__(self, argv: list[bytes], *, creates: bool) -> None:
        self.create_stream: bool = False
        self.entries_read: int = ENTRIES_READ_UNKNOWN
        at = 5
        while at < len(argv):
            word = argv[at].upper()
            if creates and word == b"MKSTREAM":
                self.create_stream = True
                at += 1
            elif word == b"ENTRIESREAD" and at + 1 < len(argv):
                self.entries_read = integer(argv[at + 1])
                if self.entries_read < ENTRIES_READ_UNKNOWN:
                    raise CommandError(XGROUP_ENTRIES_READ)
                at += 2
            else:
                raise CommandError(subcommand_syntax(b"XGROUP", argv[1]))


def _stream_for_group(cx: Context) -> StreamValue:
    """Return the stream that an XGROUP command names; raises if there is none."""
    stream = as_stream(cx.db.lookup_write(cx.argv[2]))
    if stream is None:
        raise CommandError(XGROUP_NO_KEY)
    return stream


def _group_of(cx: Context) -> Group:
    """Return the group that an XGROUP command names; raises if there is none."""
    group = _stream_for_group(cx).groups.get(cx.argv[3])
    if group is None:
        raise no_group(cx.argv[3], cx.argv[2])
    return group


def _note(cx: Context, event: bytes) -> None:
    """Count and announce a change of a group; watchers of the key are not told, as in Redis."""
    cx.state.dirty += 1
    cx.db.resized(cx.argv[2])
    cx.db.notify(STREAM, event, cx.argv[2])


def xgroup_create(cx: Context) -> object:
    """XGROUP CREATE key group id|$ [MKSTREAM] [ENTRIESREAD count] -> OK."""
    argv = cx.argv
    key = argv[2]
    options = _GroupOptions(argv, creates=True)
    stream = as_stream(cx.db.lookup_write(key))
    if stream is None and not options.create_stream:
        raise CommandError(XGROUP_NO_KEY)
    if len(argv) > _CREATE_MAX:
        raise CommandError(subcommand_syntax(b"XGROUP", argv[1]))
    if argv[4] == b"$":
        last_id = 0 if stream is None else stream.last_id
    else:
        last_id = strict_id(argv[4])
    if stream is None:
        stream = StreamValue()
        cx.db.add(key, stream)
        cx.db.signal_modified(key)
    if argv[3] in stream.groups:
        raise CommandError(XGROUP_EXISTS)
    stream.groups[argv[3]] = Group(last_id, options.entries_read)
    _note(cx, b"xgroup-create")
    return OK


def xgroup_setid(cx: Context) -> object:
    """XGROUP SETID key group id|$ [ENTRIESREAD count] -> OK."""
    argv = cx.argv
    options = _GroupOptions(argv, creates=False)
    stream = _stream_for_group(cx)
    group = _group_of(cx)
    if len(argv) not in (5, 7):
        raise CommandError(subcommand_syntax(b"XGROUP", argv[1]))
    group.last_id = stream.last_id if argv[4] == b"$" else any_id(argv[4])
    group.entries_read = options.entries_read
    _note(cx, b"xgroup-setid")
    return OK


def xgroup_destroy(cx: Context) -> object:
    """XGROUP DESTROY key group -> 1, or 0 if there is no such group."""
    stream = _stream_for_group(cx)
    if stream.groups.pop(cx.argv[3], None) is None:
        return 0
    _note(cx, b"xgroup-destroy")
    cx.db.signal_ready(cx.argv[2])  # who waits for the group is told that it has gone
    return 1


def xgroup_createconsumer(cx: Context) -> object:
    """XGROUP CREATECONSUMER key group consumer -> 1, or 0 if there is one of that name."""
    group = _group_of(cx)
    if cx.argv[4] in group.consumers:
        return 0
    add_consumer(cx, cx.argv[2], group, cx.argv[4])
    return 1


def xgroup_delconsumer(cx: Context) -> object:
    """XGROUP DELCONSUMER key group consumer -> number of entries that were pending for it."""
    group = _group_of(cx)
    consumer = group.consumers.get(cx.argv[4])
    if consumer is None:
        return 0
    pending = consumer.pending.size
    group.remove_consumer(consumer)
    _note(cx, b"xgroup-delconsumer")
    return pending


def xgroup_help(cx: Context) -> object:
    """XGROUP HELP -> lines of help."""
    return [
        Simple(line)
        for line in (
            b"XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            b"CREATE <key> <groupname> <id|$> [option]",
            b"    Create a new consumer group. Options are:",
            b"    * MKSTREAM",
            b"      Create the empty stream if it does not exist.",
            b"    * ENTRIESREAD entries_read",
            b"      Set the group's entries_read counter (internal use).",
            b"CREATECONSUMER <key> <groupname> <consumer>",
            b"    Create a new consumer in the specified group.",
            b"DELCONSUMER <key> <groupname> <consumer>",
            b"    Remove the specified consumer.",
            b"DESTROY <key> <groupname>",
            b"    Remove the specified group.",
            b"SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
            b"    Set the current group ID and entries_read counter.",
            b"HELP",
            b"    Print this help.",
        )
    ]


# -- acknowledging and looking -----------------------------------------------------------------------------------------


def xack(cx: Context) -> object:
    """XACK key group id [id ...] -> number of entries that were pending and are not any more."""
    argv = cx.argv
    stream = as_stream(cx.db.lookup_read(argv[1]))
    group = None if stream is None else stream.groups.get(argv[2])
    if group is None:
        return 0
    idents: list[int] = []
    for at in range(3, len(argv)):
        idents.append(strict_id(argv[at]))
    acknowledged = 0
    for ident in idents:
        if group.forget(ident):
            acknowledged += 1
    if acknowledged:
        cx.state.dirty += acknowledged
        cx.db.resized(argv[1])
    return acknowledged


def _group_at(cx: Context) -> tuple[StreamValue, Group]:
    """Return the stream and group in argv[1] and argv[2]; raises NOGROUP."""
    argv = cx.argv
    stream = as_stream(cx.db.lookup_read(argv[1]))
    group = None if stream is None else stream.groups.get(argv[2])
    if stream is None or group is None:
        raise no_key_or_group(argv[1], argv[2])
    return stream, group


def xpending(cx: Context) -> object:
    """XPENDING key group [[IDLE ms] start end count [consumer]] -> a summary, or what is pending one by one."""
    argv = cx.argv
    size = len(argv)
    if size == 3:
        return _pending_summary(_group_at(cx)[1])
    if size < 6 or size > 9:
        raise syntax_error()
    at = 3
    min_idle_ms = 0
    if argv[3].upper() == b"IDLE":
        min_idle_ms = integer(argv[4])
        if size < 8:
            raise syntax_error()
        at = 5
    count = max(integer(argv[at + 2]), 0)
    start = interval_start(argv[at])
    end = interval_end(argv[at + 1])
    group = _group_at(cx)[1]
    pending = group.pending
    if at + 3 < size:
        consumer = group.consumers.get(argv[at + 3])
        if consumer is None:
            return []
        pending = consumer.pending
    now_ms = cx.state.now_ms
    found: list[object] = []
    while count > 0:
        nacks = pending.take_from(start, min(count, _NACK_BATCH))
        for nack in nacks:
            if nack.ident > end:
                return found
            if not min_idle_ms or now_ms - nack.delivered_ms >= min_idle_ms:
                found.append(_nack_reply(nack, now_ms))
                count -= 1
        if not nacks:
            break
        start = nacks[-1].ident + 1
    return found


def _nack_reply(nack: Nack, now_ms: int) -> list[object]:
    """Return id, consumer, ms since the delivery, and number of deliveries."""
    owner = nack.consumer
    return [
        id_text(nack.ident),
        b"" if owner is None else owner.name,
        max(now_ms - nack.delivered_ms, 0),
        nack.count,
    ]


def _pending_summary(group: Group) -> object:
    """Return how many entries are pending, the first and last id, and how many each consumer has."""
    first = group.pending.first_from(0)
    last = group.pending.last()
    if first is None or last is None:
        return [0, None, None, NULL_ARRAY]
    shares: list[object] = []
    for consumer in group.consumers_by_name():
        if consumer.pending.size:
            shares.append([consumer.name, b"%d" % consumer.pending.size])
    return [group.pending.size, id_text(first.ident), id_text(last.ident), shares]


# -- claiming ----------------------------------------------------------------------------------------------------------


class _ClaimOptions:
    """The ids and options of XCLAIM."""

    def __init__(self, argv: list[bytes], now_ms: int) -> None:
        self.idents: list[int] = []
        self.delivered_ms: int = -1
        self.count: int = -1
        self.force: bool = False
        self.just_id: bool = False
        self.last_id: int = 0
        at = 5
        while at < len(argv):
            ident = try_id(argv[at])
            if ident < 0:
                break
            self.idents.append(ident)
            at += 1
        while at < len(argv):
            at += self._read(argv, at, now_ms)
        if not 0 <= self.delivered_ms <= now_ms:  # not given, or by a client whose clock is ahead
            self.delivered_ms = now_ms

    def _read(self, argv: list[bytes], at: int, now_ms: int) -> int:
        """Take the option at `at` in; return how many arguments it has, its name included."""
        word = argv[at].upper()
        if word == b"FORCE":
            self.force = True
            return 1
        if word == b"JUSTID":
            self.just_id = True
            return 1
        if at + 1 == len(argv):
            word = b""
        if word == b"IDLE":
            self.delivered_ms = now_ms - integer(argv[at + 1], XCLAIM_IDLE)
        elif word == b"TIME":
            self.delivered_ms = integer(argv[at + 1], XCLAIM_TIME)
        elif word == b"RETRYCOUNT":
            self.count = integer(argv[at + 1], XCLAIM_RETRYCOUNT)
        elif word == b"LASTID":
            self.last_id = strict_id(argv[at + 1])
        else:
            raise CommandError(b"ERR Unrecognized XCLAIM option '" + argv[at] + b"'")
        return 2


class _Claim:
    """Gives nacks to a consumer and gathers the reply."""

    def __init__(self, cx: Context, stream: StreamValue, group: Group, consumer: Consumer, just_id: bool) -> None:
        self._cx: Final = cx
        self._followed: Final = cx.propagates()
        self._state: Final = cx.state
        self._stream: Final = stream
        self._group: Final = group
        self._consumer: Final = consumer
        self._just_id: Final = just_id
        self._ids: Final[list[object]] = []
        self._packed: Final[list[bytes]] = [b""]
        self.count: int = 0

    def take(self, nack: Nack, packed: bytes, delivered_ms: int, count: int, text: bytes) -> None:
        """Make the consumer own `nack`, which `text` names, delivered `count` times (-1: once more, if not JUSTID)."""
        self._group.move(nack, self._consumer)
        nack.delivered_ms = delivered_ms
        if count >= 0:
            nack.count = count
        elif not self._just_id:
            nack.count += 1
        if self._just_id:
            self._ids.append(id_text(nack.ident))
        else:
            self._packed.append(packed)
        self.count += 1
        self._consumer.active_ms = self._state.now_ms
        self._changed(nack, text)

    def drop(self, nack: Nack, text: bytes) -> None:
        """Forget `nack`, whose entry was removed."""
        self._changed(nack, text)
        self._group.forget(nack.ident)

    def _changed(self, nack: Nack, text: bytes) -> None:
        """Count a change of `nack`, and let it be repeated."""
        self._state.dirty += 1
        if self._followed:
            argv = self._cx.argv
            propagate_claim(self._cx, argv[1], argv[2], self._group.last_id, nack, text)

    def entry(self, ident: int) -> bytes | None:
        """Return the packed entry, which JUSTID does without, None if it was removed."""
        if self._just_id:
            return b"" if self._stream.has(ident) else None
        return self._stream.entry(ident)

    def reply(self) -> object:
        """Return the ids or entries claimed."""
        if self._just_id:
            return self._ids
        self._packed[0] = array_head(self.count)
        return WireReply(self._packed)


def _claimer(cx: Context, group: Group) -> Consumer:
    """Return the consumer in argv[3], created if it is new, and mark that it has been seen now."""
    consumer = group.consumers.get(cx.argv[3])
    if consumer is None:
        return add_consumer(cx, cx.argv[1], group, cx.argv[3])
    consumer.seen_ms = cx.state.now_ms
    return consumer


def xclaim(cx: Context) -> object:
    """XCLAIM key group consumer min-idle id [...] [IDLE|TIME ms] [RETRYCOUNT n] [FORCE] [JUSTID] [LASTID id]."""
    argv = cx.argv
    stream, group = _group_at(cx)
    min_idle_ms = max(integer(argv[4], XCLAIM_MIN_IDLE), 0)
    now_ms = cx.state.now_ms
    options = _ClaimOptions(argv, now_ms)
    last_id_moved = options.last_id > group.last_id
    if last_id_moved:
        group.last_id = options.last_id
    claim = _Claim(cx, stream, group, _claimer(cx, group), options.just_id)
    dirty = cx.state.dirty
    for i in range(len(options.idents)):
        ident = options.idents[i]
        text = argv[5 + i]
        packed = claim.entry(ident)
        nack = group.pending.get(ident)
        if packed is None:
            if nack is not None:
                claim.drop(nack, text)
            continue
        if nack is None:
            if not options.force:
                continue
            nack = Nack(ident, None, now_ms, 1)
            group.pending.add(nack)
        elif min_idle_ms and now_ms - nack.delivered_ms < min_idle_ms:
            continue
        claim.take(nack, packed, options.delivered_ms, options.count, text)
    if last_id_moved and cx.state.dirty == dirty:
        propagate_group_id(cx, argv[1], argv[2], group)
        cx.state.dirty += 1
    cx.prevent_propagation()
    return claim.reply()


def xautoclaim(cx: Context) -> object:
    """XAUTOCLAIM key group consumer min-idle start [COUNT n] [JUSTID] -> [next start, entries, ids of removed ones]."""
    argv = cx.argv
    entry = cx.db.lookup_read(argv[1])
    min_idle_ms = max(integer(argv[4], XAUTOCLAIM_MIN_IDLE), 0)
    start = interval_start(argv[5])
    count = _AUTOCLAIM_DEFAULT
    just_id = False
    at = 6
    while at < len(argv):
        word = argv[at].upper()
        if word == b"COUNT" and at + 1 < len(argv):
            count = integer_between(argv[at + 1], 1, INT64_MAX // _ID_BYTES, XAUTOCLAIM_COUNT)
            at += 1
        elif word == b"JUSTID":
            just_id = True
        else:
            raise syntax_error()
        at += 1
    stream = None if entry is None else stream_of(entry)
    group = None if stream is None else stream.groups.get(argv[2])
    if stream is None or group is None:
        raise no_key_or_group(argv[1], argv[2])
    if count * _ID_BYTES > _MEMORY_MAX:
        raise CommandError(XAUTOCLAIM_MEMORY)
    cx.prevent_propagation()
    claim = _Claim(cx, stream, group, _claimer(cx, group), just_id)
    return _claim_idle(cx, group, claim, start, min_idle_ms, count)


def _claim_idle(cx: Context, group: Group, claim: _Claim, start: int, min_idle_ms: int, count: int) -> object:
    """Claim up to `count` nacks from `start` on that have been idle for long enough."""
    now_ms = cx.state.now_ms
    removed: list[object] = []
    tries = count * _AUTOCLAIM_TRIES
    nack = group.pending.first_from(start)
    while nack is not None and tries > 0 and count > 0:
        tries -= 1
        text = id_text(nack.ident)
        packed = claim.entry(nack.ident)
        if packed is None:
            claim.drop(nack, text)
            removed.append(text)
            count -= 1
        elif not min_idle_ms or now_ms - nack.delivered_ms >= min_idle_ms:
            claim.take(nack, packed, now_ms, -1, text)
            count -= 1
        nack = group.pending.first_from(nack.ident + 1)
    return [id_text(0 if nack is None else nack.ident), claim.reply(), removed]


def commands() -> list[Command]:
    """Return the rows of this part of the group."""
    since = b"5.0.0"
    create = WRITE | DENYOOM
    return [
        Command(b"XACK", -4, WRITE | FAST, xack, KEY1, since=since, summary=b"Acknowledges entries."),
        Command(
            b"XAUTOCLAIM", -6, WRITE | FAST, xautoclaim, KEY1, since=b"6.2.0", summary=b"Claims entries that are idle."
        ),
        Command(b"XCLAIM", -6, WRITE | FAST, xclaim, KEY1, since=since, summary=b"Makes a consumer own entries."),
        Command(
            b"XGROUP",
            -2,
            0,
            container,
            since=since,
            summary=b"Manages consumer groups.",
            subcommands=[
                Command(b"CREATE", -5, create, xgroup_create, KEY2, since=since),
                Command(b"CREATECONSUMER", 5, create, xgroup_createconsumer, KEY2, since=b"6.2.0"),
                Command(b"DELCONSUMER", 5, WRITE, xgroup_delconsumer, KEY2, since=since),
                Command(b"DESTROY", 4, WRITE, xgroup_destroy, KEY2, since=since),
                Command(b"HELP", 2, LOADING | STALE, xgroup_help, since=since),
                Command(b"SETID", -5, WRITE, xgroup_setid, KEY2, since=since),
            ],
        ),
        Command(b"XPENDING", -3, READONLY, xpending, KEY1, since=since, summary=b"Tells what awaits acknowledgement."),
    ]
