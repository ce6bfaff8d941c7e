"""The two drivers: what they do with results, errors and cancellation."""

import asyncio

import pytest

from coordkit.errors import ServerUnavailable
from coordkit.lock import RELEASE
from coordkit.plan import Call, Now, Plan, Publish, Sleep, Subscribe, Unsubscribe, WaitSignal, call
from coordkit.runner import run, run_async
from tests.unit.fakes import AsyncFakeTransport, FakeTransport, never


def every_step() -> Plan[list[object]]:
    results: list[object] = []
    results.append((yield Call(RELEASE, (), (1,))))
    results.append((yield Now()))
    results.append((yield Sleep(2.0)))
    results.append((yield Publish(b"c", b"p")))
    results.append((yield Subscribe(b"c")))
    results.append((yield WaitSignal(b"c", 0.1)))
    results.append((yield Unsubscribe(b"c")))
    return results


def test_run_carries_out_every_step() -> None:
    backend = FakeTransport(7, 3)
    assert run(every_step(), backend) == [7, 100.0, None, 3, True, False, None]
    assert backend.slept == [2.0]
    assert backend.subscribed == []


async def test_run_async_carries_out_every_step() -> None:
    backend = AsyncFakeTransport(7, 3)
    assert await run_async(every_step(), backend) == [7, 100.0, None, 3, True, False, None]
    assert backend.slept == [2.0]
    assert backend.subscribed == []


def leaves_subscribed() -> Plan[None]:
    yield Subscribe(b"c", b"t")


def test_run_ends_what_the_plan_left_subscribed() -> None:
    backend = FakeTransport()
    run(leaves_subscribed(), backend)
    assert backend.subscribed == []


async def test_run_async_ends_what_the_plan_left_subscribed() -> None:
    backend = AsyncFakeTransport()
    await run_async(leaves_subscribed(), backend)
    assert backend.subscribed == []


def recovers() -> Plan[object]:
    try:
        return (yield Call(RELEASE, (), ()))
    except ServerUnavailable:
        return (yield Call(RELEASE, (), (b"again",)))


def test_run_raises_a_failed_step_inside_the_plan() -> None:
    assert run(recovers(), FakeTransport(ServerUnavailable("down"), 1)) == 1


async def test_run_async_raises_a_failed_step_inside_the_plan() -> None:
    assert await run_async(recovers(), AsyncFakeTransport(ServerUnavailable("down"), 1)) == 1


def undoes() -> Plan[None]:
    try:
        yield Call(RELEASE, (), (b"work",))
    except GeneratorExit:
        raise
    except BaseException:
        yield Call(RELEASE, (), (b"undo",))
        raise


def test_run_interrupted_lets_the_plan_undo_its_work() -> None:
    backend = FakeTransport(KeyboardInterrupt(), 1)
    with pytest.raises(KeyboardInterrupt):
        run(undoes(), backend)
    assert backend.calls[-1] == ("lock_release", (b"undo",))


async def test_run_async_cancelled_lets_the_plan_undo_its_work_and_stays_cancelled() -> None:
    backend = AsyncFakeTransport(never(), 1)
    task = asyncio.create_task(run_async(undoes(), backend))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend.calls[-1] == ("lock_release", (b"undo",))


async def test_run_async_cancelled_twice_still_undoes() -> None:
    gate = asyncio.Event()

    async def slow() -> int:
        await gate.wait()
        return 1

    backend = AsyncFakeTransport(never(), slow, "the end")
    undone = asyncio.Event()

    def plan() -> Plan[None]:
        try:
            yield Call(RELEASE, (), (b"work",))
        except asyncio.CancelledError:
            yield Call(RELEASE, (), (b"undo",))
            undone.set()
            raise

    task = asyncio.create_task(run_async(plan(), backend))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not undone.is_set()
    gate.set()
    await asyncio.wait_for(undone.wait(), 1)


async def test_run_async_cancelled_with_nothing_to_undo_takes_no_step() -> None:
    backend = AsyncFakeTransport(never())

    def plan() -> Plan[None]:
        yield Call(RELEASE, (), ())

    task = asyncio.create_task(run_async(plan(), backend))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(backend.calls) == 1


async def test_run_async_stays_cancelled_though_the_plan_swallows_it() -> None:
    backend = AsyncFakeTransport(never())

    def plan() -> Plan[str]:
        try:
            yield Call(RELEASE, (), ())
        except asyncio.CancelledError:
            return "swallowed"
        return "done"

    task = asyncio.create_task(run_async(plan(), backend))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_call_parses_the_reply() -> None:
    def plan() -> Plan[bool]:
        return (yield from call(RELEASE, (), ()))

    assert run(plan(), FakeTransport(1)) is True
    assert run(plan(), FakeTransport(0)) is False
