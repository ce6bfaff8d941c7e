"""Running one handler: a coroutine on the event loop, or a function in a thread of its own.

Rule of the room: nothing here knows the server.
"""

import contextlib
import contextvars
import threading
from collections.abc import Awaitable
from typing import Final, cast

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


async def _in_time(handler: Handler, context: JobContext, payload: Payload) -> object:
    """What the handler returns.  Raises TimeoutError when its time is over; a thread goes on, but counts no more."""
    limit = loops.timeout(handler.timeout_s)
    try:
        async with limit:
            if handler.asynchronous:
                return await cast("Awaitable[object]", handler.function(context, *payload.args, **payload.kwargs))
            return await _in_thread(handler, context, payload)
    except TimeoutError as exc:
        if not limit.expired():
            raise  # the handler's own
        context.lost = True
        raise TimeoutError(f"not done within {handler.timeout_s:g} s") from exc


async def _in_thread(handler: Handler, context: JobContext, payload: Payload) -> object:
    """What the handler returns, run by a thread of its own.

    A daemon: when the worker has to go, a handler that never comes back must not hold it.
    """
    loop = loops.running_loop()
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
        with contextlib.suppress(RuntimeError):  # the loop is closed: the worker has gone
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name=f"{handler.name}-{context.id}", daemon=True).start()
    return await ended
