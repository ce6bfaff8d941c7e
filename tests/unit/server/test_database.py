"""The keyspace: expiry, SCAN's guarantee, watching, random keys."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.keyspace.database import Database, KeyspaceState
from coordkit_server.keyspace.notify import ALL, KEYEVENT, format_flags, parse_flags
from coordkit_server.testing import RecordedChanges, RecordedEvents, RecordedWatch


def database() -> tuple[Database, RecordedEvents]:
    events = RecordedEvents()
    state = KeyspaceState(events, RecordedChanges())
    state.set_time(1000 * 1000)
    state.notify_flags = ALL | KEYEVENT
    return Database(0, state), events


def test_lookup_due_key_is_gone_with_its_event() -> None:
    db, events = database()
    entry = db.set(b"k", b"v")
    db.set_expiry(entry, 1500)
    assert db.lookup_read(b"k") is entry
    db.state.set_time(1500 * 1000)
    assert db.lookup_read(b"k") is None
    assert len(db) == 0
    assert events.seen == [(b"expired", b"k")]
    assert db.volatile_count() == 0


def test_set_over_a_volatile_key_clears_the_time_to_live() -> None:
    db, _ = database()
    db.set_expiry(db.set(b"k", b"v"), 1500)
    db.set(b"k", b"w")
    db.state.set_time(9999 * 1000)
    entry = db.lookup_read(b"k")
    assert entry is not None
    assert entry.value == b"w"


@given(
    st.dictionaries(st.integers(0, 30), st.sampled_from([-1, 1500, 9000])),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=60),
)
def test_set_found_many_keys_does_what_one_set_after_the_other_does(
    present: dict[int, int], pairs: list[tuple[int, int]]
) -> None:
    alone, its_events = database()
    together, events = database()
    for db in (alone, together):
        for key, expire_at_ms in present.items():
            entry = db.set(b"k%d" % key, b"old")
            if expire_at_ms >= 0:
                db.set_expiry(entry, expire_at_ms)
        db.state.set_time(2000 * 1000)
    argv = [b"MSET", *(word for key, value in pairs for word in (b"k%d" % key, b"%d" % value))]
    entries = together.find_pairs(argv)
    for at, (key, value) in enumerate(pairs):
        alone.set(b"k%d" % key, b"%d" % value)
        together.set_found(b"k%d" % key, b"%d" % value, entries[at])
    assert (together.state.dirty, len(together), together.volatile_count()) == (
        alone.state.dirty,
        len(alone),
        alone.volatile_count(),
    )
    assert events.seen == its_events.seen
    for number in range(41):
        assert kept(together, b"k%d" % number) == kept(alone, b"k%d" % number)


def kept(db: Database, key: bytes) -> tuple[object, int] | None:
    """The value and the expiry time at `key`."""
    entry = db.peek(key)
    return None if entry is None else (entry.value, entry.expire_at_ms)


def test_watch_change_of_the_key_is_told() -> None:
    db, _ = database()
    changes: list[Callable[[], object]] = [
        lambda: db.set(b"k", b"v"),
        lambda: db.delete(b"k"),
        lambda: (db.set(b"k", b"v"), db.flush()),
    ]
    for change in changes:
        flag = RecordedWatch()
        db.watch(b"k", flag)
        change()
        assert flag.raised
        db.unwatch(b"k", flag)


@given(
    start=st.integers(min_value=1, max_value=60),
    count=st.integers(min_value=1, max_value=10),
    moves=st.lists(st.tuples(st.booleans(), st.integers(0, 99)), max_size=120),
)
def test_scan_returns_what_was_there_all_the_time(start: int, count: int, moves: list[tuple[bool, int]]) -> None:
    db, _ = database()
    for i in range(start):
        db.set(b"k%d" % i, b"")
    stable = {b"k%d" % i for i in range(start)}
    pending = iter(moves)
    seen: set[bytes] = set()
    cursor = 0
    for _ in range(1000):
        cursor, entries = db.scan(cursor, count)
        seen.update(entry.key for entry in entries)
        if cursor == 0:
            break
        for insert, number in [move for _, move in zip(range(4), pending, strict=False)]:
            key = b"k%d" % number
            if insert:
                db.set(key, b"")
            else:
                db.delete(key)
                stable.discard(key)
    assert cursor == 0
    assert stable <= seen


def test_notify_flags_letters_round_trip() -> None:
    assert parse_flags("KEA") == ALL | 1 | 2
    assert format_flags(ALL | 1 | 2) == "AKE"
    assert format_flags(parse_flags("Elg") or 0) == "glE"
    assert parse_flags("Q") is None
