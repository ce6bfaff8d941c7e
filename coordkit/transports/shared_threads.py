"""Users' own blocking redis-py clients, shared with event loops: every call is made by a thread.

    AsyncClient(redis=redis.Redis(...), share=True)

It is how a client is shared on trio, where `redis.asyncio` does not run; it works on asyncio and uvloop as well.  A
caller is held to its deadline, or cancelled, at once, while the thread waits for as long as the client's
`socket_timeout` lets it.  What is heard on channels comes from the thread that `SocketSubscriber` has.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from coordkit.errors import ClientClosed, OutcomeUnknown, ServerError, ServerUnavailable
from coordkit.scripts import Args, Keys, Script
from coordkit.transports import loops
from coordkit.transports.asyncio_ import AsyncioTransport
from coordkit.transports.base import DEFAULT_TIMEOUT_S, Listener
from coordkit.transports.errands import Errand, Errands
from coordkit.transports.loops import Loop, running_loop
from coordkit.transports.shared import SharedClient, SharedTransport

log = logging.getLogger("coordkit")

T = TypeVar("T")

Seat = tuple[Loop, bytes, bytes | None, int]
"""Which listener of which loop, on which channel and topic."""


class OnLoop:
    """A listener that is told by a thread, and tells another on its loop."""

    __slots__ = ("_loop", "gone", "listener")

    def __init__(self, loop: Loop, listener: Listener) -> None:
        self._loop = loop
        self.listener = listener
        self.gone = False

    def on_message(self, channel: bytes, payload: bytes) -> None:
        """A message arrived."""
        self._tell(self.listener.on_message, channel, payload)

    def on_gap(self) -> None:
        """The subscription was lost and is back: messages may have been missed."""
        self._tell(self.listener.on_gap)

    def on_close(self) -> None:
        """The client was closed: nothing more will come."""
        self._tell(self.listener.on_close)

    def _tell(self, tell: Callable[..., None], *args: bytes) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._told, tell, *args)

    def _told(self, tell: Callable[..., None], *args: bytes) -> None:
        if self.gone:
            return
        try:
            tell(*args)
        except Exception:  # on trio it would end the run
            log.exception("a listener failed")


class ThreadedSharedTransport(AsyncioTransport):
    """Calls and subscriptions through a `redis.Redis` or `redis.RedisCluster`, from any number of tasks and loops."""

    def __init__(self, client: object, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._client = client
        self._errands = Errands()
        self._seats: dict[Seat, OnLoop] = {}
        self._blocking = SharedTransport(client, timeout_s=timeout_s)
        super().__init__(SharedClient(client, asynchronous=False), timeout_s=timeout_s)

    def group_of(self, key: bytes) -> int:
        """Keys of one group may go into one script."""
        return self._blocking.group_of(key)

    # -- calls -----------------------------------------------------------------------------------------------------

    async def call(self, script: Script[object], keys: Keys, args: Args, deadline_s: float | None = None) -> object:
        """The reply of the script, in plain form."""
        return await self._made(lambda: self._blocking.call(script, keys, args), deadline_s)

    async def execute(self, argv: Sequence[bytes | str | int | float], deadline_s: float | None = None) -> object:
        """The reply of one command, in plain form."""
        return await self._made(lambda: self._blocking.execute(argv), deadline_s)

    async def probe(self, timeout_s: float, place: str | None = None) -> None:  # noqa: ARG002 - there is one place only
        """Comes back if the server answers in time."""
        with contextlib.suppress(ServerError):
            await self.execute(("PING",), time.monotonic() + timeout_s)

    async def _made(self, work: Callable[[], T], deadline_s: float | None) -> T:
        """What a call returns that a thread makes.  Raises OutcomeUnknown or ServerUnavailable at the deadline."""
        started_s = time.monotonic()
        left_s = self._timeout_s if deadline_s is None else deadline_s - started_s
        try:
            return await self._waited(self._errands.send(self._open_loop(), work), left_s)
        finally:
            now_s = time.monotonic()
            if self._watcher is not None and now_s - started_s > self._watcher.slow_s:
                self._watcher.heard_slow(1, now_s)

    async def _waited(self, errand: Errand[T], left_s: float) -> T:
        timer = running_loop().call_later(max(left_s, 0.0), self._expire, errand, left_s)
        try:
            return await errand.future
        except BaseException:
            self._errands.give_up(errand)
            raise
        finally:
            timer.cancel()

    def _expire(self, errand: Errand[T], left_s: float) -> None:
        if errand.future.done():
            return
        if self._errands.give_up(errand):
            failure: Exception = ServerUnavailable(f"no thread was free for {self} within {max(left_s, 0.0):.3g} s")
        else:
            failure = OutcomeUnknown(f"{self} did not answer within {max(left_s, 0.0):.3g} s; the command may have run")
        errand.future.set_exception(failure)

    # -- subscriptions ---------------------------------------------------------------------------------------------

    async def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before."""
        loop, blocking = self._open_loop(), self._blocking
        seat, placed = (loop, channel, topic, id(listener)), OnLoop(loop, listener)

        def work() -> bool:
            new = blocking.subscribe(channel, placed, topic)
            if placed.gone:  # nobody waited for the confirmation
                blocking.unsubscribe(channel, placed, topic)
            return new

        self._seats[seat] = placed
        try:
            return await self._waited(self._errands.send(loop, work), self._timeout_s)
        except BaseException as exc:
            self.unsubscribe(channel, listener, topic)
            if isinstance(exc, OutcomeUnknown):
                raise ServerUnavailable(f"{self} did not confirm the subscription to {channel!r} in time") from exc
            raise

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Whether the channel is open already; then the listener is in.  Never waits."""
        loop = self._open_loop()
        placed = OnLoop(loop, listener)
        heard = self._blocking.listen(channel, placed, topic)
        if heard:
            self._seats[loop, channel, topic, id(listener)] = placed
        return heard

    def hears(self, channel: bytes) -> bool:
        """Whether the channel is open."""
        return self._blocking.hears(channel)

    def unsubscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> None:
        """Stop listening; never waits."""
        placed = self._seats.pop((running_loop(), channel, topic, id(listener)), None)
        if placed is not None:
            placed.gone = True
            self._blocking.unsubscribe(channel, placed, topic)

    # -- life ------------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close what the running loop uses; with the last loop the connection that listens goes back to the pool."""
        await super().aclose()
        loop = running_loop()
        for seat in [one for one in list(self._seats) if one[0] is loop]:
            placed = self._seats[seat]
            self.unsubscribe(seat[1], placed.listener, seat[2])
            placed.listener.on_close()
        if all(other.closed for other in list(self._states.values())):
            # Another one for whoever uses the client on one more loop: it holds nothing before its first use.
            blocking, self._blocking = self._blocking, SharedTransport(self._client, timeout_s=self._timeout_s)
            await loops.in_thread(blocking.close)
            self._errands.end_idle()

    def _open_loop(self) -> Loop:
        """The running loop.  Raises ClientClosed where the client was closed."""
        if self._state().closed:
            raise ClientClosed("the client is closed; make a new one")
        return running_loop()

    def _forget(self) -> None:
        """In a forked child: its threads are not there."""
        super()._forget()
        self._errands = Errands()
        self._seats = {}
