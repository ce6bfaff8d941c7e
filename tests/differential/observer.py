"""A second pair of eyes on a server: what its keyspace events say, and how many changes it counts."""

from tests.differential.client import RawClient
from tests.peers import Peer

MARK = b"end-of-command"
PATTERN = b"__key*__:*"

Event = tuple[object, object]


class Observer:
    """A second pair of eyes on a server: a subscriber, and a connection that asks and marks."""

    def __init__(self, peer: Peer) -> None:
        self.control = RawClient(peer.host, peer.port)
        self.listener = RawClient(peer.host, peer.port)
        self.control.call("FLUSHALL")
        self.control.call("CONFIG", "SET", "notify-keyspace-events", "KEAmn")
        self.control.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        self.listener.call("SUBSCRIBE", MARK)
        self.listener.call("PSUBSCRIBE", PATTERN)

    def events(self) -> tuple[Event, ...]:
        """The (channel, message) of the events since the last call."""
        self.control.call("PUBLISH", MARK, "")
        found: list[Event] = []
        while True:
            _, message = self.listener.read()
            assert isinstance(message, tuple)
            if message[1][1] == MARK:
                return tuple(_without_order(found))
            found.append((message[2][1], message[3][1]))

    def close(self) -> None:
        """End both connections; events are off again, keys expire by themselves."""
        self.control.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
        self.control.call("CONFIG", "SET", "notify-keyspace-events", "")
        self.control.close()
        self.listener.close()


def _without_order(events: list[Event]) -> list[Event]:
    """The events with each run of misses sorted: SORT looks for keys in an order of the server's own."""
    found: list[Event] = []
    misses: list[Event] = []
    for event in events:
        if _is_miss(event):
            misses.append(event)
        else:
            found += [*sorted(misses, key=repr), event]
            misses = []
    return [*found, *sorted(misses, key=repr)]


def _is_miss(event: Event) -> bool:
    return event[1] == b"keymiss" or (isinstance(event[0], bytes) and event[0].endswith(b":keymiss"))
