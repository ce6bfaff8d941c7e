"""Every primitive through every fault of the network: bounded calls, quick recovery, nothing lost or counted twice.

A fault lasts until a call has failed, or a moment longer; then the network heals.  While it lasts, each call comes back
within its deadline and 50 ms; after it the first calls succeed within a second; and what is on the server is what the
calls have said.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from coordkit import (
    GCRA,
    AsyncClient,
    Client,
    CoordkitError,
    OutcomeUnknown,
    Queue,
    ServerError,
    ServerUnavailable,
    SlidingWindow,
)
from coordkit.queue.worker import Worker
from tests.peers import Peer
from tests.proxy import FaultyProxy

TIMEOUT_S: Final = 0.6
LATE_S: Final = 0.05
BUSY_MACHINE_S: Final = 1.0
"""What a machine with more work than processors may add to any wait."""

# The faults are the network's: one server shows them as well as three.  Of the others it is tried what depends on them:
# when they see that a client is gone, and what they do with what it has sent by then.
BUNDLED: Final = pytest.mark.parametrize("server", ["bundled"], indirect=True)
OTHERS: Final = pytest.mark.parametrize("server", ["redis", "valkey"], indirect=True)

mail = Queue("mail")


@mail.job(retries=0, crashes=20)
async def note(ctx: object, number: int) -> int:
    return number


def deaf(proxy: FaultyProxy) -> None:
    proxy.deaf = True


def mute(proxy: FaultyProxy) -> None:
    proxy.mute = True


def blackhole(proxy: FaultyProxy) -> None:
    proxy.blackhole = True


def refuse(proxy: FaultyProxy) -> None:
    proxy.refuse = True
    proxy.cut()


def delay(proxy: FaultyProxy) -> None:
    proxy.delay_s = 2 * TIMEOUT_S


def drip(proxy: FaultyProxy) -> None:
    proxy.drip = True


def truncate(proxy: FaultyProxy) -> None:
    proxy.truncate = True


def twice(proxy: FaultyProxy) -> None:
    proxy.twice = True


def cut(proxy: FaultyProxy) -> None:
    proxy.cut()


def reset(proxy: FaultyProxy) -> None:
    proxy.reset()


def half_close(proxy: FaultyProxy) -> None:
    proxy.half_close()


FAULTS: Final = {
    fault.__name__: fault
    for fault in (deaf, mute, blackhole, refuse, delay, drip, truncate, twice, cut, reset, half_close)
}
EVERY_FAULT: Final = pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
OUTAGE: Final = (ServerUnavailable, OutcomeUnknown)

Call = Callable[[], Awaitable[object]]


async def bounded(call: Call) -> object:
    """What the call returns, or its failure; it must not take longer than its deadline."""
    started_s = time.monotonic()
    result: object
    try:
        result = await call()
    except CoordkitError as exc:
        result = exc
    took_s = time.monotonic() - started_s
    assert took_s < TIMEOUT_S + LATE_S + BUSY_MACHINE_S, f"{took_s:.3f} s for {result!r}"
    return result


async def recovered(proxy: FaultyProxy, call: Call) -> object:
    """What the first call returns that succeeds once the network is healed: within a second."""
    proxy.heal()
    healed_s = time.monotonic()
    while True:
        result = await bounded(call)
        if not isinstance(result, OUTAGE):
            assert time.monotonic() - healed_s < 1.0 + BUSY_MACHINE_S
            return result
        await asyncio.sleep(0.01)


def counted(result: object) -> int:
    """1 for an answer, 0 for a failure that says that nothing was run.  OutcomeUnknown may be either."""
    return 0 if isinstance(result, Exception) else 1


async def disturbed(proxy: FaultyProxy, fault: Callable[[FaultyProxy], None], call: Call) -> list[object]:
    """What four calls returned while the fault lasted."""
    fault(proxy)
    return [await bounded(call) for _ in range(4)]


def expect(results: list[object], found: int) -> None:
    """Nothing lost, nothing doubled: as many effects as answers, and at most one more for each unknown outcome."""
    sure = sum(map(counted, results))
    unknown = sum(isinstance(result, OutcomeUnknown) for result in results)
    assert sure <= found <= sure + unknown, results
    assert not [result for result in results if isinstance(result, ServerError)]


@BUNDLED
@EVERY_FAULT
@pytest.mark.parametrize("algorithm", [GCRA(1000, 1e7), SlidingWindow(1000, 1e7)], ids=lambda one: one.kind)
async def test_limiter_counts_once_whatever_happens(
    server: Peer, fault: Callable[[FaultyProxy], None], algorithm: GCRA | SlidingWindow
) -> None:
    with FaultyProxy(server.port) as proxy:
        async with AsyncClient.from_url(proxy.url, timeout=TIMEOUT_S) as ck:
            limiter = ck.limiter("api", algorithm)
            results: list[object] = [await limiter.check("u")]
            results += await disturbed(proxy, fault, lambda: limiter.check("u"))
            results.append(await recovered(proxy, lambda: limiter.check("u")))
        async with AsyncClient.from_url(server.url) as direct:
            expect(results, 1000 - (await direct.limiter("api", algorithm).peek("u")).remaining)
    await no_task_is_left()


@BUNDLED
@EVERY_FAULT
async def test_queue_holds_every_job_once_whatever_happens(server: Peer, fault: Callable[[FaultyProxy], None]) -> None:
    with FaultyProxy(server.port) as proxy:
        async with AsyncClient.from_url(proxy.url, timeout=TIMEOUT_S) as ck:
            queue = ck.queue(mail)
            results: list[object] = [await queue.enqueue(note, number=0)]
            results += await disturbed(proxy, fault, lambda: queue.enqueue(note, number=1))
            results.append(await recovered(proxy, lambda: queue.enqueue(note, number=2)))
        async with AsyncClient.from_url(server.url) as direct:
            expect(results, (await direct.queue(mail).stats()).ready)
    await no_task_is_left()


@BUNDLED
@EVERY_FAULT
async def test_lock_is_never_held_twice_and_free_again_whatever_happens(
    server: Peer, fault: Callable[[FaultyProxy], None]
) -> None:
    with FaultyProxy(server.port) as proxy:
        async with AsyncClient.from_url(proxy.url, timeout=TIMEOUT_S) as ck, AsyncClient.from_url(server.url) as direct:
            held = await direct.lock("l").acquire()
            lock = ck.lock("l")
            assert await lock.try_acquire() is None
            for result in await disturbed(proxy, fault, lock.try_acquire):
                assert result is None or isinstance(result, OUTAGE), result
            assert await recovered(proxy, lock.try_acquire) is None
            assert await held.release()
            lease = await lock.try_acquire()
            assert lease is not None
            assert await lease.release()
    await no_task_is_left()


@BUNDLED
@EVERY_FAULT
async def test_worker_runs_every_job_whatever_happens(server: Peer, fault: Callable[[FaultyProxy], None]) -> None:
    with FaultyProxy(server.port) as proxy, Client.from_url(proxy.url, timeout=TIMEOUT_S) as blocking:
        async with AsyncClient.from_url(proxy.url, timeout=TIMEOUT_S) as ck, AsyncClient.from_url(server.url) as direct:
            worker = Worker(mail, ck, blocking)
            running = asyncio.create_task(worker.run())
            jobs = [await direct.queue(mail).enqueue(note, number=number) for number in range(3)]
            assert [await job.result(10) for job in jobs] == [0, 1, 2]
            fault(proxy)
            jobs = [await direct.queue(mail).enqueue(note, number=number) for number in range(3)]
            await asyncio.sleep(2 * TIMEOUT_S)
            proxy.heal()
            jobs.append(await direct.queue(mail).enqueue(note, number=3))
            assert [await job.result(15) for job in jobs] == [0, 1, 2, 3]
            worker.drain()
            await running
            stats = await direct.queue(mail).stats()
            assert (stats.completed, stats.unfinished) == (7, 0)
    await no_task_is_left()


@BUNDLED
@EVERY_FAULT
async def test_channel_hears_of_the_gap_and_goes_on(server: Peer, fault: Callable[[FaultyProxy], None]) -> None:
    with FaultyProxy(server.port) as proxy:
        async with (
            AsyncClient.from_url(proxy.url, timeout=TIMEOUT_S) as ck,
            AsyncClient.from_url(server.url) as direct,
            ck.channel("news").subscribe() as messages,
        ):
            fault(proxy)
            await asyncio.sleep(TIMEOUT_S)
            proxy.heal()
            proxy.cut()  # a fault that only held the stream up leaves it whole
            healed_s = time.monotonic()
            async with asyncio.timeout(10):
                while await direct.channel("news").publish("hello") == 0:
                    await asyncio.sleep(0.01)
                assert time.monotonic() - healed_s < 1.0 + BUSY_MACHINE_S
                async for message in messages:
                    if getattr(message, "data", None) == "hello":
                        break
    await no_task_is_left()


@BUNDLED
@EVERY_FAULT
def test_blocking_client_is_bounded_and_back_whatever_happens(
    server: Peer, fault: Callable[[FaultyProxy], None]
) -> None:
    before = threading.active_count()
    with FaultyProxy(server.port) as proxy:
        with Client.from_url(proxy.url, timeout=TIMEOUT_S) as ck:
            limiter = ck.limiter("api", GCRA(1000, 1e7))

            async def check() -> object:
                return limiter.check("u")

            async def scenario() -> list[object]:
                results = [await bounded(check)]
                results += await disturbed(proxy, fault, check)
                return [*results, await recovered(proxy, check)]

            results = asyncio.run(scenario())
        with Client.from_url(server.url) as direct:
            expect(results, 1000 - direct.limiter("api", GCRA(1000, 1e7)).peek("u").remaining)
    deadline_s = time.monotonic() + 5
    while threading.active_count() > before:
        assert time.monotonic() < deadline_s, threading.enumerate()
        time.sleep(0.01)


async def no_task_is_left() -> None:
    """Only the test's own task runs."""
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.01)


@BUNDLED
async def test_crowd_of_calls_in_an_outage_is_bounded_and_later_ones_fail_at_once(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:
        async with AsyncClient.from_url(proxy.url, timeout=TIMEOUT_S) as ck:
            limiter = ck.limiter("api", GCRA(1000, 1e7), on_outage="allow")
            await limiter.check("u")
            proxy.blackhole = True
            started_s = time.monotonic()
            decisions = await asyncio.gather(*(limiter.check("u") for _ in range(500)))
            assert all(decision.degraded for decision in decisions)
            assert time.monotonic() - started_s < TIMEOUT_S + LATE_S + BUSY_MACHINE_S
            started_s = time.monotonic()
            for _ in range(100):
                assert (await limiter.check("u")).degraded
            assert time.monotonic() - started_s < TIMEOUT_S
            statistics = ck.backend.health.statistics()
            assert (statistics.state, statistics.openings) == ("open", 1)
            assert not isinstance(await recovered(proxy, lambda: ck.limiter("api", GCRA(1000, 1e7)).check("u")), OUTAGE)
    await no_task_is_left()


@BUNDLED
async def test_slow_server_opens_the_breaker_before_the_first_deadline(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:
        async with AsyncClient.from_url(proxy.url, timeout=5.0) as ck:
            await ck.ping()
            proxy.delay_s = 1.5
            calls = [asyncio.create_task(ck.limiter("api", GCRA(1000, 1e7)).check("u")) for _ in range(10)]
            started_s = time.monotonic()
            async with asyncio.timeout(4):
                while not ck.backend.health.open:
                    await asyncio.sleep(0.01)
            assert time.monotonic() - started_s < 1.4 + BUSY_MACHINE_S
            with pytest.raises(ServerUnavailable, match="probed in the background"):
                await ck.ping()
            proxy.heal()
            for call in calls:
                with contextlib.suppress(*OUTAGE):
                    await call
    await no_task_is_left()


@OTHERS
@pytest.mark.parametrize("fault", [mute, reset, truncate, half_close], ids=lambda fault: fault.__name__)
async def test_every_primitive_survives_faults_on_other_servers_too(
    server: Peer, fault: Callable[[FaultyProxy], None]
) -> None:
    with FaultyProxy(server.port) as proxy:
        async with (
            AsyncClient.from_url(proxy.url, timeout=TIMEOUT_S) as ck,
            AsyncClient.from_url(server.url) as direct,
            ck.channel("news").subscribe() as messages,
        ):
            limiter, queue, held = ck.limiter("api", GCRA(1000, 1e7)), ck.queue(mail), await ck.lock("l").acquire()
            checks: list[object] = [await limiter.check("u")]
            jobs: list[object] = [await queue.enqueue(note, number=0)]
            fault(proxy)
            for _ in range(2):
                checks.append(await bounded(lambda: limiter.check("u")))
                jobs.append(await bounded(lambda: queue.enqueue(note, number=1)))
            checks.append(await recovered(proxy, lambda: limiter.check("u")))
            jobs.append(await recovered(proxy, lambda: queue.enqueue(note, number=2)))
            expect(checks, 1000 - (await direct.limiter("api", GCRA(1000, 1e7)).peek("u")).remaining)
            expect(jobs, (await direct.queue(mail).stats()).ready)
            assert await held.release()
            assert not await direct.lock("l").locked()
            async with asyncio.timeout(10):
                while await direct.channel("news").publish("hello") == 0:
                    await asyncio.sleep(0.01)
                while getattr(await messages.get(), "data", None) != "hello":
                    pass
    await no_task_is_left()
