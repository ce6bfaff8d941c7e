"""The sorted set structure: against a plain model, and what the packed form keeps."""

from math import copysign, inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.zset import ZSetValue
from coordkit_server.testing import EvenScores

SCORES = st.sampled_from([-1.5, -0.0, 0.0, 1.0, 2.0, float("inf"), float("-inf")])
STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "set", "set", "remove", "pop_low", "pop_high"]), st.integers(0, 40), SCORES),
    max_size=120,
)
# lengths around what a record of a small set can hold
MEMBERS = st.one_of(
    st.binary(max_size=3),
    st.integers(0, 60).map(lambda number: b"member:%04d" % number),
    st.sampled_from([b"x" * 255, b"x" * 254 + b"y", b"x" * 256, b"\0", b"\xff" * 9]),
)


def small_limits() -> Limits:
    limits = Limits()
    limits.zset_max_listpack_entries = 8
    limits.zset_max_listpack_value = 5
    return limits


def ordered(model: dict[bytes, float]) -> list[tuple[float, bytes]]:
    return sorted((score, member) for member, score in model.items())


@settings(max_examples=60)
@given(STEPS)
def test_zset_agrees_with_a_dictionary(steps: list[tuple[str, int, float]]) -> None:
    value, model, limits = ZSetValue(), dict[bytes, float](), small_limits()
    for name, number, score in steps:
        member = b"m%d" % number
        if name == "set":
            assert value.set(member, score, limits) == (member not in model)
            model[member] = score
        elif name == "remove":
            assert value.remove(member) == (model.pop(member, None) is not None)
        elif model:
            expected = ordered(model)[-1 if name == "pop_high" else 0]
            assert value.pop(name == "pop_high") == expected
            del model[expected[1]]
        assert value.length() == len(model)
        assert value.scores() == model
        assert value.rank(b"absent") == -1
    scores, members = value.range(0, value.length())
    assert list(zip(scores, members, strict=True)) == ordered(model)
    assert [value.rank(member) for member in members] == list(range(len(model)))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(MEMBERS, SCORES), max_size=40),
    st.sampled_from([0, 20, 126, 127, 128, 129, 300]),
    st.lists(st.one_of(MEMBERS, st.integers(0, 400)), max_size=30),
)
def test_zset_small_and_large_answers_as_a_sorted_list(
    pairs: list[tuple[bytes, float]], others: int, doomed: list[bytes | int]
) -> None:
    value, model, limits = ZSetValue(), dict[bytes, float](), Limits()
    for member, score in [*pairs, *((b"other:%d" % number, float(number % 5)) for number in range(others))]:
        value.set(member, score, limits)
        model[member] = score
    agree(value, model)
    for choice in doomed:
        if isinstance(choice, bytes):
            assert value.remove(choice) == (model.pop(choice, None) is not None)
        elif choice < len(model):
            stop = min(choice + 3, len(model))
            for _, member in ordered(model)[choice:stop]:
                del model[member]
            value.remove_range(choice, stop)
    agree(value, model)


def agree(value: ZSetValue, model: dict[bytes, float]) -> None:
    """Compare everything that can be asked."""
    pairs = ordered(model)
    assert value.length() == len(pairs)
    assert value.scores() == model
    scores, members = value.range(0, len(pairs))
    assert list(zip(scores, members, strict=True)) == pairs
    assert value.even() == (len(set(model.values())) <= 1)
    for rank in range(0, len(pairs), max(1, len(pairs) // 20)):
        score, member = pairs[rank]
        assert (value.at(rank), value.rank(member), value.score(member)) == (pairs[rank], rank, score)
        assert value.range(rank, min(rank + 5, len(pairs)))[1] == [name for _, name in pairs[rank : rank + 5]]
        assert value.members(rank, min(rank + 5, len(pairs))) == [name for _, name in pairs[rank : rank + 5]]
        for inclusive in (False, True):
            below = sum(1 for other, _ in pairs if other < score or (inclusive and other == score))
            assert value.count_below(score, inclusive) == below
            if value.even():
                assert value.count_before(member, inclusive) == rank + inclusive
    for low, high in ((-inf, inf), (0.0, 2.0), (1.0, 1.0), (2.0, inf), (3.0, -3.0)):
        assert value.wanted(low, high, EvenScores()) == [
            name for score, name in pairs if low <= score < high and score % 2 == 0
        ]
    for absent in (b"", b"absent", b"x" * 257):
        if absent not in model:
            assert (value.score(absent), value.rank(absent)) == (None, -1)


@pytest.mark.parametrize("count, member_bytes", [(128, 10), (129, 10), (16, 250), (17, 250), (1, 255), (1, 256)])
def test_zset_that_outgrows_its_records_keeps_its_members(count: int, member_bytes: int) -> None:
    value, names = ZSetValue(), [b"%0*d" % (member_bytes, number) for number in range(count)]
    for number, name in enumerate(names):
        value.set(name, float(number), Limits())
    is_small = count <= 128 and member_bytes <= 255 and count * (member_bytes + 9) <= 4096
    assert (value.small_bytes() > 0) == is_small
    assert value.range(0, count)[1] == value.members(0, count) == names


def test_scan_small_set_that_is_not_packed_returns_all_members() -> None:
    value = ZSetValue()
    for number in range(30):
        value.set(b"%d" % number, 1.0, Limits())
    value.packed = False
    cursor, seen = value.scan(0, 7)
    while cursor:
        cursor, step = value.scan(cursor, 7)
        seen += step
    assert sorted(seen) == sorted(b"%d" % number for number in range(30))


def test_set_zero_in_the_packed_form_has_no_sign() -> None:
    value = ZSetValue()
    value.set(b"new", -0.0, Limits())
    value.set(b"old", 1.0, Limits())
    value.set(b"old", -0.0, Limits())
    assert [copysign(1.0, score) for score in value.scores().values()] == [1.0, 1.0]
    assert [copysign(1.0, score) for score in value.range(0, 2)[0]] == [1.0, 1.0]


def test_set_zero_in_the_large_form_keeps_its_sign() -> None:
    value = ZSetValue()
    value.set(b"longer than that", 1.0, small_limits())
    value.set(b"zero", -0.0, small_limits())
    assert copysign(1.0, value.scores()[b"zero"]) == -1.0


def test_set_the_member_that_ends_the_packed_form_keeps_its_sign() -> None:
    value, limits = ZSetValue(), small_limits()
    for number in range(limits.zset_max_listpack_entries):
        value.set(b"%d" % number, 1.0, limits)
    assert value.encoding() == b"listpack"
    value.set(b"last", -0.0, limits)
    assert (value.encoding(), copysign(1.0, value.scores()[b"last"])) == (b"skiplist", -1.0)


def test_expect_more_members_than_fit_ends_the_packed_form() -> None:
    value, limits = ZSetValue(), small_limits()
    value.expect(limits.zset_max_listpack_entries, limits)
    assert value.packed
    value.expect(limits.zset_max_listpack_entries + 1, limits)
    assert not value.packed


def test_even_tells_whether_all_scores_are_equal() -> None:
    value = ZSetValue()
    assert value.even()
    for number in range(2000):
        value.set(b"%d" % number, 3.0, Limits())
    assert value.even()
    value.set(b"other", 4.0, Limits())
    assert not value.even()


def test_scan_large_set_returns_every_member_that_stays() -> None:
    value, limits = ZSetValue(), small_limits()
    for number in range(100):
        value.set(b"%d" % number, float(number), limits)
    seen: set[bytes] = set()
    cursor, step = value.scan(0, 7)
    seen.update(step)
    removed = 0
    while cursor:
        value.remove(b"%d" % removed)
        removed += 1
        cursor, step = value.scan(cursor, 7)
        seen.update(step)
    assert {b"%d" % number for number in range(removed, 100)} <= seen


def test_copy_is_independent() -> None:
    value = ZSetValue()
    for number in range(1500):
        value.set(b"%d" % number, float(number % 7), Limits())
    twin = value.copy()
    assert isinstance(twin, ZSetValue)
    value.remove(b"700")
    assert (twin.length(), twin.rank(b"700") >= 0, value.length()) == (1500, True, 1499)
