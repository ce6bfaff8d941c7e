"""The list structure beside a plain Python list, its cost at both ends, its encoding."""

from time import thread_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.list import ListValue
from coordkit_server.datatypes.listpack import HEADER_BYTES, entries_bytes, entry_bytes

ELEMENTS = st.sampled_from([b"", b"a", b"b", b"7", b"-300"])


def filled(elements: list[bytes]) -> ListValue:
    value = ListValue()
    for element in elements:
        value.push_right(element)
    return value


def everything(value: ListValue) -> list[bytes]:
    return value.range(0, value.length())


class Pair:
    """A list value and the plain list it has to equal."""

    def __init__(self, elements: list[bytes]) -> None:
        self.value = filled(elements)
        self.plain = list(elements)

    def apply(self, action: int, place: int, element: bytes) -> None:
        value, plain = self.value, self.plain
        size = len(plain)
        index = place % size if size else 0
        if action == 0:
            value.push_left(element)
            plain.insert(0, element)
        elif action == 1:
            value.push_right(element)
            plain.append(element)
        elif action == 2 and size:
            assert value.pop_left() == plain.pop(0)
        elif action == 3 and size:
            assert value.pop_right() == plain.pop()
        elif action == 4:
            assert value.take_left(index) == plain[:index]
            del plain[:index]
        elif action == 5:
            assert value.take_right(index) == plain[size - index :][::-1]
            del plain[size - index :]
        elif action == 6 and size:
            value.set_at(index, element)
            plain[index] = element
        elif action == 7:
            value.insert(index, element)
            plain.insert(index, element)
        elif action == 8:
            stop = min(size, index + place % 7)
            value.keep(index, stop)
            self.plain = plain[index:stop]
        elif action == 9:
            count = place % 5 - 2
            assert value.remove(element, count) == self.remove(element, count)

    def remove(self, element: bytes, count: int) -> int:
        found = [at for at, item in enumerate(self.plain) if item == element]
        found = found[count:] if count < 0 else found[: count or None]
        self.plain = [item for at, item in enumerate(self.plain) if at not in found]
        return len(found)


@given(
    start=st.lists(ELEMENTS, max_size=60),
    steps=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99), ELEMENTS), max_size=80),
)
def test_list_value_any_steps_equals_a_plain_list(start: list[bytes], steps: list[tuple[int, int, bytes]]) -> None:
    pair = Pair(start)
    for action, place, element in steps:
        pair.apply(action, place, element)
        assert everything(pair.value) == pair.plain
    assert [pair.value.at(i) for i in range(len(pair.plain))] == pair.plain
    twin = pair.value.copy()
    pair.value.push_left(b"later")
    assert isinstance(twin, ListValue)
    assert everything(twin) == pair.plain


@given(
    elements=st.lists(ELEMENTS, max_size=40),
    gap=st.integers(0, 20),
    element=ELEMENTS,
    rank=st.integers(-4, 4).filter(bool),
    wanted=st.integers(0, 3),
    looked_at=st.integers(0, 45),
)
def test_positions_bounded_search_finds_what_a_loop_finds(
    elements: list[bytes], gap: int, element: bytes, rank: int, wanted: int, looked_at: int
) -> None:
    value = filled([b""] * gap + elements)
    value.take_left(gap)  # leaves empty places in front, equal to an empty element
    order = list(enumerate(elements))
    if rank < 0:
        order.reverse()
    matches = [at for at, item in order[: looked_at or None] if item == element]
    expected = matches[abs(rank) - 1 :][: wanted or None]
    assert value.positions(element, rank=rank, wanted=wanted, looked_at=looked_at) == expected


@pytest.mark.parametrize(
    "count, left",
    [
        (0, b"abc"),
        (1, b"abxcx"),
        (2, b"abcx"),
        (3, b"abc"),
        (9, b"abc"),
        (-1, b"axbxc"),
        (-2, b"axbc"),
        (-3, b"abc"),
        (-9, b"abc"),
    ],
)
def test_remove_any_count_drops_that_many_from_that_end(count: int, left: bytes) -> None:
    value = filled([b"gap", b"a", b"x", b"b", b"x", b"c", b"x"])
    value.pop_left()
    assert value.remove(b"x", count) == 6 - len(left)
    assert everything(value) == [bytes([char]) for char in left]


def seconds_to_drain(size: int) -> float:
    """Processor time of 1,000 times one push and two pops: each push may make a gap, each second pop may close it."""
    value = filled([b"x"] * size)
    start = thread_time()
    for _ in range(1000):
        value.push_left(b"y")
        value.pop_left()
        value.pop_left()
    return thread_time() - start


def test_push_and_pop_left_in_turn_cost_the_same_on_a_long_list() -> None:
    # to move 300,000 elements takes about a millisecond: once in every round that would be a second
    assert seconds_to_drain(300_000) < seconds_to_drain(2000) + 0.3


def test_drained_list_gives_its_places_back() -> None:
    for from_left in (True, False):
        value = filled([b"x"] * 10)
        for _ in range(5000):
            value.push_left(b"y")
        while value.length() > 3:
            if from_left:
                value.pop_left()
            else:
                value.pop_right()
        assert len(value._items) < 50


def test_expect_plain_lengths_over_the_limit_makes_a_quicklist() -> None:
    limits = Limits()
    for size, encoding in ((8185, b"listpack"), (8186, b"quicklist")):
        value = ListValue()
        value.expect([b"RPUSH", b"key", b"x" * size], 2, limits)
        assert value.encoding() == encoding


def test_shrink_half_the_limit_makes_a_listpack_again() -> None:
    limits = Limits()
    limits.list_max_listpack_size = 10
    value = ListValue()
    elements = [b"x"] * 11
    value.expect(elements, 0, limits)
    for element in elements:
        value.push_right(element)
    assert value.encoding() == b"quicklist"
    encodings = []
    while value.length() > 4:
        value.pop_left()
        value.shrink(limits)
        encodings.append((value.length(), value.encoding()))
    assert encodings[-3:] == [(6, b"quicklist"), (5, b"listpack"), (4, b"listpack")]


def test_entry_bytes_of_known_entries_equal_the_format() -> None:
    sizes = {
        b"": 2,
        b"0": 2,
        b"127": 2,
        b"128": 3,
        b"-4096": 3,
        b"4096": 4,
        b"-32769": 5,
        b"8388608": 6,
        b"2147483648": 10,
        b"-9223372036854775808": 10,
        b"9223372036854775808": 21,
        b"007": 5,
        b"-0": 4,
        b"x" * 63: 65,
        b"x" * 64: 67,
        b"x" * 125: 128,
        b"x" * 126: 130,
        b"x" * 4096: 4103,
    }
    assert {element: entry_bytes(element) for element in sizes} == sizes


def test_size_after_changes_equals_a_fresh_count() -> None:
    value = filled([b"x" * 100, b"5", b"abc", b"5", b"700"])
    value.set_at(0, b"1")
    value.remove(b"5", 0)
    value.insert(1, b"-9")
    value.take_right(1)
    limits = Limits()
    limits.list_max_listpack_size = -1
    size = HEADER_BYTES + entries_bytes(everything(value))
    for spare in (0, 1):
        twin = value.copy()
        assert isinstance(twin, ListValue)
        twin.expect([b"z" * (4096 - size + spare)], 0, limits)
        assert twin.encoding() == (b"quicklist" if spare else b"listpack")
