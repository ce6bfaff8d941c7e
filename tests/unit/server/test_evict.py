"""Eviction: what goes first under each policy, and that memory ends below its limit."""

from collections import Counter
from random import Random

import pytest

from coordkit_server.clock import ManualClock
from coordkit_server.datatypes.stream import StreamValue
from coordkit_server.datatypes.stream_group import Group
from coordkit_server.keyspace.database import Database, KeyspaceState
from coordkit_server.keyspace.evict import Eviction
from coordkit_server.keyspace.frequency import INITIAL, frequency_now, packed, used
from coordkit_server.keyspace.notify import EVICTED, KEYEVENT
from coordkit_server.testing import RecordedChanges, RecordedEvents

START_MS = 1_700_000_000_000
KEYS = 200


class Stage:
    """Two databases whose memory is accounted for, and eviction under one policy."""

    def __init__(self, policy: str, seed: int = 1) -> None:
        self.events = RecordedEvents()
        self.changes = RecordedChanges()
        self.state = KeyspaceState(self.events, self.changes)
        self.state.set_time(START_MS * 1000)
        self.state.random = Random(seed)
        self.databases = [Database(0, self.state), Database(1, self.state)]
        self.clock = ManualClock(START_MS)
        self.eviction = Eviction(self.clock, Random(-seed), self.state, self.databases)
        self.eviction.policy = policy
        self.state.counts_use = policy.endswith("-lfu")
        self.state.hold_touches(False)
        self.state.accounts = True
        self.state.data_limit = 1 << 40

    def fill(self, count: int = KEYS) -> None:
        """Add keys, each a second younger than the one before it."""
        for number in range(count):
            self.state.set_time(self.state.now_us + 1_000_000)
            self.databases[0].set(b"key:%d" % number, b"x" * 100)

    def limit_to(self, share: float) -> None:
        """Allow that share of the memory in use."""
        self.state.data_limit = int(self.state.data_bytes * share)
        self.state.over_limit = self.state.exceeds_limit()

    def kept(self) -> list[int]:
        """The numbers of the keys that are left."""
        return sorted(int(entry.key[4:]) for entry in self.databases[0].entries())


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "allkeys-lfu"])
def test_eviction_of_all_keys_ends_below_the_limit(policy: str) -> None:
    stage = Stage(policy)
    stage.fill()
    stage.limit_to(0.5)
    assert stage.eviction.make_room()
    assert not stage.state.exceeds_limit()
    assert KEYS * 0.45 < len(stage.databases[0]) <= KEYS * 0.5
    assert stage.eviction.evicted_keys == KEYS - len(stage.databases[0])


def test_eviction_by_age_removes_mostly_the_oldest() -> None:
    rounds = 20  # one alone depends on where the hashes of its keys happen to fall
    kept: Counter[int] = Counter()
    for seed in range(1, rounds + 1):
        stage = Stage("allkeys-lru", seed)
        stage.fill()
        for number in range(50):  # used again: they count as young
            stage.databases[0].lookup_read(b"key:%d" % number)
        stage.limit_to(0.5)
        stage.eviction.make_room()
        kept.update(stage.kept())
    young, old = kept_of(kept, range(50)), kept_of(kept, range(50, 125))
    assert young >= 48 * rounds
    assert old <= 20 * rounds  # 25 a round if age did not count


def kept_of(kept: Counter[int], numbers: range) -> int:
    """How many of the keys with these numbers were kept, over all rounds."""
    return sum(kept[number] for number in numbers)


def test_eviction_by_frequency_keeps_what_is_used_often() -> None:
    stage = Stage("allkeys-lfu")
    stage.fill()
    for _ in range(300):
        for number in range(0, KEYS, 4):
            stage.databases[0].lookup_read(b"key:%d" % number)
    stage.limit_to(0.5)
    stage.eviction.make_room()
    assert sum(1 for number in stage.kept() if number % 4 == 0) >= KEYS // 4 - 1


def test_eviction_by_time_to_live_removes_what_ends_first() -> None:
    stage = Stage("volatile-ttl")
    stage.fill()
    database = stage.databases[0]
    for entry in database.entries():
        number = int(entry.key[4:])
        if number % 2:
            database.set_expiry(entry, START_MS + 10_000_000 + number * 1000)
    stage.limit_to(0.75)
    stage.eviction.make_room()
    kept = stage.kept()
    assert all(number in kept for number in range(0, KEYS, 2))
    assert sum(1 for number in kept if number % 2 and number < KEYS // 2) <= 8


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-random", "volatile-lfu", "volatile-ttl", "noeviction"])
def test_eviction_without_a_candidate_reports_failure(policy: str) -> None:
    stage = Stage(policy)
    stage.fill()
    stage.limit_to(0.5)
    assert not stage.eviction.make_room()
    assert len(stage.databases[0]) == KEYS


def test_eviction_below_the_limit_does_nothing() -> None:
    stage = Stage("allkeys-lru")
    stage.fill()
    assert stage.eviction.make_room()
    assert len(stage.databases[0]) == KEYS


def test_eviction_while_paused_waits() -> None:
    stage = Stage("allkeys-lru")
    stage.fill()
    stage.limit_to(0.5)
    stage.state.expiry_paused = True
    assert stage.eviction.make_room()
    assert len(stage.databases[0]) == KEYS


def test_eviction_random_takes_databases_in_turn() -> None:
    stage = Stage("allkeys-random")
    stage.fill()
    for number in range(KEYS):
        stage.databases[1].set(b"key:%d" % number, b"x" * 100)
    stage.limit_to(0.5)
    stage.eviction.make_room()
    assert abs(len(stage.databases[0]) - len(stage.databases[1])) <= 1


def test_eviction_tells_events_and_tracking() -> None:
    stage = Stage("allkeys-lru")
    stage.state.notify_flags = EVICTED | KEYEVENT
    stage.fill(10)
    stage.state.tracking = True
    stage.limit_to(0.9)
    stage.eviction.make_room()
    (evicted,) = stage.events.seen
    assert evicted[0] == b"evicted"
    assert stage.changes.seen == [(evicted[1], 0)]


def test_account_follows_changes_removals_flush_and_swap() -> None:
    stage = Stage("noeviction")
    first, second = stage.databases
    first.set(b"a", b"x" * 1000)
    grown = stage.state.data_bytes
    assert grown > 1000
    first.set(b"a", b"x" * 10)
    assert stage.state.data_bytes == grown - 990
    first.swap_contents(second)
    second.set(b"b", b"x")
    second.delete(b"a")
    second.flush()
    assert stage.state.data_bytes == 0


def test_account_follows_what_is_pending_in_a_stream() -> None:
    stage = Stage("noeviction")
    database = stage.databases[0]
    stream = StreamValue()
    group = stream.groups[b"g"] = Group(0, 0)
    database.set(b"s", stream)
    empty = stage.state.data_bytes
    consumer = group.add_consumer(b"c", START_MS)
    for ident in range(100):
        group.deliver(ident, consumer, START_MS)
    database.resized(b"s")
    assert stage.state.data_bytes > empty + 100 * 50
    group.remove_consumer(consumer)
    database.resized(b"s")
    assert stage.state.data_bytes == empty


def test_account_beyond_the_limit_raises_the_flag() -> None:
    stage = Stage("noeviction")
    stage.state.data_limit = 1000
    stage.databases[0].set(b"a", b"x" * 500)
    assert not stage.state.over_limit
    stage.databases[0].set(b"b", b"x" * 500)
    assert stage.state.over_limit


def test_frequency_fades_with_minutes_and_grows_ever_slower() -> None:
    random = Random(3)
    stored = packed(START_MS, INITIAL)
    for _ in range(100):
        stored = used(stored, START_MS, 1, 10, random)
    after_hundred = frequency_now(stored, START_MS, 1)
    assert 8 <= after_hundred <= 14
    for _ in range(1000):
        stored = used(stored, START_MS, 1, 10, random)
    after_more = frequency_now(stored, START_MS, 1)
    assert after_hundred < after_more <= 30
    assert frequency_now(stored, START_MS + 3 * 60_000, 1) == after_more - 3
    assert frequency_now(stored, START_MS + 3 * 60_000, 0) == after_more
    assert frequency_now(stored, START_MS + 600 * 60_000, 1) == 0
