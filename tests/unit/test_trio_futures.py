"""Futures of trio, and the loop that makes their callbacks."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from coordkit.transports.trio_ import TrioLoop
from coordkit.transports.trio_futures import TrioFuture, parked, yielded


def test_parked_makes_what_trio_itself_would_yield() -> None:
    def abandon(_: object) -> trio.lowlevel.Abort:
        return trio.lowlevel.Abort.FAILED

    assert parked(abandon) == yielded(abandon)


def test_future_awaited_before_it_is_done_comes_to_its_result() -> None:
    async def main() -> list[int]:
        futures: list[TrioFuture[int]] = [TrioLoop.running().create_future() for _ in range(3)]
        got: list[int] = []

        async def waiter(future: TrioFuture[int]) -> None:
            got.append(await future)

        async with trio.open_nursery() as nursery:
            for future in futures:
                nursery.start_soon(waiter, future)
            await wait_all_tasks_blocked()
            for number, future in enumerate(futures):
                future.set_result(number)
        return sorted(got)

    assert trio.run(main) == [0, 1, 2]


def test_future_awaited_before_it_failed_raises_its_exception() -> None:
    async def main() -> None:
        future: TrioFuture[int] = TrioLoop.running().create_future()
        TrioLoop.running().call_soon(future.set_exception, LookupError("gone"))
        with pytest.raises(LookupError, match="gone"):
            await future

    trio.run(main)


def test_future_of_a_cancelled_task_is_cancelled_and_the_task_is_woken_once() -> None:
    async def main() -> None:
        future: TrioFuture[int] = TrioLoop.running().create_future()
        with trio.CancelScope() as scope:
            TrioLoop.running().call_soon(scope.cancel)
            await future
        assert scope.cancelled_caught
        assert future.done()
        assert future.cancelled()
        later: TrioFuture[int] = TrioLoop.running().create_future()
        TrioLoop.running().call_soon(later.set_result, 7)
        assert await later == 7

    trio.run(main)


def test_call_later_makes_an_earlier_timer_that_was_set_later_first() -> None:
    async def main() -> list[str]:
        loop = TrioLoop.running()
        order: list[str] = []
        done: TrioFuture[None] = loop.create_future()
        loop.call_later(0.04, order.append, "later")
        loop.call_later(0.04, done.set_result, None)
        cancelled = loop.call_later(0.02, order.append, "cancelled")
        await wait_all_tasks_blocked()
        loop.call_later(0.01, order.append, "sooner")
        cancelled.cancel()
        await done
        return order

    assert trio.run(main) == ["sooner", "later"]
