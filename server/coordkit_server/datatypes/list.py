"""A list: one Python list with a gap at its head, so that both ends and every index cost O(1).

`_items[_head:]` are the elements; the places before `_head` are empty.  A push on the left without a gap makes one as
long as the list, which costs O(1) a push on average.
"""

from typing import Final

from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.value import Value

_EMPTY: Final = b""
_MIN_GAP: Final = 16
# bytes that list-max-listpack-size -1 .. -5 stand for
_SIZE_CLASSES: Final[list[int]] = [4096, 8192, 16384, 32768, 65536]
_PACKED_HEADER: Final = 7
# a quicklist this short may become a listpack again
_SHRINK_LENGTH: Final = 128


class ListValue(Value):
    """The value of a list key."""

    def __init__(self) -> None:
        self._items: list[bytes] = []
        self._head: int = 0
        self._packed: bool = True
        self._packed_bytes: int = _PACKED_HEADER  # kept while packed

    def type_name(self) -> bytes:
        """Return `list`."""
        return b"list"

    def encoding(self) -> bytes:
        """Return `listpack` or `quicklist`."""
        return b"listpack" if self._packed else b"quicklist"

    def length(self) -> int:
        """Return the number of elements."""
        return len(self._items) - self._head

    def copy(self) -> Value:
        """Return an independent copy."""
        twin = ListValue()
        twin._items = self._items[self._head :]
        twin._packed = self._packed
        twin._packed_bytes = self._packed_bytes
        return twin

    def push_right(self, element: bytes) -> None:
        """Add `element` at the end."""
        self._items.append(element)
        if self._packed:
            self._packed_bytes += _entry_bytes(element)

    def push_left(self, element: bytes) -> None:
        """Add `element` at the start."""
        if self._head == 0:
            gap = max(len(self._items), _MIN_GAP)
            self._items[0:0] = [_EMPTY] * gap
            self._head = gap
        self._head -= 1
        self._items[self._head] = element
        if self._packed:
            self._packed_bytes += _entry_bytes(element)

    def pop_right(self) -> bytes:
        """Remove and return the last element of a list that is not empty."""
        element = self._items.pop()
        if self._packed:
            self._packed_bytes -= _entry_bytes(element)
        return element

    def pop_left(self) -> bytes:
        """Remove and return the first element of a list that is not empty."""
        head = self._head
        element = self._items[head]
        self._items[head] = _EMPTY
        head += 1
        self._head = head
        if head > _MIN_GAP and head * 2 > len(self._items):
            del self._items[:head]
            self._head = 0
        if self._packed:
            self._packed_bytes -= _entry_bytes(element)
        return element

    def at(self, index: int) -> bytes:
        """Return the element at `index` (0 <= index < length)."""
        return self._items[self._head + index]

    def range(self, start: int, stop: int) -> list[bytes]:
        """Return the elements from `start` up to `stop`, exclusive (0 <= start <= stop <= length)."""
        return self._items[self._head + start : self._head + stop]

    def set_at(self, index: int, element: bytes) -> None:
        """Replace the element at `index`."""
        place = self._head + index
        if self._packed:
            self._packed_bytes += _entry_bytes(element) - _entry_bytes(self._items[place])
        self._items[place] = element

    def insert(self, index: int, element: bytes) -> None:
        """Put `element` in front of the one at `index`."""
        self._items.insert(self._head + index, element)
        if self._packed:
            self._packed_bytes += _entry_bytes(element)

    def find(self, element: bytes) -> int:
        """Return the index of the first equal element, -1 if there is none."""
        items = self._items
        for place in range(self._head, len(items)):
            if items[place] == element:
                return place - self._head
        return -1

    def keep(self, start: int, stop: int) -> None:
        """Keep the elements from `start` up to `stop`, exclusive, and drop the others."""
        self._replace(self.range(start, stop))

    def remove(self, element: bytes, count: int) -> int:
        """Remove `element`: the first `count`, the last -count, or all for 0; return how many there were."""
        items = self.range(0, self.length())
        if count < 0:
            items.reverse()
        most = abs(count) if count else len(items)
        kept: list[bytes] = []
        removed = 0
        for item in items:
            if removed < most and item == element:
                removed += 1
            else:
                kept.append(item)
        if removed:
            if count < 0:
                kept.reverse()
            self._replace(kept)
        return removed

    def _replace(self, items: list[bytes]) -> None:
        """Make `items` the elements."""
        self._items = items
        self._head = 0
        if self._packed:
            self._packed_bytes = _packed_size(items)

    def fit(self, limits: Limits) -> None:
        """Choose the encoding after a change: a listpack within the limit, else a quicklist."""
        size = max(limits.list_max_listpack_size, -len(_SIZE_CLASSES)) or 1
        if self._packed:
            if size >= 0:
                fits = self.length() <= size
            else:
                fits = self._packed_bytes <= _SIZE_CLASSES[-size - 1]
            self._packed = fits
        elif self.length() <= _SHRINK_LENGTH:
            self._shrink(size)

    def _shrink(self, size: int) -> None:
        """Become a listpack again at half the limit."""
        if size >= 0:
            fits = self.length() * 2 <= size
        else:
            fits = _packed_size(self.range(0, self.length())) * 2 <= _SIZE_CLASSES[-size - 1]
        if fits:
            self._packed = True
            self._packed_bytes = _packed_size(self.range(0, self.length()))


def _entry_bytes(element: bytes) -> int:
    """Return about what `element` takes in a listpack: its bytes, a header and the length backwards."""
    size = len(element)
    if size < 64:
        return size + 2
    return size + (4 if size < 4096 else 9)


def _packed_size(items: list[bytes]) -> int:
    """Return about what `items` take as a listpack."""
    total = _PACKED_HEADER
    for item in items:
        total += _entry_bytes(item)
    return total
