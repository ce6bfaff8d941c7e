"""A call that is cancelled at each of its await points, one after the other, leaves nothing behind."""

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Final

import pytest

from coordkit import GCRA, AsyncClient, Queue
from tests.peers import Peer

MOST_STEPS: Final = 60

mail = Queue("mail")


@mail.job()
async def note(ctx: object, number: int) -> None: ...


@types.coroutine
def cancelled_at(work: Coroutine[object, object, object], step: int) -> Generator[object, None, object]:
    """What `work` returns; its task is cancelled when it waits for the `step`th time."""
    waited, failure = 0, None
    while True:
        try:
            future = work.send(None) if failure is None else work.throw(failure)
        except StopIteration as stop:
            return stop.value
        waited += 1
        task = asyncio.current_task()
        assert task is not None
        if waited == step:
            task.cancel()
        failure = None
        try:
            yield future
        except BaseException as exc:
            failure = exc


async def stopped_at(make: Callable[[], Coroutine[object, object, object]], step: int) -> bool:
    """Whether the work had so many await points and was cancelled there."""

    async def work() -> object:
        return await cancelled_at(make(), step)

    task = asyncio.create_task(work())
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
        return False
    return True


async def every_step(
    make: Callable[[], Coroutine[object, object, object]], check: Callable[[], Awaitable[None]]
) -> int:
    """At how many points the work was cancelled; `check` runs after each."""
    for step in range(1, MOST_STEPS):
        if not await stopped_at(make, step):
            await check()
            return step - 1
        await check()
    raise AssertionError(f"more than {MOST_STEPS} await points")


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "connecting"])
async def test_lock_cancelled_at_every_await_point_is_free_afterwards(server: Peer, connected: bool) -> None:
    async with AsyncClient.from_url(server.url) as other:

        async def free() -> None:
            info = await other.lock("l").info()
            assert (info.owner, info.waiters) == (None, 0)

        async with AsyncClient.from_url(server.url) as ck:
            if connected:
                await ck.ping()

            async def hold() -> None:
                client = ck if connected else AsyncClient.from_url(server.url)
                try:
                    async with client.lock("l").hold(timeout=5):
                        pass
                finally:
                    if not connected:
                        await client.aclose()

            assert await every_step(hold, free) >= 2


async def test_lock_that_is_waited_for_and_cancelled_at_every_await_point_leaves_no_place_in_the_queue(
    server: Peer,
) -> None:
    async with AsyncClient.from_url(server.url) as ck, AsyncClient.from_url(server.url) as other:
        await ck.ping()

        async def wait_behind_a_holder() -> None:
            held = await other.lock("l").acquire()
            asyncio.get_running_loop().call_later(0.02, lambda: releases.append(asyncio.create_task(held.release())))
            async with ck.lock("l").hold(timeout=5):
                pass

        async def nothing_left() -> None:
            await asyncio.sleep(0.03)
            if releases:
                await asyncio.wait(releases)
            lease = await other.lock("l").acquire(timeout=5)
            assert (await other.lock("l").info()).waiters == 0
            await lease.release()

        releases: list[asyncio.Task[bool]] = []
        assert await every_step(wait_behind_a_holder, nothing_left) >= 4


async def test_limiter_cancelled_at_every_await_point_has_counted_each_hit_at_most_once(server: Peer) -> None:
    async with AsyncClient.from_url(server.url) as ck:
        limiter = ck.limiter("api", GCRA(1000, 1e7))
        await ck.ping()
        steps = await every_step(lambda: limiter.check("u"), lambda: asyncio.sleep(0))
        used = 1000 - (await limiter.peek("u")).remaining
        assert 1 <= used <= steps + 1


async def test_enqueue_cancelled_at_every_await_point_leaves_whole_jobs_only(server: Peer) -> None:
    async with AsyncClient.from_url(server.url) as ck:
        queue = ck.queue(mail)
        await ck.ping()
        steps = await every_step(lambda: queue.enqueue(note, number=1, key="once"), lambda: asyncio.sleep(0))
        stats = await queue.stats()
        assert stats.ready == 1
        assert stats.enqueued == 1
        assert steps >= 1
