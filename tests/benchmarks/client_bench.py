"""The asynchronous client beside others: locks beside redis-py's, rate limits beside those of `limits`, on one server.

Operations a second, and CPU time an operation of the client's process and of the server's.  In every round all
contenders run one after the other, each on an empty server; a ratio is the median of the rounds' ratios.
"""

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import limits
import redis.asyncio
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, RateLimiter

from coordkit import GCRA, AsyncClient, SlidingWindow
from coordkit.ratelimit.base import Algorithm
from tests.benchmarks.servers import Server

CONCURRENCIES: Final = (1, 50)
SECONDS: Final = 1.0
QUICK_SECONDS: Final = 0.3

USERS: Final = 1000
PER_MINUTE: Final = 10_000
"""So much for each of so many users: nobody is ever refused, so that all contenders do the same work."""

FASTER: Final = 5.0
NOT_SLOWER: Final = 1.0

Operation = Callable[[int], Awaitable[None]]
"""One operation of the worker with this number."""

Contender = Callable[[str], AbstractAsyncContextManager[Operation]]
"""Connects to the server at a URL."""


@asynccontextmanager
async def our_lock(url: str) -> AsyncIterator[Operation]:
    """Each worker takes and releases a lock of its own."""
    async with AsyncClient.from_url(url) as ck:

        async def pair(worker: int) -> None:
            async with ck.lock(f"lock:{worker}", ttl=30).hold():
                pass

        yield pair


@asynccontextmanager
async def redis_py_lock(url: str) -> AsyncIterator[Operation]:
    """The same with redis-py."""
    async with redis.asyncio.Redis.from_url(url) as client:

        async def pair(worker: int) -> None:
            async with client.lock(f"lock:{worker}", timeout=30):
                pass

        yield pair


@asynccontextmanager
async def our_shared_lock(url: str) -> AsyncIterator[Operation]:
    """All workers take turns with one lock."""
    async with AsyncClient.from_url(url) as ck:

        async def pair(_worker: int) -> None:
            async with ck.lock("lock", ttl=30).hold():
                pass

        yield pair


@asynccontextmanager
async def redis_py_shared_lock(url: str) -> AsyncIterator[Operation]:
    """The same with redis-py."""
    async with redis.asyncio.Redis.from_url(url) as client:

        async def pair(_worker: int) -> None:
            async with client.lock("lock", timeout=30):
                pass

        yield pair


def our_limiter(algorithm: Algorithm) -> Contender:
    """Checks of one limit, users in turn."""

    @asynccontextmanager
    async def connected(url: str) -> AsyncIterator[Operation]:
        users = itertools.cycle([f"user:{number}" for number in range(USERS)])
        async with AsyncClient.from_url(url) as ck:
            limiter = ck.limiter("api", algorithm)

            async def check(_worker: int) -> None:
                assert await limiter.check(next(users))

            yield check

    return connected


def limits_limiter(strategy: type[RateLimiter]) -> Contender:
    """The same with `limits`."""

    @asynccontextmanager
    async def connected(url: str) -> AsyncIterator[Operation]:
        users = itertools.cycle([f"user:{number}" for number in range(USERS)])
        pool = redis.asyncio.ConnectionPool.from_url(url)
        options = {"implementation": "redispy", "connection_pool": pool}
        limiter = strategy(RedisStorage(f"async+{url}", **options))  # type: ignore[arg-type]  # documented option
        item = limits.parse(f"{PER_MINUTE}/minute")

        async def check(_worker: int) -> None:
            assert await limiter.hit(item, "api", next(users))

        try:
            yield check
        finally:
            await pool.aclose()

    return connected


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to do, with the name and the contender of either side."""

    name: str
    ours: Contender
    other_name: str
    other: Contender
    concurrencies: tuple[int, ...] = CONCURRENCIES
    comparable: bool = True
    """Whether both sides do the same work, so that the ratio has a target."""


CASES: Final = (
    Case("lock, acquire and release", our_lock, "redis-py Lock", redis_py_lock),
    # Ours goes to whoever waits longest; redis-py's goes to whoever asks first, mostly to its last holder.
    Case("one lock for all", our_shared_lock, "redis-py Lock", redis_py_shared_lock, (50,), comparable=False),
    Case(
        "limiter, GCRA",
        our_limiter(GCRA(PER_MINUTE, 60)),
        "limits, fixed window",
        limits_limiter(FixedWindowRateLimiter),
    ),
    Case(
        "limiter, sliding window",
        our_limiter(SlidingWindow(PER_MINUTE, 60)),
        "limits, moving window",
        limits_limiter(MovingWindowRateLimiter),
    ),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one contender did in one round."""

    ops_per_s: float
    client_cpu_us: float
    server_cpu_us: float


@dataclass(frozen=True, slots=True)
class Row:
    """Both sides of a case, over all rounds."""

    case: str
    other: str
    concurrency: int
    ops_per_s: float
    other_ops_per_s: float
    ratio: float
    client_cpu_us: float
    other_client_cpu_us: float
    server_cpu_us: float
    other_server_cpu_us: float
    target: float | None


def measure(server: Server, *, rounds: int, quick: bool, only: str | None = None) -> Iterator[Row]:
    """A row for each case and concurrency."""
    seconds = QUICK_SECONDS if quick else SECONDS
    for case in CASES:
        if only is not None and only.lower() not in case.name.lower():
            continue
        for concurrency in case.concurrencies:
            pairs = [
                (
                    sample(server, case.ours, concurrency, seconds),
                    sample(server, case.other, concurrency, seconds),
                )
                for _ in range(rounds)
            ]
            yield row(case, concurrency, pairs)


def sample(server: Server, contender: Contender, concurrency: int, seconds: float) -> Sample:
    """One run of one contender."""
    server.empty()
    return asyncio.run(_sample(server, contender, concurrency, seconds))


async def _sample(server: Server, contender: Contender, concurrency: int, seconds: float) -> Sample:
    operations = 0
    ends_s = 0.0

    async def worker(operation: Operation, number: int) -> None:
        nonlocal operations
        while time.perf_counter() < ends_s:
            await operation(number)
            operations += 1

    async with contender(server.peer.url) as operation:
        await asyncio.gather(*(operation(number) for number in range(concurrency)))  # connections, scripts
        server_cpu_s, client_cpu_s, started_s = server.cpu_s(), time.process_time(), time.perf_counter()
        ends_s = started_s + seconds
        await asyncio.gather(*(worker(operation, number) for number in range(concurrency)))
        took_s = time.perf_counter() - started_s
        client_cpu_s = time.process_time() - client_cpu_s
        server_cpu_s = server.cpu_s() - server_cpu_s
    return Sample(operations / took_s, client_cpu_s / operations * 1e6, server_cpu_s / operations * 1e6)


def row(case: Case, concurrency: int, pairs: list[tuple[Sample, Sample]]) -> Row:
    """Medians, and medians of the rounds' ratios."""
    ours, others = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return Row(
        case=case.name,
        other=case.other_name,
        concurrency=concurrency,
        ops_per_s=statistics.median(one.ops_per_s for one in ours),
        other_ops_per_s=statistics.median(one.ops_per_s for one in others),
        ratio=statistics.median(one.ops_per_s / other.ops_per_s for one, other in pairs),
        client_cpu_us=statistics.median(one.client_cpu_us for one in ours),
        other_client_cpu_us=statistics.median(one.client_cpu_us for one in others),
        server_cpu_us=statistics.median(one.server_cpu_us for one in ours),
        other_server_cpu_us=statistics.median(one.server_cpu_us for one in others),
        target=target(case, concurrency),
    )


def target(case: Case, concurrency: int) -> float | None:
    """How many times the other's speed ours shall reach."""
    if not case.comparable:
        return None
    return NOT_SLOWER if concurrency == 1 else FASTER
