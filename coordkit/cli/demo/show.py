"""The run of the demo: enqueue, watch, kill, wait for the end, judge."""

import asyncio
import contextlib
import random
import secrets
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from coordkit.cli.demo.crew import Crew
from coordkit.cli.demo.display import Display, Row
from coordkit.cli.demo.jobs import LEASE_S, Settings, count, words
from coordkit.cli.demo.record import (
    CHANNEL,
    MARK_LISTS,
    Mark,
    read_marks,
    read_record,
    remove_everything,
    server_time_us,
)
from coordkit.cli.demo.referee import judge_limiter, judge_lock, judge_recovery
from coordkit.cli.demo.texts import Counts, count_files
from coordkit.client import AsyncClient
from coordkit.errors import CoordkitError
from coordkit.queue.scripts import QueueStats

LOOK_S: Final = 0.1
"""How long without a message until the queue is asked how far it is."""

SHORTEST_S: Final = 2
"""So long the work lasts at least: with less of it the rate is lowered, or there were no time to kill anybody."""

STALLED_S: Final = 60.0
"""Without any progress for so long the demo ends and fails."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for.  `address`: the URL for other processes."""

    paths: Sequence[Path]
    workers: int
    kills: int
    concurrency: int
    settings: Settings


@dataclass(slots=True)
class Progress:
    """What is known while it runs."""

    done: int = 0
    words: int = 0
    moved_s: float = field(default_factory=time.monotonic)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def move(self, done: int, counted: int) -> None:
        """Note how far it is."""
        if done > self.done:
            self.done, self.moved_s = done, time.monotonic()
            self.news.set()
        self.words = max(self.words, counted)


class Stalled(CoordkitError):
    """Nothing has moved for a long time."""


@dataclass(slots=True)
class Evidence:
    """Everything the verdict needs."""

    enqueued: int
    expected: Counts
    record: dict[str, int]
    stats: QueueStats
    marks: dict[str, list[Mark]]
    killed: dict[str, int]
    deserters: int
    finished_us: int


def fitting(settings: Settings, files: int) -> Settings:
    """A rate and a burst no higher than `settings`, so that the work takes a while."""
    return Settings(min(settings.rate, max(files // SHORTEST_S, 1)), min(settings.burst, max(files // 8, 1)))


def random_prefix() -> str:
    """A prefix of this run only, so that nothing else on the server is touched."""
    return f"ck-demo-{secrets.token_hex(4)}"


async def run_demo(client: AsyncClient, url: str, prefix: str, options: Options, display: Display) -> bool:
    """Whether all invariants held."""
    with tempfile.TemporaryDirectory(prefix="coordkit-demo-") as directory:
        crew = Crew(url, prefix, options.settings, concurrency=options.concurrency, logs=Path(directory))
        try:
            with display:
                evidence = await _work(client, crew, options, display)
            rows = verdict(evidence, options)
            display.table(rows)
            failed = [row.name for row in rows if row.holds is False]
            if failed:
                _show_logs(crew, display)
            return not failed
        except Stalled as exc:
            display.alarm(str(exc))
            _show_logs(crew, display)
            return False
        finally:
            await crew.stop()
            await remove_everything(client, client.keys)


async def _work(client: AsyncClient, crew: Crew, options: Options, display: Display) -> Evidence:
    queue = client.queue(words)
    progress = Progress()
    killed: dict[str, int] = {}
    display.say(f"{len(options.paths)} files; counting them in this process beside the workers, to compare")
    expected = asyncio.create_task(asyncio.to_thread(count_files, options.paths))
    started_s = time.monotonic()
    await queue.enqueue_many(count, ({"path": str(path)} for path in options.paths))
    display.say(f"{len(options.paths)} jobs enqueued in {(time.monotonic() - started_s) * 1000:.0f} ms")
    watching = asyncio.create_task(_watch(client, progress))
    try:
        for _ in range(options.workers):
            await crew.start()
        display.say(f"{options.workers} worker processes: {', '.join(str(member.pid) for member in crew.members)}")
        display.begin(len(options.paths))
        while True:
            stats = await queue.stats()
            progress.move(stats.completed, 0)
            display.advance(progress.done, progress.words, len(crew.alive))
            if stats.unfinished == 0:
                break
            await _kill_in_time(client, crew, options, progress, killed, display)
            await _keep_going(crew, progress, display)
            await _pause(progress)
        finished_us = await server_time_us(client)
    finally:
        watching.cancel()
        await asyncio.wait({watching})
    deserters = len(crew.deserters())
    await crew.stop()
    record = await read_record(client)
    display.advance(progress.done, record["words"], 0)
    marks = {name: await read_marks(client, name) for name in MARK_LISTS}
    return Evidence(
        len(options.paths),
        await expected,
        record,
        await queue.stats(),
        marks,
        killed,
        deserters,
        finished_us,
    )


async def _pause(progress: Progress) -> None:
    """Wait until something has happened, but not for long: a message may be lost."""
    progress.news.clear()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LOOK_S):
            await progress.news.wait()


async def _watch(client: AsyncClient, progress: Progress) -> None:
    """Follow the channel on which the workers tell how far they are."""
    async with client.channel(CHANNEL).subscribe() as messages:
        async for message in messages:
            match message.data:
                case {"files": int(files), "words": int(counted)}:
                    progress.move(files, counted)


async def _kill_in_time(
    client: AsyncClient, crew: Crew, options: Options, progress: Progress, killed: dict[str, int], display: Display
) -> None:
    """Kill the next worker when its time has come: one kill half way, more of them evenly spread."""
    due = len(options.paths) * (len(killed) + 1) // (options.kills + 1)
    if len(killed) >= options.kills or progress.done < due or not crew.alive:
        return
    victim = random.choice(crew.alive)
    killed[str(victim.pid)] = await server_time_us(client)
    await crew.kill(victim)
    display.alarm(f"SIGKILL to worker {victim.pid} after {progress.done} files; {len(crew.alive)} workers are left")


async def _keep_going(crew: Crew, progress: Progress, display: Display) -> None:
    """Start a worker if none is left.  Raises Stalled if nothing moves."""
    if not crew.alive:
        member = await crew.start()
        display.say(f"no worker is left: started another one, {member.pid}")
    if time.monotonic() - progress.moved_s > STALLED_S:
        raise Stalled(f"nothing has moved for {STALLED_S:g} s: {progress.done} files are done")


def _show_logs(crew: Crew, display: Display) -> None:
    for member in crew.members:
        text = member.log.read_text(errors="replace").strip()
        if text:
            display.say(f"worker {member.pid} said:\n{text[-2000:]}")


def verdict(evidence: Evidence, options: Options) -> list[Row]:
    """The result, row by row, with a verdict on each invariant."""
    stats, record, marks, killed = evidence.stats, evidence.record, evidence.marks, evidence.killed
    lock = judge_lock(marks["lock"], killed)
    limiter = judge_limiter(marks["admitted"], options.settings.rate, options.settings.burst)
    recovery = judge_recovery(marks["started"], killed)
    lost = evidence.enqueued - record["files"]
    counted = Counts(record["files"], record["lines"], record["words"], record["bytes"])
    started_us = marks["started"][0].time_us if marks["started"] else evidence.finished_us
    spent_s = max((evidence.finished_us - started_us) / 1e6, 1e-6)
    slowest_s = max(recovery.recovery_s, default=0.0)
    return [
        Row("jobs enqueued", f"{evidence.enqueued:,}", "one a file"),
        Row(
            "jobs completed",
            f"{stats.completed:,}",
            f"{recovery.attempts:,} attempts, {stats.failed} failed, {stats.crashed} lost their worker",
            stats.completed == evidence.enqueued and stats.unfinished + stats.dead_letters == 0,
        ),
        Row("jobs executed more than once", f"{recovery.repeated_jobs:,}", f"{record['repeated']} of them had merged"),
        Row("jobs lost", f"{lost:,}", "enqueued, but not in the totals", lost == 0),
        Row(
            "totals equal to one process's",
            f"{counted.words:,} words",
            f"{counted.lines:,} lines, {counted.bytes:,} bytes; expected {evidence.expected.words:,} words",
            counted == evidence.expected,
        ),
        Row("lock acquisitions", f"{lock.acquisitions:,}", f"{lock.abandoned} by workers that died holding it"),
        Row("lock overlaps", f"{lock.overlaps}", "two holders inside at once", lock.overlaps == 0),
        Row("fences out of order", f"{lock.unordered}", f"{record['refused']} writes refused", lock.unordered == 0),
        Row(
            "limiter admissions",
            f"{limiter.admissions:,}",
            f"up to {limiter.peak:.1f} above {options.settings.rate}/s in any span, of a burst of {limiter.bound:.0f}",
            limiter.kept,
        ),
        Row(
            "workers killed",
            f"{len(killed)}",
            f"{options.workers} at the start, {evidence.deserters} ended by themselves",
            len(killed) == options.kills and evidence.deserters == 0,
        ),
        Row(
            "jobs of killed workers recovered",
            f"{recovery.recovered_jobs}",
            f"after {slowest_s:.2f} s at most; leases are {LEASE_S:g} s" if recovery.recovered_jobs else "",
        ),
        Row("jobs per second", f"{evidence.enqueued / spent_s:,.0f}", f"{spent_s:.1f} s from first start to last end"),
    ]
