"""The embedded server: started by the first user, joined by others, gone after the last, however they end."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from coordkit import AsyncClient, Client, ConfigurationError, ServerUnavailable
from coordkit.embedded import EmbeddedServer, parse_embedded_url

WITHIN_S = 10.0

USER = """
import sys, time
from coordkit import Client
ck = Client.from_url(sys.argv[1])
print(ck.backend.execute(("INFO", "server")).decode().split("process_id:")[1].split()[0], flush=True)
sys.stdin.read()
"""


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; processes end when they end, and nobody tells."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def server_pid(ck: Client) -> int:
    info = ck.backend.execute(("INFO", "server"))
    assert isinstance(info, bytes)
    return int(info.split(b"process_id:")[1].split()[0])


def persistence(ck: Client) -> bytes:
    """What INFO tells of the files."""
    info = ck.backend.execute(("INFO", "persistence"))
    assert isinstance(info, bytes)
    return info


def start_user(url: str) -> tuple[subprocess.Popen[str], int]:
    """Another process that uses the server at `url`, and the server's pid."""
    user = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(USER), url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert user.stdout is not None
    return user, int(user.stdout.readline())


def stop_user(user: subprocess.Popen[str]) -> None:
    user.communicate()


def test_embedded_server_ends_with_its_client() -> None:
    with Client.from_url("embedded://") as ck:
        ck.ping()
        pid = server_pid(ck)
        assert not ended(pid)
    eventually(lambda: ended(pid))


async def test_embedded_server_serves_an_async_client() -> None:
    async with AsyncClient.from_url("embedded://") as ck:
        await ck.ping()


def test_embedded_servers_without_directory_are_apart() -> None:
    with Client.from_url("embedded://") as one, Client.from_url("embedded://") as two:
        assert server_pid(one) != server_pid(two)


def test_embedded_server_of_killed_process_ends(tmp_path: Path) -> None:
    user, pid = start_user(f"embedded://{tmp_path}")
    user.kill()
    stop_user(user)
    eventually(lambda: ended(pid))


def test_embedded_server_of_directory_is_shared_until_the_last_leaves(tmp_path: Path) -> None:
    url = f"embedded://{tmp_path}"
    with Client.from_url(url) as ck:
        pid = server_pid(ck)
        user, joined = start_user(url)
        assert joined == pid
    assert not ended(pid)
    user.kill()
    stop_user(user)
    eventually(lambda: ended(pid))


def test_embedded_server_of_directory_finds_what_the_last_one_held(tmp_path: Path) -> None:
    url = f"embedded://{tmp_path}/data"
    for count in range(1, 4):
        with Client.from_url(url) as ck:
            assert ck.backend.execute(("INCR", "runs")) == count


def test_embedded_server_of_directory_goes_on_with_an_append_only_file(tmp_path: Path) -> None:
    url = f"embedded://{tmp_path}"
    with Client.from_url(url) as ck:
        ck.backend.execute(("SET", "k", "before"))
        ck.backend.execute(("SAVE",))
        ck.backend.execute(("CONFIG", "SET", "save", "", "appendonly", "yes"))
        eventually((tmp_path / "appendonlydir" / "appendonly.aof.manifest").exists)
        eventually(lambda: b"aof_rewrite_in_progress:0" in persistence(ck))
        ck.backend.execute(("SET", "k", "logged"))
    with Client.from_url(url) as ck:
        assert ck.backend.execute(("GET", "k")) == b"logged"


def test_embedded_server_of_directory_started_by_many_at_once_is_one(tmp_path: Path) -> None:
    url = f"embedded://{tmp_path}"
    commands = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(USER), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in range(4)
    ]
    pids = set()
    for user in commands:
        assert user.stdout is not None
        pids.add(int(user.stdout.readline()))
    for user in commands:
        stop_user(user)
    assert len(pids) == 1


def test_embedded_server_that_was_killed_is_started_again(tmp_path: Path) -> None:
    with Client.from_url(f"embedded://{tmp_path}") as ck:
        pid = server_pid(ck)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: ended(pid))
        ck.ping()
        assert server_pid(ck) != pid


def test_embedded_sockets_are_in_a_private_directory(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    try:
        path = server.resolve().path
        assert path is not None
        assert Path(path).parent.stat().st_mode & 0o777 == 0o700
    finally:
        server.close()


def test_embedded_server_in_forked_child_is_joined_by_a_share_of_its_own() -> None:
    with Client.from_url("embedded://") as ck:
        pid = server_pid(ck)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if server_pid(ck) == pid else 2
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        ck.ping()


def test_embedded_url_with_host_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="embedded:///absolute/path"):
        parse_embedded_url("embedded://data/dir")


def test_embedded_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("not a directory")
    with pytest.raises(ServerUnavailable, match="data directory"):
        EmbeddedServer(blocker / "data").resolve()
