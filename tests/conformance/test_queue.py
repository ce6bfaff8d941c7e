"""Queues on every server: what each script does, sent once and sent twice, blocking and asynchronous."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from coordkit import AsyncClient, Client, Queue
from coordkit.errors import JobCancelled, JobFailed, JobUnknown, ResultTimeout
from coordkit.queue import AsyncQueueHandle
from coordkit.queue.plans import NewJob, QueuePlans, WorkerPlans
from coordkit.queue.scripts import Leased, Settlement, Turn
from coordkit.runner import run_async

mail = Queue("mail", lease=60)


@mail.job(retries=2, crashes=1, backoff=0.2)
async def welcome(ctx: object, user: int) -> None: ...


class FakeWorker:
    """Takes turns by hand."""

    def __init__(self, ck: AsyncClient, worker_id: str, queue: Queue = mail) -> None:
        self.ck = ck
        self.plans = WorkerPlans(queue, worker_id=worker_id, keys=ck.keys)
        self.number = 0

    async def turn(self, wanted: int = 10, *settlements: Settlement) -> Turn:
        self.number += 1
        return await self.again(wanted, *settlements)

    async def again(self, wanted: int = 10, *settlements: Settlement) -> Turn:
        return await run_async(self.plans.turn(self.number, wanted, settlements), self.ck.backend)

    async def beat(self, *jobs: Leased) -> list[bool]:
        return await run_async(self.plans.beat([(job.id, job.fence) for job in jobs]), self.ck.backend)


async def leases_end(ck: AsyncClient) -> None:
    """The leases of all jobs are over, as when their time has passed: no test waits for that, or is overtaken by it."""
    leased = ck.keys.queue("mail").leased
    ids = await ck.backend.execute(("ZRANGE", leased, 0, -1))
    assert isinstance(ids, list)
    assert ids
    for job_id in ids:
        await ck.backend.execute(("ZADD", leased, "XX", 1, job_id))


def done(job: Leased, result: bytes = b"null") -> Settlement:
    return Settlement(job.id, job.fence, "done", result)


def failed(job: Leased, delay_ms: int | None = None) -> Settlement:
    return Settlement(job.id, job.fence, "failed", b"ValueError: no", delay_ms)


@pytest.fixture
async def ck(server_url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient.from_url(server_url) as client:
        yield client


@pytest.fixture
def queue(ck: AsyncClient) -> AsyncQueueHandle:
    return ck.queue(mail)


@pytest.fixture
def one(ck: AsyncClient) -> FakeWorker:
    return FakeWorker(ck, "one")


@pytest.fixture
def two(ck: AsyncClient) -> FakeWorker:
    return FakeWorker(ck, "two")


# -- enqueue ----------------------------------------------------------------------------------------------------------


async def test_enqueue_puts_jobs_in_order_of_enqueueing(queue: AsyncQueueHandle, one: FakeWorker) -> None:
    jobs = [await queue.enqueue(welcome, user=user) for user in range(3)]
    jobs += await queue.enqueue_many(welcome, ({"user": user} for user in range(3, 450)))
    leased = (await one.turn(500)).leases
    assert [job.id for job in leased] == [job.id for job in jobs]
    assert leased[0].payload == b'{"job":"welcome","args":[],"kwargs":{"user":0}}'
    assert [job.fence for job in leased] == sorted({job.fence for job in leased})


async def test_enqueue_sent_twice_makes_one_job_and_gives_the_same_answer(ck: AsyncClient, one: FakeWorker) -> None:
    plans = QueuePlans(mail, keys=ck.keys, codec=ck.codec)
    jobs: list[NewJob] = [plans.new_job(welcome, (), {"user": 1}), plans.new_job(welcome, (), {"user": 2}, key="two")]
    first = await run_async(plans.enqueue(jobs), ck.backend)
    leased = (await one.turn()).leases
    await one.turn(0, *(done(job) for job in leased))
    assert await run_async(plans.enqueue(jobs), ck.backend) == first
    assert (await ck.queue(mail).stats()).unfinished == 0


async def test_enqueue_with_held_key_returns_the_holder_until_it_ends(queue: AsyncQueueHandle, one: FakeWorker) -> None:
    first = await queue.enqueue(welcome, user=1, key="user 1")
    second = await queue.enqueue(welcome, user=1, key="user 1")
    other = await queue.enqueue(welcome, user=2, key="user 2")
    assert (first.new, second.new, other.new) == (True, False, True)
    assert second.id == first.id
    leased = (await one.turn()).leases
    assert [job.id for job in leased] == [first.id, other.id]
    assert not (await queue.enqueue(welcome, user=1, key="user 1")).new, "it is running"
    await one.turn(0, *(done(job) for job in leased))
    assert (await queue.enqueue(welcome, user=1, key="user 1")).new


async def test_enqueue_with_key_of_dead_job_makes_a_new_one(queue: AsyncQueueHandle, one: FakeWorker) -> None:
    first = await queue.enqueue(welcome, user=1, key="user 1")
    job = (await one.turn()).leases[0]
    await one.turn(0, Settlement(job.id, job.fence, "rejected", b"no"))
    second = await queue.enqueue(welcome, user=1, key="user 1")
    assert second.new
    assert await queue.requeue(first.id) == 0, "another job holds its key"
    await second.cancel()
    assert await queue.requeue(first.id) == 1


async def test_delayed_job_is_leased_when_it_is_due_and_not_before(queue: AsyncQueueHandle, one: FakeWorker) -> None:
    started_s = time.monotonic()
    job = await queue.enqueue(welcome, user=1, delay=0.25)
    assert (await job.info()).state == "scheduled"
    turn = await one.turn()
    assert turn.leases == []
    assert turn.look_ms is not None
    assert 0 < turn.look_ms <= 250
    while not (turn := await one.turn()).leases:
        await asyncio.sleep((turn.look_ms or 1) / 1000)
    assert 0.25 <= time.monotonic() - started_s < 5
    assert turn.leases[0].id == job.id


# -- leases and settlements -------------------------------------------------------------------------------------------


async def test_turn_settles_and_leases_the_next_job_in_one_call(queue: AsyncQueueHandle, one: FakeWorker) -> None:
    jobs = await queue.enqueue_many(welcome, [{"user": 1}, {"user": 2}])
    first = (await one.turn(1)).leases[0]
    turn = await one.turn(1, done(first, b'"thanks"'))
    assert turn.settled == [True]
    assert [job.id for job in turn.leases] == [jobs[1].id]
    assert await jobs[0].result(1) == "thanks"
    assert (await jobs[1].info()).state == "leased"


async def test_turn_sent_twice_gives_the_same_jobs_and_changes_nothing(
    queue: AsyncQueueHandle, one: FakeWorker, two: FakeWorker
) -> None:
    await queue.enqueue_many(welcome, ({"user": user} for user in range(4)))
    first = await one.turn(2)
    assert (await one.again(2)).leases == first.leases
    second = await one.turn(1, done(first.leases[0]), failed(first.leases[1]))
    before = await queue.stats()
    repeated = await one.again(1, done(first.leases[0]), failed(first.leases[1]))
    assert (repeated.settled, repeated.leases) == (second.settled, second.leases)
    assert await queue.stats() == before
    assert (before.completed, before.failed, before.scheduled, before.leased, before.ready) == (1, 1, 1, 1, 1)
    assert len((await two.turn()).leases) == 1


async def test_turn_that_arrives_late_does_nothing(queue: AsyncQueueHandle, one: FakeWorker) -> None:
    await queue.enqueue_many(welcome, ({"user": user} for user in range(4)))
    first = await one.turn(1)
    await one.turn(1)
    before = await queue.stats()
    one.number = 1
    late = await one.again(2, done(first.leases[0]))
    assert (late.settled, late.leases) == ([], [])
    assert await queue.stats() == before


async def test_repeated_turn_leaves_out_jobs_whose_lease_was_lost_since(
    queue: AsyncQueueHandle, one: FakeWorker, two: FakeWorker
) -> None:
    await queue.enqueue(welcome, user=1)
    assert len((await one.turn()).leases) == 1
    await leases_end(one.ck)
    assert len((await two.turn()).leases) == 1
    assert (await one.again()).leases == []


async def test_lost_lease_goes_to_another_worker_and_the_late_end_is_refused(
    queue: AsyncQueueHandle, one: FakeWorker, two: FakeWorker
) -> None:
    job = await queue.enqueue(welcome, user=1)
    zombie = (await one.turn()).leases[0]
    turn = await two.turn()
    assert turn.leases == []
    assert turn.look_ms is not None
    assert 0 < turn.look_ms <= mail.lease_ms + 200
    await leases_end(one.ck)
    taken = (await two.turn()).leases[0]
    assert taken.id == zombie.id
    assert taken.fence > zombie.fence
    assert (taken.attempt, taken.crashes) == (2, 1)
    assert await one.beat(zombie) == [False]
    assert (await one.turn(0, failed(zombie))).settled == [False]
    assert (await job.info()).state == "leased"
    assert (await two.turn(0, done(taken))).settled == [True]
    assert (await one.turn(0, done(zombie))).settled == [False]
    stats = await queue.stats()
    assert (stats.completed, stats.crashed, stats.failed) == (1, 1, 0)


async def test_end_after_the_lease_is_accepted_while_nobody_took_the_job(
    queue: AsyncQueueHandle, one: FakeWorker
) -> None:
    await queue.enqueue(welcome, user=1)
    job = (await one.turn()).leases[0]
    await leases_end(one.ck)
    assert (await one.turn(0, done(job))).settled == [True]


async def test_beat_extends_a_lease(queue: AsyncQueueHandle, one: FakeWorker, two: FakeWorker) -> None:
    await queue.enqueue(welcome, user=1)
    job = (await one.turn()).leases[0]
    for _ in range(4):
        await leases_end(one.ck)
        assert await one.beat(job) == [True]
        assert (await two.turn()).leases == []
    assert await one.beat(job, job._replace(fence=job.fence + 1), job._replace(id="nobody")) == [True, False, False]


async def test_job_that_loses_its_workers_is_given_up_after_its_crashes(
    queue: AsyncQueueHandle, one: FakeWorker
) -> None:
    job = await queue.enqueue(welcome, user=1)
    for crashes in range(2):
        leased = (await one.turn()).leases
        assert [lease.crashes for lease in leased] == [crashes]
        await leases_end(one.ck)
    assert (await one.turn()).leases == []
    with pytest.raises(JobFailed, match="its lease ended without an answer 2 times"):
        await job.result(1)


async def test_failed_job_is_retried_with_growing_pauses_and_then_given_up(
    queue: AsyncQueueHandle, one: FakeWorker
) -> None:
    job = await queue.enqueue(welcome, user=1)
    pauses_ms = []
    leased = (await one.turn()).leases
    for _ in range(2):
        turn = await one.turn(1, failed(leased[0]))
        assert turn.look_ms is not None
        pauses_ms.append(turn.look_ms)
        assert (await job.info()).error == "ValueError: no"
        await asyncio.sleep(turn.look_ms / 1000 + 0.01)
        leased = (await one.turn(1)).leases
    assert 100 <= pauses_ms[0] <= 200
    assert 200 <= pauses_ms[1] <= 400
    assert leased[0].failures == 2
    await one.turn(0, failed(leased[0]))
    with pytest.raises(JobFailed, match="ValueError: no"):
        await job.result(1)
    stats = await queue.stats()
    assert (stats.failed, stats.given_up, stats.dead_letters, stats.unfinished) == (3, 1, 1, 0)


async def test_failure_with_its_own_delay_waits_that_long(queue: AsyncQueueHandle, one: FakeWorker) -> None:
    await queue.enqueue(welcome, user=1)
    turn = await one.turn(1, failed((await one.turn()).leases[0], 5000))
    assert turn.look_ms is not None
    assert 4900 <= turn.look_ms <= 5000


async def test_released_job_is_ready_at_once_and_the_attempt_does_not_count(
    queue: AsyncQueueHandle, one: FakeWorker, two: FakeWorker
) -> None:
    await queue.enqueue_many(welcome, [{"user": 1}, {"user": 2}])
    job = (await one.turn(1)).leases[0]
    assert (await one.turn(0, Settlement(job.id, job.fence, "released"))).settled == [True]
    again = (await two.turn(1)).leases[0]
    assert (again.id, again.attempt, again.failures, again.crashes) == (job.id, 1, 0, 0)


async def test_fences_rise_even_after_all_data_is_lost(queue: AsyncQueueHandle, ck: AsyncClient) -> None:
    await queue.enqueue(welcome, user=1)
    before = (await FakeWorker(ck, "a").turn()).leases[0]
    await ck.backend.execute(("FLUSHALL",))
    await queue.enqueue(welcome, user=1)
    assert (await FakeWorker(ck, "b").turn()).leases[0].fence > before.fence


# -- looking after jobs -----------------------------------------------------------------------------------------------


async def test_result_is_pushed_to_who_waits(queue: AsyncQueueHandle, one: FakeWorker) -> None:
    job = await queue.enqueue(welcome, user=1)
    waiting = asyncio.create_task(job.result(10))
    leased = (await one.turn()).leases[0]
    await asyncio.sleep(0.1)
    await one.turn(0, done(leased, b'{"sent":true}'))
    started_s = time.monotonic()
    assert await waiting == {"sent": True}
    assert time.monotonic() - started_s < 5
    assert (await job.info()).payload is None, "what is done needs its arguments no more"


async def test_result_of_unfinished_job_raises_result_timeout(queue: AsyncQueueHandle) -> None:
    job = await queue.enqueue(welcome, user=1)
    with pytest.raises(ResultTimeout, match=r"is ready after 0\.05 s"):
        await job.result(0.05)
    with pytest.raises(JobUnknown):
        await queue.job("nobody").result(0.05)


@pytest.mark.parametrize("state", ["ready", "scheduled", "leased"])
async def test_cancelled_job_is_run_by_nobody(queue: AsyncQueueHandle, one: FakeWorker, state: str) -> None:
    job = await queue.enqueue(welcome, user=1, delay=0.05 if state == "scheduled" else None)
    leased = (await one.turn()).leases if state == "leased" else []
    assert (await job.info()).state == state
    assert await job.cancel() is True
    assert await job.cancel() is True, "sent twice"
    await asyncio.sleep(0.06)
    assert (await one.turn()).leases == []
    if leased:
        assert await one.beat(leased[0]) == [False]
        assert (await one.turn(0, done(leased[0]))).settled == [False]
    with pytest.raises(JobCancelled):
        await job.result(1)
    stats = await queue.stats()
    assert (stats.cancelled, stats.unfinished) == (1, 0)


async def test_cancel_of_done_job_is_refused(queue: AsyncQueueHandle, one: FakeWorker) -> None:
    job = await queue.enqueue(welcome, user=1)
    await one.turn(0, done((await one.turn()).leases[0], b"7"))
    assert await job.cancel() is False
    assert await job.result(1) == 7


async def test_dead_letters_are_listed_requeued_and_discarded(queue: AsyncQueueHandle, one: FakeWorker) -> None:
    jobs = await queue.enqueue_many(welcome, ({"user": user} for user in range(5)))
    leased = (await one.turn()).leases
    await one.turn(0, *(Settlement(job.id, job.fence, "rejected", b"bad") for job in leased))
    dead = await queue.dead(limit=10)
    assert {job.id for job in dead} == {job.id for job in jobs}
    assert {job.error for job in dead} == {"bad"}
    assert await queue.requeue(jobs[0].id, jobs[0].id, "nobody") == 2
    assert (await one.turn()).leases[0].failures == 0
    assert await queue.discard(jobs[1].id) == 1
    assert await queue.requeue_all() == 3
    assert len((await one.turn()).leases) == 3
    stats = await queue.stats()
    assert (stats.dead_letters, stats.requeued, stats.given_up) == (0, 4, 5)


async def test_ended_jobs_are_forgotten_after_their_time(ck: AsyncClient) -> None:
    brief = Queue("brief", keep=0.7)
    brief.job(name="note")(welcome)
    queue, worker = ck.queue(brief), FakeWorker(ck, "one", brief)
    first = await queue.enqueue("note", user=1)
    await worker.turn(0, done((await worker.turn()).leases[0]))
    assert (await first.info()).state == "done"
    await asyncio.sleep(0.75)
    await worker.turn()
    assert (await first.info()).state == "unknown"
    assert await ck.backend.execute(("HLEN", ck.keys.queue("brief").jobs)) == 0


async def test_idle_workers_are_woken_one_a_job(ck: AsyncClient, one: FakeWorker, two: FakeWorker) -> None:
    signals = []
    for worker in (one, two):
        signal = ck.backend.signal()
        await ck.backend.subscribe(worker.plans.inbox, signal)
        signals.append(signal)
        await worker.turn()
    assert (await ck.queue(mail).stats()).idle_workers == 2
    await ck.queue(mail).enqueue(welcome, user=1)
    assert await signals[0].wait(2) is True, "the one that waits longest"
    assert await signals[1].wait(0.1) is False
    await ck.queue(mail).enqueue_many(welcome, [{"user": 2}, {"user": 3}])
    assert await signals[1].wait(2) is True


async def test_idle_worker_that_is_gone_does_not_swallow_the_wake_up(
    ck: AsyncClient, one: FakeWorker, two: FakeWorker
) -> None:
    signal = ck.backend.signal()
    await one.turn()  # never listens
    await ck.backend.subscribe(two.plans.inbox, signal)
    await two.turn()
    await ck.queue(mail).enqueue(welcome, user=1)
    assert await signal.wait(2) is True


async def test_enqueue_cancelled_by_its_caller_leaves_the_client_usable(queue: AsyncQueueHandle) -> None:
    tasks = [asyncio.create_task(queue.enqueue(welcome, user=user)) for user in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(result, asyncio.CancelledError) for result in results) == 10
    assert 10 <= (await queue.stats()).ready <= 20


# -- blocking callers -------------------------------------------------------------------------------------------------


def test_blocking_queue_does_the_same(server_url: str) -> None:
    async def work(job_id: str) -> None:
        async with AsyncClient.from_url(server_url) as ck:
            worker = FakeWorker(ck, "one")
            leased = (await worker.turn()).leases
            assert [job.id for job in leased] == [job_id]
            await worker.turn(0, done(leased[0], b"5"))

    with Client.from_url(server_url) as ck:
        queue = ck.queue(mail)
        job = queue.enqueue(welcome, user=1, key="user 1")
        assert (job.new, queue.enqueue(welcome, user=1, key="user 1").new) == (True, False)
        with pytest.raises(ResultTimeout):
            job.result(0.05)
        asyncio.run(work(job.id))
        assert job.result(1) == 5
        later = queue.enqueue_many(welcome, [{"user": 2}], delay=60)[0]
        assert later.info().state == "scheduled"
        assert later.cancel() is True
        assert queue.dead() == []
        assert queue.requeue_all() == 0
        assert queue.stats().completed == 1
