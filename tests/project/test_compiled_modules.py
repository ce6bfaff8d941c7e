"""The list of compiled modules in setup.py, and what a build made of it."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def load_setup_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coordkit_setup_script", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SETUP = load_setup_script()
SERVER = ROOT / SETUP.SERVER


def holds_docstring_only(path: Path) -> bool:
    body = ast.parse(path.read_text()).body
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


def modules_to_compile() -> list[str]:
    names = [
        path.relative_to(SERVER).as_posix()
        for path in SERVER.rglob("*.py")
        if not (path.name == "__init__.py" and holds_docstring_only(path))
    ]
    return sorted(set(names) - set(SETUP.INTERPRETED))


def dotted(name: str) -> str:
    return "coordkit_server." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_compiled_list_beside_the_directory_names_every_module() -> None:
    assert modules_to_compile() == SETUP.COMPILED, "setup.py: COMPILED names every module, in alphabetical order"


@pytest.mark.skipif(os.environ.get("COORDKIT_EXPECT_COMPILED") != "1", reason="make testc asks for it")
def test_compiled_modules_in_a_child_process_are_extensions() -> None:
    names = [dotted(name) for name in SETUP.COMPILED]
    program = "import importlib, sys\nfor name in sys.argv[1:]: print(importlib.import_module(name).__file__)"
    printed = subprocess.run(
        [sys.executable, "-c", program, *names], capture_output=True, text=True, check=True, cwd="/"
    ).stdout.split()
    interpreted = [path for path in printed if not path.endswith((".so", ".pyd"))]
    assert len(printed) == len(names)
    assert interpreted == []


def test_setup_script_with_pure_set_does_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COORDKIT_PURE", "1")
    assert SETUP.reason_not_to_compile() == "COORDKIT_PURE is set"


def test_setup_script_without_a_compiler_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nonexistent/cc -pthread")
    reason = SETUP.reason_compiler_fails()
    assert reason is not None
    assert reason.startswith("there is no C compiler (")


def test_setup_script_with_a_failing_compiler_gives_its_first_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", f"{sys.executable} -c import(sys)")
    reason = SETUP.reason_compiler_fails()
    assert reason is not None
    assert reason.startswith("the C compiler can't build an extension (")
