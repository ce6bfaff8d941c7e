"""The two drivers of plans: `run` with a blocking backend, `run_async` with an asynchronous one.

A step that fails is raised inside the plan.  When the caller is cancelled (CancelledError) or interrupted
(KeyboardInterrupt), the plan may still yield steps that undo its work; they run shielded from further
cancellation, the caller waits for them at most CLEANUP_WAIT_S, and the cancellation goes on afterwards.
"""

from typing import Final, TypeVar

from coordkit.plan import Call, Listen, Now, Plan, Publish, Sleep, Step, Subscribe, Unsubscribe, WaitSignal, WhenBack
from coordkit.transports.base import AsyncBackend, AsyncSignal, Backend, Catching, Signal

T = TypeVar("T")

CLEANUP_WAIT_S: Final = 1.0
CLEANUP_S: Final = 5.0

Subscription = tuple[bytes, bytes | None]


def run(plan: Plan[T], backend: Backend) -> T:
    """What the plan returns; every step blocks the calling thread."""
    signals: dict[Subscription, Signal] = {}
    try:
        step = next(plan)
        while True:
            try:
                result = _perform(step, backend, signals)
            except BaseException as exc:
                step = plan.throw(exc)
            else:
                step = plan.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value
    finally:
        for (channel, topic), signal in signals.items():
            backend.unsubscribe(channel, signal, topic)


def _perform(step: Step, backend: Backend, signals: dict[Subscription, Signal]) -> object:
    match step:
        case Call():
            return backend.call(step.script, step.keys, step.args)
        case Now():
            return backend.monotonic()
        case WaitSignal():
            return signals[step.channel, step.topic].wait(step.timeout_s)
        case Subscribe():
            signal = signals[step.channel, step.topic] = backend.signal()
            return backend.subscribe(step.channel, signal, step.topic)
        case Listen():
            signal = backend.signal()
            if not backend.listen(step.channel, signal, step.topic):
                return False
            signals[step.channel, step.topic] = signal
            return True
        case Unsubscribe():
            backend.unsubscribe(step.channel, signals.pop((step.channel, step.topic)), step.topic)
            return None
        case Publish():
            return backend.publish(step.channel, step.payload)
        case Sleep():
            backend.sleep(step.seconds)
            return None
        case WhenBack():
            _leave(step, backend)
            return None


def _leave(step: WhenBack, backend: object) -> None:
    """Leave the call to the backend, if it is one that catches up."""
    if isinstance(backend, Catching):
        backend.when_back(step.script, step.keys, step.args, within_s=step.within_s)


async def run_async(plan: Plan[T], backend: AsyncBackend) -> T:
    """What the plan returns; other tasks run while a step waits."""
    signals: dict[Subscription, AsyncSignal] = {}
    try:
        step = next(plan)
        while True:
            try:
                kind = step.__class__
                if kind is Call:  # by far the most frequent steps first
                    result: object = await backend.call(*step)
                elif kind is Now:
                    result = backend.monotonic()
                else:
                    result = await _perform_async(step, backend, signals)
            except Exception as exc:
                step = plan.throw(exc)
            except BaseException as cancelled:
                await _undo(plan, cancelled, backend, signals)
                raise
            else:
                step = plan.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value
    finally:
        for (channel, topic), signal in signals.items():
            backend.unsubscribe(channel, signal, topic)


async def _perform_async(step: Step, backend: AsyncBackend, signals: dict[Subscription, AsyncSignal]) -> object:
    match step:
        case Call():
            return await backend.call(step.script, step.keys, step.args)
        case Now():
            return backend.monotonic()
        case WaitSignal():
            return await signals[step.channel, step.topic].wait(step.timeout_s)
        case Subscribe():
            signal = signals[step.channel, step.topic] = backend.signal()
            return await backend.subscribe(step.channel, signal, step.topic)
        case Listen():
            signal = backend.signal()
            if not backend.listen(step.channel, signal, step.topic):
                return False
            signals[step.channel, step.topic] = signal
            return True
        case Unsubscribe():
            backend.unsubscribe(step.channel, signals.pop((step.channel, step.topic)), step.topic)
            return None
        case Publish():
            return await backend.publish(step.channel, step.payload)
        case Sleep():
            await backend.sleep(step.seconds)
            return None
        case WhenBack():
            _leave(step, backend)
            return None


async def _undo(
    plan: Plan[T],
    cancelled: BaseException,
    backend: AsyncBackend,
    signals: dict[Subscription, AsyncSignal],
) -> None:
    """Let the plan undo its work.  Comes back in time for the cancellation to go on; errors of the undoing
    are logged.
    """
    try:
        step = plan.throw(cancelled)
    except BaseException as exc:
        if exc is cancelled or isinstance(exc, StopIteration):
            return  # nothing to undo
        raise

    async def remaining_steps() -> None:
        following = step
        try:
            while True:
                try:
                    result = await _perform_async(following, backend, signals)
                except Exception as exc:
                    following = plan.throw(exc)
                else:
                    following = plan.send(result)
        except StopIteration:
            return
        except BaseException as exc:
            if exc is not cancelled:
                raise

    await backend.shielded(remaining_steps(), wait_s=CLEANUP_WAIT_S, timeout_s=CLEANUP_S)
