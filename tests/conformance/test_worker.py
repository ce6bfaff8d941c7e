"""Workers on every server: in this process, and as processes that are drained, killed, frozen and cut off."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from coordkit import AsyncClient, Client, JobCancelled, JobFailed
from coordkit.queue import AsyncQueueHandle
from coordkit.queue.worker import Attempt, Worker
from tests.conformance import worker_jobs as jobs
from tests.conftest import PeerFactory
from tests.peers import Peer

ROOT = Path(__file__).resolve().parents[2]
LEASE_S = jobs.work.lease_ms / 1000


class Remembered:
    """A reporter that keeps what it hears."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.troubles: list[str] = []

    def ended(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)

    def trouble(self, text: str) -> None:
        self.troubles.append(text)

    def notice(self, text: str) -> None: ...


@contextlib.asynccontextmanager
async def running_worker(
    url: str, concurrency: int = 10, drain_timeout: float = 10.0, timeout: float = 5.0
) -> AsyncIterator[Worker]:
    """A worker in this process, drained at the end."""
    async with AsyncClient.from_url(url, timeout=timeout) as client:
        with Client.from_url(url, timeout=1) as blocking:
            worker = Worker(
                jobs.work,
                client,
                blocking,
                concurrency=concurrency,
                drain_timeout=drain_timeout,
                reporter=Remembered(),
            )
            task = asyncio.create_task(worker.run())
            try:
                yield worker
            finally:
                worker.drain()
                await task


class WorkerProcess:
    """`coordkit worker` as a process."""

    def __init__(self, url: str, *options: str) -> None:
        command = [sys.executable, "-m", "coordkit", "worker", "tests.conformance.worker_jobs:work", *options]
        environment = {**os.environ, "COORDKIT_URL": url, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._said = ""

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def says(self, text: str) -> None:
        """Comes back when it has printed a line with the text."""
        assert self.process.stdout is not None
        while text not in (line := self.process.stdout.readline()):
            assert line, f"it ended without {text!r}: {self._said}"
            self._said += line
        self._said += line

    def wait(self) -> tuple[int, str]:
        """Its status and what it printed."""
        status = self.process.wait(timeout=20)
        assert self.process.stdout is not None
        return status, self._said + self.process.stdout.read()

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.communicate(timeout=10)


StartWorker = Callable[..., WorkerProcess]


@pytest.fixture
def start_worker() -> Iterator[StartWorker]:
    started: list[WorkerProcess] = []

    def start(url: str, *options: str) -> WorkerProcess:
        worker = WorkerProcess(url, *options)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.stop()


@pytest.fixture
async def ck(server_url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient.from_url(server_url) as client:
        yield client


@pytest.fixture
def queue(ck: AsyncClient) -> AsyncQueueHandle:
    return ck.queue(jobs.work)


async def marks(ck: AsyncClient, name: str, count: int, timeout_s: float = 15.0) -> list[list[str]]:
    """The marks of a list as words, as soon as there are `count`."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = await ck.backend.execute(("LRANGE", name, 0, -1))
            assert isinstance(found, list)
            if len(found) >= count:
                return [mark.decode().split() for mark in found]
            await asyncio.sleep(0.01)


# -- in this process --------------------------------------------------------------------------------------------------


async def test_worker_runs_coroutines_and_threads(queue: AsyncQueueHandle, server_url: str) -> None:
    many = await queue.enqueue_many(jobs.sleep, ({"tag": str(tag), "seconds": 0.01} for tag in range(50)))
    thread = await queue.enqueue(jobs.sleep_in_thread, "thread", seconds=0.05)
    async with running_worker(server_url) as worker:
        assert [await job.result(10) for job in many] == [str(tag) for tag in range(50)]
        assert await thread.result(10) == 1
        latest = await queue.enqueue(jobs.sleep, tag="late", seconds=0)
        started_s = time.monotonic()
        assert await latest.result(5) == "late"
        # An idle worker is woken; else it looks once a lease.  A busy machine may hold one wake-up up, but not five.
        waits_s = [time.monotonic() - started_s]
        while waits_s[-1] > LEASE_S / 2 and len(waits_s) < 5:
            started_s = time.monotonic()
            await (await queue.enqueue(jobs.sleep, tag="late", seconds=0)).result(5)
            waits_s.append(time.monotonic() - started_s)
        assert waits_s[-1] <= LEASE_S / 2, waits_s
    assert worker.report.outcomes == {"done": 51 + len(waits_s)}
    stats = await queue.stats()
    assert (stats.completed, stats.unfinished, stats.idle_workers) == (51 + len(waits_s), 0, 0)


async def test_worker_keeps_to_its_concurrency(ck: AsyncClient, queue: AsyncQueueHandle, server_url: str) -> None:
    await queue.enqueue_many(jobs.sleep, ({"tag": "x", "seconds": 0.2} for _ in range(6)))
    async with running_worker(server_url, concurrency=2):
        await marks(ck, "started:x", 2)
        stats = await queue.stats()
        assert (stats.leased, stats.ready) == (2, 4)
        await marks(ck, "ended:x", 6)


@pytest.mark.parametrize(
    "name, error",
    [
        ("reject", "Reject: never"),
        ("too_slow", r"TimeoutError: not done within 0\.1 s"),
        ("too_slow_in_thread", r"TimeoutError: not done within 0\.1 s"),
        ("leave", "SystemExit: 3"),
        ("cancel_itself", "CancelledError"),
        ("give_what_does_not_fit", "ConfigurationError: <object object at .*> does not fit into JSON"),
    ],
)
async def test_job_that_ends_badly_is_given_up_with_its_error(
    queue: AsyncQueueHandle, server_url: str, name: str, error: str
) -> None:
    job = await queue.enqueue(name)
    async with running_worker(server_url):
        with pytest.raises(JobFailed, match=error):
            await job.result(10)
    assert (await queue.stats()).dead_letters == 1


async def test_job_without_handler_is_retried_for_a_worker_that_has_it(
    queue: AsyncQueueHandle, server_url: str
) -> None:
    job = await queue.enqueue("made_tomorrow")
    async with running_worker(server_url):
        while not (info := await job.info()).failures:
            await asyncio.sleep(0.01)
    assert info.state == "scheduled"
    assert info.error is not None
    assert "no handler 'made_tomorrow'" in info.error


async def test_failing_job_succeeds_on_its_last_retry(queue: AsyncQueueHandle, server_url: str) -> None:
    good, bad = await queue.enqueue(jobs.fail, times=2), await queue.enqueue(jobs.fail, times=3)
    async with running_worker(server_url):
        assert await good.result(10) == 3
        with pytest.raises(JobFailed, match="ValueError: attempt 3"):
            await bad.result(10)


async def test_handler_that_asks_for_later_is_run_later(queue: AsyncQueueHandle, server_url: str) -> None:
    started_s = time.monotonic()
    job = await queue.enqueue(jobs.later)
    async with running_worker(server_url):
        assert await job.result(10) == 2
    assert 0.2 <= time.monotonic() - started_s < 5.0


async def test_delayed_job_is_run_by_an_idle_worker_when_it_is_due(queue: AsyncQueueHandle, server_url: str) -> None:
    async with running_worker(server_url):
        await asyncio.sleep(0.1)
        started_s = time.monotonic()
        job = await queue.enqueue(jobs.sleep, tag="x", seconds=0, delay=0.3)
        assert await job.result(10) == "x"
        assert 0.3 <= time.monotonic() - started_s < 5.0


async def test_long_job_keeps_its_lease(queue: AsyncQueueHandle, server_url: str) -> None:
    job = await queue.enqueue(jobs.sleep_in_thread, tag="x", seconds=2.5 * LEASE_S)
    async with running_worker(server_url), running_worker(server_url):
        assert await job.result(10) == 1
    assert (await queue.stats()).crashed == 0


async def test_cancelled_job_stops_its_handler_at_the_next_beat(
    ck: AsyncClient, queue: AsyncQueueHandle, server_url: str
) -> None:
    for function in (jobs.sleep, jobs.sleep_in_thread):
        await ck.backend.execute(("DEL", "started:x"))
        job = await queue.enqueue(function, tag="x", seconds=60)
        async with running_worker(server_url) as worker:
            await marks(ck, "started:x", 1)
            assert await job.cancel()
            with pytest.raises(JobCancelled):
                await job.result(5)
            async with asyncio.timeout(10):
                while not worker.report.count("lost"):
                    await asyncio.sleep(0.01)


async def test_job_whose_end_is_refused_is_reported_as_lost_and_not_as_done(
    ck: AsyncClient, queue: AsyncQueueHandle, server_url: str
) -> None:
    async with running_worker(server_url) as worker:
        worker._heart._loop = lambda: None  # type: ignore[method-assign]  # it does not learn of it earlier
        worker._heart.stop()
        job = await queue.enqueue(jobs.sleep, tag="x", seconds=0.2)
        await marks(ck, "started:x", 1)
        assert await job.cancel()
        await marks(ck, "ended:x", 1)
    reporter = worker._reporter
    assert isinstance(reporter, Remembered)
    [attempt] = reporter.attempts
    assert (attempt.id, attempt.outcome) == (job.id, "lost")
    assert attempt.error == "its end (done) was refused: the job had been cancelled or taken from this worker"
    assert worker.report.outcomes == {"lost": 1}


async def test_job_whose_end_cannot_be_told_is_reported_as_untold(start_peer: PeerFactory) -> None:
    peer: Peer = start_peer("redis")
    async with (
        AsyncClient.from_url(peer.url) as ck,
        running_worker(peer.url, drain_timeout=0.1, timeout=0.2) as worker,
    ):
        job = await ck.queue(jobs.work).enqueue(jobs.sleep, tag="x", seconds=60)
        await marks(ck, "started:x", 1)
        peer.kill()
    reporter = worker._reporter
    assert isinstance(reporter, Remembered)
    assert [(attempt.id, attempt.outcome) for attempt in reporter.attempts] == [(job.id, "untold")]
    assert (worker.report.outcomes, worker.report.untold) == ({}, 1)


async def test_drain_lets_running_jobs_end_and_takes_no_more(
    ck: AsyncClient, queue: AsyncQueueHandle, server_url: str
) -> None:
    running = await queue.enqueue(jobs.sleep, tag="x", seconds=0.3)
    async with running_worker(server_url, concurrency=1) as worker:
        await marks(ck, "started:x", 1)
        waiting = await queue.enqueue(jobs.sleep, tag="y", seconds=0)
    assert worker.report.outcomes == {"done": 1}
    assert await running.result(1) == "x"
    assert (await waiting.info()).state == "ready"


async def test_drain_timeout_gives_running_jobs_back(ck: AsyncClient, queue: AsyncQueueHandle, server_url: str) -> None:
    both = [await queue.enqueue(function, tag="x", seconds=60) for function in (jobs.sleep, jobs.sleep_in_thread)]
    async with running_worker(server_url, drain_timeout=0.1) as worker:
        await marks(ck, "started:x", 2)
    assert worker.report.outcomes == {"released": 2}
    for job in both:
        info = await job.info()
        assert (info.state, info.attempts, info.failures, info.crashes) == ("ready", 0, 0, 0)


async def test_idle_workers_are_quiet(ck: AsyncClient, server_url: str) -> None:
    async with running_worker(server_url), running_worker(server_url):
        async with asyncio.timeout(10):
            while (await ck.queue(jobs.work).stats()).idle_workers < 2:
                await asyncio.sleep(0.01)
        started_s, before = time.monotonic(), await turns(ck)
        await asyncio.sleep(2 * LEASE_S)
        looks = await turns(ck) - before
        assert looks <= 2 * ((time.monotonic() - started_s) / LEASE_S + 1), "one look a lease each"


async def turns(ck: AsyncClient) -> int:
    """How many scripts the server has run."""
    info = await ck.backend.execute(("INFO", "commandstats"))
    assert isinstance(info, bytes)
    for line in info.decode().splitlines():
        if line.startswith("cmdstat_evalsha:calls="):
            return int(line.split("=")[1].split(",")[0])
    return 0


# -- processes --------------------------------------------------------------------------------------------------------


async def test_job_of_killed_worker_is_run_again_soon_after_its_lease(
    ck: AsyncClient, queue: AsyncQueueHandle, server_url: str, start_worker: StartWorker
) -> None:
    victim = start_worker(server_url)
    job = await queue.enqueue(jobs.sleep, tag="x", seconds=1.0)
    first = await marks(ck, "started:x", 1)
    async with running_worker(server_url) as other:
        victim.signal(signal.SIGKILL)
        second = (await marks(ck, "started:x", 2, timeout_s=LEASE_S + 5))[1]
        assert second == [other.id, "2"]
        assert first[0][0] != other.id
        assert await job.result(10) == "x"
    stats = await queue.stats()
    assert (stats.completed, stats.crashed, stats.unfinished) == (1, 1, 0)


async def test_job_that_kills_its_workers_is_given_up(
    ck: AsyncClient, queue: AsyncQueueHandle, server_url: str, start_worker: StartWorker
) -> None:
    job = await queue.enqueue(jobs.kill_the_worker, tag="x")
    good = await queue.enqueue(jobs.sleep, tag="y", seconds=0, delay=0.5)
    for number in range(1, 4):
        start_worker(server_url)
        await marks(ck, "started:x", number)
    start_worker(server_url)
    with pytest.raises(JobFailed, match="its lease ended without an answer 3 times"):
        await job.result(10)
    assert await good.result(10) == "y"
    assert len(await marks(ck, "started:x", 3)) == 3


async def test_frozen_worker_that_thaws_does_not_disturb_the_second_run(
    ck: AsyncClient, queue: AsyncQueueHandle, server_url: str, start_worker: StartWorker
) -> None:
    zombie = start_worker(server_url)
    job = await queue.enqueue(jobs.sleep, tag="x", seconds=0.5)
    await marks(ck, "started:x", 1)
    zombie.signal(signal.SIGSTOP)
    async with running_worker(server_url):
        await marks(ck, "started:x", 2)
        zombie.signal(signal.SIGCONT)
        assert await job.result(10) == "x"
    zombie.signal(signal.SIGTERM)
    status, output = zombie.wait()
    assert status == 0, output
    assert "lost sleep" in output
    assert "done sleep" not in output
    stats = await queue.stats()
    assert (stats.completed, stats.crashed, stats.failed) == (1, 1, 0)


async def test_handler_that_blocks_the_event_loop_keeps_its_lease(
    ck: AsyncClient, queue: AsyncQueueHandle, server_url: str, start_worker: StartWorker
) -> None:
    start_worker(server_url)
    job = await queue.enqueue(jobs.block_the_loop, tag="x", seconds=2.0 * LEASE_S)
    await marks(ck, "started:x", 1)
    async with running_worker(server_url):
        assert await job.result(10) == 1
    assert (await queue.stats()).crashed == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_worker_process_drains_on_the_first_signal(
    ck: AsyncClient, queue: AsyncQueueHandle, server_url: str, start_worker: StartWorker, number: int
) -> None:
    worker = start_worker(server_url)
    job = await queue.enqueue(jobs.sleep, tag="x", seconds=0.4)
    await marks(ck, "started:x", 1)
    worker.signal(number)
    status, output = await asyncio.to_thread(worker.wait)
    assert status == 0, output
    assert f"done sleep {job.id} attempt 1" in output
    assert await job.result(1) == "x"


async def test_worker_process_gives_jobs_back_on_the_second_signal(
    ck: AsyncClient, queue: AsyncQueueHandle, server_url: str, start_worker: StartWorker
) -> None:
    worker = start_worker(server_url)
    job = await queue.enqueue(jobs.sleep, tag="x", seconds=60)
    await marks(ck, "started:x", 1)
    worker.signal(signal.SIGTERM)
    await asyncio.to_thread(worker.says, "draining")  # two signals at once would be one
    worker.signal(signal.SIGTERM)
    status, output = await asyncio.to_thread(worker.wait)
    assert status == 75, output
    info = await job.info()
    assert (info.state, info.attempts) == ("ready", 0)


@pytest.mark.parametrize("handler", [jobs.hold_on, jobs.hold_a_thread], ids=["coroutine", "thread"])
async def test_worker_process_ends_though_a_handler_does_not(
    ck: AsyncClient,
    queue: AsyncQueueHandle,
    server_url: str,
    start_worker: StartWorker,
    handler: Callable[..., object],
) -> None:
    worker = start_worker(server_url, "--drain-timeout", "0")
    job = await queue.enqueue(handler, tag="x")
    await marks(ck, "started:x", 1)
    worker.signal(signal.SIGTERM)
    status, output = await asyncio.to_thread(worker.wait)
    assert status == 75, output
    assert "stopped: 1 released" in output
    assert "have not ended" in output
    assert "was destroyed" not in output
    assert (await job.info()).state == "ready"


async def test_worker_process_whose_server_is_gone_ends_though_its_handlers_do_not(
    start_peer: PeerFactory, start_worker: StartWorker
) -> None:
    peer = start_peer("redis")
    worker = start_worker(peer.url, "--give-up", "0.5", "--concurrency", "31")
    async with AsyncClient.from_url(peer.url) as ck:
        await ck.queue(jobs.work).enqueue_many(jobs.hold_on, [{"tag": "x"}] * 30)
        await marks(ck, "started:x", 30)
    peer.kill()
    status, output = await asyncio.to_thread(worker.wait)
    assert status == 69, output


@pytest.mark.parametrize("name", ["bundled", "redis", "valkey"])
async def test_worker_process_works_on_after_a_restart_of_the_server(
    start_peer: PeerFactory, start_worker: StartWorker, name: str
) -> None:
    peer: Peer = start_peer(name)
    if peer.command("EVAL", "return 1", "0").startswith(b"-ERR unknown command"):
        pytest.skip("this server has no scripting")
    worker = start_worker(peer.url)
    async with AsyncClient.from_url(peer.url) as ck:
        queue = ck.queue(jobs.work)
        assert await (await queue.enqueue(jobs.sleep, tag="x", seconds=0)).result(10) == "x"
        peer.kill()
        await asyncio.sleep(0.5)
        start_peer(name, port=peer.port)
        assert await (await queue.enqueue(jobs.sleep, tag="y", seconds=0)).result(15) == "y"
    worker.signal(signal.SIGTERM)
    status, output = await asyncio.to_thread(worker.wait)
    assert status == 0, output


@pytest.mark.parametrize("name", ["bundled", "redis", "valkey"])
async def test_worker_waits_for_a_server_that_is_away_for_longer(start_peer: PeerFactory, name: str) -> None:
    peer: Peer = start_peer(name)
    if peer.command("EVAL", "return 1", "0").startswith(b"-ERR unknown command"):
        pytest.skip("this server has no scripting")
    async with running_worker(peer.url, timeout=0.2) as worker, AsyncClient.from_url(peer.url) as ck:
        reporter = worker._reporter
        assert isinstance(reporter, Remembered)
        queue = ck.queue(jobs.work)
        await queue.enqueue(jobs.sleep, tag="x", seconds=0.3)
        await marks(ck, "started:x", 1)
        peer.kill()
        async with asyncio.timeout(10):
            while len(reporter.troubles) < 2:
                await asyncio.sleep(0.01)
        start_peer(name, port=peer.port)
        assert await (await queue.enqueue(jobs.sleep, tag="y", seconds=0)).result(15) == "y"
    assert any("trying again in" in text for text in reporter.troubles)


def test_worker_process_without_server_ends_with_status_69(start_worker: StartWorker) -> None:
    status, output = start_worker("redis://127.0.0.1:1", "--give-up", "0.5").wait()
    assert status == 69
    assert "no server answers at redis://127.0.0.1:1" in output


async def test_worker_whose_heartbeat_breaks_ends_with_the_error(start_peer: PeerFactory) -> None:
    url = start_peer("redis").url
    async with AsyncClient.from_url(url) as client:
        with Client.from_url(url) as blocking:
            worker = Worker(jobs.work, client, blocking, reporter=Remembered())
            worker._heart._lease_s = 0.03

            def broken() -> None:
                raise ZeroDivisionError("broken")

            worker._heart._beat_all = broken  # type: ignore[method-assign]  # what no test can bring about otherwise
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(worker.run(), 10)
