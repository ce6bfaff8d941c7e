"""Publish and subscribe: channels, patterns and shard channels, each to the subscribers in order of subscription."""

from typing import Final

from mypy_extensions import trait

from coordkit_server import glob
from coordkit_server.keyspace.notify import KEYEVENT, KEYSPACE, EventSink
from coordkit_server.resp.reply import PushReply


@trait
class Subscriber:
    """A client that receives messages."""

    def deliver(self, message: PushReply) -> None:
        """Queue `message` for sending."""
        raise NotImplementedError


Registry = dict[bytes, dict[Subscriber, None]]


class PubSub(EventSink):
    """Who listens to what."""

    def __init__(self) -> None:
        self.channels: Final[Registry] = {}
        self.patterns: Final[Registry] = {}
        self.shard_channels: Final[Registry] = {}

    def publish(self, channel: bytes, payload: bytes) -> int:
        """Send `payload` to the subscribers of `channel` and of matching patterns; return how many received it."""
        receivers = 0
        subscribers = self.channels.get(channel)
        if subscribers is not None:
            message = PushReply([b"message", channel, payload])
            for subscriber in subscribers:
                subscriber.deliver(message)
            receivers += len(subscribers)
        for pattern, listeners in self.patterns.items():
            if glob.match(pattern, channel):
                message = PushReply([b"pmessage", pattern, channel, payload])
                for subscriber in listeners:
                    subscriber.deliver(message)
                receivers += len(listeners)
        return receivers

    def publish_shard(self, channel: bytes, payload: bytes) -> int:
        """Send `payload` to the subscribers of the shard channel `channel`; return how many received it."""
        subscribers = self.shard_channels.get(channel)
        if subscribers is None:
            return 0
        message = PushReply([b"smessage", channel, payload])
        for subscriber in subscribers:
            subscriber.deliver(message)
        return len(subscribers)

    def publish_event(self, flags: int, db_index: int, event: bytes, key: bytes) -> None:
        """Publish a keyspace event: `__keyspace@N__:key` gets the event, `__keyevent@N__:event` the key."""
        if flags & KEYSPACE:
            self.publish(b"__keyspace@%d__:%b" % (db_index, key), event)
        if flags & KEYEVENT:
            self.publish(b"__keyevent@%d__:%b" % (db_index, event), key)


def add(registry: Registry, name: bytes, subscriber: Subscriber) -> bool:
    """Subscribe to `name`; return False if it was subscribed already."""
    subscribers = registry.get(name)
    if subscribers is None:
        registry[name] = {subscriber: None}
        return True
    if subscriber in subscribers:
        return False
    subscribers[subscriber] = None
    return True


def remove(registry: Registry, name: bytes, subscriber: Subscriber) -> bool:
    """End a subscription; return False if there was none."""
    subscribers = registry.get(name)
    if subscribers is None or subscriber not in subscribers:
        return False
    del subscribers[subscriber]
    if not subscribers:
        del registry[name]
    return True
