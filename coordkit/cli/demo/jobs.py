"""The work of the demo, as any application would write it: `coordkit worker coordkit.cli.demo.jobs:words` runs it."""

import asyncio
import functools
import os
import random
from dataclasses import asdict, dataclass
from typing import Final

from coordkit.cli.demo.record import CHANNEL, LIMITER, LOCK, QUEUE, mark, merge, server_time_us
from coordkit.cli.demo.texts import count_file
from coordkit.codec import JsonCodec
from coordkit.queue.declaration import Queue
from coordkit.queue.worker.context import JobContext
from coordkit.ratelimit.gcra import GCRA

SETTINGS_VARIABLE: Final = "COORDKIT_DEMO_SETTINGS"
LEASE_S: Final = 2.0
LOCK_TTL_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What the demo tells its workers: files a second, and how many at once."""

    rate: int = 300
    burst: int = 50

    def encoded(self) -> str:
        """For the environment of a worker."""
        return JsonCodec().encode(asdict(self)).decode()


@functools.cache
def settings() -> Settings:
    """Those of the environment, or the defaults."""
    match JsonCodec().decode(os.environ.get(SETTINGS_VARIABLE, "{}").encode()):
        case {"rate": int(rate), "burst": int(burst)}:
            return Settings(rate, burst)
    return Settings()


words = Queue(QUEUE, lease=LEASE_S)


@words.job(retries=100, crashes=20, backoff=0.1, backoff_max=2.0)
async def count(ctx: JobContext, path: str) -> None:
    """Count the words of one file and add them to the totals."""
    worker = os.getpid()
    await mark(ctx.client, "started", worker, ctx.id, ctx.attempt)
    await admission(ctx, worker)
    counts = count_file(path)
    async with ctx.client.lock(LOCK, ttl=LOCK_TTL_S).hold(timeout=60) as lease:
        await mark(ctx.client, "lock", "enter", worker, lease.fence)
        merged = await merge(ctx.client, lease.fence, ctx.id, counts.lines, counts.words, counts.bytes)
        await mark(ctx.client, "lock", "leave", worker, lease.fence)
    await ctx.client.channel(CHANNEL).publish({"files": merged.files, "words": merged.words, "worker": worker})


async def admission(ctx: JobContext, worker: int) -> None:
    """Comes back when the rate limit admits one more file, and writes that down."""
    limit = settings()
    limiter = ctx.client.limiter(LIMITER, GCRA(limit.rate, 1.0, burst=limit.burst))
    while True:
        # The admission happens between this moment and the mark, all by the server's clock.
        asked_us = await server_time_us(ctx.client)
        decision = await limiter.check("all")
        if decision:
            await mark(ctx.client, "admitted", worker, asked_us)
            return
        await asyncio.sleep(decision.retry_after + random.uniform(0, 1 / limit.rate))
