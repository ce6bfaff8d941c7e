"""Who listens to what on which nodes of a cluster, and how everybody is moved when nodes change.  No I/O.

A channel is listened to on the node of its hash slot, where publishers send to.  A topic is that of a waiter who is
woken by scripts on any node: it is listened to on all of them; being woken twice does no harm.

When a node dies its slots go to another one, and so do its listeners, who are told of a gap as after any lost
connection.  `moving` says what is to be done, step by step; the transports do it.
"""

from collections.abc import Callable, Generator
from typing import Final, NamedTuple

from coordkit.transports.address import Address
from coordkit.transports.base import Listener
from coordkit.transports.slots import SlotMap, slot_of

PAUSE_FIRST_S: Final = 0.1
PAUSE_MAX_S: Final = 0.5


class Seat:
    """One listener, and the nodes where it listens."""

    __slots__ = ("channel", "listener", "nodes", "topic")

    def __init__(self, channel: bytes, listener: Listener, topic: bytes | None, nodes: list[Address]) -> None:
        self.channel = channel
        self.listener = listener
        self.topic = topic
        self.nodes = nodes

    def wanted(self, slots: SlotMap) -> list[Address]:
        """Where it should listen."""
        return places(slots, self.channel, self.topic)


def places(slots: SlotMap, channel: bytes, topic: bytes | None) -> list[Address]:
    """Where the channel is listened to.  Raises ServerUnavailable if nobody is known to serve it."""
    return [slots.owner(slot_of(channel))] if topic is None else list(slots.nodes)


def same(nodes: list[Address], others: list[Address]) -> bool:
    """Whether these are the same nodes, in whatever order."""
    return len(nodes) == len(others) and all(node in others for node in nodes)


class Audience:
    """All listeners of one event loop, or of all threads."""

    __slots__ = ("_seats",)

    def __init__(self) -> None:
        self._seats: dict[tuple[bytes, bytes | None, int], Seat] = {}

    def add(self, channel: bytes, listener: Listener, topic: bytes | None, nodes: list[Address]) -> None:
        """It listens there."""
        self._seats[channel, topic, id(listener)] = Seat(channel, listener, topic, nodes)

    def remove(self, channel: bytes, listener: Listener, topic: bytes | None) -> None:
        """It does not listen any more."""
        self._seats.pop((channel, topic, id(listener)), None)

    def holds(self, seat: Seat) -> bool:
        """Whether it still listens."""
        return self._seats.get((seat.channel, seat.topic, id(seat.listener))) is seat

    def seats(self) -> list[Seat]:
        """All of them."""
        return list(self._seats.values())

    def misplaced(self, slots: SlotMap) -> list[Seat]:
        """Those that listen elsewhere than they should."""
        return [seat for seat in self.seats() if not same(seat.nodes, seat.wanted(slots))]


class Refresh(NamedTuple):
    """Read the map; the result is whether that succeeded."""


class Join(NamedTuple):
    """Listen on one more node; the result is whether that succeeded."""

    seat: Seat
    node: Address


class Leave(NamedTuple):
    """Stop listening on a node."""

    seat: Seat
    node: Address


class Pause(NamedTuple):
    """Let time pass."""

    seconds: float


Step = Refresh | Join | Leave | Pause
Moving = Generator[Step, bool, None]


def moving(audience: Audience, slots: SlotMap, hears: Callable[[Address, bytes], bool]) -> Moving:
    """The steps until everybody listens where messages come by; `hears` says whether a node's connection is there."""
    pause_s = PAUSE_FIRST_S
    while True:
        settled = yield Refresh()
        for seat in audience.misplaced(slots) if settled else ():
            settled = (yield from _move(audience, slots, seat)) and settled
        if settled and all(hears(node, seat.channel) for seat in audience.seats() for node in seat.nodes):
            return
        yield Pause(pause_s)
        pause_s = min(2 * pause_s, PAUSE_MAX_S)


def _move(audience: Audience, slots: SlotMap, seat: Seat) -> Generator[Step, bool, bool]:
    """Whether the listener has arrived, or is gone."""
    wanted = seat.wanted(slots)
    for node in wanted:
        if node not in seat.nodes and not (yield Join(seat, node)):
            return False
    left = [node for node in seat.nodes if node not in wanted] if audience.holds(seat) else wanted
    for node in left:
        yield Leave(seat, node)
    if audience.holds(seat):
        seat.nodes = wanted
        seat.listener.on_gap()
    return True
