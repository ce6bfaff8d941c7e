"""Consumer groups of a stream: who got which entry, how often, and has not acknowledged it.

Map: Nack (an entry delivered and not acknowledged), Pending (nacks in the order of their ids), Consumer, Group.

A nack stands in the `pending` of its group and in that of its consumer.  Pending keeps ids and nacks in chunks of at
most CHUNK_MAX: insert, find and remove cost O(log n), and entries that are delivered in order fill chunk after chunk.

For serialisation: `Group.last_id`, `entries_read` (-1 unknown), `pending.nacks()` in order, `consumers` by name with
`seen_ms`, `active_ms` (-1 never) and `pending`; a nack has `ident`, `delivered_ms`, `count` and `consumer`.
To restore: `Group(last_id, entries_read)`, `group.add_consumer(name, seen_ms)`, `group.give(nack, consumer)`.
"""

from bisect import bisect_left
from typing import Final

ENTRIES_READ_UNKNOWN: Final = -1
NEVER_ACTIVE: Final = -1
CHUNK_MAX: Final = 256


class Nack:
    """An entry that was delivered and not acknowledged.  `consumer` is None only while XCLAIM FORCE creates it."""

    def __init__(self, ident: int, consumer: "Consumer | None", delivered_ms: int, count: int) -> None:
        self.ident: Final = ident
        self.consumer: Consumer | None = consumer
        self.delivered_ms: int = delivered_ms
        self.count: int = count


class Pending:
    """Nacks in the order of their ids."""

    def __init__(self) -> None:
        self.size: int = 0
        self._lasts: list[int] = []  # the last id of each chunk; no chunk is empty
        self._ids: list[list[int]] = []
        self._nacks: list[list[Nack]] = []

    def _chunk_from(self, ident: int) -> int:
        """Return the first chunk that has an id not below `ident`, the number of chunks if none has."""
        lasts = self._lasts
        count = len(lasts)
        if count == 0 or ident <= lasts[0]:  # most often the oldest or the newest are asked for
            return 0
        if count > 1 and ident > lasts[count - 2]:
            return count - 1 if ident <= lasts[count - 1] else count
        return bisect_left(lasts, ident)

    def get(self, ident: int) -> Nack | None:
        """Return the nack of `ident`, None if there is none."""
        chunk = self._chunk_from(ident)
        if chunk == len(self._lasts):
            return None
        ids = self._ids[chunk]
        at = bisect_left(ids, ident)
        return self._nacks[chunk][at] if ids[at] == ident else None

    def reaches(self, ident: int) -> bool:
        """Return True if there is an id that is not below `ident`."""
        lasts = self._lasts
        return len(lasts) > 0 and lasts[-1] >= ident

    def first_from(self, ident: int) -> Nack | None:
        """Return the nack with the least id that is not below `ident`, None if there is none."""
        chunk = self._chunk_from(ident)
        if chunk == len(self._lasts):
            return None
        return self._nacks[chunk][bisect_left(self._ids[chunk], ident)]

    def last(self) -> Nack | None:
        """Return the nack with the greatest id, None if there is none."""
        return self._nacks[-1][-1] if self.size else None

    def nacks(self) -> list[Nack]:
        """Return all nacks in order."""
        return self.take_from(0, self.size)

    def take_from(self, ident: int, wanted: int) -> list[Nack]:
        """Return at most `wanted` nacks in order, the first with an id that is not below `ident`."""
        found: list[Nack] = []
        chunk = self._chunk_from(ident)
        if chunk == len(self._lasts) or wanted <= 0:
            return found
        at = bisect_left(self._ids[chunk], ident)
        while chunk < len(self._nacks) and len(found) < wanted:
            found.extend(self._nacks[chunk][at : at + wanted - len(found)])
            chunk += 1
            at = 0
        return found

    def add(self, nack: Nack) -> None:
        """Add `nack`, whose id must be absent."""
        ident = nack.ident
        lasts = self._lasts
        self.size += 1
        if not lasts or ident > lasts[-1]:
            self._append(nack, ident)
            return
        chunk = self._chunk_from(ident)
        ids = self._ids[chunk]
        at = bisect_left(ids, ident)
        ids.insert(at, ident)
        self._nacks[chunk].insert(at, nack)
        if len(ids) > CHUNK_MAX:
            self._split(chunk)

    def _append(self, nack: Nack, ident: int) -> None:
        """Add `nack`, whose id is greater than all others."""
        lasts = self._lasts
        if lasts:
            ids = self._ids[-1]
            if len(ids) < CHUNK_MAX:
                ids.append(ident)
                self._nacks[-1].append(nack)
                lasts[-1] = ident
                return
        lasts.append(ident)
        self._ids.append([ident])
        self._nacks.append([nack])

    def _split(self, chunk: int) -> None:
        """Part a chunk into two of one size."""
        ids = self._ids[chunk]
        nacks = self._nacks[chunk]
        half = len(ids) >> 1
        self._lasts.insert(chunk, ids[half - 1])
        self._ids.insert(chunk + 1, ids[half:])
        self._nacks.insert(chunk + 1, nacks[half:])
        del ids[half:]
        del nacks[half:]

    def remove(self, ident: int) -> Nack | None:
        """Remove and return the nack of `ident`, None if there is none."""
        lasts = self._lasts
        chunk = self._chunk_from(ident)
        if chunk == len(lasts):
            return None
        ids = self._ids[chunk]
        at = bisect_left(ids, ident)
        if ids[at] != ident:
            return None
        self.size -= 1
        nack = self._nacks[chunk].pop(at)
        del ids[at]
        if not ids:
            del lasts[chunk]
            del self._ids[chunk]
            del self._nacks[chunk]
        elif at == len(ids):
            lasts[chunk] = ids[-1]
        return nack


class Consumer:
    """A member of a group: when it last asked, when it last got something, what it has not acknowledged."""

    def __init__(self, name: bytes, seen_ms: int) -> None:
        self.name: Final = name
        self.seen_ms: int = seen_ms
        self.active_ms: int = NEVER_ACTIVE
        self.pending: Final = Pending()


class Group:
    """A consumer group: `last_id` was delivered last, `entries_read` counts what was, -1 if that is unknown."""

    def __init__(self, last_id: int, entries_read: int) -> None:
        self.last_id: int = last_id
        self.entries_read: int = entries_read
        self.pending: Final = Pending()
        self.consumers: Final[dict[bytes, Consumer]] = {}

    def add_consumer(self, name: bytes, seen_ms: int) -> Consumer:
        """Return a new consumer called `name`, which must be absent."""
        consumer = Consumer(name, seen_ms)
        self.consumers[name] = consumer
        return consumer

    def consumers_by_name(self) -> list[Consumer]:
        """Return the consumers in the order of their names."""
        return [self.consumers[name] for name in sorted(self.consumers)]

    def remove_consumer(self, consumer: Consumer) -> None:
        """Remove `consumer` and what is pending for it."""
        for nack in consumer.pending.nacks():
            self.pending.remove(nack.ident)
        del self.consumers[consumer.name]

    def give(self, nack: Nack, consumer: Consumer) -> None:
        """Add `nack`, whose id must not be pending, for `consumer`."""
        nack.consumer = consumer
        self.pending.add(nack)
        consumer.pending.add(nack)

    def deliver(self, ident: int, consumer: Consumer, now_ms: int) -> Nack:
        """Return the nack of an entry that goes to `consumer` now for the first time."""
        nack = self.pending.get(ident) if self.pending.reaches(ident) else None
        if nack is None:
            nack = Nack(ident, consumer, now_ms, 1)
            self.pending.add(nack)
            consumer.pending.add(nack)
        else:  # XGROUP SETID went back behind an entry that somebody had
            self.move(nack, consumer)
            nack.delivered_ms = now_ms
            nack.count = 1
        return nack

    def move(self, nack: Nack, consumer: Consumer) -> None:
        """Make `consumer` the owner of `nack`, which is pending in this group."""
        owner = nack.consumer
        if owner is consumer:
            return
        if owner is not None:
            owner.pending.remove(nack.ident)
        nack.consumer = consumer
        consumer.pending.add(nack)

    def forget(self, ident: int) -> bool:
        """Remove what is pending for `ident`; return False if nothing is."""
        nack = self.pending.remove(ident)
        if nack is None:
            return False
        owner = nack.consumer
        if owner is not None:
            owner.pending.remove(ident)
        return True

    def copy(self) -> "Group":
        """Return an independent copy."""
        twin = Group(self.last_id, self.entries_read)
        for consumer in self.consumers.values():
            twin.add_consumer(consumer.name, consumer.seen_ms).active_ms = consumer.active_ms
        for nack in self.pending.nacks():
            owner = nack.consumer
            if owner is not None:
                twin.give(Nack(nack.ident, None, nack.delivered_ms, nack.count), twin.consumers[owner.name])
        return twin
