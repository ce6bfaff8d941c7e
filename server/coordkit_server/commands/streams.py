"""Commands on the entries of a stream (group "stream"): XADD, XRANGE, XDEL, XTRIM, XSETID and relatives.

Map: adding, ranges, removing, XSETID, rows.  XREAD is in stream_reads, groups in stream_groups, XINFO in stream_info.
"""

from coordkit_server.commands.args import integer
from coordkit_server.commands.stream_ids import as_stream, interval_end, interval_start, stream_of, strict_id
from coordkit_server.commands.stream_propagation import settled_argv
from coordkit_server.commands.stream_trim import NO_TRIM, StreamOptions
from coordkit_server.context import DENYOOM, FAST, KEY1, READONLY, WRITE, Command, Context
from coordkit_server.datatypes.stream import StreamValue
from coordkit_server.datatypes.stream_entry import ID_MAX, ID_SEQ_BITS
from coordkit_server.errors import (
    STREAM_ENTRY_TOO_LARGE,
    STREAM_EXHAUSTED,
    STREAM_ID_NOT_GREATER,
    STREAM_ID_ZERO,
    XSETID_ADDED_BELOW_LENGTH,
    XSETID_ADDED_NEGATIVE,
    XSETID_BELOW_DELETED,
    XSETID_BELOW_GIVEN_DELETED,
    XSETID_BELOW_TOP,
    CommandError,
    syntax_error,
    wrong_arity,
)
from coordkit_server.keyspace.notify import STREAM
from coordkit_server.resp.encoder import array_head
from coordkit_server.resp.reply import NULL_ARRAY, OK, WireReply


def xadd(cx: Context) -> object:
    """XADD key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value [...] -> the id."""
    argv = cx.argv
    options: StreamOptions | None = None
    at = 3
    ident = -1
    if argv[2] != b"*":
        options = StreamOptions(cx, adds=True)
        at = options.id_at + 1
        ident = options.ident
    pairs = len(argv) - at
    if pairs < 2 or pairs & 1:
        raise CommandError(wrong_arity(b"xadd"))
    if ident == 0 and options is not None and options.seq_given:
        raise CommandError(STREAM_ID_ZERO)
    key = argv[1]
    stream = as_stream(cx.db.lookup_write(key))
    if stream is None:
        if options is not None and options.no_create:
            return None
        stream = StreamValue()
        text = _append(cx, stream, ident, options, at)
        cx.db.add(key, stream)
    else:
        text = _append(cx, stream, ident, options, at)
        cx.db.signal_ready(key)
    cx.db.modified(key)
    cx.db.notify(STREAM, b"xadd", key)
    if options is not None and options.strategy != NO_TRIM and options.trim(stream):
        cx.db.notify(STREAM, b"xtrim", key)
    if cx.propagates():
        _rewrite_xadd(cx, stream, options, text)
    return text


def _rewrite_xadd(cx: Context, stream: StreamValue, options: StreamOptions | None, text: bytes) -> None:
    """Let the entry be repeated with the id that it has got."""
    if options is None:
        settled = cx.argv[:]
        settled[2] = text
    else:
        settled = settled_argv(cx.argv, options, stream, text)
    cx.rewrite(settled)


def _append(cx: Context, stream: StreamValue, ident: int, options: StreamOptions | None, at: int) -> bytes:
    """Add the entry, with an id that is given or made; return its text."""
    last = stream.last_id
    if last == ID_MAX:
        raise CommandError(STREAM_EXHAUSTED)
    if ident < 0:
        now_ms = cx.state.now_ms
        ident = now_ms << ID_SEQ_BITS if now_ms > last >> ID_SEQ_BITS else last + 1
    elif options is not None and not options.seq_given and ident >> ID_SEQ_BITS == last >> ID_SEQ_BITS:
        ident = last + 1
        if ident >> ID_SEQ_BITS != last >> ID_SEQ_BITS:
            raise CommandError(STREAM_ID_NOT_GREATER)
    if ident <= last:
        raise CommandError(STREAM_ID_NOT_GREATER)
    text = stream.append(ident, cx.argv, at, cx.services.limits)
    if text is None:
        raise CommandError(STREAM_ENTRY_TOO_LARGE)
    return text


def xlen(cx: Context) -> object:
    """XLEN key -> number of entries."""
    stream = as_stream(cx.db.lookup_read(cx.argv[1]))
    return 0 if stream is None else stream.length()


def xrange(cx: Context) -> object:
    """XRANGE key start end [COUNT count] -> entries in order."""
    return _range(cx, cx.argv[2], cx.argv[3], False)


def xrevrange(cx: Context) -> object:
    """XREVRANGE key end start [COUNT count] -> entries, the last one first."""
    return _range(cx, cx.argv[3], cx.argv[2], True)


def _range(cx: Context, start_text: bytes, end_text: bytes, backwards: bool) -> object:
    """Return the entries of an interval."""
    start = interval_start(start_text)
    end = interval_end(end_text)
    argv = cx.argv
    count = -1
    for at in range(4, len(argv), 2):
        if argv[at].upper() != b"COUNT" or at + 1 == len(argv):
            raise syntax_error()
        count = max(integer(argv[at + 1]), 0)
    stream = as_stream(cx.db.lookup_read(argv[1]))
    if stream is None:
        return []
    if count == 0:
        return NULL_ARRAY
    parts = [b""]
    limit = count if count > 0 else 0
    found = stream.read_back(start, end, limit, parts) if backwards else stream.read(start, end, limit, parts)
    parts[0] = array_head(found)
    return WireReply(parts)


def xdel(cx: Context) -> object:
    """XDEL key id [id ...] -> number of entries removed."""
    argv = cx.argv
    stream = as_stream(cx.db.lookup_write(argv[1]))
    if stream is None:
        return 0
    idents: list[int] = []
    for at in range(2, len(argv)):
        idents.append(strict_id(argv[at]))
    removed = stream.remove(idents)
    if removed:
        _note_removal(cx, b"xdel", removed)
    return removed


def xtrim(cx: Context) -> object:
    """XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count] -> number of entries removed."""
    options = StreamOptions(cx, adds=False)
    stream = as_stream(cx.db.lookup_write(cx.argv[1]))
    if stream is None:
        return 0
    removed = options.trim(stream)
    if removed:
        _note_removal(cx, b"xtrim", removed)
        if cx.propagates():
            cx.rewrite(settled_argv(cx.argv, options, stream, None))
    return removed


def _note_removal(cx: Context, event: bytes, removed: int) -> None:
    """Count and announce that entries went; the key stays when it has none left."""
    cx.db.modified(cx.argv[1])
    cx.state.dirty += removed - 1
    cx.db.notify(STREAM, event, cx.argv[1])


def xsetid(cx: Context) -> object:
    """XSETID key last-id [ENTRIESADDED count] [MAXDELETEDID id] -> OK."""
    argv = cx.argv
    ident = strict_id(argv[2])
    entries_added = -1
    deleted_id = 0
    for at in range(3, len(argv), 2):
        word = argv[at].upper()
        if word == b"ENTRIESADDED" and at + 1 < len(argv):
            entries_added = integer(argv[at + 1])
            if entries_added < 0:
                raise CommandError(XSETID_ADDED_NEGATIVE)
        elif word == b"MAXDELETEDID" and at + 1 < len(argv):
            deleted_id = strict_id(argv[at + 1])
            if ident < deleted_id:
                raise CommandError(XSETID_BELOW_GIVEN_DELETED)
        else:
            raise syntax_error()
    stream = stream_of(cx.require(argv[1]))
    _check_last_id(stream, ident, entries_added)
    stream.last_id = ident
    if entries_added >= 0:
        stream.entries_added = entries_added
    if deleted_id:
        stream.max_deleted_id = deleted_id
    cx.state.dirty += 1
    cx.db.notify(STREAM, b"xsetid", argv[1])
    return OK


def _check_last_id(stream: StreamValue, ident: int, entries_added: int) -> None:
    """Raise if `ident` or `entries_added` (-1: not given) contradict what `stream` holds."""
    if ident < stream.max_deleted_id:
        raise CommandError(XSETID_BELOW_DELETED)
    if stream.length() == 0:
        return
    if ident < stream.last_entry_id():
        raise CommandError(XSETID_BELOW_TOP)
    if 0 <= entries_added < stream.length():
        raise CommandError(XSETID_ADDED_BELOW_LENGTH)


def commands() -> list[Command]:
    """Return the rows of this part of the group."""
    since = b"5.0.0"
    return [
        Command(b"XADD", -5, WRITE | DENYOOM | FAST, xadd, KEY1, since=since, summary=b"Appends an entry to a stream."),
        Command(b"XDEL", -3, WRITE | FAST, xdel, KEY1, since=since, summary=b"Removes entries from a stream."),
        Command(b"XLEN", 2, READONLY | FAST, xlen, KEY1, since=since, summary=b"Counts the entries of a stream."),
        Command(b"XRANGE", -4, READONLY, xrange, KEY1, since=since, summary=b"Lists entries between two ids."),
        Command(
            b"XREVRANGE",
            -4,
            READONLY,
            xrevrange,
            KEY1,
            since=since,
            summary=b"Lists entries between two ids, reversed.",
        ),
        Command(b"XSETID", -3, WRITE | DENYOOM | FAST, xsetid, KEY1, since=since, summary=b"Sets a stream's last id."),
        Command(b"XTRIM", -4, WRITE, xtrim, KEY1, since=since, summary=b"Removes the oldest entries of a stream."),
    ]
