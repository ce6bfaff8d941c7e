"""The command line: what it says, and how it ends."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from coordkit.cli import COMMANDS, main


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, words)
    return result.exit_code, result.output


def test_help_names_every_command() -> None:
    status, output = run("--help")
    assert status == 0
    for name in COMMANDS:
        assert re.search(rf"^  {name}  ", output, re.MULTILINE), output


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"server"}))
def test_help_of_every_command_says_what_it_does(name: str) -> None:
    status, output = run(name, "--help")
    assert status == 0
    assert "Usage: " in output
    assert "Options:" in output


def test_ping_without_server_ends_with_status_69_and_says_what_to_do() -> None:
    status, output = run("ping", "--url", "redis://127.0.0.1:1")
    assert status == 69
    assert "no server answers at redis://127.0.0.1:1" in output
    assert "coordkit server" in output


def test_ping_of_a_url_that_cannot_be_ends_with_status_78_and_says_why() -> None:
    status, output = run("ping", "--url", "http://h")
    assert status == 78
    assert "the URL 'http://h' must start with one of redis://" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    "target, message",
    [
        ("nonsense", "write module:queue"),
        ("no_such_module:mail", "there is no module 'no_such_module'"),
        ("tests.conformance.worker_jobs:mail", r"has no queue 'mail'; its queues are \['work'\]"),
    ],
)
def test_worker_with_wrong_target_ends_with_status_78_and_says_what_to_do(target: str, message: str) -> None:
    status, output = run("worker", target)
    assert status == 78
    assert re.search(message, output)


def test_worker_on_a_server_of_its_own_ends_with_status_78() -> None:
    status, output = run("worker", "tests.conformance.worker_jobs:work", "--url", "embedded://")
    assert status == 78
    assert "embedded:///data/dir" in output


def test_sidecar_without_limits_ends_with_status_78_and_says_what_to_do() -> None:
    status, output = run("sidecar")
    assert status == 78
    assert "there is no limit to enforce" in output


BROKEN = {
    "raises": ("raise RuntimeError('no such region')", r"RuntimeError: no such region \(.*broken_raises.py, line 1\)"),
    "syntax": ("def f(:", r"SyntaxError: .*broken_syntax.py, line 1"),
    "imports": ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
    "exits": ("raise SystemExit(3)", r"ended the process when it was imported: SystemExit\(3\)"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_worker_of_a_module_that_cannot_be_imported_ends_with_status_78_and_says_why(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, message = BROKEN[kind]
    (tmp_path / f"broken_{kind}.py").write_text(f"{source}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    status, output = run("worker", f"broken_{kind}:mail")
    assert status == 78
    assert f"the module 'broken_{kind}'" in output
    assert re.search(message, output)
    assert "Traceback" not in output
