"""The subscription connection of an event loop: one for all channels, supervised, back after every loss.

A channel is subscribed once however many listeners it has.  After a lost connection all channels are
subscribed again, and each listener is told that there was a gap.
"""

import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from coordkit.errors import CoordkitError, ServerUnavailable
from coordkit.transports import loops
from coordkit.transports.address import Address
from coordkit.transports.base import Listener, SlownessWatcher
from coordkit.transports.link import Link
from coordkit.transports.loops import Future, Handle, Loop, Task
from coordkit.transports.subscriptions import LINGER_S, Subscriptions
from coordkit.wire import ProtocolError, Replies, Reply, pack

log = logging.getLogger("coordkit")

KEEPALIVE_S: Final = 15.0
"""A connection that is silent for so long is asked, and given up when it stays silent as long again."""

RECONNECT_FIRST_S: Final = 0.05
RECONNECT_MAX_S: Final = 0.5


class SubscriberLink(Link):
    """A connection that, once it is open, hands everything it receives to `on_reply`."""

    def __init__(
        self,
        loop: Loop,
        address: Address,
        timeout_s: float,
        watcher: SlownessWatcher | None = None,
    ) -> None:
        super().__init__(loop, address, timeout_s, watcher)
        self.on_reply: Callable[[Reply], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self._stream = Replies()
        self._heard = True
        self._keepalive: Handle | None = None

    def start(self, on_reply: Callable[[Reply], None], on_end: Callable[[], None]) -> None:
        """From now on replies are a stream, not answers."""
        self.on_reply, self.on_end = on_reply, on_end
        self._keepalive = self.loop.call_later(KEEPALIVE_S, self._ask)

    def send(self, *argv: bytes | str) -> None:
        """Send a command whose reply comes through the stream."""
        if self._socket is not None and not self.closed:
            self._socket.write(pack(argv))

    def data_received(self, data: bytes) -> None:
        """Answers while the connection is being opened, then the stream."""
        if self.on_reply is None:
            super().data_received(data)
            return
        self._heard = True
        try:
            for reply in self._stream.feed(data):
                self.on_reply(reply)
        except ProtocolError as exc:
            self._fail(exc)

    def _ask(self) -> None:
        if self.closed:
            return
        if not self._heard:
            self._fail(ServerUnavailable(f"{self._address} is silent for {2 * KEEPALIVE_S:g} s"))
            return
        self._heard = False
        self.send("PING")
        self._keepalive = self.loop.call_later(KEEPALIVE_S, self._ask)

    def _end(self, reason: str) -> None:
        already = self.closed
        super()._end(reason)
        if self._keepalive is not None:
            self._keepalive.cancel()
        if not already and self.on_end is not None:
            self.on_end()


class AsyncioSignal:
    """A flag that a task can wait for; set by any message or gap."""

    __slots__ = ("_loop", "_raised", "_waiter")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._raised = False
        self._waiter: Future[None] | None = None

    def on_message(self, channel: bytes, payload: bytes) -> None:  # noqa: ARG002 - that it came is all that counts
        """A message arrived."""
        self.on_gap()

    def on_gap(self) -> None:
        """Messages may have been missed: the waiter has to look."""
        self._raised = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def on_close(self) -> None:
        """Nothing more will come: the waiter has to look, and will hear that from the client."""
        self.on_gap()

    async def wait(self, timeout_s: float | None) -> bool:
        """True if a message came since the last wait; False if `timeout_s` passed first."""
        if not self._raised and (timeout_s is None or timeout_s > 0):
            self._waiter = waiter = self._loop.create_future()
            timer = None if timeout_s is None else self._loop.call_later(timeout_s, _expire, waiter)
            try:
                await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        raised, self._raised = self._raised, False
        return raised


def _expire(waiter: Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Stream(Protocol):
    """An open connection to listen on, such as a SubscriberLink."""

    closed: bool

    def start(self, on_reply: Callable[[Reply], None], on_end: Callable[[], None]) -> None:
        """From now on replies are handed to `on_reply`; `on_end` is called when no more come."""
        ...

    def send(self, *argv: bytes | str) -> None:
        """Send a command whose reply comes through the stream."""
        ...

    async def close(self) -> None:
        """Close it."""
        ...


OpenStream = Callable[[], Awaitable[Stream]]


class AsyncioSubscriber:
    """All subscriptions of one loop."""

    def __init__(
        self,
        loop: Loop,
        address: str,
        timeout_s: float,
        open_stream: OpenStream,
        on_deaf: Callable[[], None] | None = None,
    ) -> None:
        self._loop = loop
        self._address = address
        self._timeout_s = timeout_s
        self._open_stream = open_stream
        self._on_deaf = on_deaf
        self._book = Subscriptions()
        self._link: Stream | None = None
        self._connecting: Task[None] | None = None
        self._confirmations: dict[bytes, Future[None]] = {}
        self._sweep: Handle | None = None
        self._closed = False

    async def subscribe(self, name: bytes, listener: Listener, topic: bytes | None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before.

        Raises ServerUnavailable if it is not confirmed within the timeout.
        """
        channel, new = self._book.add(name, listener, topic)
        if channel.confirmed:
            return False
        try:
            await self._confirmed(name, new=new)
        except BaseException:
            self.unsubscribe(name, listener, topic)
            raise
        return True

    def listen(self, name: bytes, listener: Listener, topic: bytes | None) -> bool:
        """Whether the channel is open already; then the listener is in."""
        return self._book.add_if_open(name, listener, topic)

    def hears(self, name: bytes) -> bool:
        """Whether the channel is open."""
        return self._book.is_open(name)

    def unsubscribe(self, name: bytes, listener: Listener, topic: bytes | None) -> None:
        """Stop listening.  A channel that waiters share is kept for a while, in case one comes back to it."""
        if self._book.remove(name, listener, topic, now_s=self._loop.time()) and not self._closed:
            self._drop_idle()

    async def close(self) -> None:
        """Close the connection; listeners hear that, and nothing more."""
        self._closed = True
        self._book.close()
        if self._sweep is not None:
            self._sweep.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            await loops.wait({self._connecting})
        if self._link is not None:
            await self._link.close()

    async def _confirmed(self, name: bytes, *, new: bool) -> None:
        confirmation = self._confirmations.get(name)
        if confirmation is None:
            confirmation = self._confirmations[name] = self._loop.create_future()
            new = True
        if self._link is None or self._link.closed:
            self._connect_soon()  # subscribes everything that is in the book
        elif new:
            self._link.send("SUBSCRIBE", name)
        await loops.wait({confirmation}, self._timeout_s)
        if not confirmation.done():
            raise ServerUnavailable(
                f"{self._address} did not confirm the subscription to {name!r} within {self._timeout_s:g} s"
            )

    def _connect_soon(self) -> None:
        if self._connecting is None and not self._closed:
            self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        """Try until the connection is open and everything is subscribed, or nobody wants it any more."""
        pause_s = RECONNECT_FIRST_S
        try:
            while self._book.channels and not self._closed:
                try:
                    self._begin(await self._open_stream())
                except CoordkitError as exc:
                    log.warning("subscriptions wait for the server: %s", exc)
                    await loops.sleep(pause_s * random.uniform(0.5, 1.0))
                    pause_s = min(2 * pause_s, RECONNECT_MAX_S)
                else:
                    return
        finally:
            self._connecting = None

    def _begin(self, link: Stream) -> None:
        """Subscribe everything.  Raises ServerUnavailable if the connection was lost by then.

        It may have ended before anybody listened, or of what is sent now: nobody else would open it again.
        """
        link.start(self._on_reply, self._on_end)
        self._link = link
        if self._book.channels:
            link.send("SUBSCRIBE", *self._book.channels)
        if link.closed:
            raise ServerUnavailable(f"the connection to {self._address} was lost as soon as it was open")

    def _on_reply(self, reply: Reply) -> None:
        if not isinstance(reply, list) or len(reply) < 3:
            return  # PONG
        kind, name, payload = reply[0], reply[1], reply[2]
        if kind == b"message":
            self._book.dispatch(name, payload)
        elif kind == b"subscribe":
            self._book.confirm(name)
            confirmation = self._confirmations.pop(name, None)
            if confirmation is not None and not confirmation.done():
                confirmation.set_result(None)

    def _on_end(self) -> None:
        self._book.lost()
        if self._book.channels and not self._closed:
            log.warning("the subscription connection to %s was lost; it is being opened again", self._address)
            self._connect_soon()
            if self._on_deaf is not None:
                self._on_deaf()

    def _drop_idle(self) -> None:
        """Drop what is due, and come back for what lingers."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        idle = self._book.drop_idle(now_s=self._loop.time())
        if idle and self._link is not None:
            self._link.send("UNSUBSCRIBE", *idle)
        if any(channel.idle_since_s is not None for channel in self._book.channels.values()):
            self._sweep = self._loop.call_later(LINGER_S, self._drop_idle)
