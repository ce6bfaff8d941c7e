"""A set of byte strings.  One that holds integers only is an intset and comes sorted, as in Redis."""

from typing import Final

from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.member_index import MemberIndex
from coordkit_server.datatypes.value import Value
from coordkit_server.numeric import parse_int

_INTSET: Final = 0
_LISTPACK: Final = 1
_HASHTABLE: Final = 2
_NAMES: Final[list[bytes]] = [b"intset", b"listpack", b"hashtable"]


class SetValue(Value):
    """The value of a set key."""

    def __init__(self) -> None:
        self.members: Final[dict[bytes, None]] = {}
        self._encoding: int = _INTSET
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
        return twin

    def add(self, member: bytes, limits: Limits) -> bool:
        """Add a member; return False if it was there."""
        members = self.members
        if member in members:
            return False
        members[member] = None
        if self._index is not None:
            self._index.add(member)
        if self._encoding != _HASHTABLE:
            self._encode(member, limits)
        return True

    def _encode(self, member: bytes, limits: Limits) -> None:
        """Move to a wider encoding if the new `member` asks for it."""
        size = len(self.members)
        if self._encoding == _INTSET:
            if parse_int(member) is not None:
                if size > limits.set_max_intset_entries:
                    self._encoding = _HASHTABLE
                return
            longest = 0
            for known in self.members:
                longest = max(longest, len(known))
            fits = size <= limits.set_max_listpack_entries and longest <= limits.set_max_listpack_value
            self._encoding = _LISTPACK if fits else _HASHTABLE
        elif size > limits.set_max_listpack_entries or len(member) > limits.set_max_listpack_value:
            self._encoding = _HASHTABLE

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
            return sorted(self.members, key=int)
        return list(self.members)

    def index(self) -> MemberIndex:
        """Return the dense index of the members."""
        index = self._index
        if index is None:
            index = MemberIndex(self.members)
            self._index = index
        return index

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Return (next cursor, members); a small set comes in one piece."""
        if self._encoding != _HASHTABLE:
            return 0, self.listed()
        return self.index().scan(cursor, count)
