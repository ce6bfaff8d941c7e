"""Threads that make blocking calls for event loops: few, made when needed, ended when idle.

What asyncio and trio offer for that is shared with the rest of the program, and waits for its threads when the program
ends.  These threads are the transport's own, and daemons: a call that hangs for ever stops neither of the two.

An errand that was given up before a thread took it is never run; one that was taken runs to its end, whoever listens.
"""

import contextlib
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from coordkit.transports.loops import Future, Loop

T = TypeVar("T")

MAX_THREADS: Final = 40
"""As many as trio and anyio have for a program by themselves; more calls wait."""

IDLE_S: Final = 10.0


class Errand(Generic[T]):
    """One blocking call for one task, which awaits `future`."""

    __slots__ = ("_context", "_loop", "_work", "future")

    def __init__(self, loop: Loop, work: Callable[[], T]) -> None:
        self.future: Future[T] = loop.create_future()
        self._loop = loop
        self._work = work
        self._context = contextvars.copy_context()

    def run(self) -> None:
        """Run it, in the thread that calls this."""
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = self._context.run(self._work)
        except BaseException as exc:  # whatever it is, it is for the task that waits
            failure = exc
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._settle, result, failure)

    def _settle(self, result: Any, failure: BaseException | None) -> None:
        if self.future.done():
            return
        if failure is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(failure)


class Errands:
    """The threads, and what waits for one."""

    def __init__(self) -> None:
        self._waiting: deque[Errand[Any]] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._resting = True

    def send(self, loop: Loop, work: Callable[[], T]) -> Errand[T]:
        """The errand, which a thread takes as soon as one is free."""
        errand = Errand(loop, work)
        with self._changed:
            self._waiting.append(errand)
            self._resting = True
            if self._idle < len(self._waiting) and self._threads < MAX_THREADS:
                self._threads += 1
                threading.Thread(target=self._serve, name="coordkit-errands", daemon=True).start()
            self._changed.notify()
        return errand

    def give_up(self, errand: Errand[T]) -> bool:
        """Whether no thread has taken it: then none will.  Nobody hears of it any more."""
        with self._changed:
            if errand not in self._waiting:
                return False
            self._waiting.remove(errand)
            return True

    def end_idle(self) -> None:
        """End each thread when it has nothing to do, without the while that it otherwise waits."""
        with self._changed:
            self._resting = False
            self._changed.notify_all()

    def _serve(self) -> None:
        while (errand := self._next()) is not None:
            errand.run()

    def _next(self) -> Errand[Any] | None:
        """The next errand; None if the thread is to end."""
        with self._changed:
            if not self._waiting and self._resting:
                self._idle += 1
                self._changed.wait(IDLE_S)
                self._idle -= 1
            if self._waiting:
                return self._waiting.popleft()
            self._threads -= 1
            return None
