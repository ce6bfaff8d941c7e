"""Locks when things go wrong: resent scripts, cancellations, cuts, killed and frozen waiters, crowds."""

import asyncio
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from coordkit import AsyncClient, AsyncLease, Client, LeaseLost, LockTimeout
from coordkit.lock import ACQUIRE, RELEASE, Busy
from tests.peers import Peer
from tests.proxy import FaultyProxy

LOCK = "report"

WAITER = """
import sys
from coordkit import Client
ck = Client.from_url(sys.argv[1])
with ck.lock("report").hold():
    print("got it", flush=True)
"""


async def soon(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.002)


async def waiters(ck: AsyncClient, number: int) -> None:
    """Wait until so many wait for the lock."""
    async with asyncio.timeout(15):
        while (await ck.lock(LOCK).info()).waiters != number:
            await asyncio.sleep(0.002)


async def inboxes(ck: AsyncClient, number: int) -> None:
    """Wait until so many clients listen to their inbox."""
    async with asyncio.timeout(15):
        while True:
            channels = await ck.backend.execute(("PUBSUB", "CHANNELS", "ck:inbox:*"))
            assert isinstance(channels, list)
            if len(channels) == number:
                return
            await asyncio.sleep(0.002)


async def assert_nothing_is_left(ck: AsyncClient) -> None:
    """The lock is free, nobody stands in the queue, and it can be taken at once."""
    _, queue, tickets = ck.keys.lock(LOCK)
    info = await ck.lock(LOCK).info()
    assert (info.owner, info.waiters) == (None, 0)
    assert await ck.backend.execute(("EXISTS", queue, tickets)) == 0
    lease = await ck.lock(LOCK).try_acquire()
    assert lease is not None
    await lease.release()


def script_calls(server: Peer) -> int:
    """How many scripts the server has run."""
    info = server.command("INFO", "commandstats").decode()
    return sum(
        int(line.split("calls=")[1].split(",")[0])
        for line in info.splitlines()
        if line.startswith(("cmdstat_evalsha:", "cmdstat_eval:"))
    )


async def settled_calls(server: Peer) -> int:
    """How many scripts the server has run, once it runs no more: the first of a client to wait asks once more."""
    async with asyncio.timeout(15):
        while True:
            before = script_calls(server)
            await asyncio.sleep(0.3)
            if script_calls(server) == before:
                return before


# -- scripts that are sent twice -----------------------------------------------------------------------------------


async def test_acquire_sent_twice_gives_the_same_grant(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        arguments = (ck.keys.lock(LOCK), (b"me", 30_000, 0, b"inbox"))
        fence = await ck.backend.call(ACQUIRE, *arguments)
        assert await ck.backend.call(ACQUIRE, *arguments) == fence
        assert isinstance(ACQUIRE.parse(fence), int)


async def test_acquire_that_arrives_after_its_release_is_refused(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        keys = ck.keys.lock(LOCK)
        await ck.backend.call(ACQUIRE, keys, (b"me", 30_000, 0, b"inbox"))
        assert await ck.backend.call(RELEASE, keys, (b"me",)) == 1
        late = ACQUIRE.parse(await ck.backend.call(ACQUIRE, keys, (b"me", 30_000, 0, b"inbox")))
        assert isinstance(late, Busy)
        await assert_nothing_is_left(ck)


async def test_release_sent_twice_says_twice_that_it_was_ours(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        keys = ck.keys.lock(LOCK)
        await ck.backend.call(ACQUIRE, keys, (b"me", 30_000, 0, b"inbox"))
        assert await ck.backend.call(RELEASE, keys, (b"me",)) == 1
        assert await ck.backend.call(RELEASE, keys, (b"me",)) == 1


async def test_release_by_another_owner_changes_nothing(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck, ck.lock(LOCK).hold() as lease:
        assert await ck.backend.call(RELEASE, ck.keys.lock(LOCK), (b"thief",)) == 0
        assert (await ck.lock(LOCK).info()).owner == lease.owner


async def test_acquire_whose_reply_was_lost_is_the_same_grant_after_reconnecting(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:
        async with AsyncClient.from_url(proxy.url) as ck, AsyncClient.from_url(server.url) as direct:
            await assert_nothing_is_left(ck)  # the server knows the scripts now
            proxy.mute = True
            acquiring = asyncio.create_task(ck.lock(LOCK).acquire())
            while not await direct.lock(LOCK).locked():
                await asyncio.sleep(0.002)
            granted = await direct.lock(LOCK).info()
            proxy.mute = False
            proxy.cut()
            lease = await acquiring
            assert (lease.owner, lease.fence) == (granted.owner, granted.fence)
            await lease.release()


async def test_fences_go_on_rising_after_the_server_lost_everything(server: Peer) -> None:
    async with AsyncClient.from_url(server.url) as ck:
        first = await ck.lock(LOCK).acquire()
        server.command("FLUSHALL")
        second = await ck.lock(LOCK).acquire()
        assert second.fence > first.fence


# -- cancellation ---------------------------------------------------------------------------------------------------


async def test_lock_under_a_storm_of_cancellations_stays_exclusive_and_leaves_nothing(server_url: str) -> None:
    rng = random.Random(11)
    inside = 0
    served = 0

    async def worker(ck: AsyncClient) -> None:
        nonlocal inside, served
        async with ck.lock(LOCK).hold(timeout=20):
            assert inside == 0
            inside += 1
            try:
                await asyncio.sleep(0)
                served += 1
            finally:
                inside -= 1

    async with AsyncClient.from_url(server_url) as one, AsyncClient.from_url(server_url) as two:
        for _ in range(6):
            tasks = [asyncio.create_task(worker(ck)) for ck in (one, two) * 25]
            while not all(task.done() for task in tasks):
                await asyncio.sleep(rng.random() * 0.004)
                rng.choice(tasks).cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert not [result for result in results if isinstance(result, Exception)]
        await assert_nothing_is_left(one)
    assert served > 0


async def test_acquire_cancelled_before_its_reply_leaves_nothing(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        await ck.ping()
        for turns in range(6):
            task = asyncio.create_task(ck.lock(LOCK).acquire())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                await task.result().release()
        await assert_nothing_is_left(ck)


async def test_release_cancelled_under_way_releases(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        lease = await ck.lock(LOCK).acquire()
        task = asyncio.create_task(lease.release())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        await assert_nothing_is_left(ck)


async def test_body_cancelled_from_outside_releases_and_stays_cancelled(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        entered = asyncio.Event()

        async def body() -> None:
            async with ck.lock(LOCK).hold():
                entered.set()
                await asyncio.sleep(30)

        task = asyncio.create_task(body())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await assert_nothing_is_left(ck)


async def test_acquire_within_an_outer_timeout_leaves_the_queue(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        async with ck.lock(LOCK).hold():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await ck.lock(LOCK).acquire()
            assert (await ck.lock(LOCK).info()).waiters == 0
        await assert_nothing_is_left(ck)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT interrupts, even where the tests were started in the background with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_thread_interrupted_while_waiting_leaves_the_queue(server_url: str) -> None:
    with Client.from_url(server_url) as ck, Client.from_url(server_url) as other:
        held = other.lock(LOCK).acquire()

        def interrupt() -> None:
            while other.lock(LOCK).info().waiters != 1:
                time.sleep(0.002)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            ck.lock(LOCK).acquire(timeout=20)
        thread.join()
        assert other.lock(LOCK).info().waiters == 0
        held.release()
        lease = ck.lock(LOCK).try_acquire()
        assert lease is not None
        lease.release()


# -- waiting -------------------------------------------------------------------------------------------------------


async def test_waiter_is_woken_by_push_and_asks_hardly_at_all(server: Peer) -> None:
    async with AsyncClient.from_url(server.url) as ck, AsyncClient.from_url(server.url) as other:
        lease = await ck.lock(LOCK, renew=False).acquire()
        waiting = asyncio.create_task(other.lock(LOCK).acquire())
        await waiters(ck, 1)
        before = await settled_calls(server)
        await asyncio.sleep(1.0)
        assert script_calls(server) == before
        released_s = time.monotonic()
        await lease.release()
        handed = await waiting
        assert time.monotonic() - released_s < 5  # by push: its next look would come with the lease's end
        await handed.release()


async def test_crowd_of_waiters_is_served_one_by_one_without_a_herd(server: Peer) -> None:
    count = 200
    inside = 0
    order: list[int] = []

    async def worker(ck: AsyncClient) -> None:
        nonlocal inside
        async with ck.lock(LOCK).hold(timeout=30) as lease:
            assert inside == 0
            inside += 1
            await asyncio.sleep(0)
            order.append(lease.fence)
            inside -= 1

    async with AsyncClient.from_url(server.url) as one, AsyncClient.from_url(server.url) as two:
        lease = await one.lock(LOCK).acquire()
        tasks = [asyncio.create_task(worker(ck)) for ck in (one, two) * (count // 2)]
        await waiters(one, count)
        before = await settled_calls(server)
        await lease.release()
        await asyncio.gather(*tasks)
        # Each waiter confirms what it was handed and releases it: two calls, and a few for the polls of this test.
        assert script_calls(server) - before <= 2 * count + 20
        await assert_nothing_is_left(one)
    assert order == sorted(set(order))
    assert len(order) == count


async def test_waiter_whose_process_was_killed_is_passed_over_at_once(server: Peer) -> None:
    async with AsyncClient.from_url(server.url) as ck:
        lease = await ck.lock(LOCK).acquire()
        dead = subprocess.Popen(  # noqa: ASYNC220 - starting it takes a moment only
            [sys.executable, "-c", WAITER, server.url], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        )
        await waiters(ck, 1)
        living = asyncio.create_task(ck.lock(LOCK).acquire())
        await waiters(ck, 2)
        await inboxes(ck, 2)
        dead.kill()
        dead.wait()
        await inboxes(ck, 1)
        released_s = time.monotonic()
        await lease.release()
        handed = await living
        assert time.monotonic() - released_s < 1.0
        await handed.release()


async def test_waiter_whose_process_is_frozen_is_passed_over_after_its_claim(server: Peer) -> None:
    async with AsyncClient.from_url(server.url) as ck:
        lease = await ck.lock(LOCK).acquire()
        frozen = subprocess.Popen(  # noqa: ASYNC220 - starting it takes a moment only
            [sys.executable, "-c", WAITER, server.url], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        )
        try:
            await waiters(ck, 1)
            living = asyncio.create_task(ck.lock(LOCK).acquire(timeout=20))
            await waiters(ck, 2)
            await inboxes(ck, 2)
            frozen.send_signal(signal.SIGSTOP)
            released_s = time.monotonic()
            await lease.release()
            handed = await living
            assert 1.5 < time.monotonic() - released_s < 9.0
            await handed.release()
        finally:
            frozen.send_signal(signal.SIGCONT)
            frozen.kill()
            frozen.wait()


async def test_waiter_that_lost_its_subscription_gets_the_lock_all_the_same(server: Peer) -> None:
    async with AsyncClient.from_url(server.url) as ck, AsyncClient.from_url(server.url) as other:
        lease = await ck.lock(LOCK, renew=False).acquire()
        waiting = asyncio.create_task(other.lock(LOCK).acquire(timeout=20))
        await waiters(ck, 1)
        await asyncio.sleep(0.1)
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        released_s = time.monotonic()
        await lease.release()
        handed = await waiting
        assert time.monotonic() - released_s < 2.0
        await handed.release()


# -- leases --------------------------------------------------------------------------------------------------------


async def test_lease_survives_a_lost_connection(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:
        async with AsyncClient.from_url(proxy.url) as ck, ck.lock(LOCK, ttl=1.5).hold() as lease:
            for _ in range(4):
                proxy.cut()
                await asyncio.sleep(0.5)
            lease.check()


async def test_lease_of_a_silent_server_is_lost_when_its_time_is_over_here(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:
        async with AsyncClient.from_url(proxy.url, timeout=0.3) as ck:
            started_s = time.monotonic()
            with pytest.raises(LeaseLost, match="not renewed within its 600 ms"):  # noqa: PT012 - what is cancelled
                async with ck.lock(LOCK, ttl=0.6).hold():
                    proxy.mute = True
                    await asyncio.sleep(30)
            assert 0.5 < time.monotonic() - started_s < 2.5
            proxy.mute = False


async def test_body_that_fails_while_the_lease_is_lost_raises_its_own_error(server: Peer) -> None:
    async with AsyncClient.from_url(server.url) as ck:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the body is the subject
            async with ck.lock(LOCK, ttl=0.3).hold() as lease:
                server.command("FLUSHALL")
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    assert lease.lost.is_set()
                    raise ZeroDivisionError from None


async def test_lease_that_ended_while_the_body_blocked_the_loop_is_lost_on_leaving(server: Peer) -> None:
    async with AsyncClient.from_url(server.url) as ck:
        hold = ck.lock(LOCK, ttl=0.2).hold()
        await hold.__aenter__()
        time.sleep(0.3)  # noqa: ASYNC251 - the fault: nothing else runs meanwhile
        with Client.from_url(server.url) as other:
            taken = other.lock(LOCK).acquire(timeout=5)
            with pytest.raises(LeaseLost, match="ended unnoticed"):
                await hold.__aexit__(None, None, None)
            taken.release()


async def test_lease_released_within_the_body_is_not_lost(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        async with ck.lock(LOCK).hold() as lease:
            assert await lease.release() is True
        await assert_nothing_is_left(ck)


def test_lease_released_within_the_body_of_a_thread_is_not_lost(server_url: str) -> None:
    with Client.from_url(server_url) as ck:
        with ck.lock(LOCK).hold() as lease:
            assert lease.release() is True
        assert not ck.lock(LOCK).locked()


async def test_server_that_is_gone_at_release_does_not_fail_the_body(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:
        async with AsyncClient.from_url(proxy.url, timeout=0.3) as ck, ck.lock(LOCK).hold():
            proxy.refuse = True
            proxy.cut()


async def test_many_leases_are_renewed_by_few_calls(server: Peer) -> None:
    async with AsyncClient.from_url(server.url) as ck:
        leases = await asyncio.gather(*(ck.lock(f"lock{number}", ttl=1.5).acquire() for number in range(150)))
        before = script_calls(server)
        await asyncio.sleep(1.6)
        assert 2 <= script_calls(server) - before <= 24
        for lease in leases:
            lease.check()


async def test_lease_that_nobody_has_any_more_ends_by_itself(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        await ck.lock(LOCK, ttl=0.3).acquire()
        gc.collect()
        lease = await ck.lock(LOCK).acquire(timeout=5)
        await lease.release()


async def extended(lease: AsyncLease) -> float:
    await lease.extend(60)
    return lease.expires_in()


async def test_extended_lease_has_the_new_time_here_and_there(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck, ck.lock(LOCK, ttl=1).hold() as lease:
        assert 59 < await extended(lease) <= 60
        assert 58 < (await ck.lock(LOCK).info()).expires_in <= 60


async def test_extending_a_lease_that_is_gone_raises_lease_lost(server: Peer) -> None:
    async with AsyncClient.from_url(server.url) as ck:
        lease = await ck.lock(LOCK).acquire()
        server.command("FLUSHALL")
        with pytest.raises(LeaseLost, match="the server no longer has it"):
            await lease.extend(60)
        assert lease.expires_in() == 0.0
        assert await lease.release() is False


def test_extended_lease_of_a_thread_has_the_new_time_here_and_there(server_url: str) -> None:
    with Client.from_url(server_url) as ck, ck.lock(LOCK, ttl=1).hold() as lease:
        lease.extend(60)
        assert 59 < lease.expires_in() <= 60
        assert 58 < ck.lock(LOCK).info().expires_in <= 60


def test_forked_child_does_not_renew_its_parents_lease(server_url: str) -> None:
    with Client.from_url(server_url) as ck:
        lease = ck.lock(LOCK, ttl=0.5).acquire()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                mine = ck.lock("other", ttl=0.5).acquire()
                status = 0 if mine.owner.split(":")[0] != lease.owner.split(":")[0] else 2
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        lease.release()


async def test_locks_of_one_name_under_two_prefixes_are_two_locks(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck, AsyncClient.from_url(server_url, prefix="app") as other:
        one = await ck.lock(LOCK).acquire()
        two = await other.lock(LOCK).try_acquire()
        assert two is not None
        await one.release()
        await two.release()


async def test_zero_timeout_of_a_held_lock_raises_and_leaves_the_queue(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        lease = await ck.lock(LOCK).acquire()
        with pytest.raises(LockTimeout):
            await ck.lock(LOCK).acquire(timeout=0)
        await lease.release()
        await assert_nothing_is_left(ck)
