"""One database: keys to entries, with lazy expiry, an index of what expires, WATCH and readiness of blocked clients.

Map: KeyspaceState (what all databases of a server share), Database (lookup, write, expiry, scan, flush).

`_expiring` holds the entries with a time to live, densely, for sampling by active expiry: an entry knows its
`volatile_slot`, and a removed one's place is taken by the last.
"""

from random import Random
from typing import Final

from mypy_extensions import i32

from coordkit_server.datatypes.value import Value
from coordkit_server.keyspace.frequency import INITIAL, packed, ticks, used
from coordkit_server.keyspace.notify import (
    EVICTED,
    EXPIRED,
    KEY_MISS,
    KEYEVENT,
    KEYSPACE,
    NEW,
    EventSink,
)
from coordkit_server.keyspace.propagation import Propagation
from coordkit_server.keyspace.sizes import entry_bytes
from coordkit_server.keyspace.table import Entry, Table
from coordkit_server.keyspace.waiter import Waiter
from coordkit_server.keyspace.watch import Tracker, Watcher

LAST_MS: Final = 2**63 - 1  # of expiry times
SAMPLES: Final = 5  # elements of a collection whose sizes are looked at
WARM_FROM: Final = 5_000  # keys that with their entries and values fill the caches of a processor core


class KeyspaceState:
    """Counters, flags and sinks shared by all databases of one server."""

    def __init__(self, events: EventSink, tracker: Tracker) -> None:
        self.now_us: int = 0  # when the client's command started; what TIME tells a script
        self.now_ms: int = 0  # time of the command that runs; frozen for a whole script or transaction
        self.now_ticks: i32 = 0  # the same as entries keep it
        self.dirty: int = 0  # changes since start; dispatch compares it before and after a command
        self.notify_flags: int = 0
        self.tracking: bool = False
        self.loading: bool = False  # data are read from disk: no key expires before all are there
        self.expiry_paused: bool = False  # CLIENT PAUSE, DEBUG SET-ACTIVE-EXPIRE: reads see expired keys as gone
        self.no_touch: bool = False  # the command that runs leaves access times alone
        self.counts_use: bool = False  # an LFU policy: entries keep how often they are used instead of when
        self.plain_access: bool = True  # neither of the two: an access sets the time
        self.decay_minutes: int = 1
        self.log_factor: int = 10
        self.random: Random = Random()
        # memory, while maxmemory is set: what the data takes by estimate, and how much it may
        self.accounts: bool = False
        self.data_bytes: int = 0
        self.data_limit: int = 0
        self.over_limit: bool = False
        self.lazyfreed: int = 0  # values that UNLINK and the like have removed
        self.memory_exceeded: bool = False  # more than maxmemory is in use: commands that may grow it are refused
        self.writes_refused: bool = False  # for one of these two reasons
        self.disk_error: bytes = b""  # the refusal of writes that could not be kept on disk
        self.snapshot_error: bytes = b""  # the same because of snapshots; it goes first
        self.log_error: bytes = b""  # the same because of the append-only file
        self.replicas_missing: bool = False  # fewer than min-replicas-to-write follow closely
        self.hits: int = 0
        self.misses: int = 0
        self.expired_keys: int = 0
        self.events: Final = events
        self.tracker: Final = tracker
        self.propagation: Final = Propagation()
        self.ready: list[tuple[Database, bytes]] = []  # keys that blocked clients wait for and that were touched

    def set_time(self, now_us: int) -> None:
        """Say when the command that runs next starts, in us since the epoch."""
        self.now_us = now_us
        self.now_ms = now_us // 1000
        self.now_ticks = ticks(self.now_ms)

    def note_disk_error(self, refusal: bytes) -> None:
        """Refuse writes with `refusal` from now on; empty: the disk is fine again."""
        self.log_error = refusal
        self._combine_errors()

    def note_snapshot_error(self, refusal: bytes) -> None:
        """Refuse writes with `refusal` because snapshots fail; empty: they do not any more."""
        self.snapshot_error = refusal
        self._combine_errors()

    def _combine_errors(self) -> None:
        """Refuse writes if there is any reason to."""
        self.disk_error = self.snapshot_error or self.log_error
        self.writes_refused = len(self.disk_error) > 0 or self.replicas_missing

    def note_replicas(self, missing: bool) -> None:
        """Refuse writes while replicas are missing."""
        self.replicas_missing = missing
        self.writes_refused = len(self.disk_error) > 0 or missing

    def hold_touches(self, hold: bool) -> None:
        """Leave access times alone, or not any more."""
        self.no_touch = hold
        self.plain_access = not hold and not self.counts_use

    def count_use(self, entry: Entry) -> None:
        """Note an access while use is counted, unless the command leaves it alone."""
        if not self.no_touch:
            entry.used_at = used(entry.used_at, self.now_ms, self.decay_minutes, self.log_factor, self.random)

    def exceeds_limit(self) -> bool:
        """Return True if the data takes more memory than it may."""
        return self.accounts and self.data_bytes > self.data_limit


class Database:
    """The keys of one numbered database."""

    def __init__(self, index: int, state: KeyspaceState) -> None:
        self.index: int = index
        self.state: Final = state
        self._table: Table = Table()
        self._expiring: list[Entry] = []
        self._watched: dict[bytes, list[Watcher]] = {}
        self._sizes: dict[bytes, int] = {}  # estimated bytes of each key, while memory is accounted for
        self.waiting: Final[dict[bytes, dict[Waiter, None]]] = {}  # blocked clients by key, kept by keyspace.blocking

    def __len__(self) -> int:
        return len(self._table)

    # -- pipelines -----------------------------------------------------------------------------------------------

    def outgrows_caches(self) -> bool:
        """Return True if `warm` is worth its time."""
        return len(self._table) >= WARM_FROM

    def warm(self, requests: list[list[bytes]]) -> None:
        """Touch what `requests` will most likely look up: the value at the first argument of each.

        In a large keyspace a lookup waits for memory several times, one after the other.  In short loops the
        processor has the waits of several lookups going at once, and the commands then find all in its caches."""
        for entry in self._table.find_many([argv[1] for argv in requests if len(argv) > 1]):
            if entry is not None:
                value = entry.value
                del value

    # -- reading -------------------------------------------------------------------------------------------------

    def lookup_read(self, key: bytes) -> Entry | None:
        """Return the live entry at `key` for a read, None if absent.  Counts hit or miss, marks the access."""
        state = self.state
        entry = self._table.find(key)
        if entry is None or (entry.volatile_slot >= 0 and self._expire_if_due(entry)):
            state.misses += 1
            if state.notify_flags & KEY_MISS:
                self.notify(KEY_MISS, b"keymiss", key)
            return None
        state.hits += 1
        if state.plain_access:
            entry.used_at = state.now_ticks
        elif state.counts_use:
            state.count_use(entry)
        return entry

    def look_at(self, key: bytes) -> Entry | None:
        """Return the live entry at `key`, None if absent, as `lookup_read`; that is no access (TTL, EXISTS, TYPE)."""
        entry = self.peek(key)
        if entry is None:
            self.state.misses += 1
            if self.state.notify_flags & KEY_MISS:
                self.notify(KEY_MISS, b"keymiss", key)
        else:
            self.state.hits += 1
        return entry

    def lookup_write(self, key: bytes) -> Entry | None:
        """Return the live entry at `key` for a change, None if absent; an expired one is removed first."""
        entry = self._table.find(key)
        if entry is None or (entry.volatile_slot >= 0 and self._expire_if_due(entry)):
            return None
        if self.state.plain_access:
            entry.used_at = self.state.now_ticks
        elif self.state.counts_use:
            self.state.count_use(entry)
        return entry

    def lookup_silent(self, key: bytes) -> Entry | None:
        """Do what `look_at` does, with no event (OBJECT)."""
        entry = self.peek(key)
        if entry is None:
            self.state.misses += 1
        else:
            self.state.hits += 1
        return entry

    def peek(self, key: bytes) -> Entry | None:
        """Return the live entry at `key` without touching access time or statistics."""
        entry = self._table.find(key)
        if entry is None or (entry.volatile_slot >= 0 and self._expire_if_due(entry)):
            return None
        return entry

    def stored(self, key: bytes) -> Entry | None:
        """Return the entry at `key` even if its time has come (DEBUG OBJECT), None if there is none."""
        return self._table.find(key)

    def glance(self, key: bytes) -> Entry | None:
        """Return the live entry at `key`; an expired one is passed over and stays."""
        entry = self._table.find(key)
        return None if entry is None or 0 <= entry.expire_at_ms <= self.state.now_ms else entry

    def exists(self, key: bytes) -> bool:
        """Return True if `key` holds a value that is not due; nothing is removed, no statistics (WATCH)."""
        entry = self._table.find(key)
        return entry is not None and not 0 <= entry.expire_at_ms <= self.state.now_ms

    def _expire_if_due(self, entry: Entry) -> bool:
        """Return True if `entry`, which has a time to live, is past it; removes it unless expiry is paused."""
        if entry.expire_at_ms > self.state.now_ms or self.state.loading:
            return False
        if not self.state.expiry_paused:
            self.expire_now(entry)
        return True

    # -- writing -------------------------------------------------------------------------------------------------

    def add(self, key: bytes, value: object) -> Entry:
        """Store `value` at `key`, which must be absent (after lookup_write); return its entry.

        Wakes clients that wait for the key.  The caller calls `modified`."""
        entry = Entry(key, value, self.state.now_ticks)
        if self.state.counts_use:
            entry.used_at = packed(self.state.now_ms, INITIAL)
        self._table.add(entry)
        if self.waiting and key in self.waiting:
            self.state.ready.append((self, key))
        if self.state.notify_flags & NEW:
            self.notify(NEW, b"new", key)
        return entry

    def set(self, key: bytes, value: object) -> Entry:
        """Store `value` at `key`, replacing whatever is there and clearing its time to live; return the entry.

        Includes `modified`."""
        entry = self.lookup_write(key)
        if entry is None:
            entry = self.add(key, value)
        else:
            entry.value = value
            if entry.volatile_slot >= 0:
                self.clear_expiry(entry)
            if self.waiting and key in self.waiting:
                self.state.ready.append((self, key))
        self.modified(key)
        return entry

    def find_pairs(self, argv: list[bytes]) -> list[Entry | None]:
        """Return what `set_found` is to be given for each key of a command that names keys and values in turn.

        Looked up in a row they wait for memory together.  Those that expire are left out: one may be due."""
        entries = self._table.find_many(argv[1::2])
        for i in range(len(entries)):
            entry = entries[i]
            if entry is not None and entry.volatile_slot >= 0:
                entries[i] = None
        return entries

    def set_found(self, key: bytes, value: object, entry: Entry | None) -> None:
        """Do what `set` does with a key whose entry `find_pairs` gave; the same key may have been set since."""
        if entry is None:
            self.set(key, value)
            return
        state = self.state
        if state.plain_access:
            entry.used_at = state.now_ticks
        elif state.counts_use:
            state.count_use(entry)
        entry.value = value
        if self.waiting and key in self.waiting:
            state.ready.append((self, key))
        self.modified(key)

    def modified(self, key: bytes) -> None:
        """Note a change of `key`: dirty count, watchers, tracking clients.  Call it once for each change."""
        self.state.dirty += 1
        self.signal_modified(key)

    def signal_modified(self, key: bytes) -> None:
        """Tell watchers and tracking clients about a change that another key's `modified` counts."""
        if self._watched:
            self._touch_watched(key)
        if self.state.tracking:
            self.state.tracker.key_modified(key, self.index)
        if self.state.accounts:
            self._account(key)

    def resized(self, key: bytes) -> None:
        """Note a change of `key` that neither watchers nor tracking clients are told of (what a group has pending)."""
        if self.state.accounts:
            self._account(key)

    def signal_removed(self, key: bytes) -> None:
        """Tell watchers and tracking clients that the server itself has removed `key` (expiry, eviction)."""
        if self._watched:
            self._touch_watched(key)
        if self.state.tracking:
            self.state.tracker.key_removed(key, self.index)

    def signal_ready(self, key: bytes) -> None:
        """Note that `key` may now satisfy a blocked client.  `add` and `set` do it by themselves."""
        if self.waiting and key in self.waiting:
            self.state.ready.append((self, key))

    def delete(self, key: bytes) -> bool:
        """Remove `key`; return False if it was absent or expired.  Includes `modified`, not the event."""
        entry = self._table.find(key)
        if entry is None or (entry.volatile_slot >= 0 and self._expire_if_due(entry)):
            return False
        self.remove(entry)
        self.modified(key)
        return True

    def discard(self, key: bytes) -> bool:
        """Do what `delete` does, and remove an expired key like any other: what commands with an empty result do."""
        entry = self._table.find(key)
        if entry is None:
            return False
        self.remove(entry)
        self.modified(key)
        return True

    def remove(self, entry: Entry) -> None:
        """Take `entry` out, with no event and no `modified`."""
        self._table.remove(entry)
        if entry.volatile_slot >= 0:
            self.clear_expiry(entry)
        if self.waiting and entry.key in self.waiting:
            self.state.ready.append((self, entry.key))
        if self.state.accounts:
            self.state.data_bytes -= self._sizes.pop(entry.key, 0)

    def notify(self, event_class: int, event: bytes, key: bytes) -> None:
        """Publish a keyspace event if CONFIG notify-keyspace-events asks for its class."""
        flags = self.state.notify_flags
        if flags & event_class and flags & (KEYSPACE | KEYEVENT):
            self.state.events.publish_event(flags, self.index, event, key)

    # -- time to live --------------------------------------------------------------------------------------------

    def set_expiry(self, entry: Entry, at_ms: int) -> None:
        """Give `entry` the absolute expiry time `at_ms` (ms since the epoch)."""
        slot: i32 = entry.volatile_slot
        if slot < 0:
            slot = len(self._expiring)
            self._expiring.append(entry)
        entry.expire(at_ms if at_ms < LAST_MS else LAST_MS, slot)

    def clear_expiry(self, entry: Entry) -> bool:
        """Take the time to live from `entry`; return False if it had none."""
        slot = entry.volatile_slot
        if slot < 0:
            return False
        last = self._expiring.pop()
        if last is not entry:
            self._expiring[slot] = last
            last.volatile_slot = slot
        entry.persist()
        return True

    def expire_now(self, entry: Entry) -> None:
        """Remove `entry` because its time has come: event `expired`, statistics, tracking.

        Watchers are not told: EXEC looks itself whether a key has expired since, and nothing changes for who watched
        an expired one."""
        self.remove(entry)
        self.state.expired_keys += 1
        self.notify(EXPIRED, b"expired", entry.key)
        if self.state.tracking:
            self.state.tracker.key_removed(entry.key, self.index)
        if self.state.propagation.active:
            self.state.propagation.expired(self.index, entry.key)

    def volatile_count(self) -> int:
        """Return how many keys have a time to live."""
        return len(self._expiring)

    def volatile_at(self, position: int) -> Entry:
        """Return the entry at `position` (0 <= position < volatile_count()) of the expiry index."""
        return self._expiring[position]

    # -- memory --------------------------------------------------------------------------------------------------

    def evict(self, entry: Entry) -> None:
        """Remove `entry` for want of memory: event `evicted`, watchers, tracking, propagation."""
        self.remove(entry)
        self.signal_removed(entry.key)
        self.notify(EVICTED, b"evicted", entry.key)
        if self.state.propagation.active:
            self.state.propagation.evicted(self.index, entry.key)

    def start_accounting(self) -> None:
        """Estimate every key, and from now on those that change."""
        self._sizes = {}
        for entry in self._table.entries():
            self._account(entry.key)

    def stop_accounting(self) -> None:
        """Forget the estimates."""
        self._sizes = {}

    def _account(self, key: bytes) -> None:
        """Estimate `key` anew."""
        state = self.state
        before = self._sizes.pop(key, 0)
        entry = self._table.find(key)
        size = 0
        if entry is not None:
            size = entry_bytes(key, entry.value, SAMPLES)
            self._sizes[key] = size
        state.data_bytes += size - before
        if state.data_bytes > state.data_limit:
            state.over_limit = True

    def convert_accesses(self) -> None:
        """Start entries' access data anew, after the policy has changed between times and frequencies."""
        now_ms = self.state.now_ms
        for entry in self._table.entries():
            entry.used_at = packed(now_ms, INITIAL) if self.state.counts_use else ticks(now_ms)

    # -- WATCH ---------------------------------------------------------------------------------------------------

    def watch(self, key: bytes, watcher: Watcher) -> None:
        """Tell `watcher` when `key` changes."""
        watchers = self._watched.get(key)
        if watchers is None:
            self._watched[key] = [watcher]
        else:
            watchers.append(watcher)

    def unwatch(self, key: bytes, watcher: Watcher) -> None:
        """Undo `watch`."""
        watchers = self._watched.get(key)
        if watchers is not None and watcher in watchers:
            watchers.remove(watcher)
            if not watchers:
                del self._watched[key]

    def _touch_watched(self, key: bytes) -> None:
        """Tell the watchers of `key`."""
        watchers = self._watched.get(key)
        if watchers is not None:
            for watcher in watchers:
                watcher.key_changed()

    # -- walking -------------------------------------------------------------------------------------------------

    def scan(self, cursor: int, count: int) -> tuple[int, list[Entry]]:
        """Return (next cursor, `count` entries or somewhat more or less); cursor 0 starts, a returned 0 ends.

        A key present from the first call to the last is returned at least once.  Expired entries may be among them."""
        return self._table.scan(cursor, count)

    def choose(self, random: Random) -> Entry:
        """Return any entry, each equally likely; the database must not be empty."""
        return self._table.choose(random)

    def sample(self, random: Random) -> Entry:
        """Return some entry, about equally likely and soon found; the database must not be empty."""
        return self._table.sample(random)

    def entries(self) -> list[Entry]:
        """Return all entries; expired ones may be among them."""
        return self._table.entries()

    def flush(self) -> int:
        """Remove every key; return how many there were.  Watchers of keys that existed are told."""
        removed = len(self._table)
        if self._watched:
            for key in list(self._watched):
                if self.exists(key):
                    self._touch_watched(key)
        if self.waiting:
            for key in self.waiting:
                if self._table.find(key) is not None:
                    self.state.ready.append((self, key))
        self._table = Table()
        self._expiring = []
        for size in self._sizes.values():
            self.state.data_bytes -= size
        self._sizes = {}
        self.state.dirty += removed
        return removed

    def drop_all(self) -> None:
        """Forget every key, as at a start: nobody is told, no change is counted."""
        for size in self._sizes.values():
            self.state.data_bytes -= size
        self._sizes = {}
        self._table = Table()
        self._expiring = []

    def swap_contents(self, other: "Database") -> None:
        """Exchange all keys with `other` (SWAPDB); watchers and blocked clients stay with their number."""
        for first, second in ((self, other), (other, self)):
            for key in list(first._watched):
                if first.exists(key) or second.exists(key):
                    first._touch_watched(key)
        self._table, other._table = other._table, self._table
        self._expiring, other._expiring = other._expiring, self._expiring
        self._sizes, other._sizes = other._sizes, self._sizes
        for database in (self, other):
            for key in database.waiting:  # also for those who wait that a key goes away
                self.state.ready.append((database, key))


def type_name(value: object) -> bytes:
    """Return the TYPE of a stored value."""
    return value.type_name() if isinstance(value, Value) else b"string"
