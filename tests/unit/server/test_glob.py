"""Glob patterns."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.glob import match


@pytest.mark.parametrize(
    "pattern, text, expected",
    [
        (b"*", b"", True),
        (b"h?llo", b"hello", True),
        (b"h?llo", b"hllo", False),
        (b"h*llo", b"heeeello", True),
        (b"h[ae]llo", b"hallo", True),
        (b"h[^e]llo", b"hello", False),
        (b"h[^e]llo", b"hbllo", True),
        (b"h[a-b]llo", b"hbllo", True),
        (b"h[b-a]llo", b"hallo", True),
        (rb"h\*llo", b"h*llo", True),
        (rb"h\*llo", b"hxllo", False),
        (b"[abc", b"a", True),
        (b"[", b"[", False),
        (b"\\", b"\\", True),
        (b"a*b*c", b"aXbYbZc", True),
        (b"a*b*c", b"aXbYbZ", False),
        (b"", b"", True),
        (b"", b"x", False),
        (rb"[\]]", b"]", True),
        (b"*[0-9]", b"foo1", True),
    ],
)
def test_match_pattern_against_text(pattern: bytes, text: bytes, expected: bool) -> None:
    assert match(pattern, text) is expected


def test_match_many_stars_is_not_exponential() -> None:
    assert match(b"a*" * 40 + b"b", b"a" * 60) is False


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_match_agrees_with_fnmatch_on_stars_and_marks(pattern: str, text: str) -> None:
    assert match(pattern.encode(), text.encode()) is fnmatch.fnmatchcase(text, pattern)


def test_match_more_than_a_thousand_stars_matches_nothing() -> None:
    assert match(b"*?" * 1000, b"a" * 1500) is True
    assert match(b"*?" * 1001, b"a" * 1500) is False
