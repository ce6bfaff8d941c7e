"""Running one handler: a coroutine on the event loop, or a function in a thread of its own.

An attempt whose `timeout` has passed has failed, whatever its handler returns or raises afterwards.  A coroutine is
cancelled at that moment, and the attempt ends when it does: no second one runs beside it.  A thread cannot be stopped:
it is told by `ctx.lost`, and the attempt ends at once.

Rule of the room: nothing here knows the server.
"""

import contextlib
import contextvars
import math
import threading
import time
from collections.abc import Awaitable
from typing import Final, NamedTuple, cast

from coordkit.codec import Codec
from coordkit.queue.declaration import Handler, Queue
from coordkit.queue.outcome import Reject, RetryLater
from coordkit.queue.plans import Payload, decode_payload
from coordkit.queue.scripts import Leased, Settlement
from coordkit.queue.worker.context import JobContext
from coordkit.transports import loops

MAX_ERROR: Final = 2000
"""Characters of an error's text that are kept with the job."""


def error_text(exc: BaseException) -> str:
    """The error in one line, as dead letters show it.  What cannot be printed, or sent as UTF-8, is escaped."""
    name = type(exc).__name__
    try:
        said = str(exc)
    except Exception as fault:  # the error of an error must not hold the job
        said = f"(its text cannot be had: {type(fault).__name__})"
    words = " ".join((f"{name}: {said}" if said else name)[: 2 * MAX_ERROR].split())
    if not words.isprintable():
        words = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in words)
    return words[:MAX_ERROR]


async def process(queue: Queue, codec: Codec, job: Leased, context: JobContext) -> Settlement:
    """How the attempt ended.  Whatever the handler raises is a settlement, except for the cancellation of this task."""
    try:
        payload = decode_payload(codec, job.payload)
        context.name = payload.name
        value = await _in_time(declared(queue, payload.name), context, payload)
        return Settlement(job.id, job.fence, "done", codec.encode(value))
    except loops.cancelled() as exc:
        if loops.was_asked_to_end(exc):
            raise
        return failed(job, exc)  # the handler's own
    except Reject as exc:
        return Settlement(job.id, job.fence, "rejected", error_text(exc).encode())
    except RetryLater as exc:
        return Settlement(job.id, job.fence, "failed", error_text(exc).encode(), exc.after_ms)
    except BaseException as exc:
        return failed(job, exc)


def declared(queue: Queue, name: str) -> Handler:
    """The handler of that name.  Raises LookupError."""
    handler = queue.handlers.get(name)
    if handler is None:
        raise LookupError(f"this worker has no handler {name!r}; it has {sorted(queue.handlers)}")
    return handler


def failed(job: Leased, exc: BaseException) -> Settlement:
    """The settlement of an attempt that ended in an error."""
    return Settlement(job.id, job.fence, "failed", error_text(exc).encode())


class Deadline(NamedTuple):
    """The moment at which an attempt has failed, on the monotonic clock."""

    seconds: float
    until_s: float

    def passed(self) -> bool:
        """Whether it has."""
        return time.monotonic() >= self.until_s

    def error(self, exc: BaseException | None = None) -> TimeoutError:
        """What the attempt fails of; `exc` is what its handler raised afterwards."""
        then = "" if exc is None or isinstance(exc, TimeoutError) else f"; then {error_text(exc)}"
        return TimeoutError(f"not done within {self.seconds:g} s{then}")


def _deadline(handler: Handler) -> Deadline:
    """The deadline of an attempt that begins now."""
    seconds = math.inf if handler.timeout_s is None else handler.timeout_s
    return Deadline(seconds, time.monotonic() + seconds)


def _in_time(handler: Handler, context: JobContext, payload: Payload) -> Awaitable[object]:
    """What the handler returns.  Raises TimeoutError if its time was over before it did."""
    return (_on_loop if handler.asynchronous else _in_thread)(handler, context, payload)


async def _on_loop(handler: Handler, context: JobContext, payload: Payload) -> object:
    """What the coroutine returns.  Raises TimeoutError if it swallowed its cancellation or blocked the loop, too."""
    if handler.timeout_s is None:
        return await cast("Awaitable[object]", handler.function(context, *payload.args, **payload.kwargs))
    deadline = _deadline(handler)
    losing = loops.running_loop().call_later(handler.timeout_s, context.lose)
    limit = loops.timeout(handler.timeout_s)
    try:
        async with limit:
            value = await cast("Awaitable[object]", handler.function(context, *payload.args, **payload.kwargs))
    except loops.cancelled():
        raise
    except BaseException as exc:
        if limit.expired() or deadline.passed():
            context.lose()
            raise deadline.error(exc) from exc
        raise
    finally:
        losing.cancel()
    if limit.expired() or deadline.passed():
        context.lose()
        raise deadline.error()
    return value


async def _in_thread(handler: Handler, context: JobContext, payload: Payload) -> object:
    """What the handler returns, run by a thread of its own.  Raises TimeoutError when its time is over.

    A daemon: when the worker has to go, a handler that never comes back must not hold it.
    """
    loop = loops.running_loop()
    deadline = _deadline(handler)
    ended: loops.Future[object] = loop.create_future()
    variables = contextvars.copy_context()

    def settle(result: object, exc: BaseException | None) -> None:
        if ended.done():
            return  # nobody waits any more
        if exc is None:
            ended.set_result(result)
        else:
            ended.set_exception(exc)

    def work() -> None:
        result: object = None
        error: BaseException | None = None
        try:
            result = variables.run(handler.function, context, *payload.args, **payload.kwargs)
        except StopIteration as exc:  # a future cannot carry it
            error = RuntimeError(error_text(exc))
        except BaseException as exc:
            error = exc
        if deadline.passed():  # the loop may have been too busy to notice
            error = deadline.error(error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the worker has gone
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name=f"{handler.name}-{context.id}", daemon=True).start()
    limit = loops.timeout(handler.timeout_s)
    try:
        async with limit:
            return await ended
    except TimeoutError as exc:
        if not limit.expired():
            raise  # the handler's own
        if ended.done() and not ended.cancelled():
            return ended.result()  # in time by the thread's clock, and the loop came late to hear of it
        context.lose()
        raise deadline.error() from exc
