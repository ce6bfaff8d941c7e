"""The sorted set structure: against a plain model, and what the packed form keeps."""

from math import copysign

from hypothesis import given, settings
from hypothesis import strategies as st

from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.zset import ZSetValue

SCORES = st.sampled_from([-1.5, -0.0, 0.0, 1.0, 2.0, float("inf"), float("-inf")])
STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "set", "set", "remove", "pop_low", "pop_high"]), st.integers(0, 40), SCORES),
    max_size=120,
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
        assert value.scores == model
        assert value.rank(b"absent") == -1
    scores, members = value.order.range(0, value.length())
    assert list(zip(scores, members, strict=True)) == ordered(model)
    assert [value.rank(member) for member in members] == list(range(len(model)))


def test_set_zero_in_the_packed_form_has_no_sign() -> None:
    value = ZSetValue()
    value.set(b"new", -0.0, Limits())
    value.set(b"old", 1.0, Limits())
    value.set(b"old", -0.0, Limits())
    assert [copysign(1.0, score) for score in value.scores.values()] == [1.0, 1.0]
    assert [copysign(1.0, score) for score in value.order.range(0, 2)[0]] == [1.0, 1.0]


def test_set_zero_in_the_large_form_keeps_its_sign() -> None:
    value = ZSetValue()
    value.set(b"longer than that", 1.0, small_limits())
    value.set(b"zero", -0.0, small_limits())
    assert copysign(1.0, value.scores[b"zero"]) == -1.0


def test_set_the_member_that_ends_the_packed_form_keeps_its_sign() -> None:
    value, limits = ZSetValue(), small_limits()
    for number in range(limits.zset_max_listpack_entries):
        value.set(b"%d" % number, 1.0, limits)
    assert value.encoding() == b"listpack"
    value.set(b"last", -0.0, limits)
    assert (value.encoding(), copysign(1.0, value.scores[b"last"])) == (b"skiplist", -1.0)


def test_expect_more_members_than_fit_ends_the_packed_form() -> None:
    value, limits = ZSetValue(), small_limits()
    value.expect(limits.zset_max_listpack_entries, limits)
    assert value.packed
    value.expect(limits.zset_max_listpack_entries + 1, limits)
    assert not value.packed


def test_even_tells_whether_all_scores_are_equal() -> None:
    value = ZSetValue()
    assert value.order.even()
    for number in range(2000):
        value.set(b"%d" % number, 3.0, Limits())
    assert value.order.even()
    value.set(b"other", 4.0, Limits())
    assert not value.order.even()


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
