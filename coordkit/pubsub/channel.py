"""Channels: at most once, to whoever listens now.

Order: what both kinds of subscription share, the blocking classes, the asynchronous classes.

- All subscriptions of a client share one connection, and a channel is subscribed once, however many listen.
- A subscription listens from the moment its `with` block starts; leaving the block ends it.
- After a lost connection it goes on by itself; with `gaps=True` a Gap stands where messages may be missing.
- A slow reader costs nobody but itself: its buffer is bounded, and the policy says what is dropped.
"""

import math
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Generic, Literal, Self, TypeVar, cast, overload

from coordkit.codec import Codec
from coordkit.durations import Duration, to_seconds
from coordkit.errors import ConfigurationError
from coordkit.guard import AsyncGuard, Guard
from coordkit.keys import Keys
from coordkit.pubsub.buffer import DEFAULT_SIZE, Buffer, Overflow
from coordkit.pubsub.message import Gap, Message, Statistics
from coordkit.transports.base import AsyncSignal, Listener, Signal

Item = TypeVar("Item", bound=Message | Gap)


class _Feed:
    """A listener that fills a buffer and wakes its reader."""

    __slots__ = ("_buffer", "_signal")

    def __init__(self, buffer: Buffer, signal: Listener) -> None:
        self._buffer = buffer
        self._signal = signal

    def on_message(self, channel: bytes, payload: bytes) -> None:
        """A message arrived."""
        self._buffer.put(payload)
        self._signal.on_message(channel, payload)

    def on_gap(self) -> None:
        """Messages may have been missed."""
        self._buffer.put_gap()
        self._signal.on_gap()

    def on_close(self) -> None:
        """The client was closed."""
        self._buffer.end()
        self._signal.on_close()


class _Subscription(Generic[Item]):
    """What both kinds share: everything but waiting."""

    __slots__ = ("_backend", "_buffer", "_feed", "_gaps", "_key", "_name")

    def __init__(self, name: str, key: bytes, buffer: Buffer, *, gaps: bool, backend: Guard | AsyncGuard) -> None:
        self._name = name
        self._key = key
        self._buffer = buffer
        self._gaps = gaps
        self._backend = backend
        self._feed: _Feed | None = None

    def statistics(self) -> Statistics:
        """What was received, dropped and missed so far."""
        return self._buffer.statistics()

    def close(self) -> None:
        """Stop listening; whoever waits for a message comes back."""
        self._buffer.end()
        feed, self._feed = self._feed, None
        if feed is not None:
            self._backend.unsubscribe(self._key, feed)
            feed.on_close()

    def _take(self) -> Item | None:
        item = self._buffer.take()
        while isinstance(item, Gap) and not self._gaps:
            item = self._buffer.take()
        return cast("Item | None", item)

    def _ends_s(self, timeout: Duration | None) -> float:
        return math.inf if timeout is None else self._backend.monotonic() + to_seconds(timeout, name="timeout")

    def _left_s(self, ends_s: float) -> float | None:
        return None if ends_s == math.inf else ends_s - self._backend.monotonic()

    def _not_open(self) -> ConfigurationError:
        return ConfigurationError(
            f"the subscription to channel {self._name!r} is not open; read it inside its `with` block, each only once"
        )


class Subscription(_Subscription[Item]):
    """An open ear on a channel, for one blocking reader: `Channel.subscribe`.

    Iterating waits for messages; it ends when `close` is called or the client is closed, elsewhere too.
    """

    __slots__ = ("_signal",)
    _backend: Guard

    def __init__(self, name: str, key: bytes, buffer: Buffer, *, gaps: bool, backend: Guard) -> None:
        super().__init__(name, key, buffer, gaps=gaps, backend=backend)
        self._signal: Signal | None = None

    def get(self, timeout: Duration | None = None) -> Item | None:
        """The next message; None if none came within `timeout`, or the subscription has ended."""
        if self._signal is None:
            raise self._not_open()
        ends_s = self._ends_s(timeout)
        while True:
            ended = self._buffer.ended
            item = self._take()
            left_s = self._left_s(ends_s)
            if item is not None or ended or (left_s is not None and left_s <= 0):
                return item
            self._signal.wait(left_s)

    def until_quiet(self, timeout: Duration) -> Iterator[Item]:
        """The messages until none has come for `timeout`."""
        while (item := self.get(timeout)) is not None:
            yield item

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        item = self.get()
        if item is None:
            raise StopIteration
        return item

    def __enter__(self) -> Self:
        if self._signal is not None:
            raise self._not_open()
        self._signal = self._backend.signal()
        feed = _Feed(self._buffer, self._signal)
        self._backend.subscribe(self._key, feed)
        self._feed = feed
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Channel:
    """A channel for blocking callers: `Client.channel`."""

    __slots__ = ("_backend", "_codec", "_key", "name")

    def __init__(self, name: str, *, keys: Keys, codec: Codec, backend: Guard) -> None:
        self.name: Final = name
        self._key = keys.channel(name)
        self._codec = codec
        self._backend = backend

    def publish(self, data: object) -> int:
        """How many clients got the message.  It is not kept: who listens later does not get it."""
        return self._backend.publish(self._key, self._codec.encode(data))

    @overload
    def subscribe(
        self, *, buffer: int = ..., overflow: Overflow = ..., gaps: Literal[False] = ...
    ) -> Subscription[Message]: ...
    @overload
    def subscribe(
        self, *, buffer: int = ..., overflow: Overflow = ..., gaps: Literal[True]
    ) -> Subscription[Message | Gap]: ...
    def subscribe(
        self, *, buffer: int = DEFAULT_SIZE, overflow: Overflow = "drop_oldest", gaps: bool = False
    ) -> Subscription[Message] | Subscription[Message | Gap]:
        """A subscription, to be opened by `with`.

        At most `buffer` messages wait to be read; `overflow` says what happens to further ones: drop_oldest,
        drop_newest, or error: SubscriptionOverflow when the reader has read up to them.  With `gaps`, a Gap stands
        where messages are missing.
        """
        held = Buffer(self.name, size=buffer, overflow=overflow, codec=self._codec)
        return Subscription(self.name, self._key, held, gaps=gaps, backend=self._backend)


class AsyncSubscription(_Subscription[Item]):
    """An open ear on a channel, for one asynchronous reader: `AsyncChannel.subscribe`.

    Iterating waits for messages; it ends when the client is closed.  A reader that is cancelled loses no message.
    """

    __slots__ = ("_signal",)
    _backend: AsyncGuard

    def __init__(self, name: str, key: bytes, buffer: Buffer, *, gaps: bool, backend: AsyncGuard) -> None:
        super().__init__(name, key, buffer, gaps=gaps, backend=backend)
        self._signal: AsyncSignal | None = None

    async def get(self, timeout: Duration | None = None) -> Item | None:
        """The next message; None if none came within `timeout`, or the subscription has ended."""
        if self._signal is None:
            raise self._not_open()
        ends_s = self._ends_s(timeout)
        while True:
            ended = self._buffer.ended
            item = self._take()
            left_s = self._left_s(ends_s)
            if item is not None or ended or (left_s is not None and left_s <= 0):
                return item
            await self._signal.wait(left_s)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        item = await self.get()
        if item is None:
            raise StopAsyncIteration
        return item

    async def __aenter__(self) -> Self:
        if self._signal is not None:
            raise self._not_open()
        self._signal = self._backend.signal()
        feed = _Feed(self._buffer, self._signal)
        await self._backend.subscribe(self._key, feed)
        self._feed = feed
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncChannel:
    """A channel for asynchronous callers: `AsyncClient.channel`."""

    __slots__ = ("_backend", "_codec", "_key", "name")

    def __init__(self, name: str, *, keys: Keys, codec: Codec, backend: AsyncGuard) -> None:
        self.name: Final = name
        self._key = keys.channel(name)
        self._codec = codec
        self._backend = backend

    async def publish(self, data: object) -> int:
        """How many clients got the message.  It is not kept: who listens later does not get it."""
        return await self._backend.publish(self._key, self._codec.encode(data))

    @overload
    def subscribe(
        self, *, buffer: int = ..., overflow: Overflow = ..., gaps: Literal[False] = ...
    ) -> AsyncSubscription[Message]: ...
    @overload
    def subscribe(
        self, *, buffer: int = ..., overflow: Overflow = ..., gaps: Literal[True]
    ) -> AsyncSubscription[Message | Gap]: ...
    def subscribe(
        self, *, buffer: int = DEFAULT_SIZE, overflow: Overflow = "drop_oldest", gaps: bool = False
    ) -> AsyncSubscription[Message] | AsyncSubscription[Message | Gap]:
        """A subscription, to be opened by `async with`.

        At most `buffer` messages wait to be read; `overflow` says what happens to further ones: drop_oldest,
        drop_newest, or error: SubscriptionOverflow when the reader has read up to them.  With `gaps`, a Gap stands
        where messages are missing.
        """
        held = Buffer(self.name, size=buffer, overflow=overflow, codec=self._codec)
        return AsyncSubscription(self.name, self._key, held, gaps=gaps, backend=self._backend)
