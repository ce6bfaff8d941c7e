"""How listeners of a cluster are moved when nodes change: steps and results, with no server."""

import pytest

from coordkit.transports.address import Address
from coordkit.transports.audience import Audience, Join, Leave, Moving, Pause, Refresh, Step, moving, places, same
from coordkit.transports.slots import SlotMap, slot_of

A, B, C = (Address(host="n", port=port) for port in (1, 2, 3))


class Ear:
    def __init__(self) -> None:
        self.gaps = 0

    def on_message(self, channel: bytes, payload: bytes) -> None: ...

    def on_gap(self) -> None:
        self.gaps += 1

    def on_close(self) -> None: ...


def slots(low: Address, high: Address) -> SlotMap:
    known = SlotMap((A,))
    tell(known, low, high)
    return known


def tell(known: SlotMap, low: Address, high: Address) -> None:
    known.learn([[0, 8191, [b"n", low.port]], [8192, 16383, [b"n", high.port]]], A)


LOW = next(b"c%d" % number for number in range(100) if slot_of(b"c%d" % number) < 8192)


def drive(plan: Moving, *results: bool) -> list[Step]:
    """The steps, the first without a result."""
    steps = [next(plan)]
    steps.extend(plan.send(result) for result in results)
    return steps


def test_listener_moves_to_the_node_that_has_its_slot_and_hears_of_a_gap() -> None:
    known, audience, ear = slots(A, B), Audience(), Ear()
    audience.add(LOW, ear, None, places(known, LOW, None))
    plan = moving(audience, known, lambda _node, _channel: True)
    assert next(plan) == Refresh()
    tell(known, C, B)
    [seat] = audience.seats()
    assert plan.send(True) == Join(seat, C)
    assert plan.send(True) == Leave(seat, A)
    with pytest.raises(StopIteration):
        plan.send(True)
    assert (ear.gaps, seat.nodes) == (1, [C])


def test_moving_goes_on_until_the_map_is_read_and_every_node_is_heard() -> None:
    known, audience, ear = slots(A, B), Audience(), Ear()
    audience.add(LOW, ear, None, [A])
    heard = False
    plan = moving(audience, known, lambda _node, _channel: heard)
    steps = drive(plan, False, True, True, True)
    assert [type(step) for step in steps] == [Refresh, Pause, Refresh, Pause, Refresh]
    heard = True
    with pytest.raises(StopIteration):
        plan.send(True)
    assert ear.gaps == 0  # its own connection has told it


def test_node_that_cannot_be_joined_is_tried_again() -> None:
    known, audience, ear = slots(C, B), Audience(), Ear()
    audience.add(LOW, ear, None, [A])
    steps = drive(moving(audience, known, lambda _node, _channel: True), True, False, True, True)
    assert [type(step) for step in steps] == [Refresh, Join, Pause, Refresh, Join]
    assert ear.gaps == 0


def test_listener_that_leaves_while_it_is_moved_is_nowhere_afterwards() -> None:
    known, audience, ear = slots(C, B), Audience(), Ear()
    audience.add(LOW, ear, None, [A])
    plan = moving(audience, known, lambda _node, _channel: True)
    seat = audience.seats()[0]
    assert drive(plan, True) == [Refresh(), Join(seat, C)]
    audience.remove(LOW, ear, None)
    assert plan.send(True) == Leave(seat, C)
    with pytest.raises(StopIteration):
        plan.send(True)
    assert ear.gaps == 0


def test_topic_is_listened_to_on_all_nodes_in_any_order() -> None:
    known, audience = slots(A, B), Audience()
    audience.add(LOW, Ear(), b"t", [B, A])
    assert audience.misplaced(known) == []
    assert not same([A], [A, B])
