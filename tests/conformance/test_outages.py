"""Every primitive through every fault of the network: bounded calls, quick recovery, nothing lost or counted twice.

A fault lasts until some calls have failed, or a moment longer; then the network heals.  While it lasts, each call comes
back within its deadline and 50 ms; after it the first call succeeds within a second; and what is on the server is what
the calls have said.  All that on each server, on asyncio; on the bundled one on trio, whose sockets are other code, on
uvloop, and through shared clients of redis-py.  `tests.outages` says how time is judged.
"""

import asyncio
import contextlib
import gc
import itertools
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import anyio.to_thread
import pytest
import redis
import redis.asyncio

from coordkit import (
    GCRA,
    AsyncClient,
    Client,
    CoordkitError,
    Decision,
    OutcomeUnknown,
    Queue,
    ServerUnavailable,
    SlidingWindow,
)
from coordkit.lease import AsyncLease
from coordkit.queue.worker import Worker
from tests.conftest import PeerFactory
from tests.outages import (
    BACK_WITHIN_S,
    FAULTS,
    HUNG_S,
    OUTAGE,
    TIMEOUT_S,
    Call,
    Main,
    Run,
    Scenario,
    TooLate,
    Trial,
    back,
    blocking_disturbed,
    blocking_recovered,
    bounded,
    expect,
    in_time,
    no_task_is_left,
    twice,
    with_every_fault,
)
from tests.peers import Peer
from tests.proxy import FaultyProxy

BUNDLED: Final = pytest.mark.parametrize("server", ["bundled"], indirect=True)

mail = Queue("mail")


@mail.job(retries=0, crashes=20)
async def note(ctx: object, number: int) -> int:
    return number


def _run_asyncio(main: Main) -> None:
    anyio.run(main)


def _run_trio(main: Main) -> None:
    anyio.run(main, backend="trio")


def _run_uvloop(main: Main) -> None:
    pytest.importorskip("uvloop")
    anyio.run(main, backend_options={"use_uvloop": True})


# -- scenarios: what is done while the fault lasts, and what must be true afterwards -----------------------------------


async def limiter_counts_once(trial: Trial, algorithm: GCRA | SlidingWindow) -> None:
    async with trial.client() as ck, trial.direct() as direct:
        limiter = ck.limiter("api", algorithm)
        results: list[object] = [await limiter.check("u")]
        results += await trial.disturbed(lambda: limiter.check("u"))
        results.append(await trial.recovered(lambda: limiter.check("u")))
        expect(results, 1000 - (await direct.limiter("api", algorithm).peek("u")).remaining)


async def gcra_counts_once(trial: Trial) -> None:
    await limiter_counts_once(trial, GCRA(1000, 1e7))


async def sliding_window_counts_once(trial: Trial) -> None:
    await limiter_counts_once(trial, SlidingWindow(1000, 1e7))


async def queue_holds_every_job_once(trial: Trial) -> None:
    async with trial.client() as ck, trial.direct() as direct:
        queue = ck.queue(mail)
        results: list[object] = [await queue.enqueue(note, number=0)]
        results += await trial.disturbed(lambda: queue.enqueue(note, number=1))
        results.append(await trial.recovered(lambda: queue.enqueue(note, number=2)))
        expect(results, (await direct.queue(mail).stats()).ready)


async def held_lock_is_given_to_nobody_else(trial: Trial) -> None:
    async with trial.client() as ck, trial.direct() as direct:
        held = await direct.lock("l").acquire()
        lock = ck.lock("l")
        assert await lock.try_acquire() is None
        for result in await trial.disturbed(lock.try_acquire):
            assert result is None or isinstance(result, OUTAGE), result
        assert await trial.recovered(lock.try_acquire) is None
        assert await held.release()
        lease = await lock.try_acquire()
        assert lease is not None
        assert await lease.release()


async def free_lock_is_held_once_and_free_again(trial: Trial) -> None:
    async with trial.client() as ck, trial.direct() as direct:
        lock = ck.lock("l", ttl=2.0, renew=False)
        leases: list[AsyncLease] = []

        async def take_and_release() -> object:
            lease = await lock.try_acquire()
            if lease is not None:
                leases.append(lease)
            return lease

        await ck.ping()
        results = await trial.disturbed(take_and_release)
        result = await trial.recovered(take_and_release)
        # Whoever was told that the lock is theirs has it alone, until that lease is over.
        assert [one for one in [*results, result] if isinstance(one, AsyncLease)] == leases
        assert len(leases) <= 1 or min(lease.expires_in() for lease in leases) == 0.0
        for lease in leases:
            await lease.release()
        with anyio.fail_after(HUNG_S):
            while await direct.lock("l").locked():
                await anyio.sleep(0.01)


async def lock_is_released_in_time_or_ends_by_itself(trial: Trial) -> None:
    async with trial.client() as ck, trial.direct() as direct:
        lease = await ck.lock("l", ttl=2.0, renew=False).acquire()
        trial.fault(trial.proxy)
        released = await bounded(lease.release)
        assert isinstance(released, bool | OutcomeUnknown | ServerUnavailable)
        await trial.recovered(ck.ping)
        async with direct.lock("l").hold(timeout=HUNG_S) as other:
            assert other.fence > lease.fence


async def waiter_gets_the_lock(trial: Trial) -> None:
    """One who waits through the fault is served, and nobody else has the lock meanwhile."""
    async with trial.client() as ck, trial.direct() as direct:
        held = await direct.lock("l").acquire()
        got: list[int] = []

        async def wait() -> None:
            while True:
                try:
                    async with ck.lock("l", ttl=2.0).hold(timeout=HUNG_S) as lease:
                        got.append(lease.fence)
                        return
                except OUTAGE:
                    await anyio.sleep(0.05)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            while (await direct.lock("l").info()).waiters != 1:
                await anyio.sleep(0.01)
            trial.fault(trial.proxy)
            await anyio.sleep(TIMEOUT_S / 2)
            assert await held.release()
            await anyio.sleep(TIMEOUT_S)
            trial.proxy.heal()
        assert got
        assert got[0] > held.fence
        with anyio.fail_after(HUNG_S):
            while await direct.lock("l").locked():
                await anyio.sleep(0.01)


async def message_is_published_at_most_once(trial: Trial) -> None:
    async with trial.client() as ck, trial.direct() as direct, direct.channel("news").subscribe() as messages:
        channel = ck.channel("news")
        results: list[object] = [await channel.publish("x")]
        results += await trial.disturbed(lambda: channel.publish("x"))
        results.append(await trial.recovered(lambda: channel.publish("x")))
        assert await direct.channel("news").publish("end") == 1
        heard = 0
        with anyio.fail_after(HUNG_S):
            while getattr(await messages.get(), "data", None) != "end":
                heard += 1
        expect(results, heard)


async def channel_hears_of_the_gap_and_goes_on(trial: Trial) -> None:
    async with trial.client() as ck, trial.direct() as direct, ck.channel("news").subscribe(gaps=True) as messages:
        trial.fault(trial.proxy)
        await anyio.sleep(TIMEOUT_S)
        trial.proxy.heal()
        trial.proxy.cut()  # a fault that only held the stream up leaves it whole
        healed_s = time.monotonic()
        with anyio.fail_after(HUNG_S):
            while await direct.channel("news").publish("hello") == 0:
                await anyio.sleep(0.01)
            took_s = time.monotonic() - healed_s
            assert type(await messages.get()).__name__ == "Gap"
            while getattr(await messages.get(), "data", None) != "hello":
                pass
        if took_s > BACK_WITHIN_S:
            raise TooLate(f"listening after {took_s:.3f} s")


async def worker_runs_every_job(trial: Trial) -> None:
    with Client.from_url(trial.proxy.url, timeout=TIMEOUT_S, prefix=trial.prefix) as blocking:
        async with trial.client() as ck, trial.direct() as direct:
            worker = Worker(mail, ck, blocking)
            async with anyio.create_task_group() as group:
                group.start_soon(worker.run)
                queue = direct.queue(mail)
                jobs = [await queue.enqueue(note, number=number) for number in range(3)]
                assert [await job.result(HUNG_S) for job in jobs] == [0, 1, 2]
                trial.fault(trial.proxy)
                jobs = [await queue.enqueue(note, number=number) for number in range(3)]
                await anyio.sleep(2 * TIMEOUT_S)
                trial.proxy.heal()
                jobs.append(await queue.enqueue(note, number=3))
                assert [await job.result(HUNG_S) for job in jobs] == [0, 1, 2, 3]
                worker.drain()
            stats = await queue.stats()
            assert (stats.completed, stats.unfinished) == (7, 0)


# -- the same for blocking code ----------------------------------------------------------------------------------------


def blocking_calls_are_counted_once(trial: Trial) -> None:
    with trial.blocking() as ck, Client.from_url(trial.server.url, prefix=trial.prefix) as direct:
        limiter, queue = ck.limiter("api", GCRA(1000, 1e7)), ck.queue(mail)
        turns = itertools.count()
        made: dict[int, list[object]] = {0: [limiter.check("u")], 1: [queue.enqueue(note, number=0)]}

        def either() -> object:
            kind = next(turns) % 2
            try:
                result = limiter.check("u") if kind == 0 else queue.enqueue(note, number=1)
            except CoordkitError as exc:
                made[kind].append(exc)
                raise
            made[kind].append(result)
            return result

        blocking_disturbed(trial, either)
        blocking_recovered(trial, either)
        expect(made[0], 1000 - direct.limiter("api", GCRA(1000, 1e7)).peek("u").remaining)
        expect(made[1], direct.queue(mail).stats().ready)


def blocking_lock_is_given_to_nobody_else(trial: Trial) -> None:
    with trial.blocking() as ck, Client.from_url(trial.server.url, prefix=trial.prefix) as direct:
        held = direct.lock("l").acquire()
        lock = ck.lock("l")
        assert lock.try_acquire() is None
        for result in blocking_disturbed(trial, lock.try_acquire):
            assert result is None or isinstance(result, OUTAGE), result
        assert blocking_recovered(trial, lock.try_acquire) is None
        assert held.release()
        lease = lock.try_acquire()
        assert lease is not None
        assert lease.release()


def blocking_channel_hears_of_the_gap(trial: Trial) -> None:
    with (
        trial.blocking() as ck,
        Client.from_url(trial.server.url, prefix=trial.prefix) as direct,
        ck.channel("news").subscribe(gaps=True) as messages,
    ):
        trial.fault(trial.proxy)
        time.sleep(TIMEOUT_S)
        trial.proxy.heal()
        trial.proxy.cut()
        healed_s = time.monotonic()
        while direct.channel("news").publish("hello") == 0:
            assert time.monotonic() - healed_s < HUNG_S
            time.sleep(0.01)
        took_s = time.monotonic() - healed_s
        assert type(messages.get(HUNG_S)).__name__ == "Gap"
        while getattr(messages.get(HUNG_S), "data", None) != "hello":
            pass
        if took_s > BACK_WITHIN_S:
            raise TooLate(f"listening after {took_s:.3f} s")


def by_thread(scenario: Callable[[Trial], None]) -> Scenario:
    """The scenario, run by a thread."""

    async def run(trial: Trial) -> None:
        await anyio.to_thread.run_sync(scenario, trial)

    run.__name__ = scenario.__name__
    return run


PRIMITIVES: Final[dict[str, tuple[Scenario, ...]]] = {
    "limiter": (gcra_counts_once, sliding_window_counts_once),
    "lock": (
        held_lock_is_given_to_nobody_else,
        free_lock_is_held_once_and_free_again,
        lock_is_released_in_time_or_ends_by_itself,
        waiter_gets_the_lock,
    ),
    "queue": (queue_holds_every_job_once, worker_runs_every_job),
    "channel": (message_is_published_at_most_once, channel_hears_of_the_gap_and_goes_on),
}
BLOCKING: Final = (
    by_thread(blocking_calls_are_counted_once),
    by_thread(blocking_lock_is_given_to_nobody_else),
    by_thread(blocking_channel_hears_of_the_gap),
)
HALVES: Final = {  # where one server is enough, two go at once
    "limiter-queue": PRIMITIVES["limiter"] + PRIMITIVES["queue"],
    "lock-channel": PRIMITIVES["lock"] + PRIMITIVES["channel"],
}
EVERY_HALF: Final = pytest.mark.parametrize("scenarios", HALVES.values(), ids=list(HALVES))
EVERY_PRIMITIVE: Final = pytest.mark.parametrize("primitive", PRIMITIVES)


@EVERY_PRIMITIVE
def test_every_fault_leaves_calls_bounded_and_effects_whole(server: Peer, primitive: str) -> None:
    with_every_fault(server, PRIMITIVES[primitive], _run_asyncio)


def test_every_fault_leaves_blocking_calls_bounded_and_effects_whole(server: Peer) -> None:
    with_every_fault(server, BLOCKING, _run_asyncio)


@BUNDLED
@EVERY_HALF
@pytest.mark.parametrize("run", [_run_uvloop, _run_trio], ids=["uvloop", "trio"])
def test_every_fault_is_the_same_on_other_loops(server: Peer, scenarios: Sequence[Scenario], run: Run) -> None:
    with_every_fault(server, scenarios, run)


# -- what is owed when the server is back --------------------------------------------------------------------------


async def acquire_unheard(trial: Trial) -> None:
    """An attempt that got a lock of 30 s, and never heard of it, is taken back."""
    async with trial.client() as ck, trial.direct() as direct:
        await (await ck.lock("l").acquire()).release()
        trial.proxy.mute = True
        assert isinstance(await bounded(ck.lock("l").try_acquire), OutcomeUnknown)
        assert await direct.lock("l").locked()
        await trial.recovered(ck.ping)
        await free_soon(direct)


async def release_unsent(trial: Trial) -> None:
    """A lock of 30 s whose holder could not release it is released."""
    async with trial.client() as ck, trial.direct() as direct:
        lease = await ck.lock("l").acquire()
        trial.proxy.deaf = True
        assert isinstance(await bounded(lease.release), OutcomeUnknown)
        await trial.recovered(ck.ping)
        await free_soon(direct)


async def body_left(trial: Trial) -> None:
    """The same where a body is left."""
    async with trial.client() as ck, trial.direct() as direct:
        async with ck.lock("l").hold():
            trial.proxy.deaf = True
        await trial.recovered(ck.ping)
        await free_soon(direct)


def blocking_acquire_unheard(trial: Trial) -> None:
    with trial.blocking() as ck, Client.from_url(trial.server.url, prefix=trial.prefix) as direct:
        ck.lock("l").acquire().release()
        trial.proxy.mute = True
        with pytest.raises(OutcomeUnknown):
            ck.lock("l").try_acquire()
        assert direct.lock("l").locked()
        blocking_recovered(trial, ck.ping)
        healed_s = time.monotonic()
        while direct.lock("l").locked():
            assert time.monotonic() - healed_s < 15, "it ends by itself only"
            time.sleep(0.01)


async def free_soon(direct: AsyncClient) -> None:
    """Comes back when the lock is free.  Raises TooLate after a second; its lease would last thirty."""
    healed_s = time.monotonic()
    while await direct.lock("l").locked():
        assert time.monotonic() - healed_s < 15, "it ends by itself only"
        await anyio.sleep(0.01)
    if (took_s := time.monotonic() - healed_s) > BACK_WITHIN_S:
        raise TooLate(f"free after {took_s:.3f} s")


@pytest.mark.parametrize("run", [_run_asyncio, _run_trio], ids=["asyncio", "trio"])
def test_lock_that_could_not_be_given_back_is_given_back_when_the_server_is_back(server: Peer, run: Run) -> None:
    def nothing(_: FaultyProxy) -> None:
        """These have their own."""

    scenarios = (acquire_unheard, release_unsent, body_left, by_thread(blocking_acquire_unheard))
    with_every_fault(server, scenarios, run, faults=[nothing])


# -- through clients of redis-py -----------------------------------------------------------------------------------


class SharedTrial(Trial):
    """The client runs everything through one of `redis.asyncio`."""

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncClient]:
        theirs: Any = redis.asyncio.Redis.from_url(self.proxy.url, socket_timeout=TIMEOUT_S)
        try:
            async with AsyncClient(redis=theirs, share=True, timeout=TIMEOUT_S, prefix=self.prefix) as ck:
                yield ck
        finally:
            await theirs.aclose()


class ThreadedTrial(Trial):
    """The client runs everything through a blocking one, by threads."""

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncClient]:
        theirs: Any = redis.Redis.from_url(self.proxy.url, socket_timeout=TIMEOUT_S)
        try:
            async with AsyncClient(redis=theirs, share=True, timeout=TIMEOUT_S, prefix=self.prefix) as ck:
                yield ck
        finally:
            theirs.close()


@pytest.mark.filterwarnings(
    # Of redis.asyncio, whose connections are left half closed where a wait for them is cancelled.
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:unclosed:ResourceWarning",
)
@BUNDLED
@EVERY_HALF
@pytest.mark.parametrize(
    "trial_of, run", [(SharedTrial, _run_asyncio), (ThreadedTrial, _run_trio)], ids=["asyncio", "threads-on-trio"]
)
def test_every_fault_is_survived_through_a_shared_client(
    server: Peer, scenarios: Sequence[Scenario], trial_of: type[Trial], run: Run
) -> None:
    # redis-py takes an answer that comes twice for that of the next command: nobody can make that whole.
    faults = [fault for fault in FAULTS if fault is not twice]
    try:
        with_every_fault(server, scenarios, run, trial_of=trial_of, faults=faults)
    finally:
        gc.collect()  # here, where the connections may be unclosed, not in the next test


# -- the server itself ---------------------------------------------------------------------------------------------


@pytest.fixture(params=["bundled", "redis", "valkey"])
def own_server(request: pytest.FixtureRequest, start_peer: PeerFactory) -> Peer:
    """A server of the test's own."""
    return start_peer(request.param)


async def one_of_each(ck: AsyncClient) -> list[object]:
    """What one call of each primitive returned: each was bounded."""
    lock, queue, channel = ck.lock("held"), ck.queue(mail), ck.channel("news")
    calls: list[Call] = [
        lambda: ck.limiter("api", GCRA(1000, 1e7)).check("u"),
        lambda: queue.enqueue(note, number=1),
        lock.try_acquire,
        lambda: channel.publish("x"),
        lambda: ck.limiter("api", SlidingWindow(1000, 1e7)).check("u"),
    ]
    return [await bounded(call) for call in calls]


def test_server_that_stands_still_costs_one_deadline_and_goes_on_where_it_was(own_server: Peer) -> None:
    async def scenario(turn: int) -> None:
        prefix = f"turn{turn}"
        async with AsyncClient.from_url(own_server.url, timeout=TIMEOUT_S, prefix=prefix) as ck:
            held = await ck.lock("held").acquire()
            rounds = [await one_of_each(ck)]
            own_server.process.send_signal(signal.SIGSTOP)
            try:
                rounds.append(await one_of_each(ck))
            finally:
                own_server.process.send_signal(signal.SIGCONT)
            assert all(isinstance(result, OUTAGE) for result in rounds[-1]), rounds
            await back(ck.ping)
            rounds.append(await one_of_each(ck))
            checks, jobs, locks, _, windows = zip(*rounds, strict=True)
            expect(list(checks), 1000 - (await ck.limiter("api", GCRA(1000, 1e7)).peek("u")).remaining)
            expect(list(windows), 1000 - (await ck.limiter("api", SlidingWindow(1000, 1e7)).peek("u")).remaining)
            expect(list(jobs), (await ck.queue(mail).stats()).ready)
            assert all(result is None or isinstance(result, OUTAGE) for result in locks)
            assert await held.release()

    _run_asyncio(lambda: in_time(scenario))


def test_server_that_is_killed_and_starts_again_is_used_again_within_a_second(
    own_server: Peer, start_peer: PeerFactory
) -> None:
    servers = [own_server]

    async def scenario(_: int) -> None:
        async with (
            AsyncClient.from_url(own_server.url, timeout=TIMEOUT_S) as ck,
            ck.channel("news").subscribe() as messages,
        ):
            assert not [result for result in await one_of_each(ck) if isinstance(result, Exception)]
            servers[-1].kill()
            failures = await one_of_each(ck)
            assert all(isinstance(result, OUTAGE) for result in failures), failures
            servers.append(await anyio.to_thread.run_sync(lambda: start_peer(own_server.name, port=own_server.port)))
            await back(ck.ping)
            assert not [result for result in await one_of_each(ck) if isinstance(result, Exception)]
            with anyio.fail_after(HUNG_S):
                while await ck.channel("news").publish("hello") == 0:
                    await anyio.sleep(0.01)
                while getattr(await messages.get(), "data", None) != "hello":
                    pass

    _run_asyncio(lambda: in_time(scenario))


@BUNDLED
@pytest.mark.parametrize("run", [_run_asyncio, _run_trio], ids=["asyncio", "trio"])
def test_script_that_has_to_be_sent_in_full_gets_no_second_deadline(server: Peer, run: Run) -> None:
    with FaultyProxy(server.port) as proxy:

        async def scenario(_: int) -> None:
            async with AsyncClient.from_url(proxy.url, timeout=TIMEOUT_S) as ck:
                limiter = ck.limiter("api", GCRA(1000, 1e7))
                await limiter.check("u")
                server.command("SCRIPT", "FLUSH")
                proxy.delay_s = 0.7 * TIMEOUT_S
                try:
                    assert isinstance(await bounded(lambda: limiter.check("u")), OutcomeUnknown)
                finally:
                    proxy.heal()

        run(lambda: in_time(scenario))


# -- many calls ----------------------------------------------------------------------------------------------------


@BUNDLED
async def test_crowd_of_calls_in_an_outage_is_bounded_and_later_ones_fail_at_once(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:

        async def scenario(_: int) -> None:
            async with AsyncClient.from_url(proxy.url, timeout=TIMEOUT_S) as ck:
                limiter = ck.limiter("api", GCRA(1000, 1e7), on_outage="allow")

                async def together() -> object:
                    return await asyncio.gather(*(limiter.check("u") for _ in range(500)))

                async def one_after_another() -> object:
                    return [await limiter.check("u") for _ in range(100)]

                await limiter.check("u")
                proxy.blackhole = True
                for decision in (*await decisions(together), *await decisions(one_after_another, timeout_s=0.2)):
                    assert decision.degraded
                statistics = ck.backend.health.statistics()
                assert (statistics.state, statistics.openings) == ("open", 1)
                proxy.heal()
                await back(lambda: ck.limiter("api", GCRA(1000, 1e7)).check("u"))

        await in_time(scenario)
    await no_task_is_left()


async def decisions(call: Call, timeout_s: float = TIMEOUT_S) -> list[Decision]:
    """What the limiter has decided, in time."""
    made = await bounded(call, timeout_s)
    assert isinstance(made, list)
    return made


@BUNDLED
async def test_slow_server_opens_the_breaker_before_the_first_answer(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:
        async with AsyncClient.from_url(proxy.url, timeout=10.0) as ck:
            await ck.ping()
            proxy.delay_s = 3.0
            calls = [asyncio.create_task(ck.limiter("api", GCRA(1000, 1e7)).check("u")) for _ in range(10)]
            async with asyncio.timeout(HUNG_S):
                while not ck.backend.health.open:
                    await asyncio.sleep(0.01)
            assert not [call for call in calls if call.done()]
            with pytest.raises(ServerUnavailable, match="probed in the background"):
                await ck.ping()
            proxy.heal()
            proxy.cut()
            for call in calls:
                with contextlib.suppress(*OUTAGE):
                    await call
    await no_task_is_left()
