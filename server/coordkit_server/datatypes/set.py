"""A set of byte strings, and set algebra.

Members have Redis's order where Redis has one: an intset is sorted by value, a listpack keeps the order of insertion
(behind the sorted members if it was an intset); that of a hashtable is unspecified.

Map: SetValue, then the algebra: intersection, union, difference.
"""

from random import Random
from typing import Final

from mypy_extensions import mypyc_attr

from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.member_index import MemberIndex
from coordkit_server.datatypes.sampling import choose
from coordkit_server.datatypes.value import Value
from coordkit_server.numeric import parse_int

_INTSET: Final = 0
_LISTPACK: Final = 1
_HASHTABLE: Final = 2
_NAMES: Final[list[bytes]] = [b"intset", b"listpack", b"hashtable"]
# SPOP takes members out one by one only while more than a fifth as many stay; else it moves the rest to a new set
_MOVE_FACTOR: Final = 5


@mypyc_attr(acyclic=True)
class SetValue(Value):
    """The value of a set key."""

    def __init__(self) -> None:
        self.members: Final[dict[bytes, None]] = {}
        self._encoding: int = _INTSET
        self._sorted: bool = True  # an intset's members stand in `members` by value
        self._index: MemberIndex | None = None

    def type_name(self) -> bytes:
        """Return `set`."""
        return b"set"

    def encoding(self) -> bytes:
        """Return `intset`, `listpack` or `hashtable`."""
        return _NAMES[self._encoding]

    def length(self) -> int:
        """Return the number of members."""
        return len(self.members)

    def copy(self) -> Value:
        """Return an independent copy."""
        twin = SetValue()
        twin.members.update(self.members)
        twin._encoding = self._encoding
        twin._sorted = self._sorted
        return twin

    # -- members -------------------------------------------------------------------------------------------------

    def add(self, member: bytes, limits: Limits) -> bool:
        """Add a member; return False if it was there."""
        members = self.members
        if member in members:
            return False
        if self._encoding != _HASHTABLE:
            self._make_room(member, limits)
        members[member] = None
        if self._index is not None:
            self._index.add(member)
        return True

    def remove(self, member: bytes) -> bool:
        """Remove a member; return False if it was not there."""
        if member not in self.members:
            return False
        del self.members[member]
        if self._index is not None:
            self._index.remove(member)
        return True

    def listed(self) -> list[bytes]:
        """Return the members: an intset's by value, others in order of insertion."""
        if self._encoding == _INTSET:
            self._sort()
        return list(self.members)

    def _sort(self) -> None:
        """Put an intset's members in order."""
        if self._sorted:
            return
        ordered = sorted(self.members, key=int)
        self.members.clear()
        for member in ordered:
            self.members[member] = None
        self._sorted = True

    # -- encoding ------------------------------------------------------------------------------------------------

    def begin(self, first: bytes, count: int, limits: Limits) -> None:
        """Choose the encoding of an empty set that `count` members, `first` in front, are about to enter."""
        if count <= limits.set_max_intset_entries and parse_int(first) is not None:
            self._encoding = _INTSET
        else:
            self._encoding = _LISTPACK if count <= limits.set_max_listpack_entries else _HASHTABLE

    def expect(self, count: int, limits: Limits) -> None:
        """Become a hashtable if `count` members that are about to enter do not fit into what it is."""
        if self._encoding == _LISTPACK:
            if count > limits.set_max_listpack_entries:
                self._encoding = _HASHTABLE
        elif self._encoding == _INTSET and count > limits.set_max_intset_entries:
            self._encoding = _HASHTABLE

    def _make_room(self, member: bytes, limits: Limits) -> None:
        """Move to a wider encoding if the new `member` asks for it."""
        size = len(self.members)
        if self._encoding == _INTSET:
            if parse_int(member) is not None:
                self._sorted = size == 0
                if size >= limits.set_max_intset_entries:
                    self._encoding = _HASHTABLE
                return
            self._sort()
            longest = len(member)
            for known in self.members:
                longest = max(longest, len(known))
            fits = size < limits.set_max_listpack_entries and longest <= limits.set_max_listpack_value
            self._encoding = _LISTPACK if fits else _HASHTABLE
        elif size >= limits.set_max_listpack_entries or len(member) > limits.set_max_listpack_value:
            self._encoding = _HASHTABLE

    def narrow(self, limits: Limits) -> None:
        """Become an intset if all members are integers and not too many."""
        if self._encoding == _INTSET or len(self.members) > limits.set_max_intset_entries:
            return
        for member in self.members:
            if parse_int(member) is None:
                return
        self._encoding = _INTSET
        self._sorted = False

    # -- random members and walking ------------------------------------------------------------------------------

    def random_members(self, random: Random, count: int) -> list[bytes]:
        """Return random members of a set that is not empty: |count|, repeated for a negative `count`, else distinct."""
        if self._encoding != _HASHTABLE:
            return choose(random, self.listed(), count, in_order=self._encoding == _LISTPACK)
        return self._dense().choose(random, count)

    def pop_random(self, random: Random, count: int, limits: Limits) -> list[bytes]:
        """Remove and return `count` random members (0 < count < length)."""
        remaining = len(self.members) - count
        if remaining * _MOVE_FACTOR > count:
            popped = self.random_members(random, count)
            for member in popped:
                self.remove(member)
            return popped
        kept = self.random_members(random, remaining)
        for member in kept:
            self.remove(member)
        popped = self.listed()
        self.members.clear()
        self._index = None
        if self._encoding == _HASHTABLE:
            self._encoding = _LISTPACK
        for member in kept:
            self.add(member, limits)
        return popped

    def _dense(self) -> MemberIndex:
        """Return the dense index of the members of a hashtable."""
        index = self._index
        if index is None:
            index = MemberIndex(self.members)
            self._index = index
        return index

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Return (next cursor, members); a small set comes in one piece."""
        if self._encoding != _HASHTABLE:
            return 0, self.listed()
        return self._dense().scan(cursor, count)


def _size(value: SetValue) -> int:
    """Return the size: the key for sorting sets."""
    return len(value.members)


def intersection(sets: list[SetValue | None], limit: int) -> list[bytes]:
    """Return the members that are in all `sets` (None: an empty one), at most `limit` (0: all)."""
    present: list[SetValue] = []
    for value in sets:
        if value is None:
            return []
        present.append(value)
    present.sort(key=_size)
    found: list[bytes] = []
    others = present[1:]
    for member in present[0].listed():
        inside = True
        for other in others:
            if member not in other.members:
                inside = False
                break
        if inside:
            found.append(member)
            if len(found) == limit:
                break
    return found


def stored_intersection(sets: list[SetValue | None], limits: Limits) -> SetValue:
    """Return the intersection as a set of its own, encoded as Redis encodes it."""
    result = SetValue()
    smallest: SetValue | None = None
    for value in sets:
        if value is not None and (smallest is None or len(value.members) < len(smallest.members)):
            smallest = value
    if smallest is not None and smallest._encoding != _INTSET:
        result._encoding = _LISTPACK
    for member in intersection(sets, 0):
        result.add(member, limits)
    result.narrow(limits)
    return result


def union(sets: list[SetValue | None], limits: Limits) -> SetValue:
    """Return a set of the members that are in any of `sets`."""
    result = SetValue()
    for value in sets:
        if value is not None:
            for member in value.listed():
                result.add(member, limits)
    return result


def difference(sets: list[SetValue | None], limits: Limits) -> SetValue:
    """Return a set of the members of the first of `sets` that are in none of the others.

    Looks each member up in the others, or, where the others are small, takes their members from a copy of the first;
    Redis's choice between the two decides the encoding too."""
    result = SetValue()
    first = sets[0]
    if first is None or first in sets[1:]:
        return result
    others: list[SetValue] = []
    for value in sets[1:]:
        if value is not None:
            others.append(value)
    work = 0
    for other in others:
        work += len(other.members)
    size = len(first.members)
    if size * (len(others) + 1) // 2 <= size + work:
        others.sort(key=_size, reverse=True)
        for member in first.listed():
            inside = False
            for other in others:
                if member in other.members:
                    inside = True
                    break
            if not inside:
                result.add(member, limits)
        return result
    for member in first.listed():
        result.add(member, limits)
    for other in others:
        for member in other.members:
            result.remove(member)
    return result
