"""Data structures against plain models."""

from bisect import insort
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.list import ListValue
from coordkit_server.datatypes.member_index import MemberIndex
from coordkit_server.datatypes.sorted_members import CHUNK_MAX, FANOUT, SortedMembers

SCORES = st.sampled_from([-1.0, 0.0, 1.0, 2.5, float("inf")])
MEMBERS = st.integers(0, 3000).map(lambda n: b"m%04d" % n)


def filled(pairs: dict[bytes, float]) -> tuple[SortedMembers, list[tuple[float, bytes]]]:
    order = SortedMembers()
    for member, score in pairs.items():
        order.insert(score, member)
    return order, sorted((score, member) for member, score in pairs.items())


@settings(max_examples=30)
@given(st.dictionaries(MEMBERS, SCORES, max_size=60), st.integers(0, 3))
def test_sorted_members_agree_with_a_sorted_list(pairs: dict[bytes, float], copies: int) -> None:
    big = {b"%d:" % i + member: score for i in range(copies * 20) for member, score in pairs.items()}
    order, model = filled(big)
    assert order.size() == len(model)
    scores, members = order.range(0, len(model))
    assert list(zip(scores, members, strict=True)) == model
    for rank in range(0, len(model), max(1, len(model) // 17)):
        score, member = model[rank]
        assert order.at(rank) == model[rank]
        assert order.rank(score, member) == rank
        for inclusive in (False, True):
            below = sum(1 for other, _ in model if other < score or (inclusive and other == score))
            assert order.count_below(score, inclusive) == below


def test_sorted_members_stay_right_through_splits_and_merges() -> None:
    size = CHUNK_MAX * 6
    order, model = filled({b"%05d" % (i * 7919 % size): float(i % 5) for i in range(size)})
    for step, (score, member) in enumerate(model[::3] + model[1::3]):
        order.remove(score, member)
        if step % 500 == 0:
            left = sorted(set(model) - set((model[::3] + model[1::3])[: step + 1]))
            assert [order.at(rank) for rank in range(order.size())] == left
    rest = model[2::3]
    assert order.pop_first() == rest[0]
    assert order.pop_last() == rest[-1]
    twin = order.copy()
    while order.size():
        order.pop_first()
    assert order.range(0, 0) == ([], [])
    assert twin.range(0, twin.size())[1] == [member for _, member in rest[1:-1]]


def test_sorted_members_ranks_stay_right_between_changes() -> None:
    random, order = Random(7), SortedMembers()
    size = CHUNK_MAX * FANOUT * FANOUT // 2 + 5000  # chunks are half full after a fill in order: two levels of sums
    for number in range(size):
        order.insert(float(number), b"")
    assert order.at(size - 1) == (float(size - 1), b"")
    model = [(float(number), b"") for number in range(size)]
    for _ in range(600):
        if random.random() < 0.5:
            gone = model.pop(random.randrange(len(model)))
            order.remove(*gone)
        else:
            new = (random.random() * size, b"new")
            insort(model, new)
            order.insert(*new)
        rank = random.randrange(len(model))
        assert order.at(rank) == model[rank]
        assert order.rank(*model[rank]) == rank
        assert order.count_below(model[rank][0], True) == rank + 1
    scores, members = order.range(0, order.size())
    assert list(zip(scores, members, strict=True)) == model


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["push_left", "push_right"]), st.binary(max_size=2)),
        st.tuples(st.sampled_from(["pop_left", "pop_right"]), st.just(b"")),
        st.tuples(st.just("remove"), st.binary(max_size=2)),
        st.tuples(st.just("insert"), st.binary(max_size=2)),
    ),
    max_size=80,
)


@given(OPERATIONS)
def test_list_agrees_with_a_python_list(operations: list[tuple[str, bytes]]) -> None:
    value, model = ListValue(), list[bytes]()
    for name, element in operations:
        match name:
            case "push_left":
                value.push_left(element)
                model.insert(0, element)
            case "push_right":
                value.push_right(element)
                model.append(element)
            case "pop_left" if model:
                assert value.pop_left() == model.pop(0)
            case "pop_right" if model:
                assert value.pop_right() == model.pop()
            case "insert":
                value.insert(len(model) // 2, element)
                model.insert(len(model) // 2, element)
            case "remove":
                expected = model.count(element)
                assert value.remove(element, 0) == expected
                model = [item for item in model if item != element]
        value.shrink(Limits())
        assert value.range(0, value.length()) == model


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=150), st.integers(1, 7))
def test_member_index_scan_returns_what_was_there_all_the_time(moves: list[tuple[bool, int]], count: int) -> None:
    members = {b"%d" % i for i in range(20)}
    index, stable, seen = MemberIndex(members), set(members), set[bytes]()
    cursor, pending = 0, iter(moves)
    for _ in range(200):
        cursor, page = index.scan(cursor, count)
        seen.update(page)
        if cursor == 0:
            break
        for insert, number in [move for _, move in zip(range(3), pending, strict=False)]:
            member = b"%d" % number
            if insert and member not in members:
                members.add(member)
                index.add(member)
            elif not insert and member in members:
                members.remove(member)
                index.remove(member)
                stable.discard(member)
    assert cursor == 0
    assert stable <= seen
    assert index.size() == len(members)
