"""Rules of the house that no linter has."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_FILE_LINES = 700
SOURCES = sorted(
    path
    for room in ("coordkit", "server", "tests")
    for suffix in ("*.py", "*.lua")
    for path in (ROOT / room).rglob(suffix)
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_source_file_stays_under_the_longest_length(path: Path) -> None:
    assert len(path.read_bytes().splitlines()) <= LONGEST_FILE_LINES, "split it by noun"
