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


def is_plain(node: ast.stmt) -> bool:
    """Whether a statement is one that compiling would not speed up: a docstring, an import, a constant."""
    if isinstance(node, ast.Expr | ast.AnnAssign | ast.Assign):
        return node.value is None or isinstance(node.value, ast.Constant | ast.List)
    return isinstance(node, ast.Import | ast.ImportFrom)


def is_plain_init(path: Path) -> bool:
    return path.name == "__init__.py" and all(is_plain(node) for node in ast.parse(path.read_text()).body)


def modules_to_compile() -> list[str]:
    names = [path.relative_to(SERVER).as_posix() for path in SERVER.rglob("*.py") if not is_plain_init(path)]
    return sorted(set(names) - set(SETUP.INTERPRETED))


def dotted(name: str) -> str:
    return "coordkit_server." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_compiled_list_beside_the_directory_names_every_module() -> None:
    assert modules_to_compile() == SETUP.COMPILED, "setup.py: COMPILED names every module, in alphabetical order"


needs_compiled = pytest.mark.skipif(
    os.environ.get("COORDKIT_EXPECT_COMPILED") != "1", reason="only where compiled code is expected: make testc"
)


@needs_compiled
def test_compiled_modules_in_a_child_process_are_extensions() -> None:
    names = [dotted(name) for name in SETUP.COMPILED]
    program = "import importlib, sys\nfor name in sys.argv[1:]: print(importlib.import_module(name).__file__)"
    printed = subprocess.run(
        [sys.executable, "-c", program, *names], capture_output=True, text=True, check=True, cwd="/"
    ).stdout.split()
    interpreted = [path for path in printed if not path.endswith((".so", ".pyd"))]
    assert len(printed) == len(names)
    assert interpreted == []


@needs_compiled
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc, which Linux has")
def test_running_server_has_mapped_the_compiled_unit(tmp_path: Path) -> None:
    options = ("--port", "0", "--unixsocket", str(tmp_path / "socket"), "--dir", str(tmp_path))
    server = subprocess.Popen(
        [sys.executable, "-m", "coordkit_server", *options], stdout=subprocess.PIPE, text=True, cwd="/"
    )
    with server:
        assert server.stdout is not None
        ready = any("Ready to accept connections" in line for line in server.stdout)
        mapped = Path(f"/proc/{server.pid}/maps").read_text() if ready else ""
        server.terminate()
    assert "coordkit_server__mypyc" in mapped


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


def exception_kinds(function: ast.FunctionDef) -> dict[str, set[str]]:
    """The classes that each name of an `except` clause in a function stands for."""
    kinds: dict[str, set[str]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.ExceptHandler) and node.name and node.type:
            kinds.setdefault(node.name, set()).add(ast.unparse(node.type))
    return kinds


@pytest.mark.parametrize("name", SETUP.COMPILED)
def test_compiled_function_names_each_kind_of_exception_apart(name: str) -> None:
    # compiled code gives a name one type for the whole function: a second class under it ends the server
    functions = [node for node in ast.walk(ast.parse((SERVER / name).read_text())) if isinstance(node, ast.FunctionDef)]
    shared = {
        f.name: kinds for f in functions for kinds in [exception_kinds(f)] if any(len(k) > 1 for k in kinds.values())
    }
    assert not shared
