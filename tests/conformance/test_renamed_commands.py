"""rename-command, on the bundled server and on Redis: who knows a command by which name."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.test_replication import connect
from tests.differential.client import Reply
from tests.peers import Peer, free_port

PeerFactory = Callable[..., Peer]
SERVERS = pytest.mark.parametrize("name", ["bundled", "redis"])


@SERVERS
def test_renamed_command_is_called_by_its_new_name_and_told_of_by_its_own(name: str, start_peer: PeerFactory) -> None:
    options = ["--rename-command", "FLUSHALL", "", "--rename-command", "config", "b840 x"]
    options += ["--rename-command", "Set", "put", "--rename-command", "PUT", "Store"]
    peer = start_peer(name, *options)
    with connect(peer) as client:
        told: list[tuple[Reply, Reply]] = [
            (client.call("store", "k", "v"), ("+", b"OK")),
            (client.call("SET", "k", "w"), ("-", b"ERR unknown command 'SET', with args beginning with: 'k' 'w' ")),
            (client.call("flushall"), ("-", b"ERR unknown command 'flushall', with args beginning with: ")),
            (client.call("STORE", "k"), ("-", b"ERR wrong number of arguments for 'set' command")),
            (client.call("B840 X", "RESETSTAT"), ("+", b"OK")),
            (client.call("EVAL", "return redis.call('store', 'k', 'x')", 0), ("+", b"OK")),
            (client.call("GET", "k"), ("$", b"x")),
            (client.call("ACL", "SETUSER", "bob", "+set", "+flushall", "~*"), ("+", b"OK")),
            (client.call("ACL", "DRYRUN", "bob", "store", "k", "v"), ("+", b"OK")),
        ]
        for got, expected in told:
            assert got == expected
        assert client.call("ACL", "SETUSER", "bob", "+store")[0] == "-"
        assert b"flushall" in repr(client.call("ACL", "CAT", "dangerous")).encode()
        names = repr(client.call("COMMAND", "LIST"))
        assert "b'set'" in names
        assert "b'store'" not in names
        assert "b'flushall'" not in names
        assert "b'set'" in repr(client.call("COMMAND", "INFO", "store"))
        assert "b'set'" not in repr(client.call("COMMAND", "INFO", "set"))
        assert "cmdstat_set:" in repr(client.call("INFO", "commandstats"))


@SERVERS
def test_append_only_file_holds_the_names_that_were_called(name: str, tmp_path: Path, start_peer: PeerFactory) -> None:
    options = [
        "--rename-command",
        "SET",
        "put",
        "--appendonly",
        "yes",
        "--dir",
        str(tmp_path),
        "--appendfsync",
        "always",
    ]
    peer = start_peer(name, *options)
    with connect(peer) as client:
        assert client.call("Put", "k", "v") == ("+", b"OK")
    peer.stop()
    log = (tmp_path / "appendonlydir" / "appendonly.aof.1.incr.aof").read_bytes().lower()
    assert b"\r\nput\r\n$1\r\nk\r\n" in log
    with connect(start_peer(name, *options)) as client:
        assert client.call("GET", "k") == ("$", b"v")


@pytest.mark.parametrize(
    "line, text",
    [
        ("rename-command nosuch x", "No such command in rename-command"),
        ("rename-command client|list x", "No such command in rename-command"),
        ("rename-command get SET", "Target command name already exists"),
        ('rename-command get ""\nrename-command get x', "No such command in rename-command"),
        ("rename-command get", "rename-command 'get': wrong number of arguments"),
    ],
)
def test_rename_that_cannot_be_ends_the_start(line: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "redis.conf"
    path.write_text(line + "\n")
    command = [sys.executable, "-m", "coordkit_server", str(path), "--port", str(free_port())]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode != 0
    assert text in run.stderr
    assert "Traceback" not in run.stderr
