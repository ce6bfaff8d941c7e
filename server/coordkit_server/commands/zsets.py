"""Sorted set commands (group "sorted-set"): adding, removing, single members, popping.

Map: lookup, ZADD and ZINCRBY, removal, members, popping, ZRANDMEMBER, ZSCAN, rows.  Ranges stand in `zset_ranges`,
algebra in `zset_algebra`.
"""

from typing import Final

from coordkit_server.commands.args import integer_between, symmetric_integer, timeout_us
from coordkit_server.commands.keys import scan_cursor, scan_options
from coordkit_server.commands.zranges import LexRange, ScoreRange, parse_score, plus
from coordkit_server.context import (
    BLOCKING,
    DENYOOM,
    FAST,
    KEY1,
    KEYS_TIMEOUT,
    NUMKEYS1,
    NUMKEYS2,
    READONLY,
    WRITE,
    Command,
    Context,
)
from coordkit_server.datatypes.sampling import positions
from coordkit_server.datatypes.zset import ZSetValue
from coordkit_server.errors import (
    MUST_BE_POSITIVE,
    NOT_FLOAT,
    OUT_OF_RANGE,
    CommandError,
    syntax_error,
    wrong_arity,
    wrong_type,
)
from coordkit_server.keyspace.notify import ZSET
from coordkit_server.keyspace.table import Entry
from coordkit_server.numeric import INT64_MAX, format_float
from coordkit_server.resp.reply import NULL_ARRAY, PairsReply

NAN_SCORE: Final = b"ERR resulting score is not a number (NaN)"

# conditions of ZADD
ADD_NX: Final = 1
ADD_XX: Final = 2
ADD_GT: Final = 4
ADD_LT: Final = 8
ADD_CH: Final = 16
ADD_INCR: Final = 32
_OPTIONS: Final = {b"NX": ADD_NX, b"XX": ADD_XX, b"GT": ADD_GT, b"LT": ADD_LT, b"CH": ADD_CH, b"INCR": ADD_INCR}


def as_zset(entry: Entry | None) -> ZSetValue | None:
    """Return the sorted set at `entry`, None for None; raises WRONGTYPE."""
    if entry is None:
        return None
    value = entry.value
    if not isinstance(value, ZSetValue):
        raise wrong_type()
    return value


def lookup_zset(cx: Context, key: bytes) -> ZSetValue | None:
    """Return the sorted set at `key` for a read, None if absent; raises WRONGTYPE."""
    return as_zset(cx.db.lookup_read(key))


def zadd(cx: Context) -> object:
    """ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...] -> number added (CH: changed)."""
    argv = cx.argv
    flags = 0
    at = 2
    while at < len(argv) and not argv[at].isdigit():
        option = _OPTIONS.get(argv[at].upper(), 0)
        if not option:
            break
        flags |= option
        at += 1
    if at == len(argv) or (len(argv) - at) % 2:
        raise syntax_error()
    if flags & ADD_NX and flags & ADD_XX:
        raise CommandError(b"ERR XX and NX options at the same time are not compatible")
    if (flags & ADD_GT and flags & (ADD_NX | ADD_LT)) or (flags & ADD_LT and flags & (ADD_NX | ADD_GT)):
        raise CommandError(b"ERR GT, LT, and/or NX options at the same time are not compatible")
    if flags & ADD_INCR and len(argv) - at > 2:
        raise CommandError(b"ERR INCR option supports a single increment-element pair")
    return _add(cx, at, flags)


def zincrby(cx: Context) -> object:
    """ZINCRBY key increment member -> the new score."""
    return _add(cx, 2, ADD_INCR)


def _add(cx: Context, at: int, flags: int) -> object:
    """Add the pairs of score and member from `at` on, under the conditions in `flags`.  The scores are read first."""
    argv = cx.argv
    scores: list[float] = []
    for i in range(at, len(argv), 2):
        score = parse_score(argv[i])
        if score is None:
            raise CommandError(NOT_FLOAT)
        scores.append(score)
    return add_scores(cx, scores, at + 1, 2, flags)


def add_scores(cx: Context, scores: list[float], at: int, step: int, flags: int) -> object:
    """Give the scores to the members at the positions `at`, `at` + `step`, ...; reply as ZADD does."""
    argv = cx.argv
    key = argv[1]
    value = as_zset(cx.db.lookup_write(key))
    is_new = value is None
    if value is None:
        if flags & ADD_XX:
            return None if flags & ADD_INCR else 0
        value = ZSetValue()
    limits = cx.services.limits
    if len(scores) > 1:
        value.expect(len(scores), limits)
    added = 0
    changed = 0
    result: float | None = None
    i = at
    for score in scores:
        member = argv[i]
        i += step
        old = value.score(member)
        if old is not None:
            if flags & ADD_NX:
                continue
            if flags & ADD_INCR:
                total = plus(old, score)
                if total is None:
                    raise CommandError(NAN_SCORE)
                score = total
            if (flags & ADD_GT and score <= old) or (flags & ADD_LT and score >= old):
                continue
            result = score
            if score != old:
                value.move(member, old, score)
                changed += 1
        elif not flags & ADD_XX:
            value.add(member, score, limits)
            result = score
            added += 1
    if added or changed:
        if is_new:
            cx.db.add(key, value)
        cx.db.modified(key)
        cx.state.dirty += added + changed - 1
        if cx.state.notify_flags:
            cx.db.notify(ZSET, b"zincr" if flags & ADD_INCR else b"zadd", key)
    if flags & ADD_INCR:
        return result
    return added + changed if flags & ADD_CH else added


def zrem(cx: Context) -> object:
    """ZREM key member [member ...] -> number of members removed; an empty set is removed."""
    argv = cx.argv
    key = argv[1]
    entry = cx.db.lookup_write(key)
    value = as_zset(entry)
    if value is None or entry is None:
        return 0
    removed = 0
    for i in range(2, len(argv)):
        if value.remove(argv[i]):
            removed += 1
    _removed(cx, entry, value, removed, b"zrem")
    return removed


def _removed(cx: Context, entry: Entry, value: ZSetValue, removed: int, event: bytes) -> None:
    """Note that `removed` members have gone."""
    if removed:
        cx.db.modified(entry.key)
        cx.state.dirty += removed - 1
        cx.db.notify(ZSET, event, entry.key)
        cx.delete_if_empty(entry, value.length())


def _remove_range(cx: Context, event: bytes) -> object:
    """Remove the members in the range of the arguments; return their number."""
    argv = cx.argv
    by_score: ScoreRange | None = None
    by_lex: LexRange | None = None
    start = 0
    stop = 0
    if event == b"zremrangebyscore":
        by_score = ScoreRange(argv[2], argv[3])
    elif event == b"zremrangebylex":
        by_lex = LexRange(argv[2], argv[3])
    else:
        start = symmetric_or_least(argv[2])
        stop = symmetric_or_least(argv[3])
    entry = cx.db.lookup_write(argv[1])
    value = as_zset(entry)
    if value is None or entry is None:
        return 0
    if by_score is not None:
        first, after = by_score.ranks(value)
    elif by_lex is not None:
        first, after = by_lex.ranks(value)
    else:
        first, after = rank_bounds(start, stop, value.length())
    value.remove_range(first, after)
    _removed(cx, entry, value, after - first, event)
    return after - first


def symmetric_or_least(text: bytes) -> int:
    """Return the integer `text`, any of 64 bits."""
    return integer_between(text, -INT64_MAX - 1, INT64_MAX, b"ERR value is not an integer or out of range")


def rank_bounds(start: int, stop: int, size: int) -> tuple[int, int]:
    """Return start and end (exclusive) for inclusive, possibly negative, ranks."""
    if start < 0:
        start = max(start + size, 0)
    if stop < 0:
        stop += size
    if start > stop or start >= size:
        return 0, 0
    return start, min(stop + 1, size)


def zremrangebyrank(cx: Context) -> object:
    """ZREMRANGEBYRANK key start stop -> number of members removed."""
    return _remove_range(cx, b"zremrangebyrank")


def zremrangebyscore(cx: Context) -> object:
    """ZREMRANGEBYSCORE key min max -> number of members removed."""
    return _remove_range(cx, b"zremrangebyscore")


def zremrangebylex(cx: Context) -> object:
    """ZREMRANGEBYLEX key min max -> number of members removed."""
    return _remove_range(cx, b"zremrangebylex")


def zscore(cx: Context) -> object:
    """ZSCORE key member -> its score, null if absent."""
    value = lookup_zset(cx, cx.argv[1])
    return None if value is None else value.score(cx.argv[2])


def zmscore(cx: Context) -> object:
    """ZMSCORE key member [member ...] -> their scores, null for absent ones."""
    value = lookup_zset(cx, cx.argv[1])
    found: list[object] = []
    for member in cx.argv[2:]:
        found.append(None if value is None else value.score(member))
    return found


def zcard(cx: Context) -> object:
    """ZCARD key -> number of members."""
    value = lookup_zset(cx, cx.argv[1])
    return 0 if value is None else value.length()


def _rank(cx: Context, reverse: bool) -> object:
    """Return the rank of a member, with its score if asked for."""
    argv = cx.argv
    if len(argv) > 4:
        raise CommandError(wrong_arity(argv[0].lower()))
    with_score = len(argv) == 4
    if with_score and argv[3].upper() != b"WITHSCORE":
        raise syntax_error()
    value = lookup_zset(cx, argv[1])
    rank = -1 if value is None else value.rank(argv[2])
    if value is None or rank < 0:
        return NULL_ARRAY if with_score else None
    if reverse:
        rank = value.length() - 1 - rank
    return [rank, value.score(argv[2])] if with_score else rank


def zrank(cx: Context) -> object:
    """ZRANK key member [WITHSCORE] -> its rank, lowest score first; null if absent."""
    return _rank(cx, False)


def zrevrank(cx: Context) -> object:
    """ZREVRANK key member [WITHSCORE] -> its rank, highest score first; null if absent."""
    return _rank(cx, True)


def _pop_pairs(cx: Context, entry: Entry, value: ZSetValue, highest: bool, count: int) -> list[object]:
    """Remove up to `count` members from one end; return member, score, ..."""
    popped: list[object] = []
    for _ in range(min(count, value.length())):
        score, member = value.pop(highest)
        popped.append(member)
        popped.append(score)
    _removed(cx, entry, value, len(popped) // 2, b"zpopmax" if highest else b"zpopmin")
    return popped


def _pop(cx: Context, highest: bool) -> object:
    """Pop one member with its score, or with a count several."""
    argv = cx.argv
    if len(argv) > 3:
        raise syntax_error()
    count = integer_between(argv[2], 0, INT64_MAX, MUST_BE_POSITIVE) if len(argv) == 3 else 1
    entry = cx.db.lookup_write(argv[1])
    value = as_zset(entry)
    if value is None or entry is None or count == 0:
        return []
    popped = _pop_pairs(cx, entry, value, highest, count)
    return popped if len(argv) == 2 else PairsReply(popped)


def zpopmin(cx: Context) -> object:
    """ZPOPMIN key [count] -> member and score of the lowest."""
    return _pop(cx, False)


def zpopmax(cx: Context) -> object:
    """ZPOPMAX key [count] -> member and score of the highest."""
    return _pop(cx, True)


def _blocking_pop(cx: Context, highest: bool) -> object:
    """Pop from the first key with members, or wait."""
    argv = cx.argv
    wait_us = timeout_us(argv[-1], cx.state.now_ms)
    for key in argv[1:-1]:
        entry = cx.db.lookup_write(key)
        value = as_zset(entry)
        if value is not None and entry is not None:
            cx.rewrite([b"ZPOPMAX" if highest else b"ZPOPMIN", key])
            return [key, *_pop_pairs(cx, entry, value, highest, 1)]
    return cx.block(b"zset", argv[1:-1], wait_us, NULL_ARRAY)


def bzpopmin(cx: Context) -> object:
    """BZPOPMIN key [key ...] timeout -> [key, member, score] of the lowest, null after the timeout."""
    return _blocking_pop(cx, False)


def bzpopmax(cx: Context) -> object:
    """BZPOPMAX key [key ...] timeout -> [key, member, score] of the highest, null after the timeout."""
    return _blocking_pop(cx, True)


class MultiPop:
    """The arguments of ZMPOP and BZMPOP: keys, end, count."""

    def __init__(self, argv: list[bytes], at: int) -> None:
        numkeys = integer_between(argv[at], 1, INT64_MAX, b"ERR numkeys should be greater than 0")
        where_at = at + 1 + numkeys
        if where_at >= len(argv) or argv[where_at].upper() not in (b"MIN", b"MAX"):
            raise syntax_error()
        self.keys: list[bytes] = argv[at + 1 : where_at]
        self.highest: bool = argv[where_at].upper() == b"MAX"
        self.count: int = -1
        following = where_at + 1
        while following < len(argv):
            if argv[following].upper() != b"COUNT" or following + 1 >= len(argv) or self.count >= 0:
                raise syntax_error()
            self.count = integer_between(argv[following + 1], 1, INT64_MAX, b"ERR count should be greater than 0")
            following += 2
        if self.count < 0:
            self.count = 1

    def run(self, cx: Context) -> object:
        """Pop from the first key with members: [key, [[member, score], ...]]; None if there is none."""
        for key in self.keys:
            entry = cx.db.lookup_write(key)
            value = as_zset(entry)
            if value is not None and entry is not None:
                count = b"%d" % min(self.count, value.length())
                cx.rewrite([b"ZPOPMAX" if self.highest else b"ZPOPMIN", key, count])
                flat = _pop_pairs(cx, entry, value, self.highest, self.count)
                pairs: list[object] = []
                for i in range(0, len(flat), 2):
                    pairs.append([flat[i], flat[i + 1]])
                return [key, pairs]
        return None


def zmpop(cx: Context) -> object:
    """ZMPOP numkeys key [key ...] MIN|MAX [COUNT count] -> [key, pairs], null if all are empty."""
    popped = MultiPop(cx.argv, 1).run(cx)
    return NULL_ARRAY if popped is None else popped


def bzmpop(cx: Context) -> object:
    """BZMPOP timeout numkeys key [key ...] MIN|MAX [COUNT count] -> [key, pairs], null after the timeout."""
    request = MultiPop(cx.argv, 2)  # looked at before the timeout
    wait_us = timeout_us(cx.argv[1], cx.state.now_ms)
    popped = request.run(cx)
    if popped is not None:
        return popped
    return cx.block(b"zset", request.keys, wait_us, NULL_ARRAY)


def zrandmember(cx: Context) -> object:
    """ZRANDMEMBER key [count [WITHSCORES]] -> random members; a negative count may repeat them."""
    argv = cx.argv
    count = 0
    if len(argv) > 2:
        count = symmetric_integer(argv[2])
        if len(argv) > 4 or (len(argv) == 4 and argv[3].upper() != b"WITHSCORES"):
            raise syntax_error()
        if len(argv) == 4 and abs(count) > INT64_MAX // 2:
            raise CommandError(OUT_OF_RANGE)
    value = lookup_zset(cx, argv[1])
    if len(argv) == 2:
        if value is None:
            return None
        return value.at(int(cx.services.random.random() * value.length()))[1]
    if value is None:
        return []
    ranks = positions(cx.services.random, value.length(), count)
    if count >= value.length():
        ranks.reverse()  # Redis goes through the whole set from its end,
    elif count > 0 and value.packed:
        ranks.sort()  # and through a packed one once, from its start
    items: list[object] = []
    for rank in ranks:
        score, member = value.at(rank)
        items.append(member)
        if len(argv) == 4:
            items.append(score)
    return PairsReply(items) if len(argv) == 4 else items


def zscan(cx: Context) -> object:
    """ZSCAN key cursor [MATCH pattern] [COUNT count] -> [next cursor, member, score, ...]."""
    cursor = scan_cursor(cx.argv[2])
    value = lookup_zset(cx, cx.argv[1])
    if value is None:
        return [b"0", []]  # before the options are looked at, as in Redis
    options = scan_options(cx.argv, 3, False)
    following, members = value.scan(cursor, options.count)
    items: list[object] = []
    for member in members:
        if options.admits(member):
            items.append(member)
            score = value.score(member)
            assert score is not None  # it has just been listed
            items.append(format_float(score) if value.packed else b"%.17g" % score)
    return [b"%d" % following, items]


def commands() -> list[Command]:
    """Return the rows of this part of the group."""
    add = WRITE | DENYOOM | FAST
    read = READONLY | FAST
    take = WRITE | FAST
    wait = WRITE | FAST | BLOCKING
    return [
        Command(b"BZMPOP", -5, WRITE | BLOCKING, bzmpop, NUMKEYS2, since=b"7.0.0", summary=b"ZMPOP that waits."),
        Command(b"BZPOPMAX", -3, wait, bzpopmax, KEYS_TIMEOUT, since=b"5.0.0", summary=b"ZPOPMAX that waits."),
        Command(b"BZPOPMIN", -3, wait, bzpopmin, KEYS_TIMEOUT, since=b"5.0.0", summary=b"ZPOPMIN that waits."),
        Command(b"ZADD", -4, add, zadd, KEY1, since=b"1.2.0", summary=b"Adds members or changes their scores."),
        Command(b"ZCARD", 2, read, zcard, KEY1, since=b"1.2.0", summary=b"Counts the members."),
        Command(b"ZINCRBY", 4, add, zincrby, KEY1, since=b"1.2.0", summary=b"Adds to the score of a member."),
        Command(b"ZMPOP", -4, WRITE, zmpop, NUMKEYS1, since=b"7.0.0", summary=b"Pops from the first set with any."),
        Command(b"ZMSCORE", -3, read, zmscore, KEY1, since=b"6.2.0", summary=b"Reads several scores."),
        Command(b"ZPOPMAX", -2, take, zpopmax, KEY1, since=b"5.0.0", summary=b"Pops the highest scores."),
        Command(b"ZPOPMIN", -2, take, zpopmin, KEY1, since=b"5.0.0", summary=b"Pops the lowest scores."),
        Command(b"ZRANDMEMBER", -2, READONLY, zrandmember, KEY1, since=b"6.2.0", summary=b"Chooses random members."),
        Command(b"ZRANK", -3, read, zrank, KEY1, since=b"2.0.0", summary=b"Tells the rank of a member."),
        Command(b"ZREM", -3, take, zrem, KEY1, since=b"1.2.0", summary=b"Removes members."),
        Command(b"ZREMRANGEBYLEX", 4, WRITE, zremrangebylex, KEY1, since=b"2.8.9", summary=b"Removes by member."),
        Command(b"ZREMRANGEBYRANK", 4, WRITE, zremrangebyrank, KEY1, since=b"2.0.0", summary=b"Removes by rank."),
        Command(b"ZREMRANGEBYSCORE", 4, WRITE, zremrangebyscore, KEY1, since=b"1.2.0", summary=b"Removes by score."),
        Command(b"ZREVRANK", -3, read, zrevrank, KEY1, since=b"2.0.0", summary=b"Tells the rank from the top."),
        Command(b"ZSCAN", -3, READONLY, zscan, KEY1, since=b"2.8.0", summary=b"Walks over the members in steps."),
        Command(b"ZSCORE", 3, read, zscore, KEY1, since=b"1.2.0", summary=b"Reads a score."),
    ]
