"""The registry of blocked clients: queues by key, deadlines in order, memory of those that were served."""

from coordkit_server.keyspace.blocking import Blocking
from coordkit_server.keyspace.database import Database, KeyspaceState
from coordkit_server.keyspace.waiter import Waiter
from coordkit_server.testing import RecordedChanges, RecordedEvents


def database() -> Database:
    return Database(0, KeyspaceState(RecordedEvents(), RecordedChanges()))


def waiter(deadline_us: int = 0, *keys: bytes, wakes_on_missing: bool = False) -> Waiter:
    return Waiter(None, b"list", list(keys or (b"k",)), deadline_us, None, wakes_on_missing=wakes_on_missing)


def test_add_several_keys_queues_in_order_of_arrival() -> None:
    blocking, db = Blocking(), database()
    first, second = waiter(0, b"a", b"b"), waiter(0, b"b")
    blocking.add(first, db)
    blocking.add(second, db)
    assert list(db.waiting[b"b"]) == [first, second]
    assert list(db.waiting[b"a"]) == [first]
    blocking.remove(first, db)
    assert list(db.waiting) == [b"b"]
    blocking.remove(first, db)
    blocking.remove(second, db)
    assert not db.waiting
    assert blocking.count == 0


def test_pop_due_deadlines_come_in_order_and_only_when_passed() -> None:
    blocking, db = Blocking(), database()
    late, early, never, same = waiter(300), waiter(100), waiter(0), waiter(100)
    for each in (late, early, never, same):
        blocking.add(each, db)
    assert blocking.next_deadline_us() == 100
    assert blocking.pop_due(99) is None
    assert blocking.pop_due(100) is early
    assert blocking.pop_due(100) is same
    assert blocking.pop_due(100) is None
    blocking.remove(late, db)
    assert blocking.next_deadline_us() == 0
    assert blocking.pop_due(10_000) is None


def test_timed_count_is_that_of_waiters_with_a_deadline() -> None:
    blocking, db = Blocking(), database()
    waiters = [waiter(100 + i % 7) for i in range(200)] + [waiter(0)] * 3
    for each in waiters:
        blocking.add(each, db)
    for number, each in enumerate(waiters[:200]):
        assert blocking.timed_count() == 200 - number
        blocking.remove(each, db)
    assert blocking.timed_count() == 0


def test_remove_served_waiters_leave_no_deadlines_behind() -> None:
    blocking, db = Blocking(), database()
    blocking.add(waiter(5), db)  # the earliest: nothing behind it comes to the front
    for _ in range(10_000):
        served = waiter(1_000_000)
        blocking.add(served, db)
        blocking.remove(served, db)
    assert blocking.deadlines_kept() < 200
    assert blocking.next_deadline_us() == 5
    assert blocking.timed_count() == 1


def test_missing_count_is_that_of_waiters_that_a_missing_key_wakes() -> None:
    blocking, db = Blocking(), database()
    plain, special = waiter(), waiter(wakes_on_missing=True)
    blocking.add(plain, db)
    blocking.add(special, db)
    assert blocking.missing_count == 1
    blocking.remove(plain, db)
    blocking.remove(special, db)
    assert blocking.missing_count == 0
