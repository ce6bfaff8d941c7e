"""Who listens to which channel: the book-keeping of a subscription connection, with no I/O.

A channel stays in the book without listeners until `drop` removes it, so that a waiter who comes back within
the linger time costs no round trip.  Not thread-safe: the blocking transport holds its lock around every
call.
"""

import logging
from collections.abc import Iterator
from typing import Final

from coordkit.transports.base import Listener

LINGER_S: Final = 5.0
"""How long a channel nobody listens to stays subscribed."""

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
            channel.idle_since_s = now_s
        return not channel.topics

    def drop_idle(self, *, now_s: float) -> list[bytes]:
        """The channels that nobody has listened to for LINGER_S, now out of the book: unsubscribe them."""
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
                _tell(listener, name, None)

    def dispatch(self, name: bytes, payload: bytes) -> None:
        """Hand a message to the listeners of its channel: those of its topic, then those of all topics."""
        channel = self.channels.get(name)
        if channel is None:
            return
        for topic in (payload, None):
            for listener in list(channel.topics.get(topic, ())):
                _tell(listener, name, payload)

    def lost(self) -> None:
        """The connection is gone: what was confirmed has to be confirmed again."""
        for channel in self.channels.values():
            channel.lost = channel.lost or channel.confirmed
            channel.confirmed = False


def _tell(listener: Listener, name: bytes, payload: bytes | None) -> None:
    try:
        if payload is None:
            listener.on_gap()
        else:
            listener.on_message(name, payload)
    except Exception:  # one bad listener must not deafen the others
        log.exception("a listener of channel %r failed", name)
