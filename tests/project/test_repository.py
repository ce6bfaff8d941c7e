"""Rules of the house that no linter has."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_FILE_LINES = 700
LONGEST_FUNCTION_LINES = 60
ROOMS = ("coordkit", "server", "tests")
PYTHON = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
LUA = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.lua"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def length(node: ast.stmt | ast.expr) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def length_without_table(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The function's lines less those of the literal it ends with: rows of a table may be many."""
    last = function.body[-1]
    if isinstance(last, ast.Return) and isinstance(last.value, ast.List | ast.Tuple | ast.Dict):
        return length(function) - length(last.value)
    return length(function)


def long_functions(path: Path) -> list[str]:
    return [
        f"{node.name} has {length(node)} lines"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and length_without_table(node) > LONGEST_FUNCTION_LINES
    ]


@pytest.mark.parametrize("path", [*PYTHON, *LUA], ids=relative)
def test_source_file_stays_under_the_longest_length(path: Path) -> None:
    assert len(path.read_bytes().splitlines()) <= LONGEST_FILE_LINES, "split it by noun"


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_functions_stay_under_the_longest_length(path: Path) -> None:
    assert long_functions(path) == []
