"""A hash table of entries: chained, and grown or shrunk by one bucket at a time.

Map: Entry (a key, its value and what the keyspace knows about it), Table (find, add, remove, scan, random entries).

A dict would keep each key's hash and pointers a second time; here an entry costs its own 64 bytes and two places in
the list of buckets, and no insert ever waits for the whole table to move.  A key hangs in the bucket that the low bits
of its hash name.  Of the first `_mask + 1` buckets (a power of two) as many are divided as there are buckets beyond
them; for these one bit more counts: bucket `b` and the one it was divided into, `b + _mask + 1` (linear hashing).

`scan` walks the buckets in the order of their bits reversed, as Redis does: the keys still to come are those whose
hash, read from its lowest bit on, is not below the cursor.  That holds for any number of buckets, so a key present
from the first call to the last is returned at least once, however the table grows and shrinks between.
"""

from random import Random
from typing import Final

from mypy_extensions import i32, i64, mypyc_attr

NO_EXPIRY: Final = -1
_LEAST: Final = 16  # buckets of an empty table
_SPARE: Final = 2  # buckets an entry: fewer make a lookup wait for memory that other keys take
_STEP: Final = 16  # buckets that are divided in a row
_LONGEST: Final = 16  # entries of a bucket; so many are in fewer than one bucket of a billion
_EMPTY_VISITS: Final = 10  # buckets that one call of SCAN looks at for every key it is asked for


@mypyc_attr(acyclic=True)  # values know no entry: without the collector's header an entry fits 64 bytes
class Entry:
    """A key, its value (bytes, bytearray or a Value) and what the keyspace knows about it."""

    def __init__(self, key: bytes, value: object, used_at: i32) -> None:
        self.key: bytes = key
        self.value: object = value
        self.following: Entry | None = None  # the next one of its bucket
        self._hash_or_expiry: i64 = hash(key)  # of most keys the table needs the hash; few expire
        self.used_at: i32 = used_at  # ticks, or how often it is used: see keyspace.frequency
        self.volatile_slot: i32 = -1  # its place among those that expire

    @property
    def expire_at_ms(self) -> int:
        """Return when the key expires, NO_EXPIRY if it does not."""
        return int(self._hash_or_expiry) if self.volatile_slot >= 0 else NO_EXPIRY

    def expire(self, at_ms: i64, slot: i32) -> None:
        """Let the key expire; `slot` is its place among those that do."""
        self._hash_or_expiry = at_ms
        self.volatile_slot = slot

    def persist(self) -> None:
        """Let the key stay."""
        self._hash_or_expiry = hash(self.key)
        self.volatile_slot = -1

    def hashed(self) -> i64:
        """Return the hash of the key, mostly without looking at the key: that would wait for its memory."""
        return self._hash_or_expiry if self.volatile_slot < 0 else i64(hash(self.key))


class Table:
    """Entries by key."""

    def __init__(self) -> None:
        self._buckets: list[Entry | None] = [None] * _LEAST
        self._mask: i64 = _LEAST - 1
        self._size: i64 = 0

    def __len__(self) -> int:
        return int(self._size)

    def find(self, key: bytes) -> Entry | None:
        """Return the entry of `key`, None if absent."""
        hashed: i64 = hash(key)
        entry = self._buckets[self._place(hashed)]
        while entry is not None:
            if entry.hashed() == hashed and entry.key == key:
                return entry
            entry = entry.following
        return None

    def find_many(self, keys: list[bytes]) -> list[Entry | None]:
        """Return the entry of each of `keys`, None where absent.

        One after the other each would wait for its bucket, then its entry, then its key to come from memory.  In short
        loops that need nothing of what they touch the processor waits for those of all keys at once."""
        for key in keys:
            hash(key)
        buckets = self._buckets
        found = [buckets[self._place(hash(key))] for key in keys]
        for first in found:
            if first is not None:
                _touch(first.key)
                value = first.value  # what is set or read next
                del value
        for i in range(len(keys)):
            entry = found[i]
            key = keys[i]
            while entry is not None and entry.key != key:
                entry = entry.following
            found[i] = entry
        return found

    def add(self, entry: Entry) -> None:
        """Take in `entry`, whose key must be absent."""
        buckets = self._buckets
        at = self._place(entry.hashed())
        entry.following = buckets[at]
        buckets[at] = entry
        self._size += 1
        if len(buckets) < _SPARE * self._size:
            self._grow()

    def remove(self, entry: Entry) -> None:
        """Take out `entry`, which must be there."""
        at = self._place(entry.hashed())
        first = self._buckets[at]
        assert first is not None, "an entry is in the table until it is removed"
        if first is entry:
            self._buckets[at] = entry.following
        else:
            while first.following is not entry:
                first = first.following
                assert first is not None, "an entry is in the bucket of its key"
            first.following = entry.following
        entry.following = None
        self._size -= 1
        while len(self._buckets) > _LEAST and len(self._buckets) > 2 * _SPARE * self._size:
            self._unite()

    def entries(self) -> list[Entry]:
        """Return all entries."""
        found: list[Entry] = []
        for first in self._buckets:
            _collect(first, found)
        return found

    def scan(self, cursor: int, count: int) -> tuple[int, list[Entry]]:
        """Return (next cursor, `count` entries or somewhat more or less); cursor 0 starts, a returned 0 ends."""
        found: list[Entry] = []
        mask = self._mask
        buckets = self._buckets
        at: i64 = cursor & int(mask)
        for _ in range(count * _EMPTY_VISITS):
            _collect(buckets[at], found)
            if at + mask + 1 < len(buckets):
                _collect(buckets[at + mask + 1], found)
            at = _after(at, mask)
            if at == 0 or len(found) >= count:
                break
        return int(at), found

    def choose(self, random: Random) -> Entry:
        """Return any entry, each equally likely; the table must not be empty.

        A place is drawn, a bucket and a position in it, until one is taken: that takes 32 to 64 draws."""
        buckets = self._buckets
        while True:
            place: i64 = int(random.random() * len(buckets) * _LONGEST)
            entry = buckets[place // _LONGEST]
            position = place % _LONGEST
            while entry is not None and position > 0:
                entry = entry.following
                position -= 1
            if entry is not None:
                return entry

    def sample(self, random: Random) -> Entry:
        """Return some entry, about equally likely, more quickly than `choose`; the table must not be empty."""
        buckets = self._buckets
        at: i64 = int(random.random() * len(buckets))
        first = buckets[at]
        while first is None:
            at = at + 1 if at + 1 < len(buckets) else 0
            first = buckets[at]
        entry = first
        while entry.following is not None and random.random() < 0.5:
            entry = entry.following
        return entry

    def _place(self, hashed: i64) -> i64:
        """Return the number of the bucket of a key with this hash."""
        at = hashed & (2 * self._mask + 1)
        return at if at < len(self._buckets) else at & self._mask

    def _grow(self) -> None:
        """Divide the next buckets.

        What short loops touch, `_divide` finds in the processor's caches; there each entry would wait."""
        buckets = self._buckets
        at = len(buckets) & self._mask
        entries = buckets[at : at + _STEP]
        while entries:
            later: list[Entry | None] = []
            for entry in entries:
                if entry is not None and entry.following is not None:
                    later.append(entry.following)
            entries = later
        for _ in range(_STEP):
            self._divide()

    def _divide(self) -> None:
        """Add a bucket, which takes its keys from an existing one."""
        buckets = self._buckets
        if len(buckets) > 2 * self._mask + 1:
            self._mask = 2 * self._mask + 1
        bit = self._mask + 1
        at = len(buckets) - bit
        stay: Entry | None = None
        move: Entry | None = None
        entry = buckets[at]
        while entry is not None:
            following = entry.following
            if entry.hashed() & bit:
                entry.following = move
                move = entry
            else:
                entry.following = stay
                stay = entry
            entry = following
        buckets[at] = stay
        buckets.append(move)

    def _unite(self) -> None:
        """Give up the last bucket; its keys go back to the one they were divided from."""
        buckets = self._buckets
        if len(buckets) == self._mask + 1:
            self._mask >>= 1
        entry = buckets.pop()
        at = len(buckets) & self._mask
        while entry is not None:
            following = entry.following
            entry.following = buckets[at]
            buckets[at] = entry
            entry = following


def warm(entries: list[Entry], start: int, stop: int) -> None:
    """Touch the keys and values of some of `entries`, so that the processor waits for those of all at once."""
    for entry in entries[start:stop]:
        _touch(entry.key)
        value = entry.value
        del value


def _touch(key: bytes) -> None:
    """Let `key` be loaded: to count the reference is enough."""


def _collect(entry: Entry | None, found: list[Entry]) -> None:
    """Add a bucket's entries to `found`."""
    while entry is not None:
        found.append(entry)
        entry = entry.following


def _after(at: i64, mask: i64) -> i64:
    """Return the bucket that follows `at` in the order of reversed bits; 0 after the last one."""
    bit = (mask + 1) >> 1
    while bit and at & bit:
        at ^= bit
        bit >>= 1
    return at | bit
