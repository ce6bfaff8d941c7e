"""Algebra of sorted sets (group "sorted-set"): union, intersection, difference, over sets and sorted sets."""

from collections.abc import Callable
from math import isnan
from typing import Final

from coordkit_server.commands.args import integer_between
from coordkit_server.commands.zranges import parse_score
from coordkit_server.commands.zset_ranges import store_result
from coordkit_server.context import (
    DENYOOM,
    NUMKEYS1,
    READONLY,
    STORE_NUMKEYS2,
    WRITE,
    Command,
    Context,
)
from coordkit_server.datatypes.set import SetValue
from coordkit_server.datatypes.zset import ZSetValue
from coordkit_server.errors import CommandError, syntax_error, wrong_type
from coordkit_server.numeric import INT64_MAX, parse_int
from coordkit_server.resp.reply import PairsReply

UNION: Final = 0
INTER: Final = 1
DIFF: Final = 2
_SUM: Final = 0
_MIN: Final = 1
_MAX: Final = 2
_AGGREGATES: Final = {b"SUM": _SUM, b"MIN": _MIN, b"MAX": _MAX}

Scores = dict[bytes, float]


class Operation:
    """The sources and options of one command."""

    def __init__(self, sources: list[Scores]) -> None:
        self.sources: Final = sources
        self.weights: list[float] = [1.0] * len(sources)
        self.aggregate: int = _SUM
        self.with_scores: bool = False

    def parse_options(self, argv: list[bytes], at: int, kind: int, storing: bool) -> None:
        """Read WEIGHTS, AGGREGATE and WITHSCORES from `at` on."""
        while at < len(argv):
            word = argv[at].upper()
            left = len(argv) - at - 1
            if word == b"WEIGHTS" and kind != DIFF and left >= len(self.sources):
                for i in range(len(self.sources)):
                    weight = parse_score(argv[at + 1 + i])
                    if weight is None:
                        raise CommandError(b"ERR weight value is not a float")
                    self.weights[i] = weight
                at += len(self.sources)
            elif word == b"AGGREGATE" and kind != DIFF and left >= 1:
                at += 1
                aggregate = _AGGREGATES.get(argv[at].upper())
                if aggregate is None:
                    raise syntax_error()
                self.aggregate = aggregate
            elif word == b"WITHSCORES" and not storing:
                self.with_scores = True
            else:
                raise syntax_error()
            at += 1

    def run(self, kind: int) -> Scores:
        """Return the resulting members with their scores."""
        if kind == DIFF:
            return self._difference()
        return self._union() if kind == UNION else self._intersection()

    def _by_size(self) -> list[int]:
        """Return the numbers of the sources, smallest first: sums depend on the order."""
        sizes = sorted([(len(source), number) for number, source in enumerate(self.sources)])
        return [number for _, number in sizes]

    def _joined(self, first: float, second: float) -> float:
        """Return two scores aggregated; of equal ones the first; a sum that is not a number is 0."""
        if self.aggregate == _MIN:
            return second if second < first else first
        if self.aggregate == _MAX:
            return second if second > first else first
        return _or_zero(first + second)

    def _union(self) -> Scores:
        result: Scores = {}
        for number in self._by_size():
            weight = self.weights[number]
            for member, score in self.sources[number].items():
                weighted = _or_zero(weight * score)
                known = result.get(member)
                result[member] = weighted if known is None else self._joined(known, weighted)
        return result

    def _intersection(self) -> Scores:
        result: Scores = {}
        order = self._by_size()
        first = order[0]
        others = order[1:]
        weight = self.weights[first]
        for member, score in self.sources[first].items():
            total = _or_zero(weight * score)
            inside = True
            for number in others:
                other = self.sources[number].get(member)
                if other is None:
                    inside = False
                    break
                total = self._joined(total, self.weights[number] * other)
            if inside:
                result[member] = total
        return result

    def count_intersection(self, limit: int) -> int:
        """Return the size of the intersection, counted up to `limit` if that is not 0."""
        order = self._by_size()
        others = order[1:]
        count = 0
        for member in self.sources[order[0]]:
            inside = True
            for number in others:
                if member not in self.sources[number]:
                    inside = False
                    break
            if inside:
                count += 1
                if count == limit:
                    break
        return count

    def _difference(self) -> Scores:
        result: Scores = {}
        for member, score in self.sources[0].items():
            inside = False
            for other in self.sources[1:]:
                if member in other:
                    inside = True
                    break
            if not inside:
                result[member] = score
        return result


def _or_zero(score: float) -> float:
    """Return `score`, 0 for what is not a number: 0 times infinity, inf - inf."""
    return 0.0 if isnan(score) else score


def _source(cx: Context, key: bytes) -> Scores:
    """Return the members at `key` with their scores; those of a set have 1."""
    entry = cx.db.lookup_read(key)
    if entry is None:
        return {}
    value = entry.value
    if isinstance(value, ZSetValue):
        return value.scores()
    if isinstance(value, SetValue):
        scores: Scores = {}
        for member in value.members:
            scores[member] = 1.0
        return scores
    raise wrong_type()


def _keys(argv: list[bytes], at: int, command: bytes) -> list[bytes]:
    """Return the keys behind the number at `at`."""
    count = parse_int(argv[at])
    if count is None:
        raise CommandError(b"ERR value is not an integer or out of range")
    if count < 1:
        raise CommandError(b"ERR at least 1 input key is needed for '" + command + b"' command")
    if count > len(argv) - at - 1:
        raise syntax_error()
    return argv[at + 1 : at + 1 + count]


def _operation(cx: Context, at: int, kind: int, storing: bool) -> Operation:
    """Return the operation in the arguments, whose number of keys stands at `at`."""
    argv = cx.argv
    keys = _keys(argv, at, argv[0].lower())
    operation = Operation([_source(cx, key) for key in keys])
    operation.parse_options(argv, at + 1 + len(keys), kind, storing)
    return operation


def _ordered(scores: Scores) -> tuple[list[bytes], list[float]]:
    """Return members and scores in order of (score, member)."""
    pairs = sorted([(score, member) for member, score in scores.items()])
    return [member for _, member in pairs], [score for score, _ in pairs]


def _reply(cx: Context, kind: int) -> object:
    """Run an operation and return its result."""
    operation = _operation(cx, 1, kind, False)
    members, scores = _ordered(operation.run(kind))
    if not operation.with_scores:
        return list(members)
    items: list[object] = []
    for i in range(len(members)):
        items.append(members[i])
        items.append(scores[i])
    return PairsReply(items)


def _store(cx: Context, kind: int, event: bytes) -> object:
    """Run an operation and store its result."""
    members, scores = _ordered(_operation(cx, 2, kind, True).run(kind))
    return store_result(cx, cx.argv[1], members, scores, event)


def zunion(cx: Context) -> object:
    """ZUNION numkeys key [key ...] [WEIGHTS w ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES] -> members of any."""
    return _reply(cx, UNION)


def zinter(cx: Context) -> object:
    """ZINTER numkeys key [key ...] [WEIGHTS w ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES] -> members of all."""
    return _reply(cx, INTER)


def zdiff(cx: Context) -> object:
    """ZDIFF numkeys key [key ...] [WITHSCORES] -> members of the first only."""
    return _reply(cx, DIFF)


def zunionstore(cx: Context) -> object:
    """ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS w ...] [AGGREGATE SUM|MIN|MAX] -> members stored."""
    return _store(cx, UNION, b"zunionstore")


def zinterstore(cx: Context) -> object:
    """ZINTERSTORE destination numkeys key [key ...] [WEIGHTS w ...] [AGGREGATE SUM|MIN|MAX] -> members stored."""
    return _store(cx, INTER, b"zinterstore")


def zdiffstore(cx: Context) -> object:
    """ZDIFFSTORE destination numkeys key [key ...] -> members stored."""
    return _store(cx, DIFF, b"zdiffstore")


def zintercard(cx: Context) -> object:
    """ZINTERCARD numkeys key [key ...] [LIMIT limit] -> size of the intersection."""
    argv = cx.argv
    keys = _keys(argv, 1, b"zintercard")
    sources = [_source(cx, key) for key in keys]
    limit = 0
    at = 2 + len(keys)
    while at < len(argv):
        if argv[at].upper() != b"LIMIT" or at + 1 >= len(argv):
            raise syntax_error()
        limit = integer_between(argv[at + 1], 0, INT64_MAX, b"ERR LIMIT can't be negative")
        at += 2
    return Operation(sources).count_intersection(limit)


Handler = Callable[[Context], object]


def commands() -> list[Command]:
    """Return the rows of this part of the group."""
    write = WRITE | DENYOOM
    rows: list[tuple[bytes, Handler, bytes, bytes]] = [
        (b"ZDIFF", zdiff, b"6.2.0", b"Subtracts sorted sets."),
        (b"ZINTER", zinter, b"6.2.0", b"Intersects sorted sets."),
        (b"ZINTERCARD", zintercard, b"7.0.0", b"Counts an intersection."),
        (b"ZUNION", zunion, b"6.2.0", b"Unites sorted sets."),
    ]
    table = [
        Command(name, -3, READONLY, handler, NUMKEYS1, since=since, summary=summary)
        for name, handler, since, summary in rows
    ]
    stores: list[tuple[bytes, Handler, bytes, bytes]] = [
        (b"ZDIFFSTORE", zdiffstore, b"6.2.0", b"Stores a difference."),
        (b"ZINTERSTORE", zinterstore, b"2.0.0", b"Stores an intersection."),
        (b"ZUNIONSTORE", zunionstore, b"2.0.0", b"Stores a union."),
    ]
    for name, handler, since, summary in stores:
        table.append(Command(name, -4, write, handler, STORE_NUMKEYS2, since=since, summary=summary))
    return table
