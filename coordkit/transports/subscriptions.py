"""Who listens to which channel: the book-keeping of a subscription connection, with no I/O.

Waiters listen to one topic of a channel that they share, and come back to it again and again: such a channel
stays in the book for the linger time after its last waiter, so that coming back costs no round trip.  A channel
that was listened to as a whole is dropped with its last listener.  Not thread-safe: the blocking transport holds
its lock around every call.
"""

import logging
import math
from collections.abc import Callable, Iterator
from typing import Final, ParamSpec

from coordkit.transports.base import Listener

LINGER_S: Final = 5.0
"""How long a channel stays subscribed after its last waiter."""

P = ParamSpec("P")

log = logging.getLogger("coordkit")


class Channel:
    """The listeners of one channel; `confirmed` once the server said so."""

    __slots__ = ("confirmed", "idle_since_s", "lost", "name", "topics")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.confirmed = False
        self.lost = False
        self.idle_since_s: float | None = None
        self.topics: dict[bytes | None, list[Listener]] = {}

    def listeners(self) -> Iterator[Listener]:
        """All listeners, whatever their topic."""
        for listeners in list(self.topics.values()):
            yield from list(listeners)


class Subscriptions:
    """The channels of one connection."""

    __slots__ = ("channels",)

    def __init__(self) -> None:
        self.channels: dict[bytes, Channel] = {}

    def add(self, name: bytes, listener: Listener, topic: bytes | None) -> tuple[Channel, bool]:
        """The channel with the listener in it, and whether it is new: then it has to be subscribed on the
        server.
        """
        channel = self.channels.get(name)
        new = channel is None
        if channel is None:
            channel = self.channels[name] = Channel(name)
        channel.topics.setdefault(topic, []).append(listener)
        channel.idle_since_s = None
        return channel, new

    def add_if_open(self, name: bytes, listener: Listener, topic: bytes | None) -> bool:
        """Whether the channel is confirmed; then the listener is in it."""
        channel = self.channels.get(name)
        if channel is None or not channel.confirmed:
            return False
        self.add(name, listener, topic)
        return True

    def is_open(self, name: bytes) -> bool:
        """Whether the channel is confirmed."""
        channel = self.channels.get(name)
        return channel is not None and channel.confirmed

    def remove(self, name: bytes, listener: Listener, topic: bytes | None, *, now_s: float) -> bool:
        """Whether the channel has lost its last listener."""
        channel = self.channels.get(name)
        listeners = channel.topics.get(topic) if channel else None
        if channel is None or listeners is None or listener not in listeners:
            return False
        listeners.remove(listener)
        if not listeners:
            del channel.topics[topic]
        if not channel.topics:
            # While a confirmation is still to come, it could be taken for that of the next subscription.
            channel.idle_since_s = now_s if topic is not None or not channel.confirmed else -math.inf
        return not channel.topics

    def drop_idle(self, *, now_s: float) -> list[bytes]:
        """The channels whose time without listeners is over, now out of the book: unsubscribe them."""
        idle = [
            channel.name
            for channel in self.channels.values()
            if channel.idle_since_s is not None and now_s - channel.idle_since_s >= LINGER_S
        ]
        for name in idle:
            del self.channels[name]
        return idle

    def confirm(self, name: bytes) -> None:
        """The server confirmed the subscription; if it had been lost, its listeners hear that there was a
        gap.
        """
        channel = self.channels.get(name)
        if channel is None:
            return
        channel.confirmed = True
        if channel.lost:
            channel.lost = False
            for listener in channel.listeners():
                _tell(name, listener.on_gap)

    def dispatch(self, name: bytes, payload: bytes) -> None:
        """Hand a message to the listeners of its channel: those of its topic, then those of all topics."""
        channel = self.channels.get(name)
        if channel is None:
            return
        for topic in (payload, None):
            for listener in list(channel.topics.get(topic, ())):
                _tell(name, listener.on_message, name, payload)

    def lost(self) -> None:
        """The connection is gone: what was confirmed has to be confirmed again."""
        for channel in self.channels.values():
            channel.lost = channel.lost or channel.confirmed
            channel.confirmed = False

    def close(self) -> None:
        """The client is closed: all listeners hear it, and the book is empty."""
        closed = list(self.channels.values())
        self.channels.clear()
        for channel in closed:
            for listener in channel.listeners():
                _tell(channel.name, listener.on_close)


def _tell(name: bytes, tell: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    try:
        tell(*args, **kwargs)
    except Exception:  # one bad listener must not deafen the others
        log.exception("a listener of channel %r failed", name)
