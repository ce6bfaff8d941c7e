"""Ranges of sorted sets (group "sorted-set"): ZRANGE in all its forms, the older commands, ZCOUNT and ZRANGESTORE.

Every form becomes a `RangeRequest`: what kind of bounds, which direction, limit, with scores or not.
"""

from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.commands.zranges import LexRange, ScoreRange
from coordkit_server.commands.zsets import as_zset, lookup_zset, rank_bounds
from coordkit_server.context import DENYOOM, FAST, KEY1, KEYS12, READONLY, WRITE, Command, Context
from coordkit_server.datatypes.zset import ZSetValue
from coordkit_server.errors import CommandError, syntax_error
from coordkit_server.keyspace.notify import GENERIC, ZSET
from coordkit_server.resp.reply import PairsReply

BY_RANK: Final = 0
BY_SCORE: Final = 1
BY_LEX: Final = 2


class RangeRequest:
    """A range of a sorted set."""

    def __init__(self, kind: int, reverse: bool) -> None:
        self.kind: int = kind
        self.reverse: bool = reverse
        self.with_scores: bool = False
        self.offset: int = 0
        self.count: int = -1
        self._start: int = 0
        self._stop: int = 0
        self._scores: ScoreRange | None = None
        self._lex: LexRange | None = None

    def parse_bounds(self, first: bytes, second: bytes) -> None:
        """Read the two bounds; reversed ranges by score or member name the high end first."""
        low, high = (second, first) if self.reverse else (first, second)
        if self.kind == BY_SCORE:
            self._scores = ScoreRange(low, high)
        elif self.kind == BY_LEX:
            self._lex = LexRange(low, high)
        else:
            self._start = integer(first)
            self._stop = integer(second)

    def parse_limit(self, offset: bytes, count: bytes) -> None:
        """Read LIMIT."""
        self.offset = integer(offset)
        self.count = integer(count)

    def ranks(self, value: ZSetValue) -> tuple[int, int]:
        """Return the ranks in ascending order, end exclusive, limit applied."""
        size = value.length()
        if self._scores is not None:
            start, stop = self._scores.ranks(value)
        elif self._lex is not None:
            if value.packed and not value.even():
                start, stop = self._lex.walk(value, self.offset, self.reverse)
                return self._limit(start, stop, 0)
            start, stop = self._lex.ranks(value)
        else:
            start, stop = rank_bounds(self._start, self._stop, size)
            return (size - stop, size - start) if self.reverse else (start, stop)
        return self._limit(start, stop, self.offset)

    def _limit(self, start: int, stop: int, offset: int) -> tuple[int, int]:
        """Apply LIMIT to ranks, from the end if reversed."""
        if offset < 0 or offset >= stop - start:
            return 0, 0
        if self.reverse:
            stop -= offset
            return (max(start, stop - self.count), stop) if self.count >= 0 else (start, stop)
        start += offset
        return (start, min(stop, start + self.count)) if self.count >= 0 else (start, stop)

    def select(self, value: ZSetValue) -> tuple[list[float], list[bytes]]:
        """Return the scores and members of the range in its direction."""
        start, stop = self.ranks(value)
        scores, members = value.range(start, stop)
        if self.reverse:
            scores.reverse()
            members.reverse()
        return scores, members

    def reply(self, value: ZSetValue | None) -> object:
        """Return the range as a reply."""
        if value is None:
            return []
        if not self.with_scores:
            start, stop = self.ranks(value)
            found = value.members(start, stop)
            if self.reverse:
                found.reverse()
            return found
        scores, members = self.select(value)
        items: list[object] = []
        for i in range(len(members)):
            items.append(members[i])
            items.append(scores[i])
        return PairsReply(items)


def _parse_options(
    argv: list[bytes], at: int, *, any_kind: bool, kind: int, reverse: bool, store: bool
) -> RangeRequest:
    """Return the request that the options from `at` on describe; `any_kind`: BYSCORE, BYLEX and REV are options."""
    request = RangeRequest(kind, reverse)
    while at < len(argv):
        word = argv[at].upper()
        if word == b"WITHSCORES" and not store:
            request.with_scores = True
        elif word == b"LIMIT" and at + 2 < len(argv):
            request.parse_limit(argv[at + 1], argv[at + 2])
            at += 2
        elif any_kind and word == b"REV" and not request.reverse:
            request.reverse = True
        elif any_kind and word == b"BYSCORE" and request.kind == BY_RANK:
            request.kind = BY_SCORE
        elif any_kind and word == b"BYLEX" and request.kind == BY_RANK:
            request.kind = BY_LEX
        else:
            raise syntax_error()
        at += 1
    if request.count != -1 and request.kind == BY_RANK:  # a LIMIT without end is let pass, and has no effect
        raise CommandError(b"ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
    if request.with_scores and request.kind == BY_LEX:
        raise CommandError(b"ERR syntax error, WITHSCORES not supported in combination with BYLEX")
    return request


def _range(cx: Context, kind: int, reverse: bool) -> object:
    """Run one of the older range commands."""
    argv = cx.argv
    request = _parse_options(argv, 4, any_kind=False, kind=kind, reverse=reverse, store=False)
    request.parse_bounds(argv[2], argv[3])
    return request.reply(lookup_zset(cx, argv[1]))


def zrange(cx: Context) -> object:
    """ZRANGE key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES] -> members of the range."""
    argv = cx.argv
    request = _parse_options(argv, 4, any_kind=True, kind=BY_RANK, reverse=False, store=False)
    request.parse_bounds(argv[2], argv[3])
    return request.reply(lookup_zset(cx, argv[1]))


def zrevrange(cx: Context) -> object:
    """ZREVRANGE key start stop [WITHSCORES] -> members by rank, highest score first."""
    return _range(cx, BY_RANK, True)


def zrangebyscore(cx: Context) -> object:
    """ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count] -> members by score."""
    return _range(cx, BY_SCORE, False)


def zrevrangebyscore(cx: Context) -> object:
    """ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count] -> members by score, highest first."""
    return _range(cx, BY_SCORE, True)


def zrangebylex(cx: Context) -> object:
    """ZRANGEBYLEX key min max [LIMIT offset count] -> members in byte order."""
    return _range(cx, BY_LEX, False)


def zrevrangebylex(cx: Context) -> object:
    """ZREVRANGEBYLEX key max min [LIMIT offset count] -> members in reversed byte order."""
    return _range(cx, BY_LEX, True)


def zrangestore(cx: Context) -> object:
    """ZRANGESTORE dst src min max [BYSCORE|BYLEX] [REV] [LIMIT offset count] -> number of members stored."""
    argv = cx.argv
    request = _parse_options(argv, 5, any_kind=True, kind=BY_RANK, reverse=False, store=True)
    request.parse_bounds(argv[3], argv[4])
    source = as_zset(cx.db.lookup_read(argv[2]))
    scores: list[float] = []
    members: list[bytes] = []
    if source is not None:
        scores, members = request.select(source)
    # only the size of a range by rank is known before it is gone through
    packed = request.kind != BY_RANK or len(members) <= cx.services.limits.zset_max_listpack_entries
    return store(cx, argv[1], members, scores, b"zrangestore", packed=packed)


def store(cx: Context, key: bytes, members: list[bytes], scores: list[float], event: bytes, *, packed: bool) -> int:
    """Replace `key` by a sorted set of these members, remove it if there are none; return their number.

    `packed`: it starts in the packed form, which it may have to leave."""
    if not members:
        if cx.db.discard(key):
            cx.db.notify(GENERIC, b"del", key)
        return 0
    value = ZSetValue()
    value.packed = packed
    for i in range(len(members)):
        value.set(members[i], scores[i], cx.services.limits)
    cx.db.set(key, value)
    cx.db.notify(ZSET, event, key)
    return len(members)


def store_result(cx: Context, key: bytes, members: list[bytes], scores: list[float], event: bytes) -> int:
    """Do what `store` does for a result that is packed if all of it fits."""
    limits = cx.services.limits
    packed = len(members) <= limits.zset_max_listpack_entries
    if packed:
        for member in members:
            if len(member) > limits.zset_max_listpack_value:
                packed = False
                break
    return store(cx, key, members, scores, event, packed=packed)


def zcount(cx: Context) -> object:
    """ZCOUNT key min max -> number of members with a score in the range."""
    bounds = ScoreRange(cx.argv[2], cx.argv[3])
    value = lookup_zset(cx, cx.argv[1])
    if value is None:
        return 0
    start, stop = bounds.ranks(value)
    return stop - start


def zlexcount(cx: Context) -> object:
    """ZLEXCOUNT key min max -> number of members in the range."""
    bounds = LexRange(cx.argv[2], cx.argv[3])
    value = lookup_zset(cx, cx.argv[1])
    if value is None:
        return 0
    start, stop = bounds.ranks(value)
    return stop - start


def commands() -> list[Command]:
    """Return the rows of this part of the group."""
    count = READONLY | FAST
    return [
        Command(b"ZCOUNT", 4, count, zcount, KEY1, since=b"2.0.0", summary=b"Counts a range of scores."),
        Command(b"ZLEXCOUNT", 4, count, zlexcount, KEY1, since=b"2.8.9", summary=b"Counts a range of members."),
        Command(b"ZRANGE", -4, READONLY, zrange, KEY1, since=b"1.2.0", summary=b"Reads a range."),
        Command(b"ZRANGEBYLEX", -4, READONLY, zrangebylex, KEY1, since=b"2.8.9", summary=b"Reads by member."),
        Command(b"ZRANGEBYSCORE", -4, READONLY, zrangebyscore, KEY1, since=b"1.0.5", summary=b"Reads by score."),
        Command(b"ZRANGESTORE", -5, WRITE | DENYOOM, zrangestore, KEYS12, since=b"6.2.0", summary=b"Stores a range."),
        Command(b"ZREVRANGE", -4, READONLY, zrevrange, KEY1, since=b"1.2.0", summary=b"Reads by rank from the top."),
        Command(
            b"ZREVRANGEBYLEX", -4, READONLY, zrevrangebylex, KEY1, since=b"2.8.9", summary=b"Reads by member, reversed."
        ),
        Command(
            b"ZREVRANGEBYSCORE",
            -4,
            READONLY,
            zrevrangebyscore,
            KEY1,
            since=b"2.2.0",
            summary=b"Reads by score from the top.",
        ),
    ]
