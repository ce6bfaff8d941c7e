"""Longest common subsequences, against the textbook's table."""

from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.datatypes.subsequence import CommonSubsequence

TEXT = st.text("abcd", max_size=30).map(str.encode)


def table(first: bytes, second: bytes) -> list[list[int]]:
    rows = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            rows[i + 1][j + 1] = rows[i][j] + 1 if a == b else max(rows[i][j + 1], rows[i + 1][j])
    return rows


def way_back(first: bytes, second: bytes) -> bytes:
    """The subsequence that Redis's way through the table finds."""
    rows = table(first, second)
    i, j = len(first), len(second)
    found = b""
    while i and j:
        if first[i - 1] == second[j - 1]:
            i, j = i - 1, j - 1
            found = first[i : i + 1] + found
        elif rows[i - 1][j] > rows[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return found


@given(first=TEXT, second=TEXT)
def test_length_any_texts_is_the_tables(first: bytes, second: bytes) -> None:
    assert CommonSubsequence(first, second).length() == table(first, second)[-1][-1]


@given(first=TEXT, second=TEXT)
def test_text_any_texts_is_the_one_of_the_way_back(first: bytes, second: bytes) -> None:
    assert CommonSubsequence(first, second).text() == way_back(first, second)


@given(first=TEXT, second=TEXT)
def test_matches_any_texts_are_equal_parts_in_falling_order(first: bytes, second: bytes) -> None:
    before = (len(first), len(second))
    for match in CommonSubsequence(first, second).matches():
        ends = (match.first_at + match.length, match.second_at + match.length)
        assert first[match.first_at : ends[0]] == second[match.second_at : ends[1]]
        assert ends[0] <= before[0]
        assert ends[1] <= before[1]
        before = (match.first_at, match.second_at)


def test_text_long_strings_is_found_in_a_blink() -> None:
    first, second = b"abcdefgh" * 500, b"hgfedcba" * 500
    common = CommonSubsequence(first, second)
    assert len(common.text()) == common.length() > 500
