"""A longest common subsequence of two strings, one bit of an integer for each byte of the second.

After the first i bytes of `first` are in, a zero at bit j of row i means that the subsequence of first[:i] and
second[:j + 1] is one longer than that of first[:i] and second[:j].  So its length for j bytes is the number of zeros
among the low j bits, and a row costs a handful of operations on one big integer.
Source: H. Hyyrö, Bit-parallel LCS-length computation revisited (2004).
"""

from typing import Final


class Match:
    """Equal parts of the two strings: first[first_at:first_at + length] and the same of the second."""

    def __init__(self, first_at: int, second_at: int, length: int) -> None:
        self.first_at: Final = first_at
        self.second_at: Final = second_at
        self.length: Final = length


class CommonSubsequence:
    """The rows for two strings, from which length and matches are read."""

    def __init__(self, first: bytes, second: bytes) -> None:
        self._first: Final = first
        self._second: Final = second
        self._rows: Final = _rows(first, second)

    def length(self) -> int:
        """Return how long the subsequence is."""
        return self._length_at(len(self._first), len(self._second))

    def _length_at(self, i: int, j: int) -> int:
        """Return the length for the first `i` and `j` bytes."""
        return j - (self._rows[i] & ((1 << j) - 1)).bit_count()

    def matches(self) -> list[Match]:
        """Return the runs of bytes that make up the subsequence, last first.

        Of several subsequences it is the one that Redis finds: where both ways lead on, back along the second."""
        found: list[Match] = []
        i, j = len(self._first), len(self._second)
        run = 0
        while i > 0 and j > 0:
            if self._first[i - 1] == self._second[j - 1]:
                run += 1
                i -= 1
                j -= 1
                continue
            if run:
                found.append(Match(i, j, run))
                run = 0
            if not (self._rows[i] >> (j - 1)) & 1 and self._length_at(i - 1, j) == self._length_at(i, j):
                i -= 1
            else:
                j -= 1
        if run:
            found.append(Match(i, j, run))
        return found

    def text(self) -> bytes:
        """Return the subsequence."""
        parts: list[bytes] = []
        for match in self.matches():
            parts.append(self._first[match.first_at : match.first_at + match.length])
        parts.reverse()
        return b"".join(parts)


def _rows(first: bytes, second: bytes) -> list[int]:
    """Return the row for each prefix of `first`, the empty one included."""
    full = (1 << len(second)) - 1
    places: dict[int, int] = {}
    for char in set(second):
        places[char] = _places(second, char)
    row = full
    rows: list[int] = [row]
    for char in first:
        hits = row & places.get(char, 0)
        row = ((row + hits) | (row - hits)) & full
        rows.append(row)
    return rows


def _places(text: bytes, char: int) -> int:
    """Return the integer whose bit j is set where text[j] is `char`."""
    digits = bytes([48 + (candidate == char) for candidate in range(256)])
    return int(text.translate(digits)[::-1], 2)
