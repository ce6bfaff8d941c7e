"""What tests of outages share: the faults of a network, and calls that must come back in time in spite of them.

Scenarios are tried with every fault at once, each behind a proxy of its own and under a prefix of its own: most of the
time everybody waits for a deadline.  Time is judged so that a machine with more work than processors changes nothing:

- A call has to be back when a plain sleep on the same loop, of its deadline and 50 ms, is over.  Whatever holds the
  process up holds both up; which of the two timers is due first it does not change.  For blocking calls a thread
  measures how late short sleeps are.
- Threads and other processes, which are needed to come back after an outage, may be held up on their own, and before
  the fault every answer takes its time.  So what was late, and a scenario in which a call that no fault hits got no
  answer in time, is tried again, up to ten times: a client that is slow by itself is slow each time.
"""

import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass
from typing import Final, Self

import anyio
import anyio.lowlevel
import trio

from coordkit import AsyncClient, Client, CoordkitError, OutcomeUnknown, ServerError, ServerUnavailable
from tests.peers import Peer
from tests.proxy import FaultyProxy

log = logging.getLogger("tests")

TIMEOUT_S: Final = 0.6
LATE_S: Final = 0.05
BACK_WITHIN_S: Final = 1.0
HUNG_S: Final = 30.0
TRIES: Final = 10
BEAT_S: Final = 0.01
TURNS: Final = 50
"""What a call may take of the loop's turns after its deadline: it is no wait."""

Call = Callable[[], Awaitable[object]]
Fault = Callable[[FaultyProxy], None]
Main = Callable[[], Awaitable[None]]
Run = Callable[[Main], None]

OF_THE_RUN: Final = ("coordkit-callbacks", "coordkit-timers")
"""The tasks on trio that live as long as the run."""

OUTAGE: Final = (ServerUnavailable, OutcomeUnknown)


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


def late(proxy: FaultyProxy) -> None:
    proxy.late_s = 2 * TIMEOUT_S


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


FAULTS: Final = (deaf, mute, blackhole, refuse, delay, late, drip, truncate, twice, cut, reset, half_close)


class TooLate(Exception):
    """It was done, but later than it should be."""


class Pulse:
    """A thread that sleeps again and again, and so knows for how long the machine holds threads up."""

    def __init__(self) -> None:
        self._lost_s = 0.0
        self._slept_s = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat)

    def lost_s(self) -> float:
        """How long since the beginning."""
        return self._lost_s + max(0.0, time.monotonic() - self._slept_s - BEAT_S)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        self._slept_s = time.monotonic()
        while not self._over.wait(BEAT_S):
            now_s = time.monotonic()
            self._lost_s += max(0.0, now_s - self._slept_s - BEAT_S)
            self._slept_s = now_s


@dataclass(slots=True)
class Trial:
    """One scenario with one fault, once."""

    server: Peer
    proxy: FaultyProxy
    fault: Fault
    prefix: str
    pulse: "Pulse"

    def blocking(self) -> Client:
        """A blocking client that the fault hits."""
        return Client.from_url(self.proxy.url, timeout=TIMEOUT_S, prefix=self.prefix)

    def client(self) -> AbstractAsyncContextManager[AsyncClient]:
        """A client that the fault hits."""
        return AsyncClient.from_url(self.proxy.url, timeout=TIMEOUT_S, prefix=self.prefix)

    def direct(self) -> AsyncClient:
        """One of the same keys that it does not hit."""
        return AsyncClient.from_url(self.server.url, timeout=HUNG_S, prefix=self.prefix)

    async def disturbed(self, call: Call) -> list[object]:
        """What four calls returned while the fault lasted."""
        self.fault(self.proxy)
        return [await bounded(call) for _ in range(4)]

    async def recovered(self, call: Call) -> object:
        """What the first call returns that succeeds once the network is healed.  Raises TooLate after a second."""
        self.proxy.heal()
        result = await back(call)
        while self.proxy.held:  # nothing that was sent meanwhile is still under way
            await anyio.sleep(0.01)
        return result


Scenario = Callable[[Trial], Awaitable[None]]


async def back(call: Call) -> object:
    """What the first call returns that succeeds.  Raises TooLate if that takes more than a second."""
    started_s = time.monotonic()
    while isinstance(result := await bounded(call), OUTAGE):
        assert time.monotonic() - started_s < HUNG_S, result
        await anyio.sleep(0.01)
    took_s = time.monotonic() - started_s
    if took_s > BACK_WITHIN_S:
        raise TooLate(f"back after {took_s:.3f} s")
    return result


async def bounded(call: Call, timeout_s: float = TIMEOUT_S) -> object:
    """What the call returns, or its failure.  Raises TooLate if it takes longer than its deadline and 50 ms."""
    over = False

    async def limit() -> None:
        nonlocal over
        await anyio.sleep(timeout_s + LATE_S)  # begins when the call waits for the first time
        for _ in range(TURNS):
            await anyio.lowlevel.checkpoint()
        over = True

    result: object
    started_s = time.monotonic()
    with anyio.fail_after(HUNG_S):
        async with anyio.create_task_group() as group:
            group.start_soon(limit)
            try:
                result = await call()
            except CoordkitError as exc:
                result = exc
            was_late = over
            group.cancel_scope.cancel()
    if was_late:
        raise TooLate(f"{time.monotonic() - started_s:.3f} s for {result!r}")
    return result


def blocking_disturbed(trial: Trial, call: Callable[[], object]) -> list[object]:
    """The same as `Trial.disturbed`, of blocking calls."""
    trial.fault(trial.proxy)
    return [blocking_bounded(trial, call) for _ in range(4)]


def blocking_recovered(trial: Trial, call: Callable[[], object]) -> object:
    """The same as `Trial.recovered`, of blocking calls."""
    trial.proxy.heal()
    result = blocking_back(trial, call)
    while trial.proxy.held:
        time.sleep(0.01)
    return result


def blocking_back(trial: Trial, call: Callable[[], object]) -> object:
    """The same as `back`, of blocking calls."""
    started_s = time.monotonic()
    while isinstance(result := blocking_bounded(trial, call), OUTAGE):
        assert time.monotonic() - started_s < HUNG_S, result
        time.sleep(0.01)
    took_s = time.monotonic() - started_s
    if took_s > BACK_WITHIN_S:
        raise TooLate(f"back after {took_s:.3f} s")
    return result


def blocking_bounded(trial: Trial, call: Callable[[], object]) -> object:
    """The same as `bounded`, of a blocking call."""
    lost_s, started_s = trial.pulse.lost_s(), time.monotonic()
    result: object
    try:
        result = call()
    except CoordkitError as exc:
        result = exc
    took_s = time.monotonic() - started_s
    if took_s - (trial.pulse.lost_s() - lost_s) > TIMEOUT_S + LATE_S:
        raise TooLate(f"{took_s:.3f} s for {result!r}")
    return result


def name_of(function: Callable[..., object]) -> str:
    """What it is called."""
    return getattr(function, "__name__", repr(function))


def counted(result: object) -> int:
    """1 for an answer, 0 for a failure that says that nothing was run.  OutcomeUnknown may be either."""
    return 0 if isinstance(result, Exception) else 1


def expect(results: list[object], found: int) -> None:
    """Nothing lost, nothing doubled: as many effects as answers, and at most one more for each unknown outcome."""
    sure = sum(map(counted, results))
    unknown = sum(isinstance(result, OutcomeUnknown) for result in results)
    assert sure <= found <= sure + unknown, (found, results)
    assert not [result for result in results if isinstance(result, ServerError)], results


def with_every_fault(
    server: Peer,
    scenarios: Sequence[Scenario],
    run: Run,
    *,
    trial_of: Callable[..., Trial] = Trial,
    faults: Sequence[Fault] = FAULTS,
) -> None:
    """Try the scenarios with every fault, all at once; nothing of them may be left at the end."""
    threads = set(threading.enumerate())
    with Pulse() as pulse, ExitStack() as proxies:

        async def tried(scenario: Scenario, fault: Fault) -> None:
            what = f"{name_of(scenario)} with the fault {name_of(fault)}"

            async def once(turn: int) -> None:
                proxy = proxies.enter_context(FaultyProxy(server.port))
                try:
                    await scenario(trial_of(server, proxy, fault, f"{what}:{turn}", pulse))
                except BaseException as exc:
                    exc.add_note(what)
                    raise

            await in_time(once)

        async def main() -> None:
            async with anyio.create_task_group() as group:
                for scenario in scenarios:
                    for fault in faults:
                        group.start_soon(tried, scenario, fault)
            await no_task_is_left()

        run(main)
    no_thread_is_left(threads)


async def in_time(scenario: Callable[[int], Awaitable[None]]) -> None:
    """Comes back when the scenario, told which try it is, was in time once."""
    for turn in range(TRIES):
        try:
            await scenario(turn)
        except (TooLate, *OUTAGE, ExceptionGroup) as exc:
            if isinstance(exc, ExceptionGroup) and exc.split((TooLate, *OUTAGE))[1] is not None:
                raise
            log.warning("try %d: %s", turn, " ".join([repr(exc), *getattr(exc, "__notes__", ())]))
            if turn == TRIES - 1:
                raise
        else:
            return


async def no_task_is_left() -> None:
    """Only the test's own tasks run."""
    with anyio.fail_after(HUNG_S):
        while ours():
            await anyio.sleep(0.01)


def no_thread_is_left(before: set[threading.Thread]) -> None:
    """The toolkit has no thread that was not there before."""
    deadline_s = time.monotonic() + HUNG_S
    while left := {one for one in threading.enumerate() if one.name.startswith("coordkit")} - before:
        assert time.monotonic() < deadline_s, left
        time.sleep(0.01)


def ours() -> list[object]:
    """The tasks of this loop that are not the test's."""
    mine = anyio.get_current_task().id
    try:
        root = trio.lowlevel.current_root_task()
    except RuntimeError:
        return [task for task in anyio.get_running_tasks() if task.id != mine]
    found: list[object] = []
    looked_at = [root]
    while looked_at:
        task = looked_at.pop()
        if task is not None:
            looked_at += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
            if task.name.startswith("coordkit-") and task.name not in OF_THE_RUN:
                found.append(task)
    return found
