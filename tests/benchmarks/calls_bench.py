"""How many script calls a second each client makes: `python -m tests.benchmarks.calls_bench [URL]`.

The same EVALSHA of the GCRA limiter on the same server, closed loop, at concurrency 1, 16, 64 and 256: tasks for the
asynchronous clients, threads (1, 4, 16) for the blocking ones.  Prints calls a second, CPU time a call of this process,
and the latency of the 50th and 99th call in a hundred; medians of the rounds.  At 64 tasks it also shows the latency at
half the load: tasks then call at set times, half as often as they could.  A client that is not installed is left out.
"""

import argparse
import asyncio
import importlib
import importlib.util
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import redis
import redis.asyncio

from coordkit import GCRA, AsyncClient, Client
from coordkit.scripts import Args
from coordkit.transports import loops
from tests.benchmarks import servers

CONCURRENCIES: Final = (1, 16, 64, 256)
HALF_AT: Final = 64
THREADS: Final = (1, 4, 16)
USERS: Final = 1000
GCRA_ARGS: Final[Args] = (*GCRA(1_000_000, 60).arguments(1), b"1", b"")
SCRIPT: Final = GCRA.check_script

AsyncCall = Callable[[bytes], Awaitable[object]]
Call = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one client."""

    calls_per_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[AsyncCall]:
    async with AsyncClient.from_url(url) as ck:
        yield lambda key: ck.backend.call(SCRIPT, (key,), GCRA_ARGS)


@asynccontextmanager
async def redis_py(url: str) -> AsyncIterator[AsyncCall]:
    client: Any  # its own types leave execute_command out
    async with redis.asyncio.Redis.from_url(url, max_connections=512) as client:
        await client.script_load(SCRIPT.text)
        yield lambda key: client.execute_command("EVALSHA", SCRIPT.sha1, 1, key, *GCRA_ARGS)


@asynccontextmanager
async def coredis_client(url: str) -> AsyncIterator[AsyncCall]:
    coredis: Any = importlib.import_module("coredis")
    async with coredis.Redis.from_url(url) as client:
        await client.script_load(SCRIPT.text)
        yield lambda key: client.evalsha(SCRIPT.sha1, keys=[key], args=list(GCRA_ARGS))


@asynccontextmanager
async def glide_client(url: str) -> AsyncIterator[AsyncCall]:
    glide: Any = importlib.import_module("glide")
    host, port = url.removeprefix("redis://").split(":")
    client = await glide.GlideClient.create(glide.GlideClientConfiguration([glide.NodeAddress(host, int(port))]))
    await client.custom_command(["SCRIPT", "LOAD", SCRIPT.text])
    words = [word if isinstance(word, bytes) else str(word) for word in GCRA_ARGS]
    yield lambda key: client.custom_command(["EVALSHA", SCRIPT.sha1, "1", key, *words])
    await client.close()


@contextmanager
def our_threads(url: str) -> Iterator[Call]:
    with Client.from_url(url) as ck:
        yield lambda key: ck.backend.call(SCRIPT, (key,), GCRA_ARGS)


@contextmanager
def redis_py_threads(url: str) -> Iterator[Call]:
    client: Any  # as above
    with redis.Redis.from_url(url) as client:
        client.script_load(SCRIPT.text)
        yield lambda key: client.execute_command("EVALSHA", SCRIPT.sha1, 1, key, *GCRA_ARGS)


@contextmanager
def glide_threads(url: str) -> Iterator[Call]:
    glide: Any = importlib.import_module("glide_sync")
    host, port = url.removeprefix("redis://").split(":")
    client = glide.GlideClient.create(glide.GlideClientConfiguration([glide.NodeAddress(host, int(port))]))
    client.custom_command(["SCRIPT", "LOAD", SCRIPT.text])
    words = [word if isinstance(word, bytes) else str(word) for word in GCRA_ARGS]
    yield lambda key: client.custom_command(["EVALSHA", SCRIPT.sha1, "1", key, *words])
    client.close()


async def at_once(jobs: list[Coroutine[Any, Any, object]]) -> None:
    """Run the coroutines beside each other, on the loop that runs."""
    if asyncio._get_running_loop() is not None:
        await asyncio.gather(*jobs)
        return
    trio: Any = importlib.import_module("trio")
    async with trio.open_nursery() as nursery:
        for job in jobs:
            nursery.start_soon(asking, job)


async def asking(job: Awaitable[object]) -> None:
    """The same as a coroutine function, which a nursery wants."""
    await job


Work = Callable[[], Coroutine[Any, Any, Sample]]


def on_asyncio(work: Work) -> Sample:
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(work())


def on_uvloop(work: Work) -> Sample:
    uvloop: Any = importlib.import_module("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())


def on_trio(work: Work) -> Sample:
    trio: Any = importlib.import_module("trio")
    sample: Sample = trio.run(work)
    return sample


ASYNC: Final[
    dict[str, tuple[str, Callable[[str], AbstractAsyncContextManager[AsyncCall]], Callable[[Work], Sample]]]
] = {
    "coordkit, asyncio": ("coordkit", ours, on_asyncio),
    "coordkit, uvloop": ("uvloop", ours, on_uvloop),
    "coordkit, trio": ("trio", ours, on_trio),
    "redis-py, asyncio": ("redis", redis_py, on_asyncio),
    "coredis, asyncio": ("coredis", coredis_client, on_asyncio),
    "coredis, trio": ("coredis", coredis_client, on_trio),
    "valkey-glide, asyncio": ("glide", glide_client, on_asyncio),
}
BLOCKING: Final[dict[str, tuple[str, Callable[[str], AbstractContextManager[Call]]]]] = {
    "coordkit, threads": ("coordkit", our_threads),
    "redis-py, threads": ("redis", redis_py_threads),
    "valkey-glide, threads": ("glide_sync", glide_threads),
}
KEYS: Final = [b"user:%d" % number for number in range(USERS)]


def summed_up(latencies_s: list[float], took_s: float, cpu_s: float) -> Sample:
    """The sample of one run."""
    ordered = sorted(latencies_s)
    at = len(ordered)
    p50_ms, p99_ms = ordered[at // 2] * 1000, ordered[at * 99 // 100] * 1000
    return Sample(at / took_s, cpu_s / at * 1e6, p50_ms, p99_ms)


async def async_sample(
    connect: Any, url: str, concurrency: int, seconds: float, every_s: float | None = None
) -> Sample:
    """One run of an asynchronous client; with `every_s` each task begins a call so often, and not before."""
    latencies_s: list[float] = []
    clock = time.perf_counter

    async with connect(url) as call:

        async def worker(number: int) -> None:
            turn = number
            while (started_s := clock()) < ends_s:
                turn += 1
                await call(KEYS[turn % USERS])
                latencies_s.append(clock() - started_s)

        async def paced_worker(number: int, every_s: float) -> None:
            turn = number
            due_s = began_s + every_s * number / concurrency
            while due_s < ends_s:
                await loops.sleep(max(0.0, due_s - clock()))
                started_s = clock()
                turn += 1
                await call(KEYS[turn % USERS])
                latencies_s.append(clock() - started_s)
                due_s += every_s

        await at_once([asking(call(KEYS[number])) for number in range(concurrency)])
        began_s, cpu_s = clock(), time.process_time()
        ends_s = began_s + seconds
        numbers = range(concurrency)
        await at_once([paced_worker(number, every_s) if every_s else worker(number) for number in numbers])
        return summed_up(latencies_s, clock() - began_s, time.process_time() - cpu_s)


def thread_sample(connect: Any, url: str, concurrency: int, seconds: float) -> Sample:
    """One run of a blocking client."""
    latencies_s: list[float] = []
    clock = time.perf_counter
    with connect(url) as call:
        call(KEYS[0])

        def worker(number: int) -> None:
            turn = number
            while (started_s := clock()) < ends_s:
                turn += 1
                call(KEYS[turn % USERS])
                latencies_s.append(clock() - started_s)

        threads = [threading.Thread(target=worker, args=(number,)) for number in range(concurrency)]
        began_s, cpu_s = clock(), time.process_time()
        ends_s = began_s + seconds
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return summed_up(latencies_s, clock() - began_s, time.process_time() - cpu_s)


def measured(url: str, rounds: int, seconds: float) -> Iterator[tuple[str, int, Sample]]:
    """A median for each client and concurrency; the rounds go through all clients, one after the other."""
    for concurrency in CONCURRENCIES:
        samples: dict[str, list[Sample]] = {}
        for _ in range(rounds):
            for name, (package, connect, run) in ASYNC.items():
                if importlib.util.find_spec(package) is None:
                    continue
                sample = run(partial(async_sample, connect, url, concurrency, seconds))
                samples.setdefault(name, []).append(sample)
                if concurrency == HALF_AT:
                    every_s = 2 * concurrency / sample.calls_per_s
                    half = run(partial(async_sample, connect, url, concurrency, seconds, every_s))
                    samples.setdefault(f"{name}, half load", []).append(half)
        yield from ((name, concurrency, median(found)) for name, found in samples.items())
    for concurrency in THREADS:
        of_threads: dict[str, list[Sample]] = {}
        for _ in range(rounds):
            for name, (package, open_client) in BLOCKING.items():
                if importlib.util.find_spec(package) is not None:
                    of_threads.setdefault(name, []).append(thread_sample(open_client, url, concurrency, seconds))
        yield from ((name, concurrency, median(found)) for name, found in of_threads.items())


def median(samples: list[Sample]) -> Sample:
    """The median of each figure."""
    columns = zip(*((one.calls_per_s, one.cpu_us, one.p50_ms, one.p99_ms) for one in samples), strict=True)
    return Sample(*(statistics.median(column) for column in columns))


def main() -> None:
    """Measure on a server of our own, or on that of the URL."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, servers.running(Path(scratch), ("redis",)) as (running, _):
        url = options.url or running[0].peer.url
        print("| client | concurrency | calls/s | CPU us/call | p50 ms | p99 ms |\n|---|--:|--:|--:|--:|--:|")
        for name, concurrency, sample in measured(url, options.rounds, options.seconds):
            print(
                f"| {name} | {concurrency} | {sample.calls_per_s:.0f} | {sample.cpu_us:.1f} | {sample.p50_ms:.2f} "
                f"| {sample.p99_ms:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
