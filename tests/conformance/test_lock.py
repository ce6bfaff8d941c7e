"""Locks on every server, blocking and asynchronous."""

import asyncio
import threading
import time

import pytest

from coordkit import AsyncClient, Client, LeaseLost, LockTimeout
from tests.peers import Peer


async def test_async_lock_is_exclusive_and_fences_rise(server_url: str) -> None:
    inside = 0
    fences: list[int] = []

    async def worker(ck: AsyncClient) -> None:
        nonlocal inside
        async with ck.lock("report").hold(timeout=20) as lease:
            inside += 1
            assert inside == 1
            fences.append(lease.fence)
            await asyncio.sleep(0)
            inside -= 1

    async with AsyncClient.from_url(server_url) as one, AsyncClient.from_url(server_url) as two:
        await asyncio.gather(*(worker(ck) for ck in (one, two) * 20))
    assert len(fences) == 40
    assert fences == sorted(set(fences))


async def test_async_lock_waiters_get_it_in_order_of_arrival(server_url: str) -> None:
    order: list[int] = []

    async def worker(ck: AsyncClient, number: int) -> None:
        async with ck.lock("report").hold(timeout=20):
            order.append(number)

    async with AsyncClient.from_url(server_url) as ck:
        lease = await ck.lock("report").acquire()
        waiting = []
        for number in range(10):
            waiting.append(asyncio.create_task(worker(ck, number)))
            while (await ck.lock("report").info()).waiters != number + 1:
                await asyncio.sleep(0.001)
        await lease.release()
        await asyncio.gather(*waiting)
    assert order == list(range(10))


async def test_async_lock_held_elsewhere_raises_lock_timeout_and_leaves_the_queue(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        async with ck.lock("report").hold() as lease:
            with pytest.raises(LockTimeout, match=r"'report' is held by .*; its lease ends in \d+ ms"):
                await ck.lock("report").acquire(timeout=0.05)
            assert (await ck.lock("report").info()).waiters == 0
            assert (await ck.lock("report").info()).owner == lease.owner
        assert not await ck.lock("report").locked()


async def test_async_try_acquire_of_held_lock_returns_none(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        lease = await ck.lock("report").try_acquire()
        assert lease is not None
        assert await ck.lock("report").try_acquire() is None
        assert await lease.release() is True
        assert await lease.release() is False


async def test_async_lock_of_killed_holder_goes_to_waiter_when_its_lease_ends(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck, AsyncClient.from_url(server_url) as other:
        dead = await other.lock("report", ttl=0.3, renew=False).acquire()
        started_s = time.monotonic()
        lease = await ck.lock("report").acquire(timeout=20)
        assert time.monotonic() - started_s < 10
        assert dead.expires_in() == 0.0
        assert lease.fence > dead.fence
        assert await dead.release() is False
        assert await lease.release() is True


async def test_async_lease_is_renewed_while_held(server_url: str) -> None:
    async with (
        AsyncClient.from_url(server_url) as ck,
        ck.lock("report", ttl=0.9).hold() as lease,
    ):
        await asyncio.sleep(1.3)
        lease.check()
        assert await ck.lock("report").try_acquire() is None


async def test_async_lease_lost_on_server_cancels_the_body(server: Peer) -> None:
    async with AsyncClient.from_url(server.url) as ck:
        with pytest.raises(LeaseLost, match="'report'"):  # noqa: PT012 - the body is what is cancelled
            async with ck.lock("report", ttl=0.3).hold() as lease:
                server.command("FLUSHALL")
                await asyncio.sleep(10)
        assert lease.lost.is_set()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


def test_lock_is_exclusive_between_threads_and_fences_rise(server_url: str) -> None:
    inside = 0
    fences: list[int] = []

    def worker(ck: Client) -> None:
        nonlocal inside
        with ck.lock("report").hold(timeout=20) as lease:
            inside += 1
            assert inside == 1
            fences.append(lease.fence)
            time.sleep(0.0005)
            inside -= 1

    with Client.from_url(server_url) as one, Client.from_url(server_url) as two:
        threads = [threading.Thread(target=worker, args=(ck,)) for ck in (one, two) * 8]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(fences) == 16
    assert fences == sorted(set(fences))


def test_lock_held_elsewhere_raises_lock_timeout_and_leaves_the_queue(server_url: str) -> None:
    with Client.from_url(server_url) as ck:
        with ck.lock("report").hold():
            with pytest.raises(LockTimeout, match="'report' is held by"):
                ck.lock("report").acquire(timeout=0.05)
            assert ck.lock("report").info().waiters == 0
        assert not ck.lock("report").locked()


def test_lease_is_renewed_while_held(server_url: str) -> None:
    with Client.from_url(server_url) as ck, ck.lock("report", ttl=0.9).hold() as lease:
        time.sleep(1.3)
        lease.check()
        assert ck.lock("report").try_acquire() is None


def test_lease_lost_on_server_raises_on_leaving(server: Peer) -> None:
    with Client.from_url(server.url) as ck:
        hold = ck.lock("report", ttl=0.3).hold()
        lease = hold.__enter__()
        server.command("FLUSHALL")
        assert lease.lost.wait(5)
        with pytest.raises(LeaseLost):
            lease.check()
        with pytest.raises(LeaseLost, match="'report'"):
            hold.__exit__(None, None, None)
