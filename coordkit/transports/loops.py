"""What the toolkit needs of an event loop, the same on asyncio and on trio.

asyncio's loops are used as they are.  On trio `trio_.TrioLoop` offers the few methods of `Loop`; it is imported only
where trio runs.  Every function here looks at what is running where it is called.

What is different on trio: a cancelled scope cancels every wait in it, not only the next one, so clean-up that waits
stands in `shielded()`.  anyio's scopes do the same on asyncio.
"""

import asyncio
import importlib
import sys
from collections.abc import Awaitable, Callable, Collection, Coroutine, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from coordkit.transports import trio_
    from coordkit.transports.address import Address

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P = TypeVar("P", bound=asyncio.Protocol)

TRIO: Final = "coordkit.transports.trio_"

running_asyncio = asyncio._get_running_loop  # noqa: SLF001 - documented, for who supports several libraries: it raises nothing
"""The asyncio loop that runs in this thread, None if there is none."""


class Handle(Protocol):
    """Something that is going to be called."""

    def cancel(self) -> None:
        """It is not called."""
        ...


class Future(Protocol[T]):
    """A value to come.  One task may await it; who is cancelled meanwhile cancels it."""

    def done(self) -> bool:
        """Whether it has a result, an exception, or was cancelled."""
        ...

    def cancelled(self) -> bool:
        """Whether nobody wants it any more."""
        ...

    def cancel(self) -> object:
        """Nobody wants it any more."""
        ...

    def result(self) -> T:
        """The result.  Raises the exception."""
        ...

    def exception(self) -> BaseException | None:
        """The exception, None if there is a result."""
        ...

    def set_result(self, result: T, /) -> None:
        """It has come."""
        ...

    def set_exception(self, exception: BaseException, /) -> None:
        """It will not come."""
        ...

    def add_done_callback(self, callback: Callable[[Any], object], /) -> None:
        """Call `callback` soon after it is done."""
        ...

    def get_loop(self) -> Any:
        """The loop it belongs to."""
        ...

    def __await__(self) -> Generator[Any, None, T]: ...


class Task(Protocol[T_co]):
    """A coroutine that runs beside others."""

    def done(self) -> bool:
        """Whether it has ended."""
        ...

    def cancelled(self) -> bool:
        """Whether it was ended by `cancel`."""
        ...

    def cancel(self) -> object:
        """End it soon."""
        ...

    def result(self) -> T_co:
        """What it returned.  Raises what it raised."""
        ...

    def exception(self) -> BaseException | None:
        """What it raised."""
        ...

    def add_done_callback(self, callback: Callable[[Any], object], /) -> None:
        """Call `callback` soon after it has ended."""
        ...

    def get_loop(self) -> Any:
        """The loop it runs on."""
        ...


class Loop(Protocol):
    """What is used of an asyncio loop, and offered on trio."""

    def time(self) -> float:
        """The monotonic time in seconds."""
        ...

    def is_closed(self) -> bool:
        """Whether it has ended for good."""
        ...

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Handle:
        """Call back when the tasks that are ready now have run."""
        ...

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Call back after `delay` seconds."""
        ...

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> object:
        """The same as `call_soon`, from another thread.  Raises RuntimeError if the loop has ended."""
        ...

    def create_future(self) -> Future[Any]:
        """A future of this loop."""
        ...

    def create_task(self, coroutine: Coroutine[Any, Any, T], *, name: str | None = None) -> Task[T]:
        """Run a coroutine beside all others."""
        ...


class Event(Protocol):
    """A flag that tasks can wait for."""

    def is_set(self) -> bool:
        """Whether it is set."""
        ...

    def set(self) -> None:
        """Set it: whoever waits comes back."""
        ...

    def wait(self) -> Awaitable[object]:
        """Comes back when it is set."""
        ...


class Timeout(Protocol):
    """An asynchronous context manager that ends its body with TimeoutError."""

    def expired(self) -> bool:
        """Whether it has."""
        ...

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None: ...


class Body(Protocol):
    """Code of the running task that can be cancelled from outside, until it is left."""

    def cancel(self) -> None:
        """Cancel it, unless it is the running code itself that asks."""
        ...

    def left(self, exc: BaseException | None) -> bool:
        """Call this when the code has ended, by `exc`: whether that is our own cancellation and nothing else."""
        ...


def trio_module() -> "ModuleType | None":
    """trio, if it runs in this thread."""
    trio = sys.modules.get("trio")
    if trio is None:
        return None
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:  # it does not run here
        return None
    return trio


def _on_trio() -> "type[trio_.TrioLoop]":
    """How to do it on trio.  Raises RuntimeError where nothing runs."""
    if trio_module() is None:
        raise RuntimeError("no event loop is running: call this from asyncio, uvloop or trio")
    made = sys.modules.get(TRIO)  # an import statement would cost a microsecond a call
    return (importlib.import_module(TRIO) if made is None else made).TrioLoop  # type: ignore[no-any-return]  # a module


def running_loop() -> Loop:
    """The loop of the running task.  Raises RuntimeError if there is none."""
    return running_asyncio() or _on_trio().running()


def future_type(loop: Loop) -> Callable[..., Future[Any]]:
    """What makes the futures of the loop, with `loop=loop`: quicker than `loop.create_future()`."""
    made: Callable[..., Future[Any]] = getattr(loop, "future_type", asyncio.Future)
    return made


def whereabouts(loop: Loop) -> tuple[Callable[[], object], object]:
    """What says where the caller runs, and what it says of callers on `loop`: the quickest way to tell whether that is
    the same.  Outside of trio, trio's raises RuntimeError.
    """
    return getattr(loop, "here", running_asyncio), getattr(loop, "home", loop)


async def sleep(seconds: float) -> None:
    """Let other tasks run for so long."""
    if running_asyncio() is not None:
        await asyncio.sleep(seconds)
    else:
        await _on_trio().sleep(seconds)


async def wait(
    futures: "Collection[Future[Any] | Task[Any]]", timeout_s: float | None = None, *, first: bool = False
) -> None:
    """Comes back when all are done (with `first`: when one is), or the time is over.  Raises nothing of theirs."""
    if not futures:
        return
    if running_asyncio() is not None:
        until = asyncio.FIRST_COMPLETED if first else asyncio.ALL_COMPLETED
        await asyncio.wait(futures, timeout=timeout_s, return_when=until)  # type: ignore[type-var]  # asyncio's own
    else:
        await _on_trio().wait(futures, timeout_s, first=first)


async def results(futures: "Sequence[Future[T] | Task[T]]") -> list[T]:
    """What all of them come to, in order.  Raises the first exception; who is cancelled cancels them."""
    try:
        await wait(futures)
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    failures = [future.exception() for future in futures]
    for failure in failures:
        if failure is not None:
            raise failure
    return [future.result() for future in futures]


def timeout(seconds: float | None) -> Timeout:
    """An asynchronous context manager: its body gets so much time.  Raises TimeoutError."""
    return asyncio.timeout(seconds) if running_asyncio() is not None else _on_trio().timeout(seconds)


async def in_thread(function: Callable[[], T]) -> T:
    """What the function returns, run by a thread."""
    if running_asyncio() is not None:
        return await asyncio.to_thread(function)
    return await _on_trio().in_thread(function)


def event() -> Event:
    """A new flag of the running library."""
    return asyncio.Event() if running_asyncio() is not None else _on_trio().event()


def shielded() -> "AbstractContextManager[object]":
    """A context manager: scopes of trio and anyio that are cancelled do not cancel what is inside."""
    if running_asyncio() is None:
        return _on_trio().shielded()
    anyio = sys.modules.get("anyio")
    return nullcontext() if anyio is None else anyio.CancelScope(shield=True)


def cancelled() -> type[BaseException]:
    """The exception by which the running library cancels."""
    return asyncio.CancelledError if running_asyncio() is not None else _on_trio().cancelled()


def was_asked_to_end(exc: BaseException) -> bool:
    """Whether the task is being cancelled, or the cancellation `exc` is one that its own code has made up."""
    task = asyncio.current_task() if isinstance(exc, asyncio.CancelledError) else None
    return task is None or task.cancelling() > 0


def body() -> Body:
    """The code of the running task from here on."""
    return AsyncioBody() if running_asyncio() is not None else _on_trio().body()


async def connect(make: Callable[[], P], address: "Address") -> P:
    """The protocol that `make` made, on an open connection.  Raises OSError."""
    asyncio_loop = running_asyncio()
    if asyncio_loop is None:
        return await _on_trio().connect(make, address)
    if address.path is not None:
        _, protocol = await asyncio_loop.create_unix_connection(make, address.path)
    else:
        _, protocol = await asyncio_loop.create_connection(make, address.host, address.port, ssl=address.tls_context())
    return protocol


class AsyncioBody:
    """Code of the running asyncio task, which is cancelled as `asyncio.timeout` does it."""

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task is not None else 0
        self._cancelled = False

    def cancel(self) -> None:
        """Cancel it, unless it is the running code itself that asks."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._cancelled = True
            self._task.cancel()

    def left(self, exc: BaseException | None) -> bool:
        """Whether it was ended by our own cancellation and nothing else."""
        if not self._cancelled or self._task is None:
            return False
        return self._task.uncancel() <= self._cancelling and isinstance(exc, asyncio.CancelledError)
