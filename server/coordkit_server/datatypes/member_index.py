"""A dense list of the members of a large collection: uniform random members in O(1), and SCAN with a plain cursor.

It is made when a collection is first scanned or sampled, and kept up from then on.  A removed member's place is taken
by the last one, and a scan walks from the end to the front: a member can only move towards places still to be
visited, so one that is there from start to end is returned at least once.
"""

from collections.abc import Iterable
from random import Random
from typing import Final

from coordkit_server.datatypes.sampling import choose


class MemberIndex:
    """Members by position, and the position of each."""

    def __init__(self, members: Iterable[bytes]) -> None:
        self._order: Final[list[bytes]] = list(members)
        self._slots: Final[dict[bytes, int]] = {}
        for slot, member in enumerate(self._order):
            self._slots[member] = slot

    def add(self, member: bytes) -> None:
        """Enter a member that is not there yet."""
        self._slots[member] = len(self._order)
        self._order.append(member)

    def remove(self, member: bytes) -> None:
        """Take out a member that is there."""
        slot = self._slots.pop(member)
        last = self._order.pop()
        if slot < len(self._order):
            self._order[slot] = last
            self._slots[last] = slot

    def at(self, position: int) -> bytes:
        """Return the member at `position` (0 <= position < size)."""
        return self._order[position]

    def choose(self, random: Random, count: int) -> list[bytes]:
        """Return |count| random members, with repetition for a negative `count`."""
        return choose(random, self._order, count)

    def size(self) -> int:
        """Return the number of members."""
        return len(self._order)

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Return (next cursor, at most `count` members); cursor 0 starts, a returned 0 ends."""
        size = len(self._order)
        end = size if cursor == 0 or cursor > size else cursor
        start = end - count
        if start <= 0:
            return 0, self._order[:end]
        return start, self._order[start:end]
