"""A list: one Python list with a gap at its head, so that both ends and every index cost O(1).

`_items[_head:]` are the elements; the places before `_head` are empty.  A push on the left without a gap makes one as
long as the list; a gap of more than three times the elements shrinks to their number.  Between two such moves of
n elements lie at least n / 2 pushes or pops, which makes them O(1) on average whatever the order.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.listpack import HEADER_BYTES, entries_bytes, entry_bytes
from coordkit_server.datatypes.value import Value

_EMPTY: Final = b""
_MIN_GAP: Final = 16
# bytes that list-max-listpack-size -1 .. -5 stand for
_SIZE_CLASSES: Final[list[int]] = [4096, 8192, 16384, 32768, 65536]
# a listpack limited by its number of elements may not be larger either
_SAFE_BYTES: Final = 8192


@mypyc_attr(acyclic=True)
class ListValue(Value):
    """The value of a list key."""

    def __init__(self) -> None:
        self._items: list[bytes] = []
        self._head: int = 0
        self.packed: bool = True
        self._bytes: int = HEADER_BYTES  # as one listpack

    def type_name(self) -> bytes:
        """Return `list`."""
        return b"list"

    def encoding(self) -> bytes:
        """Return `listpack` or `quicklist`."""
        return b"listpack" if self.packed else b"quicklist"

    def length(self) -> int:
        """Return the number of elements."""
        return len(self._items) - self._head

    def copy(self) -> Value:
        """Return an independent copy."""
        twin = ListValue()
        twin._items = self._items[self._head :]
        twin.packed = self.packed
        twin._bytes = self._bytes
        return twin

    # -- ends ----------------------------------------------------------------------------------------------------

    def push_right(self, element: bytes) -> None:
        """Add `element` at the end."""
        self._items.append(element)
        self._bytes += entry_bytes(element)

    def push_left(self, element: bytes) -> None:
        """Add `element` at the start."""
        if self._head == 0:
            gap = max(len(self._items), _MIN_GAP)
            self._items[0:0] = [_EMPTY] * gap
            self._head = gap
        self._head -= 1
        self._items[self._head] = element
        self._bytes += entry_bytes(element)

    def pop_right(self) -> bytes:
        """Remove and return the last element of a list that is not empty."""
        element = self._items.pop()
        self._bytes -= entry_bytes(element)
        if self._head > _MIN_GAP:
            self._narrow_gap()
        return element

    def pop_left(self) -> bytes:
        """Remove and return the first element of a list that is not empty."""
        head = self._head
        element = self._items[head]
        self._items[head] = _EMPTY
        self._head = head + 1
        self._bytes -= entry_bytes(element)
        if head > _MIN_GAP:
            self._narrow_gap()
        return element

    def take_left(self, count: int) -> list[bytes]:
        """Remove and return the first `count` elements (0 <= count <= length)."""
        taken = self._items[self._head : self._head + count]
        self._bytes -= entries_bytes(taken)
        self._drop_left(count)
        return taken

    def take_right(self, count: int) -> list[bytes]:
        """Remove and return the last `count` elements (0 <= count <= length), the last one first."""
        at = len(self._items) - count
        taken = self._items[at:]
        del self._items[at:]
        self._bytes -= entries_bytes(taken)
        self._narrow_gap()
        taken.reverse()
        return taken

    def _drop_left(self, count: int) -> None:
        """Make the first `count` elements part of the gap."""
        head = self._head
        self._items[head : head + count] = [_EMPTY] * count
        self._head = head + count
        self._narrow_gap()

    def _narrow_gap(self) -> None:
        """Give places at the head back if they are by far more than the elements."""
        size = len(self._items) - self._head
        if self._head > 3 * size + _MIN_GAP:
            del self._items[: self._head - size]
            self._head = size

    # -- places --------------------------------------------------------------------------------------------------

    def at(self, index: int) -> bytes:
        """Return the element at `index` (0 <= index < length)."""
        return self._items[self._head + index]

    def range(self, start: int, stop: int) -> list[bytes]:
        """Return the elements from `start` up to `stop`, exclusive (0 <= start <= stop <= length)."""
        return self._items[self._head + start : self._head + stop]

    def set_at(self, index: int, element: bytes) -> None:
        """Replace the element at `index`."""
        place = self._head + index
        self._bytes += entry_bytes(element) - entry_bytes(self._items[place])
        self._items[place] = element

    def insert(self, index: int, element: bytes) -> None:
        """Put `element` in front of the one at `index`."""
        self._items.insert(self._head + index, element)
        self._bytes += entry_bytes(element)

    def keep(self, start: int, stop: int) -> None:
        """Keep the elements from `start` up to `stop`, exclusive, and drop the others; costs as much as is dropped."""
        self.take_right(self.length() - stop)
        self.take_left(start)

    # -- equal elements ------------------------------------------------------------------------------------------

    def positions(self, element: bytes, *, rank: int = 1, wanted: int = 0, looked_at: int = 0) -> list[int]:
        """Return the indexes of equal elements, in the order of the search.

        `rank` n starts with the n-th match, -n with the n-th from the end and searches backwards; `wanted` and
        `looked_at` bound the number of results and of elements compared, 0 for no bound."""
        if rank < 0:
            return self._positions_backwards(element, -1 - rank, wanted, looked_at)
        head = self._head
        items = self._items
        end = len(items)
        if looked_at and head + looked_at < end:
            end = head + looked_at
        skip = rank - 1
        found: list[int] = []
        place = head
        try:
            while True:  # until `index` finds no more
                place = items.index(element, place, end) + 1
                if skip > 0:
                    skip -= 1
                    continue
                found.append(place - 1 - head)
                if len(found) == wanted:
                    break
        except ValueError:
            pass  # there are no more
        return found

    def _positions_backwards(self, element: bytes, skip: int, wanted: int, looked_at: int) -> list[int]:
        """Return the indexes of equal elements from the end, without the first `skip`."""
        head = self._head
        items = self._items
        start = head
        if looked_at and len(items) - looked_at > head:
            start = len(items) - looked_at
        found: list[int] = []
        place = len(items) - 1
        while place >= start:
            if items[place] == element:
                if skip > 0:
                    skip -= 1
                else:
                    found.append(place - head)
                    if len(found) == wanted:
                        break
            place -= 1
        return found

    def remove(self, element: bytes, count: int) -> int:
        """Remove `element`: the first `count`, the last -count, or all for 0; return how many there were."""
        found = self.positions(element, rank=-1 if count < 0 else 1, wanted=abs(count))
        if not found:
            return 0
        self._bytes -= len(found) * entry_bytes(element)
        if len(found) == 1:
            del self._items[self._head + found[0]]
            return 1
        if count < 0:
            found.reverse()
        kept: list[bytes] = []
        start = self._head
        for index in found:
            place = self._head + index
            kept.extend(self._items[start:place])
            start = place + 1
        kept.extend(self._items[start:])
        self._items = kept
        self._head = 0
        return len(found)

    # -- encoding ------------------------------------------------------------------------------------------------

    def expect(self, argv: list[bytes], at: int, limits: Limits) -> None:
        """Become a quicklist if the elements from `argv[at]` on will not fit into a listpack.

        As Redis does, their plain lengths are counted before anything is added."""
        if not self.packed:
            return
        size = self._bytes
        for i in range(at, len(argv)):
            size += len(argv[i])
        self.packed = _fits(size, self.length() + len(argv) - at, limits.list_max_listpack_size, 1)

    def settle(self, limits: Limits) -> None:
        """Choose the encoding of a list that was filled at once."""
        self.packed = _fits(self._bytes, self.length(), limits.list_max_listpack_size, 1)

    def shrink(self, limits: Limits) -> None:
        """Become a listpack again, after a removal, once half the limit is enough."""
        if not self.packed:
            self.packed = _fits(self._bytes, self.length(), limits.list_max_listpack_size, 2)


def _fits(size_bytes: int, length: int, limit: int, part: int) -> bool:
    """Return True if a listpack stays within 1/`part` of list-max-listpack-size."""
    if limit < 0:
        most = _SIZE_CLASSES[-limit - 1] if limit >= -len(_SIZE_CLASSES) else _SIZE_CLASSES[-1]
        return size_bytes <= most // part
    # a node of a quicklist takes any element if it is alone there
    return length <= max(limit, 1) // part and (size_bytes <= _SAFE_BYTES or (part > 1 and length == 1))
