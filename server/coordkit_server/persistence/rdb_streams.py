"""A stream as snapshots and DUMP hold it: type 15, since 7.0 type 19, since 7.2 type 21; 19 is written.

    stream    number of nodes, for each: its key (16 bytes, ms and seq big endian) and a listpack, both as strings;
              number of entries, last id; [19, 21: first id, greatest removed id, number of entries ever added];
              number of groups, for each: name, last id, [19, 21: entries read, 2**64 - 1 for unknown],
                  number of pending entries, for each: id (16 bytes), time of delivery, number of deliveries;
                  number of consumers, for each: name, last seen, [21: last active], number of pending entries,
                      for each: id (16 bytes)
    listpack  number of entries, of removed ones, of fields, fields, 0, entries
    entry     flags (1 removed, 2 it has the fields above), ms and seq as difference to the key,
              values, or number of fields, field, value, ...; number of elements so far

Ids outside of nodes are two lengths, ms and seq; times are 8 bytes, ms.
"""

from typing import Final

from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.stream import StreamNode, StreamValue
from coordkit_server.datatypes.stream_entry import ID_SEQ_BITS, ID_SEQ_MAX
from coordkit_server.datatypes.stream_group import NEVER_ACTIVE, Consumer, Group, Nack
from coordkit_server.numeric import parse_int
from coordkit_server.persistence.packed import (
    BadFormat,
    close_listpack,
    decode_listpack,
    integer_entry,
    listpack_entry,
)
from coordkit_server.persistence.rdb_format import STREAM, STREAM_3, Reader, Writer

_ID_BYTES: Final = 16
_REMOVED: Final = 1
_SAME_FIELDS: Final = 2
_UNKNOWN: Final = ID_SEQ_MAX  # of entries read
_SIGN: Final = 1 << 63


# -- saving ------------------------------------------------------------------------------------------------------


def save_stream(writer: Writer, value: StreamValue) -> None:
    """Write a stream as type 19."""
    writer.length(len(value.nodes))
    for node in value.nodes:
        writer.string(node.key.to_bytes(_ID_BYTES, "big"))
        writer.string(_node_listpack(node))
    writer.length(value.length())
    _save_id(writer, value.last_id)
    _save_id(writer, value.first_id)
    _save_id(writer, value.max_deleted_id)
    writer.length(value.entries_added)
    writer.length(len(value.groups))
    for name in sorted(value.groups):
        writer.string(name)
        _save_group(writer, value.groups[name])


def _save_id(writer: Writer, ident: int) -> None:
    """Write an id as two lengths."""
    writer.length(ident >> ID_SEQ_BITS)
    writer.length(ident & ID_SEQ_MAX)


def _node_listpack(node: StreamNode) -> bytes:
    """Return the entries of a node."""
    fields = node.first_fields()
    parts = [integer_entry(node.size()), integer_entry(0), integer_entry(len(fields))]
    for field in fields:
        parts.append(listpack_entry(field))
    parts.append(integer_entry(0))
    key_ms = node.key >> ID_SEQ_BITS
    key_seq = node.key & ID_SEQ_MAX
    for ident, words in node.entries():
        same = words[::2] == fields
        parts.append(integer_entry(_SAME_FIELDS if same else 0))
        parts.append(integer_entry(_difference(ident >> ID_SEQ_BITS, key_ms)))
        parts.append(integer_entry(_difference(ident & ID_SEQ_MAX, key_seq)))
        pairs = len(words) >> 1
        if not same:
            parts.append(integer_entry(pairs))
        for at in range(1 if same else 0, len(words), 2 if same else 1):
            parts.append(listpack_entry(words[at]))
        parts.append(integer_entry(pairs + 3 if same else 2 * pairs + 4))
    return close_listpack(parts)


def _difference(number: int, base: int) -> int:
    """Return what is added to `base` to get `number`, as a signed number of 64 bits, which wraps around."""
    return ((number - base + _SIGN) & ID_SEQ_MAX) - _SIGN


def _save_group(writer: Writer, group: Group) -> None:
    """Write a consumer group."""
    _save_id(writer, group.last_id)
    writer.length(group.entries_read if group.entries_read >= 0 else _UNKNOWN)
    nacks = group.pending.nacks()
    writer.length(len(nacks))
    for nack in nacks:
        writer.raw(nack.ident.to_bytes(_ID_BYTES, "big"))
        writer.time_ms(nack.delivered_ms)
        writer.length(nack.count)
    writer.length(len(group.consumers))
    for consumer in group.consumers_by_name():
        writer.string(consumer.name)
        writer.time_ms(consumer.seen_ms)
        owned = consumer.pending.nacks()
        writer.length(len(owned))
        for nack in owned:
            writer.raw(nack.ident.to_bytes(_ID_BYTES, "big"))


# -- loading -----------------------------------------------------------------------------------------------------


def load_stream(reader: Reader, kind: int, limits: Limits) -> StreamValue:
    """Return the stream of type `kind` that stands next.  Raises BadFormat."""
    value = StreamValue()
    for _ in range(reader.length()):
        key = reader.string()
        if len(key) != _ID_BYTES:
            raise BadFormat("a stream has a node with a key of wrong length")
        _load_node(value, int.from_bytes(key, "big"), decode_listpack(reader.string()), limits)
    length = reader.length()
    if length != value.length():
        raise BadFormat("a stream has another number of entries than it says")
    last_id = _load_id(reader)
    if last_id < value.last_id:
        raise BadFormat("a stream has an entry behind the last id it gave")
    value.last_id = last_id
    value.entries_added = length
    if kind != STREAM:
        _load_id(reader)  # the first id is known from the entries
        value.max_deleted_id = _load_id(reader)
        value.entries_added = reader.length()
    for _ in range(reader.length()):
        name = reader.string()
        if name in value.groups:
            raise BadFormat("a stream has a group twice")
        value.groups[name] = _load_group(reader, kind, value)
    return value


def _load_id(reader: Reader) -> int:
    """Return an id written as two lengths."""
    ms = reader.length()
    return ms << ID_SEQ_BITS | reader.length()


class _Words:
    """The elements of a node's listpack, one after the other."""

    def __init__(self, words: list[bytes]) -> None:
        self._words: Final = words
        self.at: int = 0

    def more(self) -> bool:
        """Return True if there is one."""
        return self.at < len(self._words)

    def take(self, count: int) -> list[bytes]:
        """Return the next `count`.  Raises BadFormat if there are not so many."""
        end = self.at + count
        if count < 0 or end > len(self._words):
            raise BadFormat("a stream has a node that ends too early")
        taken = self._words[self.at : end]
        self.at = end
        return taken

    def number(self) -> int:
        """Return the next, which is an integer.  Raises BadFormat."""
        value = parse_int(self.take(1)[0])
        if value is None:
            raise BadFormat("a stream has a node with text in place of a number")
        return value


def _load_node(value: StreamValue, key: int, listed: list[bytes], limits: Limits) -> None:
    """Append the entries of a node to `value`.  Raises BadFormat."""
    words = _Words(listed)
    counted = words.number()
    removed = words.number()
    fields = words.take(words.number())
    if words.number() != 0 or counted < 0 or removed < 0:
        raise BadFormat("a stream has a node with a wrong first entry")
    key_ms = key >> ID_SEQ_BITS
    key_seq = key & ID_SEQ_MAX
    value.close_node()
    while words.more():
        start = words.at
        flags = words.number()
        ms = (key_ms + words.number()) & ID_SEQ_MAX
        seq = (key_seq + words.number()) & ID_SEQ_MAX
        if flags & _SAME_FIELDS:
            content = _paired(fields, words.take(len(fields)))
        else:
            content = words.take(2 * words.number())
        if words.number() != words.at - start - 1:
            raise BadFormat("a stream has an entry that does not know its length")
        if flags & _REMOVED:
            removed -= 1
            continue
        counted -= 1
        ident = ms << ID_SEQ_BITS | seq
        if ident <= value.last_id:
            raise BadFormat("a stream has entries that are not in the order of their ids")
        if value.append(ident, content, 0, limits) is None:
            raise BadFormat("a stream has an entry that is too large")
    if counted or removed:
        raise BadFormat("a stream has a node with another number of entries than it says")


def _paired(fields: list[bytes], values: list[bytes]) -> list[bytes]:
    """Return field, value, field, value."""
    content: list[bytes] = []
    for at in range(len(fields)):
        content.append(fields[at])
        content.append(values[at])
    return content


def _load_group(reader: Reader, kind: int, value: StreamValue) -> Group:
    """Return the group that stands next.  Raises BadFormat."""
    last_id = _load_id(reader)
    if kind == STREAM:
        read = value.entries_up_to(last_id)
    else:
        read = reader.length()
        if read == _UNKNOWN:
            read = -1
    group = Group(last_id, read)
    unowned: dict[int, Nack] = {}
    for _ in range(reader.length()):
        ident = int.from_bytes(reader.raw(_ID_BYTES), "big")
        delivered_ms = reader.time_ms()
        if ident in unowned:
            raise BadFormat("a group has a pending entry twice")
        unowned[ident] = Nack(ident, None, delivered_ms, reader.length())
    for _ in range(reader.length()):
        name = reader.string()
        if name in group.consumers:
            raise BadFormat("Duplicate stream consumer detected")
        consumer = group.add_consumer(name, reader.time_ms())
        consumer.active_ms = reader.time_ms() if kind == STREAM_3 else consumer.seen_ms
        _load_pending(reader, group, consumer, unowned)
    if unowned:
        raise BadFormat("a group has a pending entry that no consumer has")
    return group


def _load_pending(reader: Reader, group: Group, consumer: Consumer, unowned: dict[int, Nack]) -> None:
    """Give `consumer` the entries that are pending for it.  Raises BadFormat."""
    if consumer.active_ms < 0:
        consumer.active_ms = NEVER_ACTIVE
    for _ in range(reader.length()):
        nack = unowned.pop(int.from_bytes(reader.raw(_ID_BYTES), "big"), None)
        if nack is None:
            raise BadFormat("a consumer has an entry pending that its group does not have, or somebody else has")
        group.give(nack, consumer)
