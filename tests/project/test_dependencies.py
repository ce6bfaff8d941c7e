"""What the packages import is what pyproject.toml declares: a fresh installation has no other modules."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {"coordkit", "coordkit_server"}
MODULES = {"pyyaml": "yaml"}
"""Distributions whose module has another name."""


def imported_by(room: Path) -> set[str]:
    names: set[str] = set()
    for path in room.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
                names.add(node.module.partition(".")[0])
    return names - OURS - set(sys.stdlib_module_names)


def declared(*extras: str) -> set[str]:
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    names = {re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0].replace("-", "_").lower() for line in lines}
    return {MODULES.get(name, name) for name in names}


@pytest.mark.parametrize(
    "room, extras",
    [("server/coordkit_server", ("server",)), ("coordkit", ("server", "sidecar", "trio"))],
    ids=["server", "toolkit"],
)
def test_imports_of_a_package_are_declared(room: str, extras: tuple[str, ...]) -> None:
    assert imported_by(ROOT / room) - declared(*extras) == set()
