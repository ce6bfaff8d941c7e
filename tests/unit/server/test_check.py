"""`--check FILE` says whether a snapshot is whole, and where it breaks."""

from pathlib import Path

import pytest

from coordkit_server.__main__ import check
from coordkit_server.datatypes.limits import Limits
from coordkit_server.keyspace.database import Database, KeyspaceState
from coordkit_server.persistence.rdb import SaveOptions, Silent, save
from coordkit_server.persistence.rdb_format import Writer
from coordkit_server.testing import MemorySink, RecordedChanges, RecordedEvents


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    database = Database(0, KeyspaceState(RecordedEvents(), RecordedChanges()))
    for number in range(10):
        database.set(b"key:%d" % number, b"text %d" % number)
    sink = MemorySink()
    save(Writer(sink), [database], SaveOptions([(b"redis-ver", b"7.2.4")], [b"code"], Limits()), Silent())
    path = tmp_path / "dump.rdb"
    path.write_bytes(sink.data)
    return path


def test_check_of_a_whole_file_is_content(snapshot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check([str(snapshot)]) == 0
    said = capsys.readouterr().out
    assert "written by 7.2.4" in said
    assert "10 keys: 10 of type string" in said
    assert "libraries of functions: 1" in said
    assert "its checksum is right" in said


@pytest.mark.parametrize("size", [8, 30, 60, 100])
def test_check_of_a_shortened_file_says_where_it_ends(
    snapshot: Path, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot.write_bytes(snapshot.read_bytes()[:size])
    assert check([str(snapshot)]) == 1
    said = capsys.readouterr().out
    assert "offset" in said
    assert "ends too early" in said


def test_check_of_a_changed_type_names_its_offset(snapshot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(snapshot.read_bytes())
    at = data.index(b"\x00\x05key:3")
    data[at] = 60
    snapshot.write_bytes(data)
    assert check([str(snapshot)]) == 1
    assert f"offset {at}: a value of unknown type 60" in capsys.readouterr().out


def test_check_of_a_changed_byte_finds_the_checksum_wrong(snapshot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot.write_bytes(snapshot.read_bytes().replace(b"text 3", b"text 4"))
    assert check([str(snapshot)]) == 1
    assert "CRC error" in capsys.readouterr().out


def test_check_of_bytes_behind_the_end_says_so(snapshot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot.write_bytes(snapshot.read_bytes() + b"more")
    assert check([str(snapshot)]) == 1
    assert "more behind the end" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"something else"])
def test_check_of_another_file_is_refused(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    assert check([str(path)]) == 2
    assert "no snapshot" in capsys.readouterr().err


def test_check_without_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check([]) == 2
    assert check([str(tmp_path / "missing")]) == 2
    assert "can't read" in capsys.readouterr().err
