"""The hash structure: encodings, order, random fields, SCAN's guarantee."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.datatypes.hash import HashValue
from coordkit_server.datatypes.limits import Limits


def filled(count: int, limits: Limits) -> HashValue:
    value = HashValue()
    for i in range(count):
        value.set(b"f%d" % i, b"%d" % i, limits)
    return value


def test_set_over_a_threshold_makes_a_hashtable() -> None:
    limits = Limits()
    assert filled(512, limits).encoding() == b"listpack"
    assert filled(513, limits).encoding() == b"hashtable"
    for field, content, encoding in (
        (b"f" * 64, b"v" * 64, b"listpack"),
        (b"f" * 65, b"", b"hashtable"),
        (b"", b"v" * 65, b"hashtable"),
    ):
        value = HashValue()
        assert value.set(field, content, limits) is True
        assert value.encoding() == encoding
        assert value.set(field, content, limits) is False


def test_fields_set_again_stay_in_place() -> None:
    value = filled(3, Limits())
    value.set(b"f0", b"new", Limits())
    assert list(value.fields.items()) == [(b"f0", b"new"), (b"f1", b"1"), (b"f2", b"2")]


def test_random_fields_packed_and_not_cover_all_fields() -> None:
    for size in (5, 600):
        value = filled(size, Limits())
        random = Random(3)
        assert set(value.random_fields(random, -12_000)) == set(value.fields)
        assert len(set(value.random_fields(random, size - 1))) == size - 1
        assert value.random_fields(random, 0) == []
        assert value.random_fields(random, 5000) == list(value.fields)


def test_copy_changed_later_leaves_the_original() -> None:
    value = filled(600, Limits())
    value.random_fields(Random(1), 1)
    twin = value.copy()
    assert isinstance(twin, HashValue)
    twin.remove(b"f0")
    assert value.length() == 600
    assert twin.length() == 599
    assert set(twin.random_fields(Random(1), 999)) == set(twin.fields)


@given(count=st.integers(1, 9), moves=st.lists(st.tuples(st.booleans(), st.integers(0, 80)), max_size=120))
def test_scan_returns_what_was_there_all_the_time(count: int, moves: list[tuple[bool, int]]) -> None:
    limits = Limits()
    limits.hash_max_listpack_entries = 3
    value = filled(40, limits)
    stable = set(value.fields)
    pending = iter(moves)
    seen: set[bytes] = set()
    cursor = 0
    for _ in range(500):
        cursor, fields = value.scan(cursor, count)
        seen.update(fields)
        if cursor == 0:
            break
        for insert, number in [move for _, move in zip(range(3), pending, strict=False)]:
            field = b"f%d" % number
            if insert:
                value.set(field, b"", limits)
            else:
                value.remove(field)
                stable.discard(field)
    assert cursor == 0
    assert stable <= seen


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=20, max_size=60))
def test_random_fields_after_changes_are_the_fields_there_are(steps: list[tuple[bool, int]]) -> None:
    limits = Limits()
    limits.hash_max_listpack_entries = 3
    value = filled(10, limits)
    value.random_fields(Random(1), 1)  # the dense index exists from here on
    for insert, number in steps:
        if insert:
            value.set(b"f%d" % number, b"", limits)
        else:
            value.remove(b"f%d" % number)
        assert sorted(value.random_fields(Random(1), 99)) == sorted(value.fields)
