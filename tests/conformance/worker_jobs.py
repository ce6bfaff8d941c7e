"""Queues that worker processes run in tests: `coordkit worker tests.conformance.worker_jobs:work`.

Handlers leave marks on the server: lists `started` and `ended` of "worker attempt", by the job's tag.
"""

import asyncio
import contextlib
import os
import signal
import time

from coordkit import JobContext, Queue, Reject, RetryLater

work = Queue("work", lease=1.0)


async def mark(ctx: JobContext, where: str, tag: str) -> None:
    await ctx.client.backend.execute(("RPUSH", f"{where}:{tag}", f"{ctx.worker_id} {ctx.attempt}"))


@work.job(backoff=0.05)
async def sleep(ctx: JobContext, tag: str, seconds: float) -> str:
    await mark(ctx, "started", tag)
    await asyncio.sleep(seconds)
    await mark(ctx, "ended", tag)
    return tag


@work.job
def sleep_in_thread(ctx: JobContext, tag: str, seconds: float) -> int:
    ctx.blocking_client.backend.execute(("RPUSH", f"started:{tag}", f"{ctx.worker_id} {ctx.attempt}"))
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        ctx.raise_if_lost()
        time.sleep(0.01)
    return ctx.attempt


@work.job
async def hold_on(ctx: JobContext, tag: str) -> None:
    """Catches its cancellation, however often."""
    await mark(ctx, "started", tag)
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@work.job
async def hold_a_thread(ctx: JobContext, tag: str) -> None:
    """Is cancelled, but not the thread that it waits for."""
    await mark(ctx, "started", tag)
    await asyncio.to_thread(time.sleep, 60)


@work.job
async def block_the_loop(ctx: JobContext, tag: str, seconds: float) -> int:
    await mark(ctx, "started", tag)
    time.sleep(seconds)  # noqa: ASYNC251 - what this handler is for
    return ctx.attempt


@work.job(crashes=2)
async def kill_the_worker(ctx: JobContext, tag: str) -> None:
    await mark(ctx, "started", tag)
    os.kill(os.getpid(), signal.SIGKILL)


@work.job(retries=2, backoff=0.05)
async def fail(ctx: JobContext, times: int) -> int:
    if ctx.attempt <= times:
        raise ValueError(f"attempt {ctx.attempt}")
    return ctx.attempt


@work.job(retries=0, timeout=0.1)
async def too_slow(ctx: JobContext) -> None:
    await asyncio.sleep(10)


@work.job(retries=0, timeout=0.1)
def too_slow_in_thread(ctx: JobContext) -> None:
    while not ctx.lost:
        time.sleep(0.01)


@work.job
async def reject(ctx: JobContext) -> None:
    raise Reject("never")


@work.job
async def later(ctx: JobContext) -> int:
    if ctx.attempt == 1:
        raise RetryLater(0.2, "not yet")
    return ctx.attempt


@work.job(retries=0)
def leave(ctx: JobContext) -> None:
    raise SystemExit(3)


@work.job(retries=0)
async def cancel_itself(ctx: JobContext) -> None:
    raise asyncio.CancelledError


@work.job(retries=0)
async def give_what_does_not_fit(ctx: JobContext) -> object:
    return object()
