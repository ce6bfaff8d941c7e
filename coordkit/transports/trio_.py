"""What `loops.Loop` says, on trio: futures, callbacks, timers, tasks and sockets, for the transport and the primitives.

A future parks the task that awaits it.  Two system tasks a run make the callbacks: one those of `call_soon` when the
tasks that were ready have run, so all requests of a turn leave in one write; one those of timers.  Tasks and readers
are system tasks too: they belong to the run, not to whoever happened to call first, and end with it at the latest.

A socket is written to at once, by whoever writes; only what the system does not take waits for a task.
"""

import contextlib
import contextvars
import heapq
import itertools
import logging
import socket
import ssl
import time
from asyncio import Protocol as Receiver
from collections.abc import Callable, Collection, Coroutine
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import trio

from coordkit.transports.address import Address
from coordkit.transports.trio_futures import TrioFuture

if TYPE_CHECKING:
    from coordkit.transports.loops import Body, Future, Task  # which imports this module where trio runs

log = logging.getLogger("coordkit")

T = TypeVar("T")
P = TypeVar("P", bound=Receiver)

READ_SIZE: Final = 262_144
HIGH_WATER: Final = 65_536
"""Bytes that may wait to be written before the writer is asked to pause."""

RUNNING: Final[trio.lowlevel.RunVar["TrioLoop | None"]] = trio.lowlevel.RunVar("coordkit", None)


class TrioTask(TrioFuture[T]):
    """A coroutine that runs as a system task."""

    __slots__ = ("_scope",)

    def __init__(self, coroutine: Coroutine[Any, Any, T], loop: "TrioLoop", name: str | None) -> None:
        super().__init__(loop=loop)
        self._scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(
            self._run, coroutine, name=name or "coordkit-task", context=contextvars.copy_context()
        )

    def cancel(self) -> bool:
        """End it soon."""
        self._scope.cancel()
        return not self._done

    async def _run(self, coroutine: Coroutine[Any, Any, T]) -> None:
        try:
            with self._scope:
                self._result = await coroutine
        except trio.Cancelled:  # trio itself ends: main has returned
            self._cancelled = True
            raise
        except BaseException as exc:
            self._exception = exc
        finally:
            self._cancelled = self._cancelled or self._scope.cancelled_caught
            self._finish()


class TrioTimer:
    """A callback that is due at some moment."""

    __slots__ = ("args", "callback")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args

    def cancel(self) -> None:
        """It is not called."""
        self.callback, self.args = None, ()


class TrioTimeout:
    """`asyncio.timeout`, on trio."""

    __slots__ = ("_scope", "_seconds")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._scope = trio.CancelScope()

    def expired(self) -> bool:
        """Whether the body was ended."""
        return self._scope.cancelled_caught

    async def __aenter__(self) -> Self:
        if self._seconds is not None:
            self._scope.deadline = trio.current_time() + self._seconds
        self._scope.__enter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scope.__exit__(exc_type, exc, traceback)  # raises what is not the scope's own, if that is only a part
        if self._scope.cancelled_caught:
            raise TimeoutError from exc


class TrioBody:
    """Code of the running task, in a scope of its own."""

    def __init__(self) -> None:
        self._task = trio.lowlevel.current_task()
        self._scope = trio.CancelScope()
        self._scope.__enter__()

    def cancel(self) -> None:
        """Cancel it, unless it is the running code itself that asks."""
        if self._task is not trio.lowlevel.current_task():
            self._scope.cancel()

    def left(self, exc: BaseException | None) -> bool:
        """Whether it was ended by our own cancellation and nothing else."""
        traceback = None if exc is None else exc.__traceback__
        self._scope.__exit__(None if exc is None else type(exc), exc, traceback)
        return self._scope.cancelled_caught


class TrioLoop:
    """What is used of an asyncio loop, for one run of trio."""

    future_type = TrioFuture
    here = staticmethod(trio.lowlevel.current_trio_token)
    """What says which run the caller belongs to; this one's is `home`."""
    time = staticmethod(time.monotonic)
    """The monotonic time in seconds: the system's, as everywhere in the toolkit, not trio's."""

    def __init__(self) -> None:
        self.home = trio.lowlevel.current_trio_token()
        self._closed = False
        self._ready: list[TrioTimer] = []
        self._timers: list[tuple[float, int, TrioTimer]] = []
        self._numbers = itertools.count()
        self._resting: trio.lowlevel.Task | None = None
        self._scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._drive, name="coordkit-callbacks")
        trio.lowlevel.spawn_system_task(self._keep_time, name="coordkit-timers")

    @classmethod
    def running(cls) -> "TrioLoop":
        """That of the running task."""
        loop = RUNNING.get()
        if loop is None:
            loop = cls()
            RUNNING.set(loop)
        return loop

    def is_closed(self) -> bool:
        """Whether the run has ended."""
        return self._closed

    # -- callbacks -------------------------------------------------------------------------------------------------

    def call_soon(self, callback: Callable[..., object], *args: Any) -> TrioTimer:
        """Call back when the tasks that are ready now have run."""
        timer = TrioTimer(callback, args)
        self._ready.append(timer)
        resting = self._resting
        if resting is not None:
            self._resting = None
            trio.lowlevel.reschedule(resting)
        return timer

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> TrioTimer:
        """Call back after `delay` seconds."""
        timer = TrioTimer(callback, args)
        due_s = self.time() + delay
        heapq.heappush(self._timers, (due_s, next(self._numbers), timer))
        if self._timers[0][2] is timer:
            self._scope.deadline = trio.current_time() + delay
        return timer

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        """Call back soon; to be called by other threads.  Raises RuntimeError if the run has ended."""
        self.home.run_sync_soon(callback, *args)

    async def _drive(self) -> None:
        """Make the callbacks of `call_soon`, for as long as trio runs."""
        try:
            while True:
                ready, self._ready = self._ready, []
                for timer in ready:
                    self._call(timer)
                if self._ready:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    continue
                self._resting = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._ended)
        finally:
            self._closed = True

    def _ended(self, _: object) -> trio.lowlevel.Abort:
        """The run of trio ends."""
        self._resting = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def _keep_time(self) -> None:
        """Make the callbacks of `call_later`, for as long as trio runs."""
        while True:
            now_s = self.time()
            while self._timers and self._timers[0][0] <= now_s:
                self._call(heapq.heappop(self._timers)[2])
            with trio.CancelScope(deadline=self._next()) as self._scope:
                await trio.sleep_forever()

    def _next(self) -> float:
        """When the next timer is due, by trio's clock."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return float("inf")
        return trio.current_time() + self._timers[0][0] - self.time()

    @staticmethod
    def _call(timer: TrioTimer) -> None:
        if timer.callback is None:
            return
        try:
            timer.callback(*timer.args)
        except Exception:  # one bad callback must not stop the others
            log.exception("a callback failed")

    # -- tasks -----------------------------------------------------------------------------------------------------

    def create_future(self) -> TrioFuture[Any]:
        """A future of this loop."""
        return TrioFuture(loop=self)

    def create_task(self, coroutine: Coroutine[Any, Any, T], *, name: str | None = None) -> TrioTask[T]:
        """Run a coroutine beside all others."""
        return TrioTask(coroutine, self, name)

    @classmethod
    async def wait(
        cls, futures: "Collection[Future[Any] | Task[Any]]", timeout_s: float | None, *, first: bool
    ) -> None:
        """Comes back when all are done (with `first`: when one is), or the time is over."""
        loop = cls.running()
        pending = [future for future in futures if isinstance(future, TrioFuture) and not future.done()]
        missing = len(pending) if not first else int(len(pending) == len(futures))
        if missing == 0:
            await trio.lowlevel.checkpoint()
            return
        waiter: TrioFuture[None] = TrioFuture(loop=loop)

        def one_done(_: object) -> None:
            nonlocal missing
            missing -= 1
            if missing <= 0:
                _wake(waiter)

        for future in pending:
            future.add_done_callback(one_done)
        timer = None if timeout_s is None else loop.call_later(timeout_s, _wake, waiter)
        try:
            await waiter
        finally:
            if timer is not None:
                timer.cancel()
            for future in pending:
                future.remove_done_callback(one_done)

    sleep = staticmethod(trio.sleep)
    event = staticmethod(trio.Event)
    timeout = staticmethod(TrioTimeout)

    @staticmethod
    def body() -> "Body":
        """The code of the running task from here on."""
        return TrioBody()

    @staticmethod
    def shielded() -> AbstractContextManager[object]:
        """A context manager: cancelled scopes around it do not cancel what is inside."""
        return trio.CancelScope(shield=True)

    @staticmethod
    def cancelled() -> type[BaseException]:
        """The exception by which trio cancels."""
        return trio.Cancelled

    @staticmethod
    async def in_thread(function: Callable[[], T]) -> T:
        """What the function returns, run by a thread."""
        return await trio.to_thread.run_sync(function)

    @classmethod
    async def connect(cls, make: Callable[[], P], address: Address) -> P:
        """The protocol that `make` made, on an open connection.  Raises OSError."""
        stream = await _open_socket(address)
        try:
            context = address.tls_context()
            tls = None if context is None else Tls(context, address.host)
            if tls is not None:
                await _shake_hands(stream, tls)
        except BaseException:
            stream.close()
            raise
        receiver = make()
        receiver.connection_made(TrioSocket(cls.running(), stream, receiver, tls))  # type: ignore[arg-type]  # as far as it is used
        return receiver


def _wake(waiter: TrioFuture[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def _open_socket(address: Address) -> socket.socket:
    """A connected, non-blocking socket."""
    try:
        if address.path is not None:
            opened = await trio.open_unix_socket(address.path)
        else:
            opened = await trio.open_tcp_stream(address.host, address.port)
    except OSError as exc:
        cause = exc.__cause__  # what happened at each of the host's addresses
        for one in cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause,):
            if isinstance(one, OSError):
                raise one from None
        raise
    stream = socket.socket(fileno=opened.socket.detach())
    stream.setblocking(False)
    return stream


class Tls:
    """TLS between bytes and bytes."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.ended = False
        """Whether the other side has said that nothing more comes."""

    def shake(self, data: bytes) -> tuple[bool, bytes]:
        """Whether hands are shaken, and what is to be sent, after `data` has come."""
        self._incoming.write(data)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False, self._outgoing.read()
        return True, self._outgoing.read()

    def encrypted(self, data: bytes) -> bytes:
        """What is to be sent for `data`."""
        self._object.write(data)
        return self._outgoing.read()

    def decrypted(self, data: bytes) -> tuple[bytes, bytes]:
        """What came in `data`, and what is to be sent because of it."""
        self._incoming.write(data)
        parts = []
        try:
            while part := self._object.read(READ_SIZE):
                parts.append(part)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(parts), self._outgoing.read()


async def _shake_hands(stream: socket.socket, tls: Tls) -> None:
    data, done = b"", False
    while not done:
        done, answer = tls.shake(data)
        while answer:
            await trio.lowlevel.wait_writable(stream)
            answer = answer[stream.send(answer) :]
        if not done:
            await trio.lowlevel.wait_readable(stream)
            data = stream.recv(READ_SIZE)
            if not data:
                raise ConnectionResetError("closed during the TLS handshake")


class TrioSocket:
    """An open connection as asyncio's transports are, as far as `Link` needs it."""

    def __init__(self, loop: TrioLoop, stream: socket.socket, receiver: Receiver, tls: Tls | None) -> None:
        self._loop = loop
        self._socket = stream
        self._receiver = receiver
        self._tls = tls
        self._unsent = bytearray()
        self._paused = self._closing = self._closed = False
        self._writing: TrioTask[None] | None = None
        self._reading = loop.create_task(self._read(), name="coordkit-reader")

    def get_extra_info(self, name: str) -> socket.socket | None:
        """The socket."""
        return self._socket if name == "socket" else None

    def write(self, data: bytes) -> None:
        """Send it, at once as far as the system takes it."""
        if self._closed:
            return
        if self._tls is not None:
            data = self._tls.encrypted(data)
        self._send(data)

    def close(self) -> None:
        """Send what is left, then close."""
        self._closing = True
        if not self._unsent:
            self.abort()

    def abort(self) -> None:
        """Close now; the receiver is told soon."""
        self._lose(None)

    def _send(self, data: bytes) -> None:
        if not self._unsent:
            try:
                sent = self._socket.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as exc:
                self._lose(exc)
                return
            if sent == len(data):
                return
            data = data[sent:]
        self._unsent += data
        if self._writing is None:
            self._writing = self._loop.create_task(self._write_rest(), name="coordkit-writer")
        if len(self._unsent) > HIGH_WATER and not self._paused:
            self._paused = True
            self._receiver.pause_writing()

    async def _write_rest(self) -> None:
        try:
            while self._unsent:
                await trio.lowlevel.wait_writable(self._socket)
                with contextlib.suppress(BlockingIOError, InterruptedError):
                    del self._unsent[: self._socket.send(self._unsent)]
        except (OSError, trio.ClosedResourceError) as exc:
            self._lose(exc)
        finally:
            self._writing = None
        if self._paused and not self._closed:
            self._paused = False
            self._receiver.resume_writing()
        if self._closing:
            self.abort()

    async def _read(self) -> None:
        failure: Exception | None = None
        try:
            while not self._closed:
                await trio.lowlevel.wait_readable(self._socket)
                try:
                    data = self._socket.recv(READ_SIZE)
                except (BlockingIOError, InterruptedError):
                    continue
                if not data or not self._received(data):
                    break
        except (OSError, trio.ClosedResourceError) as exc:  # ssl.SSLError is an OSError
            failure = exc
        finally:  # also when trio ends
            self._lose(failure)

    def _received(self, data: bytes) -> bool:
        """Hand it over; False when nothing more comes."""
        if self._tls is None:
            self._receiver.data_received(data)
            return True
        plain, answer = self._tls.decrypted(data)
        if plain:
            self._receiver.data_received(plain)
        if answer and not self._closed:
            self._send(answer)
        return not self._tls.ended

    def _lose(self, exc: Exception | None) -> None:
        """Close the socket.  The receiver hears of it later: it may be in the middle of something."""
        if self._closed:
            return
        self._closed = True
        self._unsent.clear()
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()
        self._loop.call_soon(self._receiver.connection_lost, exc)
