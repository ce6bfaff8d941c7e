"""A stream: entries in the order of their ids, in nodes of some hundred, and the consumer groups that read them.

Map: StreamNode (neighbouring entries), StreamValue (append, ranges, removal, trimming, counters of groups).

Redis keeps the entries of a node in one listpack; approximate trimming removes whole nodes.  For the same counts nodes
here end where Redis's do: `listpack_bytes` is what its listpack would take, and entries that XDEL removes still count.
A node keeps its entries packed (see stream_entry) in one bytearray, and ids and ends of entries in arrays: with the
default limits an entry takes some 20 bytes besides its packed form.  Finding an entry costs O(log n).

For serialisation (RDB): `length`, `last_id`, `first_id` (0 if empty), `max_deleted_id`, `entries_added`, `nodes` and
`groups` by name.  A node has `key` (the id its radix tree key spells), `deleted`, and `entries()`: the ids and, in
their order, field, value, field, value.  To restore: `append(ident, words, 0, limits)` for each entry, with
`close_node()` where a node ends, then set `last_id`, `max_deleted_id` and `entries_added`, and fill `groups`.
"""

from array import array
from bisect import bisect_left, bisect_right
from typing import Final

from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.listpack import entry_bytes, integer_bytes
from coordkit_server.datatypes.stream_entry import ID_MAX, ID_SEQ_BITS, ID_SEQ_MAX, pack, unpack
from coordkit_server.datatypes.stream_group import ENTRIES_READ_UNKNOWN, Group
from coordkit_server.datatypes.value import Value

_FRAME_BYTES: Final = 7 + 2  # header and end of a listpack; the zero behind the fields of a node
_NODE_BYTES_MAX: Final = 1 << 30
_ENTRY_BYTES_MAX: Final = 1 << 30
_SIGN: Final = 1 << 63
_NEAR: Final = 1 << 60
_STEP_BITS: Final = 32
_STEP_MAX: Final = 4294967295
_STEP_END: Final = 1 << 64  # greater than every step
# what an id and an end take
_NARROW_BYTES: Final = 16
_WIDE_BYTES: Final = 56
_NODE_OVERHEAD: Final = 500  # the node, its arrays and its bytearray, measured empty


class StreamNode:
    """Neighbouring entries.  `key` was the first id, `last_id` the last one; both stay when their entries go."""

    def __init__(self, key: int, fields: list[bytes]) -> None:
        self.key: Final = key
        self._key_ms: Final[int] = key >> ID_SEQ_BITS
        self._key_seq: Final[int] = key & ID_SEQ_MAX
        self.last_id: int = key
        self.deleted: int = 0
        self._fields: Final = fields  # of the first entry: entries with the same ones take less in a listpack
        self._packed: bytearray = bytearray()
        # ids as steps from `key`: 32 bits of ms and 32 of the sequence, or whole ids once one does not fit
        self._narrow: bool = True
        self._ids: array[int] | list[int] = array("Q")
        self._ends: array[int] = array("Q")  # where each entry ends, counted from the first byte there ever was
        self._cut: int = 0  # bytes that were removed in front of `_packed`
        self._listpack_bytes: int = _FRAME_BYTES + integer_bytes(len(fields))
        for field in fields:
            self._listpack_bytes += entry_bytes(field)

    def size(self) -> int:
        """Return the number of entries."""
        return len(self._ends)

    def first_fields(self) -> list[bytes]:
        """Return the fields of the entry that the node was made for."""
        return self._fields

    def listpack_bytes(self) -> int:
        """Return how long Redis's listpack of this node would be."""
        return self._listpack_bytes + integer_bytes(len(self._ends)) + integer_bytes(self.deleted)

    def append(self, ident: int, ms: int, seq: int, packed: bytes) -> None:
        """Add an entry, packed, behind all others; `ident` has the parts `ms` and `seq`."""
        self._packed += packed
        self._ends.append(len(self._packed) + self._cut)
        ms_step = ms - self._key_ms
        if self._narrow and (ms_step > _STEP_MAX or seq > _STEP_MAX):
            self._ids = self.ids(0, len(self._ids))
            self._narrow = False
        self._ids.append((ms_step << _STEP_BITS) | seq if self._narrow else ident)
        self.last_id = ident
        seq_step = seq - self._key_seq
        if not -_NEAR < seq_step < _NEAR:  # as a 64-bit integer
            seq_step = ((seq_step + _SIGN) & ID_SEQ_MAX) - _SIGN
        self._listpack_bytes += 2 + integer_bytes(ms_step) + integer_bytes(seq_step)

    def count_words(self, argv: list[bytes], at: int) -> None:
        """Count what the fields and values from `argv[at]` on of an entry take in a listpack."""
        fields = self._fields
        pairs = (len(argv) - at) >> 1
        same = pairs == len(fields)
        if same:
            for i in range(pairs):
                if argv[at + 2 * i] != fields[i]:
                    same = False
                    break
        if same:
            size = integer_bytes(pairs + 3)
            for i in range(at + 1, len(argv), 2):
                size += entry_bytes(argv[i])
        else:
            size = integer_bytes(pairs) + integer_bytes(2 * pairs + 4)
            for i in range(at, len(argv)):
                size += entry_bytes(argv[i])
        self._listpack_bytes += size

    def close(self) -> None:
        """Give back the room for more entries."""
        self._packed = bytearray(bytes(self._packed))

    def count_below(self, ident: int) -> int:
        """Return how many entries have an id below `ident`."""
        return 0 if ident <= self.key else bisect_left(self._ids, self._step(ident))

    def _step(self, ident: int) -> int:
        """Return what stands for `ident`, which is not below `key`, in `_ids`, or what keeps its place there."""
        if not self._narrow:
            return ident
        ms_step = (ident >> ID_SEQ_BITS) - self._key_ms
        if ms_step > _STEP_MAX:
            return _STEP_END
        seq = ident & ID_SEQ_MAX
        return (ms_step << _STEP_BITS) + (seq if seq <= _STEP_MAX else _STEP_MAX + 1)

    def find(self, ident: int) -> int:
        """Return where the entry with the id `ident` stands, -1 if there is none."""
        if ident < self.key or (self._narrow and ident & ID_SEQ_MAX > _STEP_MAX):
            return -1
        step = self._step(ident)
        at = bisect_left(self._ids, step)
        return at if at < len(self._ends) and self._ids[at] == step else -1

    def id_at(self, at: int) -> int:
        """Return the id of the entry at `at`."""
        return self.ids(at, at + 1)[0]

    def ids(self, start: int, stop: int) -> list[int]:
        """Return the ids from `start` up to `stop`."""
        steps = self._ids[start:stop]
        if not self._narrow:
            return list(steps)
        found: list[int] = []
        before = -1
        base = 0
        for step in steps:
            ms_step = step >> _STEP_BITS
            if ms_step != before:  # many entries of one millisecond are added in a row
                before = ms_step
                base = (self._key_ms + ms_step) << ID_SEQ_BITS
            found.append(base | (step & _STEP_MAX))
        return found

    def packed(self, start: int, stop: int) -> bytes:
        """Return the entries from `start` up to `stop` (start < stop), packed one behind the other."""
        begin = self._ends[start - 1] - self._cut if start else 0
        return bytes(self._packed[begin : self._ends[stop - 1] - self._cut])

    def remove(self, start: int, stop: int) -> None:
        """Remove the entries from `start` up to `stop` (start < stop); as in Redis they still count for the limits."""
        end = self._ends[stop - 1]
        if start == 0:
            del self._packed[: end - self._cut]
            self._cut = end
        else:
            begin = self._ends[start - 1]
            del self._packed[begin - self._cut : end - self._cut]
            for i in range(stop, len(self._ends)):
                self._ends[i] -= end - begin
        del self._ends[start:stop]
        del self._ids[start:stop]
        self.deleted += stop - start

    def entries(self) -> list[tuple[int, list[bytes]]]:
        """Return all entries as (id, [field, value, field, value, ...])."""
        idents = self.ids(0, len(self._ends))
        return [(idents[i], unpack(self.packed(i, i + 1))) for i in range(len(idents))]

    def memory_bytes(self) -> int:
        """Return about how many bytes the node takes."""
        each = _NARROW_BYTES if self._narrow else _WIDE_BYTES
        return _NODE_OVERHEAD + len(self._packed) + each * len(self._ends)

    def copy(self) -> "StreamNode":
        """Return an independent copy."""
        twin = StreamNode(self.key, self._fields)
        twin.last_id = self.last_id
        twin.deleted = self.deleted
        twin._packed = bytearray(bytes(self._packed))
        twin._narrow = self._narrow
        twin._ids = self._ids[:]
        twin._ends = self._ends[:]
        twin._cut = self._cut
        twin._listpack_bytes = self._listpack_bytes
        return twin


class StreamValue(Value):
    """The value of a stream key."""

    def __init__(self) -> None:
        self._length: int = 0
        self.last_id: int = 0
        self.first_id: int = 0
        self.max_deleted_id: int = 0
        self.entries_added: int = 0
        self.groups: Final[dict[bytes, Group]] = {}
        self.nodes: Final[list[StreamNode]] = []
        self._keys: Final[list[int]] = []  # of the nodes
        self._closed: bool = False  # the next entry starts a node

    def type_name(self) -> bytes:
        """Return `stream`."""
        return b"stream"

    def encoding(self) -> bytes:
        """Return `stream`."""
        return b"stream"

    def length(self) -> int:
        """Return the number of entries."""
        return self._length

    def copy(self) -> Value:
        """Return an independent copy, groups with what is pending included."""
        twin = StreamValue()
        twin._length = self._length
        twin.last_id = self.last_id
        twin.first_id = self.first_id
        twin.max_deleted_id = self.max_deleted_id
        twin.entries_added = self.entries_added
        for node in self.nodes:
            twin.nodes.append(node.copy())
        twin._keys.extend(self._keys)
        for name, group in self.groups.items():
            twin.groups[name] = group.copy()
        return twin

    # -- adding --------------------------------------------------------------------------------------------------

    def append(self, ident: int, argv: list[bytes], at: int, limits: Limits) -> bytes | None:
        """Add an entry with the fields and values from `argv[at]` on; return its id's text, None if it is too large.

        `ident` must be greater than `last_id`."""
        size = 0
        for i in range(at, len(argv)):
            size += len(argv[i])
        if size > _ENTRY_BYTES_MAX:
            return None
        ms = ident >> ID_SEQ_BITS
        seq = ident & ID_SEQ_MAX
        text = b"%d-%d" % (ms, seq)
        nodes = self.nodes
        if nodes and not self._closed and not _is_full(nodes[-1], size, limits):
            node = nodes[-1]
        else:
            if nodes:
                nodes[-1].close()
            node = StreamNode(ident, argv[at::2])
            nodes.append(node)
            self._keys.append(ident)
            self._closed = False
        node.append(ident, ms, seq, pack(text, argv, at))
        node.count_words(argv, at)
        self._length += 1
        self.entries_added += 1
        self.last_id = ident
        if self._length == 1:
            self.first_id = ident
        return text

    def close_node(self) -> None:
        """Let the next entry start a node."""
        self._closed = True

    # -- reading -------------------------------------------------------------------------------------------------

    def _node_from(self, ident: int) -> int:
        """Return the place of the first node that may hold `ident` or what follows it."""
        keys = self._keys
        last = len(keys) - 1
        if last <= 0 or ident >= keys[last]:  # most often the oldest or the newest are asked for
            return last if last > 0 else 0
        if ident < keys[1]:
            return 0
        place = bisect_right(keys, ident) - 1
        return place if place > 0 else 0

    def read(self, start: int, end: int, limit: int, parts: list[bytes], idents: list[int] | None = None) -> int:
        """Append packed entries with start <= id <= end to `parts`, at most `limit` (0: all); return how many.

        Their ids are appended to `idents`."""
        found = 0
        nodes = self.nodes
        for place in range(self._node_from(start), len(nodes)):
            node = nodes[place]
            if node.key > end:
                break
            low = node.count_below(start) if node.key < start else 0
            high = node.size() if node.last_id <= end else node.count_below(end + 1)
            if limit and high - low > limit - found:
                high = low + limit - found
            if low < high:
                parts.append(node.packed(low, high))
                if idents is not None:
                    idents.extend(node.ids(low, high))
                found += high - low
                if found == limit:
                    break
        return found

    def read_back(self, start: int, end: int, limit: int, parts: list[bytes]) -> int:
        """Append packed entries with start <= id <= end, the last one first, at most `limit` (0: all)."""
        found = 0
        nodes = self.nodes
        place = self._node_from(end)
        while 0 <= place < len(nodes) and (nodes[place].last_id >= start):
            node = nodes[place]
            at = (node.size() if node.last_id <= end else node.count_below(end + 1)) - 1
            low = node.count_below(start) if node.key < start else 0
            while at >= low:
                parts.append(node.packed(at, at + 1))
                found += 1
                if found == limit:
                    return found
                at -= 1
            place -= 1
        return found

    def ids_from(self, start: int, limit: int) -> list[int]:
        """Return at most `limit` ids that are not below `start`, in order."""
        ids: list[int] = []
        for place in range(self._node_from(start), len(self.nodes)):
            node = self.nodes[place]
            at = node.count_below(start) if node.key < start else 0
            ids.extend(node.ids(at, at + limit - len(ids)))
            if len(ids) == limit:
                break
        return ids

    def entry(self, ident: int) -> bytes | None:
        """Return the packed entry, None if there is none."""
        if not self.nodes:
            return None
        node = self.nodes[self._node_from(ident)]
        at = node.find(ident)
        return node.packed(at, at + 1) if at >= 0 else None

    def has(self, ident: int) -> bool:
        """Return True if there is an entry with this id."""
        return len(self.nodes) > 0 and self.nodes[self._node_from(ident)].find(ident) >= 0

    def last_entry_id(self) -> int:
        """Return the greatest id of an entry, 0 if there is none."""
        place = len(self.nodes) - 1
        if place >= 0 and self.nodes[place].deleted == 0:
            return self.nodes[place].last_id
        while place >= 0:
            size = self.nodes[place].size()
            if size:
                return self.nodes[place].id_at(size - 1)
            place -= 1
        return 0

    # -- removing ------------------------------------------------------------------------------------------------

    def _find_first(self) -> None:
        """Set `first_id` anew."""
        self.first_id = 0
        if self._length:
            self.first_id = self.ids_from(0, 1)[0]

    def remove(self, idents: list[int]) -> int:
        """Remove the entries with these ids; return how many there were."""
        removed = 0
        first_removed = False
        for ident in idents:
            if self._remove_one(ident):
                removed += 1
                if ident == self.first_id:
                    first_removed = True
                self.max_deleted_id = max(self.max_deleted_id, ident)
        if removed and (first_removed or not self._length):
            self._find_first()
        return removed

    def _remove_one(self, ident: int) -> bool:
        """Remove the entry with this id; return False if there is none."""
        if not self.nodes:
            return False
        place = self._node_from(ident)
        node = self.nodes[place]
        at = node.find(ident)
        if at < 0:
            return False
        if node.size() == 1:
            del self.nodes[place]
            del self._keys[place]
        else:
            node.remove(at, at + 1)
        self._length -= 1
        return True

    def trim_to_length(self, most: int, *, approximately: bool, limit: int) -> int:
        """Remove the oldest entries so that `most` stay; return how many went.

        `approximately` removes whole nodes only, and no more than `limit` entries (0: any number)."""
        whole = 0
        removed = 0
        while whole < len(self.nodes) and self._length - removed > most:
            size = self.nodes[whole].size()
            if (limit and removed + size > limit) or self._length - removed - size < most:
                break
            removed += size
            whole += 1
        rest = 0
        if not approximately and whole < len(self.nodes) and not limit:
            rest = max(self._length - removed - most, 0)
        return self._trim(whole, rest, removed)

    def trim_below(self, ident: int, *, approximately: bool, limit: int) -> int:
        """Remove the entries with ids below `ident`, as `trim_to_length`; return how many went."""
        whole = 0
        removed = 0
        while whole < len(self.nodes) and self.nodes[whole].last_id < ident:
            size = self.nodes[whole].size()
            if limit and removed + size > limit:
                break
            removed += size
            whole += 1
        rest = 0
        if not approximately and whole < len(self.nodes) and not limit:
            rest = self.nodes[whole].count_below(ident)
        return self._trim(whole, rest, removed)

    def _trim(self, whole: int, rest: int, removed: int) -> int:
        """Remove `whole` nodes, which have `removed` entries, and `rest` entries of the next; return the sum."""
        if whole:
            del self.nodes[:whole]
            del self._keys[:whole]
        if rest:
            self.nodes[0].remove(0, rest)
        removed += rest
        self._length -= removed
        if removed:
            self._find_first()
        return removed

    def oldest_id(self) -> int:
        """Return the id of the first entry that a node has, removed ones included; the greatest id if none is left."""
        return self.nodes[0].key if self.nodes else ID_MAX

    # -- counters ------------------------------------------------------------------------------------------------

    def has_gaps_from(self, ident: int) -> bool:
        """Return True if entries were removed at `ident` or behind it, and not from the start of the stream."""
        return bool(self._length) and self.max_deleted_id != 0 and self.first_id <= self.max_deleted_id >= ident

    def count_read(self, group: Group, idents: list[int]) -> None:
        """Move `group` on over `idents`, which follow its `last_id`, and count them as far as that is possible."""
        if not idents:
            return
        if group.entries_read != ENTRIES_READ_UNKNOWN and not self.has_gaps_from(idents[0]):
            group.entries_read += len(idents)
            group.last_id = idents[-1]
            return
        for ident in idents:
            if group.entries_read != ENTRIES_READ_UNKNOWN and not self.has_gaps_from(ident):
                group.entries_read += 1
            elif self.entries_added:
                group.entries_read = self.entries_up_to(ident)
            group.last_id = ident

    def entries_up_to(self, ident: int) -> int:
        """Return how many entries were ever added up to `ident`, -1 if that cannot be known."""
        added = self.entries_added
        if not added:
            return 0
        if not self._length and ident <= self.last_id:
            return added
        if ident >= self.last_id:
            return added if ident == self.last_id else ENTRIES_READ_UNKNOWN
        if self.max_deleted_id == 0 or self.max_deleted_id < self.first_id:
            if ident < self.first_id:
                return added - self._length
            if ident == self.first_id:
                return added - self._length + 1
        return ENTRIES_READ_UNKNOWN

    def lag(self, group: Group) -> int | None:
        """Return how many entries `group` has still to read, None if that cannot be known."""
        if not self.entries_added:
            return 0
        if group.entries_read != ENTRIES_READ_UNKNOWN and not self.has_gaps_from(group.last_id):
            return self.entries_added - group.entries_read
        read = self.entries_up_to(group.last_id)
        return None if read == ENTRIES_READ_UNKNOWN else self.entries_added - read


def _is_full(node: StreamNode, more: int, limits: Limits) -> bool:
    """Return True if an entry with `more` bytes of fields and values has to start a node."""
    most_bytes = limits.stream_node_max_bytes
    if most_bytes == 0 or most_bytes > _NODE_BYTES_MAX:
        most_bytes = _NODE_BYTES_MAX
    if node.listpack_bytes() + more >= most_bytes:
        return True
    most = limits.stream_node_max_entries
    return most != 0 and node.size() + node.deleted >= most
