"""Append-only files between servers, and what the bundled server does with good, torn and broken ones."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.test_replication import WITHIN_S, connect, eventually, info, write_load
from tests.conformance.test_snapshots import ask
from tests.contents import contents
from tests.differential.client import pack
from tests.peers import Peer, free_port
from tests.programs import program

PeerFactory = Callable[..., Peer]
SET = pack(("SET", "a", "1"))
TRANSACTION = pack(("MULTI",)) + pack(("SET", "b", "2")) + pack(("SET", "c", "3"))
EXEC = pack(("EXEC",))


def aof_options(directory: Path, *more: str) -> tuple[str, ...]:
    return ("--appendonly", "yes", "--dir", str(directory), *more)


def write_files(directory: Path, increment: bytes) -> Path:
    """An append-only file with one increment; return its path."""
    parts = directory / "appendonlydir"
    parts.mkdir(parents=True)
    path = parts / "appendonly.aof.1.incr.aof"
    path.write_bytes(increment)
    (parts / "appendonly.aof.manifest").write_text("file appendonly.aof.1.incr.aof seq 1 type i\n")
    return path


def refused(directory: Path, *options: str) -> str:
    """What the server says when it does not start."""
    command = ["-m", "coordkit_server", "--port", str(free_port()), *aof_options(directory, *options)]
    run = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 1
    return run.stdout


@pytest.mark.parametrize("preamble, timestamps", [("yes", "no"), ("no", "no"), ("yes", "yes"), ("no", "yes")])
@pytest.mark.parametrize("writer, reader", [("bundled", "redis"), ("redis", "bundled"), ("bundled", "bundled")])
def test_files_of_one_server_load_into_the_other(
    writer: str, reader: str, preamble: str, timestamps: str, start_peer: PeerFactory, tmp_path: Path
) -> None:
    settings = ("--aof-use-rdb-preamble", preamble, "--aof-timestamp-enabled", timestamps)
    options = aof_options(tmp_path / "data", *settings)
    (tmp_path / "data").mkdir()
    first = start_peer(writer, *options)
    with connect(first) as client:
        write_load(client, 1500, seed=3)
        client.call("BGREWRITEAOF")
        eventually(lambda: info(client, "persistence")[b"aof_rewrite_in_progress"] == b"0")
        write_load(client, 1500, seed=4)
        expected = contents(client)
        assert len(expected) > 200
    first.stop()
    increments = b"".join(path.read_bytes() for path in (tmp_path / "data/appendonlydir").glob("*.incr.aof"))
    if writer == "bundled":  # Redis notes a second once, be it in the file before
        assert (b"#TS:" in increments) is (timestamps == "yes")
    check = [program("redis-check-aof"), str(tmp_path / "data/appendonlydir/appendonly.aof.manifest")]
    assert (
        "All AOF files and manifest are valid"
        in subprocess.run(check, capture_output=True, text=True, timeout=30, check=True).stdout
    )
    with connect(start_peer(reader, *options)) as client:
        assert contents(client) == expected


STREAM = [
    *(("XADD", "x", f"{number}-1", "f", number) for number in range(1, 20)),
    ("XDEL", "x", "4-1"),
    ("XGROUP", "CREATE", "x", "g", "0"),
    ("XREADGROUP", "GROUP", "g", "a", "COUNT", 9, "STREAMS", "x", ">"),
    ("XACK", "x", "g", "1-1"),
    ("XADD", "gone", "7-1", "f", "v"),
    ("XDEL", "gone", "7-1"),
]
# what both 7.0 and 7.2 answer alike; the time that an entry is pending for goes on
ABOUT_STREAMS = [
    ("XRANGE", "x", "-", "+"),
    (
        "EVAL",
        "local r = redis.call('XPENDING', 'x', 'g', '-', '+', 100) for _, n in ipairs(r) do n[3] = 0 end return r",
        0,
    ),
    ("EVAL", "return {unpack(redis.call('XINFO', 'GROUPS', 'x')[1], 1, 12)}", 0),
    ("XADD", "gone", "7-1", "f", "v"),
]


@pytest.mark.parametrize("writer, reader", [("bundled", "redis"), ("redis", "bundled")])
def test_streams_in_a_base_of_commands_load_into_the_other(
    writer: str, reader: str, start_peer: PeerFactory, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    options = aof_options(tmp_path / "data", "--aof-use-rdb-preamble", "no")
    first = start_peer(writer, *options)
    with connect(first) as client:
        for command in STREAM:
            assert client.call(*command)[0] != "-", command
        client.call("BGREWRITEAOF")
        eventually(lambda: info(client, "persistence")[b"aof_rewrite_in_progress"] == b"0")
        expected = [client.call(*command) for command in ABOUT_STREAMS]
    first.stop()
    with connect(start_peer(reader, *options)) as client:
        assert [client.call(*command) for command in ABOUT_STREAMS] == expected


@pytest.mark.parametrize("cut", [1, 5, len(SET) - 1])
def test_torn_tail_is_cut_off(cut: int, start_peer: PeerFactory, tmp_path: Path) -> None:
    path = write_files(tmp_path / "data", SET + SET[:-cut])
    with connect(start_peer("bundled", *aof_options(tmp_path / "data"))) as client:
        assert client.call("GET", "a") == ("$", b"1")
    assert path.read_bytes() == SET


@pytest.mark.parametrize("tail", [TRANSACTION, TRANSACTION[:-3], TRANSACTION + EXEC[:-1]])
def test_transaction_without_its_end_is_not_half_done(tail: bytes, start_peer: PeerFactory, tmp_path: Path) -> None:
    path = write_files(tmp_path / "data", SET + tail)
    with connect(start_peer("bundled", *aof_options(tmp_path / "data"))) as client:
        assert client.call("KEYS", "*") == ("*", (("$", b"a"),))
        client.call("SET", "later", "1")
    assert path.read_bytes() == SET + pack(("SELECT", 0)) + pack(("SET", "later", "1"))


def test_torn_tail_is_refused_with_its_offset_if_it_may_not_be_cut(tmp_path: Path) -> None:
    write_files(tmp_path / "data", SET + SET[:-1])
    said = refused(tmp_path / "data", "--aof-load-truncated", "no")
    assert "Unexpected end of file reading the append only file appendonly.aof.1.incr.aof" in said
    assert f"at offset {len(SET)}" in said


def test_broken_middle_is_refused_with_its_offset(tmp_path: Path) -> None:
    write_files(tmp_path / "data", SET + b"!hello\r\n" + SET)
    said = refused(tmp_path / "data")
    assert f"Bad file format reading the append only file appendonly.aof.1.incr.aof at offset {len(SET)}" in said


def test_missing_part_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path / "data", SET).unlink()
    assert "The append log file appendonly.aof.1.incr.aof doesn't exist" in refused(tmp_path / "data")


def test_old_file_of_one_part_is_taken_over(start_peer: PeerFactory, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/appendonly.aof").write_bytes(SET)
    with connect(start_peer("bundled", *aof_options(tmp_path / "data"))) as client:
        assert client.call("GET", "a") == ("$", b"1")
    manifest = (tmp_path / "data/appendonlydir/appendonly.aof.manifest").read_text()
    assert manifest == "file appendonly.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"


def test_time_to_live_that_ran_out_while_the_server_was_down_ends_the_key(
    start_peer: PeerFactory, tmp_path: Path
) -> None:
    soon = pack(("SET", "b", "2", "PXAT", 1000)) + pack(("RPUSH", "l", "x")) + pack(("PEXPIREAT", "l", 1000))
    write_files(tmp_path / "data", SET + soon)
    with connect(start_peer("bundled", *aof_options(tmp_path / "data"))) as client:
        assert client.call("EXISTS", "a", "b", "l") == (":", b"1")


def test_append_only_file_turned_on_at_run_time_holds_everything(start_peer: PeerFactory, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    server = start_peer("bundled", "--dir", str(tmp_path / "data"))
    with connect(server) as client:
        client.call("SET", "before", "1")
        assert client.call("CONFIG", "SET", "appendonly", "yes") == ("+", b"OK")
        client.call("SET", "meanwhile", "2")
        eventually(lambda: info(client, "persistence")[b"aof_rewrite_in_progress"] == b"0")
        client.call("SET", "after", "3")
        assert client.call("WAITAOF", 1, 0, 0) == ("*", ((":", b"1"), (":", b"0")))
        expected = contents(client)
    server.kill()
    with connect(start_peer("bundled", *aof_options(tmp_path / "data"))) as client:
        assert contents(client) == expected
        assert client.call("CONFIG", "SET", "appendonly", "no") == ("+", b"OK")
        assert info(client, "persistence")[b"aof_enabled"] == b"0"
        assert client.call("WAITAOF", 1, 0, 0)[0] == "-"


def test_shutdown_while_the_first_base_is_written_is_refused_unless_forced(
    start_peer: PeerFactory, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    server = start_peer("bundled", "--dir", str(tmp_path / "data"), "--rdb-key-save-delay", "10000000")
    with connect(server) as client:
        client.call("SET", "key", "1")
        assert client.call("CONFIG", "SET", "appendonly", "yes") == ("+", b"OK")
        assert client.call("SHUTDOWN") == ("-", b"ERR Errors trying to SHUTDOWN. Check logs.")
        assert client.call("PING") == ("+", b"PONG")
        client.send(pack(("SHUTDOWN", "FORCE")))
        assert client.read_to_end() == b""
    assert server.process.wait(WITHIN_S) == 0


def test_append_only_file_that_has_grown_is_rewritten(start_peer: PeerFactory, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    options = aof_options(tmp_path / "data", "--auto-aof-rewrite-min-size", "10kb")
    with connect(start_peer("bundled", *options)) as client:
        for number in range(400):
            client.call("SET", "same", "x" * 100 + str(number))
        eventually(lambda: info(client, "persistence")[b"aof_rewrites"] >= b"1")
        eventually(lambda: info(client, "persistence")[b"aof_rewrite_in_progress"] == b"0")
        fields = info(client, "persistence")
        assert int(fields[b"aof_base_size"]) < 10 * 1024


def test_waitaof_waits_for_the_fsync(start_peer: PeerFactory, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with connect(start_peer("bundled", *aof_options(tmp_path / "data", "--appendfsync", "no"))) as client:
        client.call("SET", "a", "1")
        assert client.call("WAITAOF", 1, 0, 20) == ("*", ((":", b"0"), (":", b"0")))
        client.call("CONFIG", "SET", "appendfsync", "everysec")
        started = time.monotonic()
        client.call("SET", "a", "2")
        assert client.call("WAITAOF", 1, 0, 0) == ("*", ((":", b"1"), (":", b"0")))
        assert time.monotonic() - started < 5


def test_clients_are_told_while_commands_are_loaded(tmp_path: Path) -> None:
    path = write_files(tmp_path / "data", b"".join(pack(("SET", f"key{number}", "v")) for number in range(50_000)))
    size = path.stat().st_size
    options = aof_options(tmp_path / "data", "--key-load-delay", "300")  # a quarter of a second between two looks
    assert_told_while_loading(options, size)
    assert path.stat().st_size == size


def test_clients_are_told_while_a_base_is_loaded(start_peer: PeerFactory, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    options = aof_options(tmp_path / "data")
    first = start_peer("bundled", *options)
    with connect(first) as client:
        client.send(b"".join(pack(("SET", f"key{number}", "v" * 100)) for number in range(2000)))
        for _ in range(2000):
            client.read()
        client.call("BGREWRITEAOF")
        eventually(lambda: info(client, "persistence")[b"aof_rewrite_in_progress"] == b"0")
    first.stop()
    slow = ("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024")
    size = sum(path.stat().st_size for path in (tmp_path / "data/appendonlydir").glob("appendonly.aof.[0-9]*"))
    assert_told_while_loading((*options, *slow), size)


def assert_told_while_loading(options: tuple[str, ...], size: int) -> None:
    """Start a server that takes long to load files of this size; ask it; end it meanwhile."""
    # PING is refused while it loads, so that a starter would wait: here the port is asked for directly
    port = free_port()
    process = subprocess.Popen((sys.executable, "-m", "coordkit_server", "--port", str(port), *options))
    try:
        peer = Peer("bundled", "127.0.0.1", port, process)
        eventually(lambda: b"LOADING" in ask(peer))
        with connect(peer) as client:
            assert client.call("GET", "key1") == ("-", b"LOADING Redis is loading the dataset in memory")
            state = info(client, "persistence")
            assert state[b"loading"] == b"1"
            assert int(state[b"loading_total_bytes"]) == size
            assert int(state[b"loading_loaded_bytes"]) < size
            client.send(pack(("SHUTDOWN", "NOSAVE")))
            assert client.read_to_end() == b""
        assert process.wait(WITHIN_S) == 0
    finally:
        process.kill()
        process.wait(WITHIN_S)


# -- what the log says of a rewrite that fails ----------------------------------------------------------------------

GOES_ON = "goes on without the rewrite, nothing is lost. Free space or mend what failed, then run BGREWRITEAOF."
LIMIT_BYTES = 100_000  # of a file, as a disk that is full refuses more: far below the data, far above the log


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_rewrite_on_a_full_disk_says_what_failed_and_what_to_do(
    preamble: str, start_peer: PeerFactory, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    options = aof_options(tmp_path, "--aof-use-rdb-preamble", preamble, "--rdbcompression", "no", "--logfile", str(log))
    peer = start_peer("bundled", *options)
    with connect(peer) as client:
        for number in range(3):
            client.call("SET", f"key{number}", b"x" * LIMIT_BYTES)
        resource.prlimit(peer.pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, resource.RLIM_INFINITY))
        assert client.call("BGREWRITEAOF") == ("+", b"Background append only file rewriting started")
        eventually(lambda: "run BGREWRITEAOF" in log.read_text())
        resource.prlimit(peer.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert info(client, "persistence")[b"aof_last_bgrewrite_status"] == b"err"
        assert client.call("BGREWRITEAOF") == ("+", b"Background append only file rewriting started")
        eventually(lambda: info(client, "persistence")[b"aof_last_bgrewrite_status"] == b"ok")
    said = log.read_text()
    assert "Write error writing append only file on disk: File too large (temp-rewriteaof-bg-" in said
    assert "Background AOF rewrite terminated with error" in said
    assert f"The AOF in {tmp_path / 'appendonlydir'} {GOES_ON}" in said
    assert "saving DB" not in said
    assert "Child failed" not in said


@pytest.mark.parametrize(
    "name, text",
    [
        (
            "temp-appendonly.aof.manifest",
            "Error trying to write the temporary AOF manifest file temp-appendonly.aof.manifest: Is a directory",
        ),
        ("appendonly.aof.2.incr.aof", "Can't open the append-only file appendonly.aof.2.incr.aof: Is a directory"),
    ],
)
def test_rewrite_that_cannot_begin_says_which_file_it_needs(
    name: str, text: str, start_peer: PeerFactory, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    peer = start_peer("bundled", *aof_options(tmp_path, "--logfile", str(log)))
    (tmp_path / "appendonlydir" / name).mkdir()
    with connect(peer) as client:
        refusal = b"ERR Can't execute an AOF background rewriting. Please check the server logs for more information."
        assert client.call("BGREWRITEAOF") == ("-", refusal)
        assert client.call("SET", "a", "1") == ("+", b"OK")
    said = log.read_text()
    assert text in said
    assert GOES_ON in said


def test_append_only_directory_that_cannot_be_made_ends_the_start_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("a file")
    text = "The append-only file cannot be used: Can't open or create append-only dir appendonlydir: Not a directory."
    assert text in refused(tmp_path)
