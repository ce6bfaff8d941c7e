"""A sorted set: members with a score, by member and in order of (score, member).

A small one is one byte string (`packed_scores`).  One that outgrows it becomes `LargeScores`, with a dictionary and an
ordered structure, and stays so.  That is no matter of `packed`, which says what Redis would call a listpack: limits
that are set at run time, and what some commands do to a small set, decide that.
"""

from typing import Final

from mypy_extensions import i32, mypyc_attr

from coordkit_server.datatypes import packed_scores
from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.member_index import MemberIndex
from coordkit_server.datatypes.sorted_members import ScoreTest, SortedMembers
from coordkit_server.datatypes.value import Value


class LargeScores:
    """The members of a large sorted set."""

    def __init__(self) -> None:
        self.scores: Final[dict[bytes, float]] = {}
        self.order: SortedMembers = SortedMembers()
        self._index: MemberIndex | None = None

    def copy(self) -> "LargeScores":
        """Return an independent copy."""
        twin = LargeScores()
        twin.scores.update(self.scores)
        twin.order = self.order.copy()
        return twin

    def add(self, member: bytes, score: float) -> None:
        """Enter a member that is not there."""
        self.scores[member] = score
        self.order.insert(score, member)
        if self._index is not None:
            self._index.add(member)

    def move(self, member: bytes, old: float, score: float) -> None:
        """Give a member that has the score `old` another one."""
        self.scores[member] = score
        self.order.remove(old, member)
        self.order.insert(score, member)

    def remove(self, member: bytes) -> bool:
        """Remove a member; return False if it was not there."""
        score = self.scores.get(member)
        if score is None:
            return False
        del self.scores[member]
        self.order.remove(score, member)
        if self._index is not None:
            self._index.remove(member)
        return True

    def pop(self, highest: bool) -> tuple[float, bytes]:
        """Remove and return (score, member) from one end of a set that is not empty."""
        score, member = self.order.pop_last() if highest else self.order.pop_first()
        del self.scores[member]
        if self._index is not None:
            self._index.remove(member)
        return score, member

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Return (next cursor, members)."""
        index = self._index
        if index is None:
            index = MemberIndex(self.scores)
            self._index = index
        return index.scan(cursor, count)


@mypyc_attr(acyclic=True)
class ZSetValue(Value):
    """The value of a sorted set key."""

    def __init__(self) -> None:
        self._records: bytes = b""  # all members while there is no `_large`
        self._count: i32 = 0
        self.packed: bool = True
        self._large: LargeScores | None = None

    def type_name(self) -> bytes:
        """Return `zset`."""
        return b"zset"

    def encoding(self) -> bytes:
        """Return `listpack` or `skiplist`."""
        return b"listpack" if self.packed else b"skiplist"

    def length(self) -> int:
        """Return the number of members."""
        return self._count

    def copy(self) -> Value:
        """Return an independent copy."""
        twin = ZSetValue()
        twin._records = self._records
        twin._count = self._count
        twin.packed = self.packed
        if self._large is not None:
            twin._large = self._large.copy()
        return twin

    def small_bytes(self) -> int:
        """Return the bytes of the records of a small set, 0 for a large one."""
        return len(self._records)

    # -- changing ------------------------------------------------------------------------------------------------

    def set(self, member: bytes, score: float, limits: Limits) -> bool:
        """Give `member` the score; return True if it is new."""
        old = self.score(member)
        if old is None:
            self.add(member, score, limits)
            return True
        if old != score:
            self.move(member, old, score)
        return False

    def add(self, member: bytes, score: float, limits: Limits) -> None:
        """Enter a member that is not there.

        A packed set keeps whole scores as integers, and so a zero without its sign."""
        count = self._count
        if self.packed:
            if count >= limits.zset_max_listpack_entries or len(member) > limits.zset_max_listpack_value:
                self.packed = False
            elif score == 0.0:
                score = 0.0
        large = self._large
        if large is None:
            if packed_scores.fits(self._records, count, member):
                self._records = packed_scores.inserted(self._records, score, member)
                self._count = count + 1
                return
            large = self._grown()
        large.add(member, score)
        self._count = count + 1

    def move(self, member: bytes, old: float, score: float) -> None:
        """Give a member that has the score `old` another one."""
        if self.packed and score == 0.0:
            score = 0.0
        if self._large is not None:
            self._large.move(member, old, score)
            return
        records = self._records
        self._records = packed_scores.inserted(
            packed_scores.removed(records, packed_scores.find(records, member)), score, member
        )

    def _grown(self) -> LargeScores:
        """Become large."""
        large = LargeScores()
        scores, members = packed_scores.listed(self._records, 0, self._count)
        for place in range(len(members)):
            large.add(members[place], scores[place])
        self._large = large
        self._records = b""
        return large

    def expect(self, count: int, limits: Limits) -> None:
        """Prepare for a command that names `count` members: too many end the packed form before the first is added."""
        if count > limits.zset_max_listpack_entries:
            self.packed = False

    def remove(self, member: bytes) -> bool:
        """Remove a member; return False if it was not there."""
        if self._large is not None:
            if not self._large.remove(member):
                return False
        else:
            at = packed_scores.find(self._records, member)
            if at < 0:
                return False
            self._records = packed_scores.removed(self._records, at)
        self._count -= 1
        return True

    def remove_range(self, start: int, stop: int) -> None:
        """Remove the members from rank `start` up to `stop`, exclusive (0 <= start <= stop <= length)."""
        large = self._large
        if large is None:
            self._records = packed_scores.cut(self._records, start, stop)
        else:
            for member in large.order.members(start, stop):
                large.remove(member)
        self._count -= stop - start

    def pop(self, highest: bool) -> tuple[float, bytes]:
        """Remove and return (score, member) from one end of a set that is not empty."""
        if self._large is not None:
            score, member = self._large.pop(highest)
            self._count -= 1
            return score, member
        last = self._count - 1 if highest else 0
        score, member = self.at(last)
        self.remove_range(last, last + 1)
        return score, member

    # -- asking --------------------------------------------------------------------------------------------------

    def score(self, member: bytes) -> float | None:
        """Return the score of `member`, None if it is not there."""
        if self._large is not None:
            return self._large.scores.get(member)
        at = packed_scores.find(self._records, member)
        return None if at < 0 else packed_scores.score_at(self._records, at)

    def scores(self) -> dict[bytes, float]:
        """Return the score of each member, not to be changed: it may be the set itself."""
        if self._large is not None:
            return self._large.scores
        found: dict[bytes, float] = {}
        scores, members = packed_scores.listed(self._records, 0, self._count)
        for place in range(len(members)):
            found[members[place]] = scores[place]
        return found

    def rank(self, member: bytes) -> int:
        """Return the rank of `member`, lowest score first; -1 if absent."""
        if self._large is None:
            at = packed_scores.find(self._records, member)
            return -1 if at < 0 else packed_scores.rank(self._records, at)
        score = self._large.scores.get(member)
        return -1 if score is None else self._large.order.rank(score, member)

    def at(self, rank: int) -> tuple[float, bytes]:
        """Return (score, member) at `rank` (0 <= rank < length)."""
        if self._large is not None:
            return self._large.order.at(rank)
        scores, members = packed_scores.listed(self._records, rank, rank + 1)
        return scores[0], members[0]

    def range(self, start: int, stop: int) -> tuple[list[float], list[bytes]]:
        """Return the scores and members from rank `start` up to `stop`, exclusive (0 <= start <= stop <= length)."""
        if self._large is not None:
            return self._large.order.range(start, stop)
        return packed_scores.listed(self._records, start, stop)

    def members(self, start: int, stop: int) -> list[bytes]:
        """Return the members alone of what `range` returns."""
        if self._large is not None:
            return self._large.order.members(start, stop)
        return packed_scores.listed(self._records, start, stop)[1]

    def wanted(self, low: float, high: float, test: ScoreTest) -> list[bytes]:
        """Return the members with scores from `low` up to `high`, exclusive, for which `test` holds, in order."""
        if self._large is not None:
            return self._large.order.wanted(low, high, test)
        scores, members = packed_scores.listed(self._records, 0, -1)
        return [members[i] for i in range(len(scores)) if low <= scores[i] < high and test.holds(scores[i])]

    def count_below(self, score: float, inclusive: bool) -> int:
        """Return how many members have a score below `score`, or up to it if `inclusive`."""
        if self._large is not None:
            return self._large.order.count_below(score, inclusive)
        return packed_scores.count_below(self._records, score, inclusive)

    def count_before(self, member: bytes, inclusive: bool) -> int:
        """Return how many members stand before `member` in byte order, it included if `inclusive`.

        Scores are ignored: the members are taken to be in byte order, as they are when all scores are equal."""
        if self._large is not None:
            return self._large.order.count_before(member, inclusive)
        return packed_scores.count_before(self._records, member, inclusive)

    def even(self) -> bool:
        """Return True if all scores are equal: then the members are in byte order."""
        return packed_scores.even(self._records) if self._large is None else self._large.order.even()

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Return (next cursor, members); a packed set comes in one piece, in order."""
        if self.packed:
            return 0, self.members(0, self._count)
        large = self._large
        if large is None:  # SCAN's promise needs a place that a member keeps
            large = self._grown()
        return large.scan(cursor, count)
