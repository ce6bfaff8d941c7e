"""What keeping data costs: throughput with an append-only file, and a snapshot of a million keys beside redis-server.

Throughput is a share of the same round's other figure: with `everysec` of the bundled server without a file, with
`always` of redis-server on the same disk.  While a snapshot is written one client sets keys, one after the other: its
longest wait is the pause.
"""

import csv
import io
import random
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from tests.benchmarks.server_bench import CONNECTIONS, QUICK_SHARE
from tests.peers import STARTERS, Peer, PeerMissing

KEYS: Final = 1_000_000
KEYS_A_COMMAND: Final = 1000
LOGGED: Final = ("--appendonly", "yes", "--auto-aof-rewrite-percentage", "0")
LOADED: Final = re.compile(r"DB loaded from disk: ([0-9.]+) seconds")


@dataclass(frozen=True, slots=True)
class LogCase:
    """Two servers under the same load: the first one's requests a second as a share of the second one's."""

    name: str
    server: str
    options: tuple[str, ...]
    other: str
    other_options: tuple[str, ...]
    pipeline: int
    requests: int
    target: float | None


LOG_CASES: Final = (
    LogCase("SET, everysec, to no file", "bundled", LOGGED, "bundled", (), 16, 400_000, 0.85),
    LogCase("SET, everysec, to no file", "redis", LOGGED, "redis", (), 16, 400_000, None),
    LogCase(
        "SET, always, to redis",
        "bundled",
        (*LOGGED, "--appendfsync", "always"),
        "redis",
        (*LOGGED, "--appendfsync", "always"),
        1,
        40_000,
        0.7,
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one server, with its share of the other figure."""

    case: str
    server: str
    figure: float
    unit: str
    ratio: float
    target: float | None
    less_is_better: bool = False


def measure(*, rounds: int, quick: bool, only: str | None, leave_out: Callable[[str], None]) -> Iterator[list[Row]]:
    """The rows of all cases that can be run here; `leave_out` gets a line for each that cannot."""
    for case in LOG_CASES:
        if only is not None and only.lower() not in case.name.lower():
            continue
        try:
            yield [log_row(case, [throughputs(case, quick=quick) for _ in range(rounds)])]
        except PeerMissing as reason:
            leave_out(f"{case.name}: {reason}")
    if only is None or only.lower() in "snapshot":
        try:
            pairs = [(snapshot("redis", quick=quick), snapshot("bundled", quick=quick)) for _ in range(rounds)]
        except PeerMissing as reason:
            leave_out(f"snapshot: {reason}")
            return
        yield snapshot_rows(pairs)


# -- the append-only file ----------------------------------------------------------------------------------------------


def throughputs(case: LogCase, *, quick: bool) -> tuple[float, float]:
    """Requests a second of both servers, each with fresh data."""
    requests = case.requests // (QUICK_SHARE if quick else 1)
    return (
        throughput(case.server, case.options, case.pipeline, requests),
        throughput(case.other, case.other_options, case.pipeline, requests),
    )


def throughput(name: str, options: tuple[str, ...], pipeline: int, requests: int) -> float:
    """Requests a second of a fresh server."""
    program = shutil.which("redis-benchmark")
    if program is None:
        raise PeerMissing("redis-benchmark is not on PATH; install it with `apt-get install redis-tools`")
    with tempfile.TemporaryDirectory() as scratch:
        peer = STARTERS[name](Path(scratch), "--save", "", *options)
        try:
            counts = ("-c", str(CONNECTIONS), "-n", str(requests), "-P", str(pipeline), "-r", "100000", "--csv")
            address = ("-h", peer.host, "-p", str(peer.port))
            done = subprocess.run(
                (program, *address, *counts, "SET", "key:__rand_int__", "xxx"),
                capture_output=True,
                text=True,
                check=True,
                timeout=300,
            )
        finally:
            peer.stop()
    (result,) = csv.DictReader(io.StringIO(done.stdout[done.stdout.index('"test"') :]))
    return float(result["rps"])


def log_row(case: LogCase, pairs: list[tuple[float, float]]) -> Row:
    """Medians, and the median of the rounds' ratios."""
    figure = statistics.median(ours for ours, _ in pairs)
    ratio = statistics.median(ours / other for ours, other in pairs)
    return Row(case.name, case.server, figure, "requests/s", ratio, case.target)


# -- the snapshot ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a snapshot cost one server."""

    pause_ms: float
    fork_ms: float
    save_s: float
    copied_mb: float
    load_s: float


# figure of Snapshot, its name, its unit, what it may be at most as a multiple of redis-server's
FIGURES: Final = (
    ("pause_ms", "longest wait of a client meanwhile", "ms", None),
    ("fork_ms", "fork", "ms", None),
    ("save_s", "BGSAVE", "s", None),
    ("copied_mb", "memory copied on write", "MB", None),
    ("load_s", "loading", "s", 3.0),
)


def snapshot(name: str, *, quick: bool) -> Snapshot:
    """What a snapshot costs a server."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        peer = STARTERS[name](directory, "--save", "")
        try:
            with redis.Redis(host=peer.host, port=peer.port) as client:
                fill(client, KEYS // (QUICK_SHARE if quick else 1))
                pause_s, save_s = save(client)
                facts = client.info()
        finally:
            peer.kill()
        again = STARTERS[name](directory, "--save", "")
        try:
            load_s = loading_s(directory, again)
        finally:
            again.kill()
    assert isinstance(facts, dict)
    return Snapshot(
        pause_ms=pause_s * 1000,
        fork_ms=facts["latest_fork_usec"] / 1000,
        save_s=save_s,
        copied_mb=facts["rdb_last_cow_size"] / 1_000_000,
        load_s=load_s,
    )


def fill(client: "redis.Redis", keys: int) -> None:
    """Set keys with values of 40 bytes."""
    for start in range(0, keys, KEYS_A_COMMAND):
        client.mset({f"key:{number:012}": f"value of {number:031}" for number in range(start, start + KEYS_A_COMMAND)})


def save(client: "redis.Redis") -> tuple[float, float]:
    """Have a snapshot written while keys are set; return the longest wait and how long it took, in seconds."""
    chance = random.Random(1)
    keys = int(client.dbsize())
    longest_s = 0.0
    started = time.monotonic()
    client.bgsave()
    longest_s = time.monotonic() - started
    looks = 0
    while True:
        sent = time.monotonic()
        client.set(f"key:{chance.randrange(keys):012}", "x" * 40)
        longest_s = max(longest_s, time.monotonic() - sent)
        looks += 1
        if looks % 100 == 0:
            state = client.info("persistence")
            assert isinstance(state, dict)
            if state["rdb_bgsave_in_progress"] == 0:
                assert state["rdb_last_bgsave_status"] == "ok"
                return longest_s, time.monotonic() - started


def loading_s(directory: Path, peer: Peer) -> float:
    """How long the server says that loading took."""
    (found,) = LOADED.findall((directory / f"{peer.name}-{peer.port}.log").read_text())
    return float(found)


def snapshot_rows(pairs: list[tuple[Snapshot, Snapshot]]) -> list[Row]:
    """Medians, and medians of the rounds' ratios, of redis-server and of the bundled server."""
    rows = []
    for field, name, unit, target in FIGURES:
        theirs = [float(getattr(reference, field)) for reference, _ in pairs]
        ours = [float(getattr(bundled, field)) for _, bundled in pairs]
        ratio = statistics.median(one / max(other, 0.000_1) for one, other in zip(ours, theirs, strict=True))
        rows.append(Row(f"snapshot, {name}", "redis", statistics.median(theirs), unit, 1.0, None, less_is_better=True))
        rows.append(Row(f"snapshot, {name}", "bundled", statistics.median(ours), unit, ratio, target, True))
    return rows
