"""Range bounds of sorted sets: by rank, by score, by member; parsed, and turned into ranks."""

from math import inf, isnan

from coordkit_server.datatypes.zset import ZSetValue
from coordkit_server.errors import CommandError
from coordkit_server.numeric import parse_c_float, parse_float

MIN_MAX_NOT_FLOAT = b"ERR min or max is not a float"
MIN_MAX_NOT_LEX = b"ERR min or max not valid string range item"


class ScoreRange:
    """Scores from `low` to `high`; each end may be exclusive."""

    def __init__(self, low: bytes, high: bytes) -> None:
        self.low_exclusive: bool = low[:1] == b"("
        self.high_exclusive: bool = high[:1] == b"("
        self.low: float = _score_bound(low[1:] if self.low_exclusive else low)
        self.high: float = _score_bound(high[1:] if self.high_exclusive else high)

    def ranks(self, value: ZSetValue) -> tuple[int, int]:
        """Return the ranks of the range: start, and end exclusive (start <= end)."""
        start = 0 if self.low == -inf and not self.low_exclusive else value.count_below(self.low, self.low_exclusive)
        if self.high == inf and not self.high_exclusive:
            return start, value.length()
        stop = value.count_below(self.high, not self.high_exclusive)
        return start, max(start, stop)


def _score_bound(text: bytes) -> float:
    """Return the score that `text` spells; raises."""
    number = parse_c_float(text)
    if number is None:
        raise CommandError(MIN_MAX_NOT_FLOAT)
    return number


class LexRange:
    """Members from `low` to `high`, in byte order; `-` and `+` are the ends.

    `low_side` and `high_side`: -1 before all members, 1 after all, 0 for a bound that is a member."""

    def __init__(self, low: bytes, high: bytes) -> None:
        self.low_side: int = _lex_side(low)
        self.high_side: int = _lex_side(high)
        self.low: bytes = low[1:]
        self.high: bytes = high[1:]
        self.low_exclusive: bool = low[:1] == b"("
        self.high_exclusive: bool = high[:1] == b"("

    def ranks(self, value: ZSetValue) -> tuple[int, int]:
        """Return the ranks of the range: start, and end exclusive (start <= end)."""
        if value.packed and not value.even():
            return self.walk(value, 0, False)
        size = value.length()
        start = _lex_rank(value, self.low_side, self.low, self.low_exclusive, size)
        stop = _lex_rank(value, self.high_side, self.high, not self.high_exclusive, size)
        return start, max(start, stop)

    def walk(self, value: ZSetValue, offset: int, reverse: bool) -> tuple[int, int]:
        """Return the ranks of the range of a set with different scores, less `offset` members.

        What such a range is, Redis leaves open; a packed set is gone through from one end, as it does."""
        members = value.members(0, value.length())
        size = len(members)
        if self._is_empty() or self._is_below(members[size - 1]) or self._is_above(members[0]):
            return 0, 0
        step = -1 if reverse else 1
        at = size - 1 if reverse else 0
        while 0 <= at < size and (self._is_above(members[at]) if reverse else self._is_below(members[at])):
            at += step
        if not 0 <= at < size or (self._is_below(members[at]) if reverse else self._is_above(members[at])):
            return 0, 0
        if offset < 0 or offset >= (at + 1 if reverse else size - at):
            return 0, 0
        at += step * offset
        end = at
        while 0 <= end < size and not (self._is_below(members[end]) if reverse else self._is_above(members[end])):
            end += step
        return (end + 1, at + 1) if reverse else (at, end)

    def _is_empty(self) -> bool:
        """Return True if no member at all can be in the range."""
        if self.low_side > 0 or self.high_side < 0:
            return True
        if self.low_side or self.high_side:
            return False
        return self.low > self.high or (self.low == self.high and (self.low_exclusive or self.high_exclusive))

    def _is_below(self, member: bytes) -> bool:
        """Return True if `member` stands before the low end."""
        if self.low_side:
            return self.low_side > 0
        return member < self.low or (self.low_exclusive and member == self.low)

    def _is_above(self, member: bytes) -> bool:
        """Return True if `member` stands behind the high end."""
        if self.high_side:
            return self.high_side < 0
        return member > self.high or (self.high_exclusive and member == self.high)


def _lex_side(text: bytes) -> int:
    """Return -1 for `-`, 1 for `+`, 0 for `[member` and `(member`; raises for anything else."""
    if text == b"-":
        return -1
    if text == b"+":
        return 1
    if text[:1] in (b"[", b"("):
        return 0
    raise CommandError(MIN_MAX_NOT_LEX)


def _lex_rank(value: ZSetValue, side: int, member: bytes, after: bool, size: int) -> int:
    """Return the rank in front of `member`, or behind it if `after`; the ends for `side` -1 and 1."""
    if side < 0:
        return 0
    if side > 0:
        return size
    return value.count_before(member, after)


def parse_score(text: bytes) -> float | None:
    """Return the score that `text` spells, None for text that is none."""
    number = parse_float(text)
    return None if number is None or isnan(number) else number


def plus(first: float, second: float) -> float | None:
    """Return the sum of two scores, None for inf - inf."""
    if (first == inf and second == -inf) or (first == -inf and second == inf):
        return None
    return first + second
