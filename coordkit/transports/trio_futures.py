"""Futures of trio: a value to come, for which a task is parked.

trio's own `wait_task_rescheduled` costs two coroutines and two objects a wait.  Here the task yields what it would have
yielded, and what it is woken with is one constant: half of the time that a call spends on being parked.
"""

from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import outcome
import trio

if TYPE_CHECKING:
    from coordkit.transports.trio_ import TrioLoop  # which imports this module

T = TypeVar("T")

WOKEN: Final[outcome.Outcome[None]] = outcome.Value(None)
"""What a task is woken with.  It is not unwrapped, so it can be used again."""

current_task: Final = trio.lowlevel.current_task
reschedule: Final = trio.lowlevel.reschedule

Abandon = Callable[[Any], trio.lowlevel.Abort]


def parking() -> Callable[[Abandon], object]:
    """What makes that which a task yields to be parked, as `wait_task_rescheduled` does it."""
    return type(yielded(_failed))


def yielded(abandon: Abandon) -> object:
    """What `wait_task_rescheduled` yields."""
    waiting: Coroutine[object, object, object] = trio.lowlevel.wait_task_rescheduled(abandon)  # noqa: ASYNC105 - by hand
    return waiting.send(None)


def _failed(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED


parked: Final = parking()


class TrioFuture(Generic[T]):
    """A value to come, for one task that awaits it."""

    __slots__ = ("_callbacks", "_cancelled", "_done", "_exception", "_loop", "_result", "_waiter")

    def __init__(self, *, loop: "TrioLoop") -> None:
        self._loop = loop
        self._done = self._cancelled = False
        self._result: T | None = None
        self._exception: BaseException | None = None
        self._waiter: trio.lowlevel.Task | None = None
        self._callbacks: list[Callable[[Any], object]] | None = None

    def done(self) -> bool:
        """Whether it has a result, an exception, or was cancelled."""
        return self._done

    def cancelled(self) -> bool:
        """Whether nobody wants it any more."""
        return self._cancelled

    def cancel(self) -> bool:
        """Nobody wants it any more."""
        if self._done:
            return False
        self._cancelled = True
        self._finish()
        return True

    def result(self) -> T:
        """The result.  Raises the exception."""
        failure = self.exception()
        if failure is not None:
            raise failure
        return self._result  # type: ignore[return-value]  # set_result was called

    def exception(self) -> BaseException | None:
        """The exception, None if there is a result."""
        if not self._done or self._cancelled:
            return RuntimeError("the future was cancelled" if self._cancelled else "the future is not done")
        return self._exception

    def set_result(self, result: T, /) -> None:
        """It has come."""
        self._result = result
        self._finish()

    def set_exception(self, exception: BaseException, /) -> None:
        """It will not come."""
        self._exception = exception
        self._finish()

    def add_done_callback(self, callback: Callable[[Any], object], /) -> None:
        """Call `callback` soon after it is done."""
        if self._done:
            self._loop.call_soon(callback, self)
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def remove_done_callback(self, callback: Callable[[Any], object], /) -> None:
        """Do not."""
        if self._callbacks is not None and callback in self._callbacks:
            self._callbacks.remove(callback)

    def get_loop(self) -> "TrioLoop":
        """The loop it belongs to."""
        return self._loop

    def __await__(self) -> Generator[Any, Any, T]:
        if not self._done:
            self._waiter = current_task()
            woken: outcome.Outcome[None] = yield parked(self._abandon)
            if woken is not WOKEN:
                woken.unwrap()  # it is cancelled
        if self._exception is not None or self._cancelled:
            return self.result()
        return self._result  # type: ignore[return-value]  # set_result was called

    def _finish(self) -> None:
        self._done = True
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            reschedule(waiter, WOKEN)
        if self._callbacks is not None:
            for callback in self._callbacks:
                self._loop.call_soon(callback, self)
            self._callbacks = None

    def _abandon(self, _: object) -> trio.lowlevel.Abort:
        """The task that waits is cancelled."""
        self._waiter = None
        self.cancel()
        return trio.lowlevel.Abort.SUCCEEDED
