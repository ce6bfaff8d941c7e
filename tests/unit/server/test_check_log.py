"""`--check` of append-only files: whole ones, torn and broken ones, with the first bad offset."""

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
