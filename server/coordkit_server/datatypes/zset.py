"""A sorted set: members with a score, by member and in order of (score, member)."""

from typing import Final

from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.member_index import MemberIndex
from coordkit_server.datatypes.sorted_members import SortedMembers
from coordkit_server.datatypes.value import Value


class ZSetValue(Value):
    """The value of a sorted set key."""

    def __init__(self) -> None:
        self.scores: Final[dict[bytes, float]] = {}
        self.order: SortedMembers = SortedMembers()
        self.packed: bool = True
        self._index: MemberIndex | None = None

    def type_name(self) -> bytes:
        """Return `zset`."""
        return b"zset"

    def encoding(self) -> bytes:
        """Return `listpack` or `skiplist`."""
        return b"listpack" if self.packed else b"skiplist"

    def length(self) -> int:
        """Return the number of members."""
        return len(self.scores)

    def copy(self) -> Value:
        """Return an independent copy."""
        twin = ZSetValue()
        twin.scores.update(self.scores)
        twin.order = self.order.copy()
        twin.packed = self.packed
        return twin

    def set(self, member: bytes, score: float, limits: Limits) -> bool:
        """Give `member` the score; return True if it is new.

        A packed set keeps whole scores as integers, and so a zero without its sign."""
        scores = self.scores
        old = scores.get(member)
        if old is None:
            if self.packed:
                if len(scores) >= limits.zset_max_listpack_entries or len(member) > limits.zset_max_listpack_value:
                    self.packed = False
                elif score == 0.0:
                    score = 0.0
            scores[member] = score
            self.order.insert(score, member)
            if self._index is not None:
                self._index.add(member)
            return True
        if old != score:
            if self.packed and score == 0.0:
                score = 0.0
            scores[member] = score
            self.order.remove(old, member)
            self.order.insert(score, member)
        return False

    def expect(self, count: int, limits: Limits) -> None:
        """Prepare for a command that names `count` members: too many end the packed form before the first is added."""
        if count > limits.zset_max_listpack_entries:
            self.packed = False

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

    def rank(self, member: bytes) -> int:
        """Return the rank of `member`, lowest score first; -1 if absent."""
        score = self.scores.get(member)
        return -1 if score is None else self.order.rank(score, member)

    def _dense(self) -> MemberIndex:
        """Return the dense index of the members."""
        index = self._index
        if index is None:
            index = MemberIndex(self.scores)
            self._index = index
        return index

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Return (next cursor, members); a packed set comes in one piece, in order."""
        if self.packed:
            return 0, self.order.range(0, self.order.size())[1]
        return self._dense().scan(cursor, count)
