"""Members ordered by (score, member): insert, remove, rank and select in O(log n), ranges in O(log n + m).

The order is kept in chunks of at most CHUNK_MAX elements, each a list of scores and a list of members.  `_tree` is a
Fenwick tree over the chunk sizes, made anew when the number of chunks changes, which happens once in some hundreds of
inserts or removals.  No chunk is empty unless the whole is.

Source: the chunked order is that of the `sortedcontainers` documentation ("Implementation Details"); Fenwick,
"A new data structure for cumulative frequency tables" (1994).
"""

from bisect import bisect_left
from typing import Final

CHUNK_MAX: Final = 512
CHUNK_SMALL: Final = 128


class Chunk:
    """A run of neighbours in the order."""

    def __init__(self, scores: list[float], members: list[bytes]) -> None:
        self.scores: list[float] = scores
        self.members: list[bytes] = members

    def lower(self, score: float, member: bytes) -> int:
        """Return how many elements stand before (score, member)."""
        scores = self.scores
        members = self.members
        low = 0
        high = len(scores)
        if high > 0 and scores[0] == score and scores[high - 1] == score:
            return bisect_left(members, member)  # in C: three times faster than the loop below
        while low < high:
            middle = (low + high) >> 1
            other = scores[middle]
            if other < score or (other == score and members[middle] < member):
                low = middle + 1
            else:
                high = middle
        return low

    def count_below(self, score: float, inclusive: bool) -> int:
        """Return how many elements have a score below `score`, or up to it if `inclusive`."""
        scores = self.scores
        low = 0
        high = len(scores)
        while low < high:
            middle = (low + high) >> 1
            other = scores[middle]
            if other < score or (inclusive and other == score):
                low = middle + 1
            else:
                high = middle
        return low

    def count_before(self, member: bytes, inclusive: bool) -> int:
        """Return how many members stand before `member` in byte order, it included if `inclusive`."""
        members = self.members
        low = 0
        high = len(members)
        while low < high:
            middle = (low + high) >> 1
            other = members[middle]
            if other < member or (inclusive and other == member):
                low = middle + 1
            else:
                high = middle
        return low


class SortedMembers:
    """The ordered elements of a sorted set.  Scores are never NaN; a member stands in it once."""

    def __init__(self) -> None:
        self._chunks: list[Chunk] = [Chunk([], [])]
        self._tree: list[int] = []
        self._size: int = 0

    def size(self) -> int:
        """Return the number of elements."""
        return self._size

    def copy(self) -> "SortedMembers":
        """Return an independent copy."""
        twin = SortedMembers()
        twin._chunks = [Chunk(chunk.scores[:], chunk.members[:]) for chunk in self._chunks]
        twin._size = self._size
        twin._rebuild()
        return twin

    # -- changing ------------------------------------------------------------------------------------------------

    def insert(self, score: float, member: bytes) -> None:
        """Add an element that is not there."""
        number = self._chunk_of(score, member)
        chunk = self._chunks[number]
        place = chunk.lower(score, member)
        chunk.scores.insert(place, score)
        chunk.members.insert(place, member)
        self._size += 1
        if len(chunk.scores) > CHUNK_MAX:
            self._split(number)
        elif self._tree:
            self._count(number, 1)

    def remove(self, score: float, member: bytes) -> None:
        """Take out an element that is there."""
        number = self._chunk_of(score, member)
        chunk = self._chunks[number]
        self._delete(number, chunk.lower(score, member))

    def pop_first(self) -> tuple[float, bytes]:
        """Remove and return the first element of an order that is not empty."""
        chunk = self._chunks[0]
        score = chunk.scores[0]
        member = chunk.members[0]
        self._delete(0, 0)
        return score, member

    def pop_last(self) -> tuple[float, bytes]:
        """Remove and return the last element of an order that is not empty."""
        number = len(self._chunks) - 1
        chunk = self._chunks[number]
        place = len(chunk.scores) - 1
        score = chunk.scores[place]
        member = chunk.members[place]
        self._delete(number, place)
        return score, member

    def _delete(self, number: int, place: int) -> None:
        """Take out the element at `place` of a chunk."""
        chunk = self._chunks[number]
        del chunk.scores[place]
        del chunk.members[place]
        self._size -= 1
        left = len(chunk.scores)
        if left < CHUNK_SMALL and len(self._chunks) > 1 and self._merge(number, left):
            return
        if self._tree:
            self._count(number, -1)

    def _split(self, number: int) -> None:
        """Halve a chunk that has grown too long."""
        chunk = self._chunks[number]
        half = len(chunk.scores) >> 1
        self._chunks.insert(number + 1, Chunk(chunk.scores[half:], chunk.members[half:]))
        del chunk.scores[half:]
        del chunk.members[half:]
        self._rebuild()

    def _merge(self, number: int, left: int) -> bool:
        """Join a small chunk to a neighbour if both fit in one half full; return False if they do not."""
        if number + 1 == len(self._chunks):
            number -= 1
        chunk = self._chunks[number]
        following = self._chunks[number + 1]
        if left and len(chunk.scores) + len(following.scores) > CHUNK_MAX >> 1:
            return False
        chunk.scores.extend(following.scores)
        chunk.members.extend(following.members)
        del self._chunks[number + 1]
        self._rebuild()
        return True

    # -- counting ------------------------------------------------------------------------------------------------

    def _rebuild(self) -> None:
        """Make the tree of chunk sizes anew; one chunk needs none."""
        chunks = self._chunks
        count = len(chunks)
        if count == 1:
            self._tree = []
            return
        tree = [0] * (count + 1)
        i = 1
        while i <= count:
            tree[i] += len(chunks[i - 1].scores)
            parent = i + (i & -i)
            if parent <= count:
                tree[parent] += tree[i]
            i += 1
        self._tree = tree

    def _count(self, number: int, change: int) -> None:
        """Note that chunk `number` has `change` elements more."""
        tree = self._tree
        i = number + 1
        size = len(tree)
        while i < size:
            tree[i] += change
            i += i & -i

    def _before(self, number: int) -> int:
        """Return how many elements stand in the chunks before `number`."""
        if number == 0:
            return 0
        tree = self._tree
        total = 0
        i = number
        while i > 0:
            total += tree[i]
            i -= i & -i
        return total

    def _chunk_of(self, score: float, member: bytes) -> int:
        """Return the number of the chunk in which (score, member) stands or belongs."""
        chunks = self._chunks
        low = 0
        high = len(chunks) - 1
        while low < high:
            middle = (low + high) >> 1
            chunk = chunks[middle]
            last = len(chunk.scores) - 1
            other = chunk.scores[last]
            if other < score or (other == score and chunk.members[last] < member):
                low = middle + 1
            else:
                high = middle
        return low

    # -- asking --------------------------------------------------------------------------------------------------

    def rank(self, score: float, member: bytes) -> int:
        """Return how many elements stand before (score, member), which may be absent."""
        number = self._chunk_of(score, member)
        return self._before(number) + self._chunks[number].lower(score, member)

    def count_below(self, score: float, inclusive: bool) -> int:
        """Return how many elements have a score below `score`, or up to it if `inclusive`."""
        chunks = self._chunks
        low = 0
        high = len(chunks) - 1
        while low < high:
            middle = (low + high) >> 1
            scores = chunks[middle].scores
            other = scores[len(scores) - 1]
            if other < score or (inclusive and other == score):
                low = middle + 1
            else:
                high = middle
        return self._before(low) + chunks[low].count_below(score, inclusive)

    def count_before(self, member: bytes, inclusive: bool) -> int:
        """Return how many members stand before `member` in byte order, it included if `inclusive`.

        Scores are ignored: the members are taken to be in byte order, as they are when all scores are equal."""
        chunks = self._chunks
        low = 0
        high = len(chunks) - 1
        while low < high:
            middle = (low + high) >> 1
            members = chunks[middle].members
            other = members[len(members) - 1]
            if other < member or (inclusive and other == member):
                low = middle + 1
            else:
                high = middle
        return self._before(low) + chunks[low].count_before(member, inclusive)

    def even(self) -> bool:
        """Return True if all scores are equal: then the members are in byte order."""
        chunks = self._chunks
        if self._size == 0:
            return True
        last = chunks[len(chunks) - 1].scores
        return chunks[0].scores[0] == last[len(last) - 1]

    def at(self, rank: int) -> tuple[float, bytes]:
        """Return the element at `rank` (0 <= rank < size)."""
        number, place = self._locate(rank)
        chunk = self._chunks[number]
        return chunk.scores[place], chunk.members[place]

    def _locate(self, rank: int) -> tuple[int, int]:
        """Return the chunk and the place in it of the element at `rank`."""
        tree = self._tree
        if not tree:
            return 0, rank
        size = len(tree)
        step = 1
        while step * 2 < size:
            step *= 2
        number = 0
        left = rank
        while step > 0:
            following = number + step
            if following < size and tree[following] <= left:
                number = following
                left -= tree[following]
            step >>= 1
        return number, left

    def range(self, start: int, stop: int) -> tuple[list[float], list[bytes]]:
        """Return the scores and members from rank `start` up to `stop`, exclusive (0 <= start <= stop <= size)."""
        scores: list[float] = []
        members: list[bytes] = []
        wanted = stop - start
        if wanted <= 0:
            return scores, members
        number, place = self._locate(start)
        while wanted > 0:
            chunk = self._chunks[number]
            part = chunk.scores[place : place + wanted]
            scores.extend(part)
            members.extend(chunk.members[place : place + wanted])
            wanted -= len(part)
            number += 1
            place = 0
        return scores, members
