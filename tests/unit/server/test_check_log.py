"""`--check` of append-only files: whole ones, torn and broken ones, with the first bad offset."""

import io
from pathlib import Path

import pytest

from coordkit_server.__main__ import check
from coordkit_server.keyspace.propagation import command_bytes

SET = command_bytes([b"SET", b"a", b"1"])
MULTI = command_bytes([b"MULTI"])
EXEC = command_bytes([b"EXEC"])


@pytest.mark.parametrize(
    "data, code, line",
    [
        (b"", 0, "0 commands, all whole"),
        (SET + MULTI + SET + EXEC + b"#TS:1700000000\r\n", 0, "4 commands, all whole"),
        (SET + SET[:-1], 1, f"offset {len(SET)}: the file ends within a command or a transaction"),
        (SET + MULTI + SET, 1, f"offset {len(SET)}: the file ends within a command or a transaction"),
        (SET + b"!" + SET, 1, f"offset {len(SET)}: expected '*', got b'!'"),
    ],
)
def test_check_of_commands_says_up_to_where_they_are_whole(
    data: bytes, code: int, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "appendonly.aof.1.incr.aof"
    path.write_bytes(data)
    assert check([str(path)]) == code
    assert capsys.readouterr().out == f"{path}: {line}\n"


def test_check_of_a_manifest_checks_all_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "base.aof").write_bytes(SET)
    (tmp_path / "incr.aof").write_bytes(SET + b"$")
    manifest = tmp_path / "appendonly.aof.manifest"
    manifest.write_text("file base.aof seq 1 type b\nfile incr.aof seq 1 type i\n")
    assert check([str(manifest)]) == 1
    said = capsys.readouterr().out
    assert "base.aof: 1 commands, all whole" in said
    assert f"incr.aof: offset {len(SET)}: expected '*', got b'$'" in said
    (tmp_path / "incr.aof").write_bytes(SET)
    assert check([str(manifest)]) == 0


def test_check_of_a_broken_manifest_names_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "appendonly.aof.manifest"
    manifest.write_text("file base.aof seq 1 type b\nfile incr.aof seq 1\n")
    assert check([str(manifest)]) == 1
    assert "line 2: Invalid AOF manifest file format" in capsys.readouterr().out


TORN = SET + MULTI + SET


@pytest.mark.parametrize(
    "options, answer, code, left",
    [
        (["--fix"], "y\n", 0, SET),
        (["--fix"], "YES\n", 0, SET),
        (["--fix"], "n\n", 1, TORN),
        (["--fix"], "\n", 1, TORN),
        (["--fix"], "", 1, TORN),
        (["--fix", "--yes"], "", 0, SET),
        ([], "y\n", 1, TORN),
    ],
)
def test_fix_cuts_a_torn_tail_off_if_that_is_wanted(
    options: list[str], answer: str, code: int, left: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "appendonly.aof.1.incr.aof"
    path.write_bytes(TORN)
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert check([str(path), *options]) == code
    assert path.read_bytes() == left
    assert check([str(path)]) == code


def test_fix_of_a_whole_file_asks_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "appendonly.aof.1.incr.aof"
    path.write_bytes(SET)
    assert check(["--fix", str(path)]) == 0
    assert path.read_bytes() == SET
    assert capsys.readouterr().out == f"{path}: 1 commands, all whole\n"


def test_fix_tells_how_much_is_lost_behind_what_is_no_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "appendonly.aof.1.incr.aof"
    path.write_bytes(SET + bytes(100))
    assert check(["--fix", "--yes", str(path)]) == 0
    assert f"cut from {len(SET) + 100} to {len(SET)} bytes" in capsys.readouterr().out
    assert path.read_bytes() == SET


def manifest_of_two(directory: Path, base: bytes, increment: bytes) -> Path:
    (directory / "base.aof").write_bytes(base)
    (directory / "incr.aof").write_bytes(increment)
    manifest = directory / "appendonly.aof.manifest"
    manifest.write_text("file base.aof seq 1 type b\nfile incr.aof seq 1 type i\n")
    return manifest


def test_fix_of_a_manifest_cuts_the_last_file(tmp_path: Path) -> None:
    manifest = manifest_of_two(tmp_path, SET, SET + SET[:-1])
    assert check([str(manifest), "--fix", "--yes"]) == 0
    assert (tmp_path / "incr.aof").read_bytes() == SET
    assert check([str(manifest)]) == 0


@pytest.mark.parametrize("increment", [SET, SET[:-1]])
def test_fix_of_a_manifest_leaves_files_before_the_last_alone(
    increment: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = manifest_of_two(tmp_path, SET[:-1], increment)
    assert check([str(manifest), "--fix", "--yes"]) == 1
    assert "cannot be fixed" in capsys.readouterr().out
    assert (tmp_path / "base.aof").read_bytes() == SET[:-1]
    assert (tmp_path / "incr.aof").read_bytes() == increment


@pytest.mark.parametrize("words", [[], ["a", "b"], ["a", "--yes"], ["a", "--other"]])
def test_check_without_one_file_shows_its_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert check(words) == 2
    assert "usage: coordkit-server --check FILE [--fix [--yes]]" in capsys.readouterr().err
