"""The set structure and set algebra: encodings, order, random members, SCAN's guarantee."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.set import SetValue, difference, intersection, stored_intersection, union

MEMBERS = st.lists(st.sampled_from([b"%d" % i for i in range(-3, 9)] + [b"x", b"y", b"007", b""]), max_size=20)


def small_limits() -> Limits:
    limits = Limits()
    limits.set_max_intset_entries = 6
    limits.set_max_listpack_entries = 4
    limits.set_max_listpack_value = 10
    return limits


def filled(members: list[bytes], limits: Limits) -> SetValue:
    value = SetValue()
    for member in members:
        value.add(member, limits)
    return value


def test_listed_intset_is_sorted_by_value() -> None:
    value = filled([b"10", b"-2", b"9"], Limits())
    assert (value.encoding(), value.listed()) == (b"intset", [b"-2", b"9", b"10"])
    value.add(b"0", Limits())
    assert value.listed() == [b"-2", b"0", b"9", b"10"]


def test_add_text_to_an_intset_keeps_the_integers_sorted_in_front() -> None:
    value = filled([b"3", b"1", b"2", b"b", b"a", b"0"], Limits())
    assert (value.encoding(), value.listed()) == (b"listpack", [b"1", b"2", b"3", b"b", b"a", b"0"])


def test_add_over_a_threshold_changes_the_encoding() -> None:
    limits = small_limits()
    cases = [
        ([b"%d" % i for i in range(6)], b"intset"),
        ([b"%d" % i for i in range(7)], b"hashtable"),
        ([b"a", b"b", b"c", b"d"], b"listpack"),
        ([b"a", b"b", b"c", b"d", b"e"], b"hashtable"),
        ([b"1", b"2", b"3", b"a"], b"listpack"),
        ([b"1", b"2", b"3", b"4", b"a"], b"hashtable"),
        ([b"a" * 10], b"listpack"),
        ([b"a" * 11], b"hashtable"),
        ([b"10000000000", b"a"], b"hashtable"),
    ]
    for members, encoding in cases:
        assert filled(members, limits).encoding() == encoding, members


def test_begin_and_expect_judge_by_the_number_announced() -> None:
    limits = small_limits()
    for first, count, encoding in (
        (b"1", 6, b"intset"),
        (b"1", 7, b"hashtable"),
        (b"x", 4, b"listpack"),
        (b"x", 5, b"hashtable"),
    ):
        value = SetValue()
        value.begin(first, count, limits)
        assert value.encoding() == encoding
    value = filled([b"1"], limits)
    value.expect(7, limits)
    assert value.encoding() == b"hashtable"


@given(members=st.lists(MEMBERS, min_size=1, max_size=4))
def test_algebra_any_sets_equals_python(members: list[list[bytes]]) -> None:
    limits = small_limits()
    sets: list[SetValue | None] = [filled(each, limits) if each else None for each in members]
    plain = [set(each) for each in members]
    assert set(intersection(sets, 0)) == set.intersection(*plain)
    assert len(intersection(sets, 2)) == min(2, len(set.intersection(*plain)))
    assert set(stored_intersection(sets, limits).members) == set.intersection(*plain)
    assert set(union(sets, limits).members) == set.union(*plain)
    assert set(difference(sets, limits).members) == plain[0].difference(*plain[1:])


def test_difference_with_the_set_itself_is_empty() -> None:
    value = filled([b"a", b"b"], Limits())
    assert difference([value, None, value], Limits()).length() == 0


@given(members=MEMBERS.filter(lambda members: len(set(members)) > 1), seed=st.integers(0, 99), data=st.data())
def test_pop_random_any_count_splits_the_set(members: list[bytes], seed: int, data: st.DataObject) -> None:
    limits = small_limits()
    value = filled(members, limits)
    count = data.draw(st.integers(1, value.length() - 1))
    popped = value.pop_random(Random(seed), count, limits)
    assert len(popped) == count
    assert set(popped) | set(value.members) == set(members)
    assert len(value.members) == len(set(members)) - count


def test_pop_random_nearly_all_of_a_hashtable_makes_it_small_again() -> None:
    value = filled([b"m%d" % i for i in range(300)], Limits())
    value.pop_random(Random(1), 298, Limits())
    assert (value.encoding(), value.length()) == (b"listpack", 2)


def test_random_members_every_encoding_covers_all_members() -> None:
    for members in ([b"1", b"2", b"3"], [b"a", b"b", b"c"], [b"m%d" % i for i in range(200)]):
        value = filled(members, Limits())
        random = Random(3)
        assert set(value.random_members(random, -4000)) == set(members)
        distinct = value.random_members(random, 2)
        assert len(set(distinct)) == 2
        assert sorted(value.random_members(random, 999)) == sorted(members)


@given(
    count=st.integers(1, 9),
    moves=st.lists(st.tuples(st.booleans(), st.integers(0, 80)), max_size=120),
)
def test_scan_returns_what_was_there_all_the_time(count: int, moves: list[tuple[bool, int]]) -> None:
    limits = small_limits()
    value = filled([b"m%d" % i for i in range(40)], limits)
    stable = set(value.members)
    pending = iter(moves)
    seen: set[bytes] = set()
    cursor = 0
    for _ in range(500):
        cursor, members = value.scan(cursor, count)
        seen.update(members)
        if cursor == 0:
            break
        for insert, number in [move for _, move in zip(range(3), pending, strict=False)]:
            member = b"m%d" % number
            if insert:
                value.add(member, limits)
            else:
                value.remove(member)
                stable.discard(member)
    assert cursor == 0
    assert stable <= seen
