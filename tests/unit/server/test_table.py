"""The table of entries, beside a dict, and what its scan promises under any growth and shrinking."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.keyspace.table import NO_EXPIRY, Entry, Table

KEYS = st.integers(0, 200).map(lambda number: b"k%d" % number)


def filled(count: int) -> Table:
    table = Table()
    for number in range(count):
        table.add(Entry(b"k%d" % number, number, 0))
    return table


def remove(table: Table, key: bytes) -> None:
    entry = table.find(key)
    assert entry is not None
    table.remove(entry)


def walk(table: Table, count: int = 10) -> list[bytes]:
    """Every key that one scan from its start to its end returns."""
    keys: list[bytes] = []
    cursor = 0
    while True:
        cursor, entries = table.scan(cursor, count)
        keys += [entry.key for entry in entries]
        if cursor == 0:
            return keys


@given(st.lists(st.tuples(st.booleans(), KEYS), max_size=400))
def test_add_and_remove_any_sequence_holds_what_a_dict_would(steps: list[tuple[bool, bytes]]) -> None:
    table = Table()
    model: dict[bytes, Entry] = {}
    for adds, key in steps:
        entry = table.find(key)
        assert entry is model.get(key)
        if adds and entry is None:
            model[key] = Entry(key, b"v", 0)
            table.add(model[key])
        elif not adds and entry is not None:
            table.remove(model.pop(key))
    assert table.find_many([key for _, key in steps]) == [model.get(key) for _, key in steps]
    assert len(table) == len(model)
    assert {entry.key: entry for entry in table.entries()} == model
    assert sorted(walk(table)) == sorted(model)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 31, 32, 33, 1000])
def test_scan_unchanged_table_returns_every_key_once(size: int) -> None:
    assert sorted(walk(filled(size))) == sorted(b"k%d" % number for number in range(size))


@given(
    st.integers(0, 300),
    st.integers(1, 20),
    st.lists(st.integers(-150, 150), max_size=40),
)
def test_scan_table_grows_and_shrinks_between_calls_misses_no_key_that_stays(
    size: int, count: int, changes: list[int]
) -> None:
    table = filled(size)
    others: list[bytes] = []
    seen: set[bytes] = set()
    cursor, made = 0, 0
    while True:
        cursor, entries = table.scan(cursor, count)
        seen.update(entry.key for entry in entries)
        if cursor == 0:
            break
        change = changes.pop() if changes else 0
        for _ in range(change):
            others.append(b"other%d" % made)
            made += 1
            table.add(Entry(others[-1], b"", 0))
        for _ in range(min(-change, len(others))):
            remove(table, others.pop(0))
    assert seen >= {b"k%d" % number for number in range(size)}


def test_scan_begun_in_a_large_table_that_shrinks_misses_no_key_that_stays() -> None:
    table = filled(5000)
    cursor, entries = table.scan(0, 1000)
    seen = {entry.key for entry in entries}
    for number in range(100, 5000):
        remove(table, b"k%d" % number)
    while cursor:
        cursor, entries = table.scan(cursor, 10)
        seen.update(entry.key for entry in entries)
    assert seen >= {b"k%d" % number for number in range(100)}


@pytest.mark.parametrize("cursor", [5, 1 << 40, (1 << 64) - 1])
def test_scan_cursor_that_no_call_returned_comes_to_an_end(cursor: int) -> None:
    table = filled(100)
    calls = 0
    while cursor and calls < 1000:
        cursor, _ = table.scan(cursor, 10)
        calls += 1
    assert cursor == 0


def test_scan_asked_for_one_looks_at_few_buckets() -> None:
    table = filled(100_000)
    _, entries = table.scan(0, 1)
    assert len(entries) < 50


def test_remove_most_keys_lets_the_buckets_go() -> None:
    table = filled(10_000)
    for number in range(9_990):
        remove(table, b"k%d" % number)
    calls, cursor = 0, 0
    while True:
        cursor, _ = table.scan(cursor, 10)
        calls += 1
        if cursor == 0:
            break
    assert calls <= 4


@pytest.mark.parametrize("size", [1, 3, 40, 100])
def test_choose_many_times_is_uniform(size: int) -> None:
    table = filled(size)
    random = Random(7)
    draws = 300 * size
    counts = Counter(table.choose(random).key for _ in range(draws))
    assert len(counts) == size
    # chi-square: its mean is size - 1, its variance twice that
    surprise = sum((count - 300) ** 2 / 300 for count in counts.values())
    assert surprise < size + 6 * (2 * size) ** 0.5


@pytest.mark.parametrize("size", [1, 3, 40, 100])
def test_sample_many_times_finds_every_key(size: int) -> None:
    table = filled(size)
    random = Random(7)
    assert {table.sample(random).key for _ in range(300 * size)} == {entry.key for entry in table.entries()}


def test_find_after_keys_came_to_expire_or_to_stay_finds_them_however_the_table_grew_and_shrank() -> None:
    table = Table()
    entries = [Entry(b"k%d" % number, number, 0) for number in range(2000)]
    for slot, entry in enumerate(entries):
        table.add(entry)
        if slot % 2:
            entry.expire(slot, slot)
        if slot % 4 == 1:
            entry.persist()
    for slot, entry in enumerate(entries):
        assert table.find(entry.key) is entry
        assert entry.expire_at_ms == (slot if slot % 4 == 3 else NO_EXPIRY)
    assert table.find_many([entry.key for entry in entries]) == entries
    for entry in entries[100:]:
        table.remove(entry)
    assert table.find_many([entry.key for entry in entries]) == entries[:100] + [None] * 1900
