from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import programs


def test_program_on_path_returns_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = Path(sys.executable)
    monkeypatch.setenv("PATH", str(interpreter.parent))
    assert programs.program(interpreter.name) == str(interpreter)


def test_program_missing_on_a_developers_machine_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        programs.program("no-such-program")


def test_program_missing_in_ci_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        programs.program("no-such-program")


def test_node_modules_without_the_package_in_ci_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("COORDKIT_NODE_MODULES", str(tmp_path))
    with pytest.raises(pytest.fail.Exception, match="npm package ioredis"):
        programs.node_modules("ioredis")


def test_node_modules_with_the_package_returns_the_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ioredis").mkdir()
    monkeypatch.setenv("COORDKIT_NODE_MODULES", str(tmp_path))
    assert programs.node_modules("ioredis") == tmp_path
