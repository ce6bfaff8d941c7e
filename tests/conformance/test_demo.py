"""The demo on every server, as its own test: whatever is killed, every invariant holds."""

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordkit import AsyncClient
from coordkit.cli.demo.record import Refused, merge, read_record
from tests.peers import Peer

ROOT = Path(__file__).resolve().parents[2]
WORDS = ["lease", "fence", "queue", "lock", "limit", "channel", "worker", "server"]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A directory with 80 files."""
    chosen = random.Random(7)
    for number in range(80):
        directory = tmp_path / f"part{number % 5}"
        directory.mkdir(exist_ok=True)
        text = "".join(chosen.choice([*(word + " " for word in WORDS), "\n"]) for _ in range(chosen.randrange(1, 3000)))
        (directory / f"{number}.txt").write_text(text or "word")
    return tmp_path


def demo(url: str, directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "coordkit", "demo", "--url", url, "--dir", str(directory), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)


def value(output: str, name: str) -> tuple[str | None, int]:
    """Verdict and number of a row of the result."""
    found = re.search(rf"^{name}  +(ok|FAIL)? +([\d,]+)", output, re.MULTILINE)
    assert found, output
    return found[1], int(found[2].replace(",", ""))


@pytest.mark.parametrize("kills", [0, 1, 3])
def test_demo_holds_its_invariants(server: Peer, texts: Path, kills: int) -> None:
    result = demo(server.url, texts, "--kills", str(kills), "--rate", "150", "--burst", "10")
    assert result.returncode == 0, result.stdout + result.stderr
    assert value(result.stdout, "jobs enqueued") == (None, 80)
    assert value(result.stdout, "jobs completed") == ("ok", 80)
    assert value(result.stdout, "jobs lost") == ("ok", 0)
    assert value(result.stdout, "totals equal to one process's")[0] == "ok"
    assert value(result.stdout, "lock overlaps") == ("ok", 0)
    assert value(result.stdout, "limiter admissions")[0] == "ok"
    assert value(result.stdout, "workers killed") == ("ok", kills)
    assert server.command("DBSIZE") == b":0\r\n", "it leaves nothing behind"


def test_demo_with_every_worker_killed_starts_another_one(server: Peer, texts: Path) -> None:
    result = demo(server.url, texts, "--workers", "2", "--kills", "3", "--rate", "150", "--burst", "10")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "no worker is left: started another one" in result.stdout
    assert value(result.stdout, "jobs lost") == ("ok", 0)


def test_demo_without_server_ends_with_status_69(texts: Path) -> None:
    result = demo("redis://127.0.0.1:1", texts)
    assert result.returncode == 69
    assert "no server answers" in result.stderr


def test_demo_without_files_ends_with_status_78(tmp_path: Path) -> None:
    result = demo("redis://127.0.0.1:1", tmp_path)
    assert result.returncode == 78
    assert "no text files" in result.stderr


async def test_workers_of_a_killed_demo_end_too(server: Peer, texts: Path) -> None:
    command = [sys.executable, "-m", "coordkit", "demo", "--url", server.url, "--dir", str(texts), "--rate", "5"]
    environment = {**os.environ, "TMPDIR": str(texts)}  # what it cannot remove goes with the test
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    workers: list[int] = []
    while not workers:
        line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        if found := re.search(r"worker processes: ([\d, ]+)", line):
            workers = [int(pid) for pid in found[1].split(", ")]
    process.send_signal(signal.SIGKILL)
    await process.wait()
    async with asyncio.timeout(40):
        while any(_runs(pid) for pid in workers):
            await asyncio.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


# -- the fenced write -------------------------------------------------------------------------------------------------


@pytest.fixture
async def ck(server_url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient.from_url(server_url) as client:
        yield client


async def test_merge_with_a_lower_fence_is_refused(ck: AsyncClient) -> None:
    await merge(ck, 7, "one", 1, 10, 100)
    with pytest.raises(Refused, match="fence 6 is below 7"):
        await merge(ck, 6, "two", 1, 10, 100)
    assert (await read_record(ck))["words"] == 10
    assert (await read_record(ck))["refused"] == 1


async def test_merge_of_the_same_job_counts_once(ck: AsyncClient) -> None:
    assert (await merge(ck, 7, "one", 1, 10, 100)).verdict == 1
    assert (await merge(ck, 7, "one", 1, 10, 100)).verdict == 1, "the same call, sent again"
    assert (await merge(ck, 8, "one", 1, 10, 100)).verdict == 2, "a later attempt"
    record = await read_record(ck)
    assert (record["files"], record["words"], record["repeated"]) == (1, 10, 1)
