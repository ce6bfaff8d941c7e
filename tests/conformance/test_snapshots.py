"""Snapshot files between servers, and how a server makes and loads them."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.differential.case import CommandLine
from tests.differential.client import RawClient, Reply, pack
from tests.differential.datasets import DATASETS, content
from tests.peers import Peer, PeerMissing, free_port

PeerFactory = Callable[..., Peer]
WITHIN_S = 20.0
LATER_MS = 32503680000000
LIBRARY = "#!lua name=lib\nredis.register_function('answer', function() return 42 end)"


def connect(peer: Peer) -> RawClient:
    return RawClient(peer.host, peer.port, timeout_s=WITHIN_S)


def info(client: RawClient) -> dict[bytes, bytes]:
    """The fields of INFO persistence."""
    _, text = client.call("INFO", "persistence")
    assert isinstance(text, bytes)
    return {name: value for name, _, value in (line.partition(b":") for line in text.splitlines())}


def eventually(holds: Callable[[], bool]) -> None:
    """Return once `holds()` is true; fail if that takes too long."""
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def named(command: CommandLine, key: str) -> CommandLine:
    """The command with `key` in place of `k`."""
    return [key if word == "k" else word for word in command]


def fill(client: RawClient) -> None:
    """Make a key of every dataset, in two databases, every third with a time to live; and a library."""
    for at, (key, commands) in enumerate(DATASETS.items()):
        client.send(pack(("SELECT", at % 2)))
        for command in commands:
            client.send(pack(named(command, key)))
        if at % 3 == 0:
            client.send(pack(("PEXPIREAT", key, LATER_MS + at)))
        for _ in range(len(commands) + 1 + (at % 3 == 0)):
            client.read()
    assert client.call("FUNCTION", "LOAD", LIBRARY) == ("$", b"lib")


def everything(client: RawClient) -> dict[str, tuple[list[Reply], Reply]]:
    """The content and time to live of the key of every dataset."""
    found = {}
    for at, key in enumerate(DATASETS):
        client.call("SELECT", at % 2)
        found[key] = (content(client, key), client.call("PEXPIRETIME", key))
    return found


def directory(peer: Peer) -> Path:
    with connect(peer) as client:
        _, reply = client.call("CONFIG", "GET", "dir")
    assert isinstance(reply, tuple)
    return Path(reply[1][1].decode())


@pytest.mark.parametrize(
    "writer, reader", [("redis", "bundled"), ("valkey", "bundled"), ("bundled", "redis"), ("bundled", "valkey")]
)
def test_snapshot_of_one_server_loads_on_another(writer: str, reader: str, start_peer: PeerFactory) -> None:
    first = start_peer(writer)
    with connect(first) as client:
        fill(client)
        before = everything(client)
        assert client.call("SAVE") == ("+", b"OK")
    source = directory(first) / "dump.rdb"
    first.stop()
    target = source.parent.parent / "next"
    target.mkdir()
    shutil.copy(source, target / "dump.rdb")
    with connect(start_peer(reader, "--dir", str(target))) as client:
        assert everything(client) == before
        assert client.call("FCALL", "answer", 0) == (":", b"42")


def test_redis_check_rdb_accepts_our_file(start_peer: PeerFactory) -> None:
    program = shutil.which("redis-check-rdb")
    if program is None:
        missing(PeerMissing("redis-check-rdb is not on PATH; install it with `apt-get install redis-tools`"))
        return
    peer = start_peer("bundled")
    with connect(peer) as client:
        fill(client)
        client.call("SAVE")
    checked = subprocess.run([program, str(directory(peer) / "dump.rdb")], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert "Checksum OK" in checked.stdout


def test_reload_keeps_everything(start_peer: PeerFactory) -> None:
    with connect(start_peer("bundled", "--enable-debug-command", "yes")) as client:
        fill(client)
        before = everything(client)
        digest = client.call("DEBUG", "DIGEST")
        assert client.call("DEBUG", "RELOAD") == ("+", b"OK")
        assert everything(client) == before
        assert client.call("DEBUG", "DIGEST") == digest
        assert client.call("FCALL", "answer", 0) == (":", b"42")
        client.call("SELECT", 0)
        client.call("SET", "new", 1)
        assert client.call("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH", "MERGE") == ("+", b"OK")
        assert client.call("GET", "new") == ("$", b"1")
        assert client.call("DEBUG", "RELOAD", "NOSAVE") == ("+", b"OK")
        assert client.call("GET", "new") == ("$", None)
        assert client.call("DEBUG", "RELOAD", "NOTHING")[0] == "-"
        for key in ("string-zeros4096", "list-texts", "zset-128"):
            client.call("SELECT", list(DATASETS).index(key) % 2)
            _, payload = client.call("DUMP", key)
            assert isinstance(payload, bytes)
            _, described = client.call("DEBUG", "OBJECT", key)
            assert f"serializedlength:{len(payload) - 11} " in str(described)  # type, version and checksum are 11 bytes


def test_bgsave_goes_on_while_clients_are_served(start_peer: PeerFactory) -> None:
    peer = start_peer("bundled", "--rdb-key-save-delay", "2000")
    with connect(peer) as client:
        for number in range(200):
            client.call("SET", number, number)
        assert client.call("BGSAVE") == ("+", b"Background saving started")
        assert info(client)[b"rdb_bgsave_in_progress"] == b"1"
        client.call("SET", "meanwhile", 1)
        for command in ("BGSAVE", "SAVE"):
            assert client.call(command) == ("-", b"ERR Background save already in progress")
        eventually(lambda: info(client)[b"rdb_bgsave_in_progress"] == b"0")
        state = info(client)
        assert state[b"rdb_last_bgsave_status"] == b"ok"
        assert state[b"rdb_changes_since_last_save"] == b"1"
        assert client.call("LASTSAVE") == (":", state[b"rdb_last_save_time"])
        assert (directory(peer) / "dump.rdb").exists()


def test_bgsave_in_a_transaction_is_scheduled(start_peer: PeerFactory) -> None:
    with connect(start_peer("bundled")) as client:
        client.call("MULTI")
        client.call("BGSAVE")
        assert client.call("EXEC") == ("*", (("+", b"Background saving scheduled"),))
        eventually(lambda: info(client)[b"rdb_saves"] == b"1" and info(client)[b"rdb_bgsave_in_progress"] == b"0")
        assert client.call("BGSAVE", "LATER") == ("-", b"ERR syntax error")
        assert client.call("BGSAVE", "SCHEDULE") == ("+", b"Background saving started")


@pytest.mark.parametrize("how", ["signal", "command", "asked"])
def test_end_makes_a_snapshot_if_it_is_to(how: str, start_peer: PeerFactory) -> None:
    options = () if how == "asked" else ("--save", "3600", "1")
    peer = start_peer("bundled", *options)
    where = directory(peer)
    with connect(peer) as client:
        client.call("SET", "k", "v")
        if how != "signal":
            client.send(pack(("SHUTDOWN", "SAVE") if how == "asked" else ("SHUTDOWN",)))
            assert client.read_to_end() == b""
    if how == "signal":
        peer.stop()
    assert peer.process.wait(WITHIN_S) == 0
    with connect(start_peer("bundled", "--dir", str(where))) as client:
        assert client.call("GET", "k") == ("$", b"v")


@pytest.mark.parametrize("words, saved", [("save", True), ("nosave", False), ("nosave force", False)])
def test_signal_ends_as_the_configuration_says(words: str, saved: bool, start_peer: PeerFactory) -> None:
    options = (
        ("--shutdown-on-sigterm", *words.split()) if saved else ("--save", "1000", "1", "--shutdown-on-sigterm", words)
    )
    peer = start_peer("bundled", *options)
    where = directory(peer)
    with connect(peer) as client:
        client.call("SET", "k", "v")
    peer.stop()
    assert peer.process.wait(WITHIN_S) == 0
    assert (where / "dump.rdb").exists() == saved


def test_shutdown_that_cannot_save_is_refused(start_peer: PeerFactory) -> None:
    peer = start_peer("bundled")
    with connect(peer) as client:
        where = directory(peer)
        (where / "dump.rdb").mkdir()  # a file cannot take the place of a directory
        assert client.call("SHUTDOWN", "SAVE") == ("-", b"ERR Errors trying to SHUTDOWN. Check logs.")
        assert client.call("SAVE") == ("-", b"ERR")
        assert client.call("PING") == ("+", b"PONG")
        client.send(pack(("SHUTDOWN", "NOSAVE")))
        assert client.read_to_end() == b""


def test_writes_are_refused_while_snapshots_fail(start_peer: PeerFactory) -> None:
    peer = start_peer("bundled", "--save", "3600", "1")
    with connect(peer) as client:
        where = directory(peer)
        (where / "dump.rdb").mkdir()
        client.call("SET", "k", "v")
        client.call("BGSAVE")
        eventually(lambda: info(client)[b"rdb_last_bgsave_status"] == b"err")
        kind, text = client.call("SET", "k", "w")
        assert kind == "-"
        assert isinstance(text, bytes)
        assert text.startswith(b"MISCONF")
        assert client.call("GET", "k") == ("$", b"v")
        (where / "dump.rdb").rmdir()
        assert client.call("BGSAVE") == ("+", b"Background saving started")
        eventually(lambda: info(client)[b"rdb_last_bgsave_status"] == b"ok")
        assert client.call("SET", "k", "w") == ("+", b"OK")


def test_start_with_a_broken_file_says_where_and_ends(start_peer: PeerFactory) -> None:
    peer = start_peer("bundled")
    where = directory(peer)
    with connect(peer) as client:
        for number in range(100):
            client.call("SET", f"key{number}", "v" * 10)
        client.call("SAVE")
    peer.stop()
    data = bytearray((where / "dump.rdb").read_bytes())
    data[-1] ^= 1
    (where / "dump.rdb").write_bytes(data)
    with pytest.raises(RuntimeError, match="CRC error"):
        start_peer("bundled", "--dir", str(where))
    (where / "dump.rdb").write_bytes(data[:200])
    with pytest.raises(RuntimeError, match="ends too early"):
        start_peer("bundled", "--dir", str(where))


def test_clients_are_told_while_the_file_is_loaded(start_peer: PeerFactory, tmp_path: Path) -> None:
    first = start_peer("bundled")
    where = directory(first)
    with connect(first) as client:
        client.send(b"".join(pack(("SET", f"key{number}", "v" * 100)) for number in range(2000)))
        for _ in range(2000):
            client.read()
        client.call("SAVE")
    first.stop()
    slow = ("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024")
    # PING is refused while it loads, so that a starter would wait: here the port is asked for directly
    port = free_port()
    command = (sys.executable, "-m", "coordkit_server", "--port", str(port), "--dir", str(where), *slow)
    with (tmp_path / "log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        peer = Peer("bundled", "127.0.0.1", port, process)
        eventually(lambda: b"LOADING" in ask(peer))
        with connect(peer) as client:
            assert client.call("GET", "key1") == ("-", b"LOADING Redis is loading the dataset in memory")
            state = info(client)
            assert state[b"loading"] == b"1"
            assert int(state[b"loading_total_bytes"]) > int(state[b"loading_loaded_bytes"])
            client.send(pack(("SHUTDOWN", "NOSAVE")))
            assert client.read_to_end() == b""
        assert process.wait(WITHIN_S) == 0
    finally:
        process.kill()
        process.wait(WITHIN_S)
    assert (where / "dump.rdb").exists()


def ask(peer: Peer) -> bytes:
    """The reply to PING, nothing if nobody listens yet."""
    try:
        return peer.command("PING")
    except OSError:
        return b""
