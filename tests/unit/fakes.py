"""Backends with no server: scripted replies, a clock that tests move, signals that tests raise."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence

from coordkit.errors import ServerUnavailable
from coordkit.plan import Plan, Step
from coordkit.scripts import Arg, Args, Keys, Script
from coordkit.transports.asyncio_ import BackgroundTask
from coordkit.transports.base import Listener, SlownessWatcher

Answer = object
"""What a call gives back; an exception is raised, a callable is called."""


def play(plan: Plan[object], *results: object) -> tuple[list[Step], object]:
    """Drive a plan by hand: the steps it took and what it returned."""
    steps: list[Step] = []
    step = next(plan)
    for result in results:
        steps.append(step)
        try:
            step = plan.send(result)
        except StopIteration as stop:
            assert len(steps) == len(results), "the plan returned before it took all results"
            return steps, stop.value
    raise AssertionError(f"the plan wants another step: {step}")


class FakeSignal:
    """A signal that is raised by its listener methods and never blocks."""

    def __init__(self) -> None:
        self.raised = False

    def on_message(self, channel: bytes, payload: bytes) -> None:
        self.raised = True

    def on_gap(self) -> None:
        self.raised = True

    def on_close(self) -> None:
        self.raised = True

    def take(self) -> bool:
        raised, self.raised = self.raised, False
        return raised


class ThreadFakeSignal(FakeSignal):
    def wait(self, timeout_s: float | None) -> bool:
        return self.take()


class TaskFakeSignal(FakeSignal):
    async def wait(self, timeout_s: float | None) -> bool:
        await asyncio.sleep(0)
        return self.take()


class Record:
    """What a fake backend was asked for, and what it answers."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = deque(answers)
        self.calls: list[tuple[str, tuple[Arg, ...]]] = []
        self.slept: list[float] = []
        self.open_channels: set[bytes] = set()
        self.subscribed: list[tuple[bytes, bytes | None]] = []
        self.now_s = 100.0
        self.probes = 0
        self.back = threading.Event()
        """Set it, and probes succeed."""
        self.closed = False

    def answer(self, name: str, args: Sequence[Arg]) -> object:
        self.calls.append((name, tuple(args)))
        answer = self.answers.popleft()
        if isinstance(answer, BaseException):
            raise answer
        return answer() if callable(answer) else answer

    def monotonic(self) -> float:
        return self.now_s

    def group_of(self, key: bytes) -> int:
        return 0

    def watch(self, watcher: SlownessWatcher) -> None:
        self.watcher = watcher

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        if channel not in self.open_channels:
            return False
        self.subscribed.append((channel, topic))
        return True

    def unsubscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> None:
        self.subscribed.remove((channel, topic))


class FakeTransport(Record):
    """A blocking transport."""

    def call(self, script: Script[object], keys: Keys, args: Args, deadline_s: float | None = None) -> object:
        return self.answer(script.name, args)

    def execute(self, argv: Sequence[Arg], deadline_s: float | None = None) -> object:
        return self.answer(str(argv[0]), argv[1:])

    def publish(self, channel: bytes, payload: bytes, deadline_s: float | None = None) -> int:
        receivers = self.answer("PUBLISH", (channel, payload))
        assert isinstance(receivers, int)
        return receivers

    def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        self.subscribed.append((channel, topic))
        return True

    def signal(self) -> ThreadFakeSignal:
        return ThreadFakeSignal()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def probe(self, timeout_s: float, place: str | None = None) -> None:
        self.probes += 1
        if not self.back.wait(0):
            raise ServerUnavailable("still down")

    def close(self) -> None:
        self.closed = True


class AsyncFakeTransport(Record):
    """An asynchronous transport.  An answer may be an awaitable made by a callable."""

    async def call(self, script: Script[object], keys: Keys, args: Args, deadline_s: float | None = None) -> object:
        return await self._answer(script.name, args)

    async def execute(self, argv: Sequence[Arg], deadline_s: float | None = None) -> object:
        return await self._answer(str(argv[0]), argv[1:])

    async def publish(self, channel: bytes, payload: bytes, deadline_s: float | None = None) -> int:
        receivers = await self._answer("PUBLISH", (channel, payload))
        assert isinstance(receivers, int)
        return receivers

    async def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        self.subscribed.append((channel, topic))
        return True

    def signal(self) -> TaskFakeSignal:
        return TaskFakeSignal()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)

    async def probe(self, timeout_s: float, place: str | None = None) -> None:
        self.probes += 1
        if not self.back.is_set():
            raise ServerUnavailable("still down")

    def spawn(self, work: Callable[[], Coroutine[object, object, None]]) -> BackgroundTask:
        return BackgroundTask(asyncio.get_running_loop().create_task(work()))

    async def shielded(self, work: Coroutine[object, object, None], *, wait_s: float, timeout_s: float) -> None:
        task = asyncio.get_running_loop().create_task(asyncio.wait_for(work, timeout_s))
        await asyncio.wait({task}, timeout=wait_s)

    async def aclose(self) -> None:
        self.closed = True

    async def _answer(self, name: str, args: Sequence[Arg]) -> object:
        answer = self.answer(name, args)
        return await answer if asyncio.iscoroutine(answer) or asyncio.isfuture(answer) else answer


def never() -> Callable[[], object]:
    """An answer that never comes."""
    return lambda: asyncio.get_running_loop().create_future()
