"""Snapshot files: what is saved is loaded again, and whatever goes wrong while saving leaves the old file as it was."""

import errno
from pathlib import Path
from random import Random

import pytest

from coordkit_server.app import Server
from coordkit_server.clock import ManualClock
from coordkit_server.config import Config
from coordkit_server.datatypes.limits import Limits
from coordkit_server.keyspace.database import Database, KeyspaceState
from coordkit_server.keyspace.frequency import idle_ms, packed, ticks
from coordkit_server.log import Log
from coordkit_server.persistence import rdb_format
from coordkit_server.persistence.packed import BadFormat
from coordkit_server.persistence.rdb import (
    USE_COUNTED,
    USE_IDLE,
    Loader,
    LoadOptions,
    NoLibraries,
    SaveOptions,
    Silent,
    module_name,
    save,
)
from coordkit_server.persistence.rdb_format import Reader, Writer
from coordkit_server.testing import FailingFiles, MemorySink, RecordedChanges, RecordedEvents

NOW_MS = 1_700_000_000_000


def databases(count: int = 3) -> list[Database]:
    state = KeyspaceState(RecordedEvents(), RecordedChanges())
    state.set_time(NOW_MS * 1000)
    return [Database(index, state) for index in range(count)]


def filled() -> list[Database]:
    """Databases with some keys, one of them with a time to live, one due."""
    made = databases()
    for number in range(300):
        made[number % 2].set(b"key:%d" % number, b"value" * (number % 7))
    made[0].set_expiry(made[0].set(b"later", b"1"), NOW_MS + 5000)
    made[0].set_expiry(made[0].set(b"due", b"1"), NOW_MS - 1)
    return made


def written(made: list[Database], *, checksums: bool = True) -> bytes:
    sink = MemorySink()
    options = SaveOptions([(b"redis-ver", b"7.2.4")], [], Limits())
    save(Writer(sink, checksums=checksums), made, options, Silent())
    return bytes(sink.data)


def loaded(data: bytes, into: list[Database], *, merge: bool = False, drop_due_at_ms: int = NOW_MS) -> Loader:
    loader = Loader(
        Reader(data, checksums=True), into, LoadOptions(Limits(), NoLibraries(), drop_due_at_ms, merge=merge)
    )
    loader.run()
    return loader


def keys(made: list[Database]) -> dict[tuple[int, bytes], tuple[object, int]]:
    return {
        (database.index, entry.key): (entry.value, entry.expire_at_ms)
        for database in made
        for entry in database.entries()
    }


def test_save_then_load_gives_the_same_keys() -> None:
    before = filled()
    again = databases()
    loader = loaded(written(before), again, drop_due_at_ms=-1)
    assert keys(again) == keys(before)
    assert (loader.keys, loader.expired, loader.version) == (302, 0, 10)
    assert loader.facts == {b"redis-ver": b"7.2.4"}


def test_load_leaves_out_what_is_due() -> None:
    again = databases()
    loader = loaded(written(filled()), again)
    assert (loader.keys, loader.expired) == (301, 1)
    assert again[0].stored(b"due") is None


def test_load_of_a_key_that_is_there_needs_merge() -> None:
    data = written(filled())
    again = databases()
    again[0].set(b"key:0", b"old")
    with pytest.raises(BadFormat, match="duplicated key"):
        loaded(data, again)
    again = databases()
    again[0].set(b"key:0", b"old")
    again[0].set(b"mine", b"kept")
    loaded(data, again, merge=True)
    assert again[0].exists(b"mine")
    entry = again[0].peek(b"key:0")
    assert entry is not None
    assert entry.value == b""


def test_load_refuses_every_shortened_file_and_every_changed_byte() -> None:
    made = databases(1)
    made[0].set(b"k", b"v" * 30)
    made[0].set_expiry(made[0].set(b"l", b"1"), NOW_MS + 5000)
    data = written(made)
    for size in range(len(data)):
        with pytest.raises(BadFormat):
            loaded(data[:size], databases(1))
    for at in range(len(data)):
        with pytest.raises(BadFormat):
            loaded(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], databases(1))


def test_load_without_a_stored_checksum_does_not_look_at_it() -> None:
    data = written(filled(), checksums=False)
    assert data.endswith(bytes(8))
    assert loaded(data, databases()).keys == 301


def header(version: bytes = b"0010") -> bytes:
    return b"REDIS" + version


@pytest.mark.parametrize("version", [b"0001", b"0004", b"0006", b"0012"])
def test_load_reads_old_and_new_versions(version: bytes) -> None:
    end = b"\xff" if int(version) < 5 else b"\xff" + bytes(8)
    made = databases(1)
    loader = loaded(header(version) + b"\xfe\x00\x00\x01k\x01v" + end, made)
    assert loader.version == int(version)
    assert made[0].exists(b"k")


@pytest.mark.parametrize("head", [b"REDIS0013", b"REDIS0000", b"REDISxxxx", b"NOTREDIS1", b"VALKEY079"])
def test_load_refuses_what_it_does_not_know(head: bytes) -> None:
    with pytest.raises(BadFormat):
        loaded(head + b"\xff" + bytes(8), databases(1))


def test_load_reads_everything_that_stands_between_keys() -> None:
    made = databases(2)
    data = (
        header()
        + b"\xfa\x01a\x01b"  # a fact
        + b"\xf4\x01\x02\x03"  # a slot
        + b"\xfe\x01\xfb\x03\x01"  # database 1, sizes
        + b"\xf8\x0a\x00\x01i\x01v"  # idle for 10 s
        + b"\xf9\x07\x00\x01f\x01v"  # a frequency
        + b"\xfd"
        + (NOW_MS // 1000 + 60).to_bytes(4, "little")
        + b"\x00\x01s\x01v"  # expiry in seconds
        + b"\xff"
        + bytes(8)
    )
    loader = loaded(data, made)
    assert loader.keys == 3
    idle, expiring = made[1].peek(b"i"), made[1].peek(b"s")
    assert idle is not None
    assert idle_ms(idle.used_at, NOW_MS) == 10_000
    assert expiring is not None
    assert expiring.expire_at_ms == NOW_MS // 1000 * 1000 + 60_000


@pytest.mark.parametrize("use, kept", [(USE_IDLE, ticks(NOW_MS - 77_000)), (USE_COUNTED, packed(NOW_MS, 100))])
def test_save_keeps_the_use_that_the_policy_asks_for(use: int, kept: int) -> None:
    made = databases(1)
    again = databases(1)
    for database in (made[0], again[0]):
        database.state.counts_use = use == USE_COUNTED
    made[0].set(b"k", b"v").used_at = kept
    sink = MemorySink()
    save(Writer(sink), made, SaveOptions([], [], Limits(), use=use), Silent())
    loaded(bytes(sink.data), again)
    entry = again[0].stored(b"k")
    assert entry is not None
    assert entry.used_at == kept


def test_load_steps_over_data_of_modules_and_says_so() -> None:
    number = sum(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(letter) << shift
        for letter, shift in zip("my-module", range(58, 4, -6), strict=True)
    )
    assert module_name(number) == "my-module"
    writer = Writer()
    writer.byte(rdb_format.MODULE_AUX)
    for value in (number, 2, 1, 1, 5, 2, 6):  # the module, when, a signed and an unsigned number
        writer.length(value)
    writer.raw(b"\x03" + bytes(4) + b"\x04" + bytes(8) + b"\x05\x03abc\x00")
    loader = loaded(header() + writer.collected() + b"\x00\x01k\x01v\xff" + bytes(8), databases(1))
    assert loader.keys == 1
    assert "my-module" in loader.notes[0]


def test_load_leaves_out_empty_values_and_says_so() -> None:
    loader = loaded(header() + b"\x02\x01k\x00\xff" + bytes(8), databases(1))
    assert (loader.keys, loader.empty) == (0, 1)
    assert "empty key: k" in loader.notes[0]


@pytest.mark.parametrize(
    "item",
    [b"\xf6\x01x", b"\xf3", b"\x07\x01k\x01", b"\x16\x01k\x01", b"\xfe\x09", b"\xf7\x81" + bytes(8) + b"\2\1\x09"],
)
def test_load_refuses_items_it_cannot_keep(item: bytes) -> None:
    with pytest.raises(BadFormat):
        loaded(header() + item + b"\xff" + bytes(8), databases(1))


# -- failures while saving ---------------------------------------------------------------------------------------


@pytest.fixture
def files() -> FailingFiles:
    return FailingFiles()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: FailingFiles) -> Server:
    monkeypatch.chdir(tmp_path)
    made = Server(Config(), ManualClock(NOW_MS), Log(str(tmp_path / "log"), "notice"), Random(1), files)
    for number in range(2000):
        made.services.databases[0].set(b"key:%d" % number, b"%d" % number * 40)
    return made


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_save_that_fails_at_any_step_leaves_the_old_file(server: Server, files: FailingFiles, number: int) -> None:
    snapshots = server.services.snapshots
    assert snapshots.save()
    old = Path("dump.rdb").read_bytes()
    step = 0
    while True:
        server.services.databases[0].set(b"new", b"%d" % step)
        files.fail_after(step, number)
        if snapshots.save():
            break
        assert files.failed
        assert files.open_files == 0
        assert sorted(path.name for path in Path().iterdir()) == ["dump.rdb", "log"]
        assert Path("dump.rdb").read_bytes() == old
        assert snapshots.changes() == step + 1
        step += 1
    assert step >= 6  # create, two writes at least, sync, close, replace
    assert snapshots.changes() == 0
    assert loaded(Path("dump.rdb").read_bytes(), databases(16)).keys == 2001


@pytest.mark.parametrize("points", ["3600 1", ""])
def test_flush_of_everything_is_saved_at_once_with_save_points(server: Server, points: str) -> None:
    snapshots = server.services.snapshots
    snapshots.set_points(points)
    assert snapshots.changes() == 2000
    server.services.databases[0].flush()
    snapshots.after_flush()
    assert Path("dump.rdb").exists() is (points != "")
    assert (snapshots.changes() == 0) is (points != "")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_base_of_commands_that_fails_at_any_step_is_told(server: Server, files: FailingFiles, number: int) -> None:
    services = server.services
    services.config.set("aof-use-rdb-preamble", "no")
    for step in range(4):  # create, write, sync, close
        files.fail_after(step, number)
        with pytest.raises(OSError, match="injected failure"):
            services.aof.write_base("base.aof")
        assert files.open_files == 0
    files.fail_after(4, number)
    services.aof.write_base("base.aof")
    assert not files.failed
    assert Path("base.aof").read_bytes().count(b"SET") == 2000


def end_of_child(server: Server) -> None:
    """Wait for the child and let the server take its result over."""
    server.forks.on_readable()


def test_start_that_fails_refuses_writes_only_with_save_points(server: Server, files: FailingFiles) -> None:
    snapshots = server.services.snapshots
    files.fail_after(3, errno.EIO)
    assert snapshots.start()
    end_of_child(server)
    assert not snapshots.last_ok
    assert not server.state.writes_refused
    snapshots.set_points("60 1")
    assert server.state.disk_error.startswith(b"MISCONF")
    server.services.config.set("stop-writes-on-bgsave-error", "no")
    snapshots.check_refusal()
    assert not server.state.writes_refused
    server.services.config.set("stop-writes-on-bgsave-error", "yes")
    snapshots.check_refusal()
    assert server.state.writes_refused
    files.fail_after(10**9, errno.EIO)
    assert snapshots.start()
    end_of_child(server)
    assert not server.state.writes_refused
    assert snapshots.changes() == 0


def test_cancelled_child_is_no_failure_and_leaves_no_file(server: Server) -> None:
    snapshots = server.services.snapshots
    server.services.config.set("rdb-key-save-delay", "100000")
    snapshots.set_points("60 1")
    assert snapshots.start()
    snapshots.cancel()
    assert snapshots.last_ok
    assert not snapshots.running()
    assert [path.name for path in Path().iterdir()] == ["log"]


def test_changes_during_a_background_save_count_afterwards(server: Server) -> None:
    snapshots = server.services.snapshots
    assert snapshots.start()
    server.services.databases[0].set(b"meanwhile", b"1")
    end_of_child(server)
    assert snapshots.changes() == 1
    assert loaded(Path("dump.rdb").read_bytes(), databases(16)).keys == 2000


def test_tick_saves_once_a_save_point_is_reached(server: Server) -> None:
    snapshots, clock = server.services.snapshots, server.services.clock
    assert isinstance(clock, ManualClock)
    snapshots.set_points("10 5000 60 1")
    clock.advance_ms(59_000)
    snapshots.tick()
    assert not snapshots.running()  # 2000 changes are too few for the first, 59 s too short for the second
    clock.advance_ms(3_000)
    snapshots.tick()
    assert snapshots.running()
    end_of_child(server)
    clock.advance_ms(100_000)
    snapshots.tick()
    assert not snapshots.running()  # nothing has changed


def test_tick_waits_after_a_failure(server: Server, files: FailingFiles) -> None:
    snapshots, clock = server.services.snapshots, server.services.clock
    assert isinstance(clock, ManualClock)
    snapshots.set_points("1 1")
    clock.advance_ms(5_000)
    files.fail_after(0, errno.ENOSPC)
    snapshots.tick()
    end_of_child(server)
    snapshots.tick()
    assert not snapshots.running()
    clock.advance_ms(7_000)
    snapshots.tick()
    assert snapshots.running()
    end_of_child(server)
