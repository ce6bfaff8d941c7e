"""A value as snapshots and DUMP hold it: its type, then its content.

    string        string
    list          1: length, strings        10: ziplist          14: length, ziplists
                  18: length, nodes: container 1 and a string that is one element, or 2 and a listpack
    set           2: length, strings        11: intset           20: listpack
    hash          4: length, field and value                     9: zipmap   13: ziplist   16: listpack
    sorted set    3, 5: length, member and score (text, double)  12: ziplist   17: listpack
    stream        15, 19, 21: see rdb_streams

Packed contents are strings.  What is written are the types up to 19 that Redis 7.0 writes.

Map: save (value_type, save_value), load (load_value, one loader a type).
"""

from collections.abc import Callable
from math import isnan
from typing import Final

from coordkit_server.datatypes.hash import HashValue
from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.list import ListValue
from coordkit_server.datatypes.set import SetValue
from coordkit_server.datatypes.stream import StreamValue
from coordkit_server.datatypes.zset import ZSetValue
from coordkit_server.numeric import format_float, parse_float
from coordkit_server.persistence import rdb_format as rdb
from coordkit_server.persistence.packed import (
    LISTPACK_FRAME,
    BadFormat,
    close_listpack,
    decode_intset,
    decode_listpack,
    decode_ziplist,
    decode_zipmap,
    encode_intset,
    encode_listpack,
    listpack_entry,
)
from coordkit_server.persistence.rdb_format import Reader, Writer
from coordkit_server.persistence.rdb_streams import load_stream, save_stream

_PLAIN: Final = 1
_PACKED: Final = 2
_NODE_OVERHEAD: Final = 8  # added to an element when it is asked whether a node has room for it
_NODE_BYTES: Final[list[int]] = [4096, 8192, 16384, 32768, 65536]  # list-max-listpack-size -1 to -5
_SAFE_NODE_BYTES: Final = 8192


# of types that are packed, as the log names them
_NAMES: Final = {
    rdb.HASH_ZIPMAP: "Zipmap",
    rdb.LIST_ZIPLIST: "List ziplist",
    rdb.SET_INTSET: "Intset",
    rdb.ZSET_ZIPLIST: "Zset ziplist",
    rdb.HASH_ZIPLIST: "Hash ziplist",
    rdb.LIST_QUICKLIST: "Ziplist",
    rdb.STREAM: "Stream listpack",
    rdb.HASH_LISTPACK: "Hash listpack",
    rdb.ZSET_LISTPACK: "Zset listpack",
    rdb.LIST_QUICKLIST_2: "Listpack",
    rdb.STREAM_2: "Stream listpack",
    rdb.SET_LISTPACK: "Set listpack",
    rdb.STREAM_3: "Stream listpack",
}


class EmptyValue(BadFormat):
    """A collection without elements, which no key can hold."""


# -- saving ------------------------------------------------------------------------------------------------------


def value_type(value: object) -> int:
    """Return the type under which `value` is written."""
    if isinstance(value, (bytes, bytearray)):
        return rdb.STRING
    if isinstance(value, ListValue):
        return rdb.LIST_QUICKLIST_2
    if isinstance(value, HashValue):
        return rdb.HASH_LISTPACK if value.packed else rdb.HASH
    if isinstance(value, SetValue):
        return rdb.SET_INTSET if value.encoding() == b"intset" else rdb.SET
    if isinstance(value, ZSetValue):
        return rdb.ZSET_LISTPACK if value.packed else rdb.ZSET_2
    if isinstance(value, StreamValue):
        return rdb.STREAM_2
    raise TypeError(f"no type for a value of {type(value).__name__}")


def save_value(writer: Writer, value: object, limits: Limits) -> None:
    """Write the content of `value`."""
    if isinstance(value, bytes):
        writer.string(value)
    elif isinstance(value, bytearray):
        writer.string(bytes(value))
    elif isinstance(value, ListValue):
        _save_list(writer, value, limits)
    elif isinstance(value, HashValue):
        _save_hash(writer, value)
    elif isinstance(value, SetValue):
        _save_set(writer, value)
    elif isinstance(value, ZSetValue):
        _save_zset(writer, value)
    elif isinstance(value, StreamValue):
        save_stream(writer, value)


def _save_list(writer: Writer, value: ListValue, limits: Limits) -> None:
    """Write a list as the nodes that Redis makes of it when it is filled from the left to the right."""
    elements = value.range(0, value.length())
    most_bytes = _SAFE_NODE_BYTES
    most = max(limits.list_max_listpack_size, 1)
    if limits.list_max_listpack_size < 0:
        most_bytes = _NODE_BYTES[min(-limits.list_max_listpack_size, len(_NODE_BYTES)) - 1]
        most = len(elements)
    nodes: list[bytes] = []
    parts: list[bytes] = []
    size = LISTPACK_FRAME
    for element in elements:
        entry = listpack_entry(element)
        full = size + len(element) + _NODE_OVERHEAD > most_bytes or len(parts) >= most
        if full and parts and not value.packed:
            nodes.append(close_listpack(parts))
            parts = []
            size = LISTPACK_FRAME
        parts.append(entry)
        size += len(entry)
    nodes.append(close_listpack(parts))
    writer.length(len(nodes))
    for node in nodes:
        writer.length(_PACKED)
        writer.string(node)


def _save_hash(writer: Writer, value: HashValue) -> None:
    """Write a hash."""
    if value.packed:
        words: list[bytes] = []
        for field, content in value.fields.items():
            words.append(field)
            words.append(content)
        writer.string(encode_listpack(words))
        return
    writer.length(value.length())
    for field, content in value.fields.items():
        writer.string(field)
        writer.string(content)


def _save_set(writer: Writer, value: SetValue) -> None:
    """Write a set."""
    if value.encoding() == b"intset":
        writer.string(encode_intset(value.listed()))
        return
    writer.length(value.length())
    for member in value.members:
        writer.string(member)


def _save_zset(writer: Writer, value: ZSetValue) -> None:
    """Write a sorted set: packed in ascending order, otherwise from the highest score down, as a skiplist is read."""
    scores, members = value.range(0, value.length())
    if value.packed:
        words: list[bytes] = []
        for at in range(len(members)):
            words.append(members[at])
            words.append(format_float(scores[at]))
        writer.string(encode_listpack(words))
        return
    writer.length(len(members))
    for at in range(len(members) - 1, -1, -1):
        writer.string(members[at])
        writer.double(scores[at])


# -- loading -----------------------------------------------------------------------------------------------------


def load_value(reader: Reader, kind: int, limits: Limits) -> object:
    """Return the value of type `kind` that stands next.  Raises BadFormat, EmptyValue."""
    if kind == rdb.STRING:
        return reader.string()
    loader = _LOADERS.get(kind)
    if loader is not None:
        try:
            return loader(reader, limits)
        except EmptyValue:
            raise
        except BadFormat as error:
            raise BadFormat(f"{_NAMES.get(kind, 'Value')} integrity check failed: {error}") from error
    if kind in (rdb.MODULE, rdb.MODULE_2):
        raise BadFormat("a value of a module, of which this server has none")
    raise BadFormat(f"a value of unknown type {kind}")


def _count(reader: Reader) -> int:
    """Return the number of elements that follow."""
    count = reader.length()
    if count == 0:
        raise EmptyValue("a collection without elements")
    return count


def _filled_list(elements: list[bytes], limits: Limits) -> ListValue:
    """Return a list of `elements`."""
    if not elements:
        raise EmptyValue("a list without elements")
    value = ListValue()
    for element in elements:
        value.push_right(element)
    value.settle(limits)
    return value


def _load_list(reader: Reader, limits: Limits) -> object:
    elements: list[bytes] = []
    for _ in range(_count(reader)):
        elements.append(reader.string())
    return _filled_list(elements, limits)


def _load_list_ziplist(reader: Reader, limits: Limits) -> object:
    return _filled_list(decode_ziplist(reader.string()), limits)


def _load_quicklist(reader: Reader, limits: Limits) -> object:
    elements: list[bytes] = []
    for _ in range(_count(reader)):
        elements.extend(decode_ziplist(reader.string()))
    return _filled_list(elements, limits)


def _load_quicklist_2(reader: Reader, limits: Limits) -> object:
    elements: list[bytes] = []
    for _ in range(_count(reader)):
        container = reader.length()
        node = reader.string()
        if not node:
            raise BadFormat("a list has an empty node")
        if container == _PLAIN:
            elements.append(node)
        elif container == _PACKED:
            elements.extend(decode_listpack(node))
        else:
            raise BadFormat(f"a list has a node of unknown container {container}")
    return _filled_list(elements, limits)


def _load_set(reader: Reader, limits: Limits) -> object:
    count = _count(reader)
    value = SetValue()
    value.expect(count, limits)
    for _ in range(count):
        if not value.add(reader.string(), limits):
            raise BadFormat("a set has a member twice")
    return value


def _filled_set(members: list[bytes], limits: Limits) -> SetValue:
    """Return a set of `members`, which were packed."""
    if not members:
        raise EmptyValue("a set without members")
    value = SetValue()
    value.begin(members[0], len(members), limits)
    for member in members:
        if not value.add(member, limits):
            raise BadFormat("a set has a member twice")
    return value


def _load_intset(reader: Reader, limits: Limits) -> object:
    return _filled_set(decode_intset(reader.string()), limits)


def _load_set_listpack(reader: Reader, limits: Limits) -> object:
    return _filled_set(decode_listpack(reader.string()), limits)


def _load_hash(reader: Reader, limits: Limits) -> object:
    value = HashValue()
    for _ in range(_count(reader)):
        field = reader.string()
        if not value.set(field, reader.string(), limits):
            raise BadFormat("a hash has a field twice")
    return value


def _filled_hash(words: list[bytes], limits: Limits) -> HashValue:
    """Return a hash of field, value, field, value."""
    if len(words) & 1:
        raise BadFormat("a hash has a field without a value")
    if not words:
        raise EmptyValue("a hash without fields")
    value = HashValue()
    for at in range(0, len(words), 2):
        if not value.set(words[at], words[at + 1], limits):
            raise BadFormat("a hash has a field twice")
    return value


def _load_zipmap(reader: Reader, limits: Limits) -> object:
    return _filled_hash(decode_zipmap(reader.string()), limits)


def _load_hash_ziplist(reader: Reader, limits: Limits) -> object:
    return _filled_hash(decode_ziplist(reader.string()), limits)


def _load_hash_listpack(reader: Reader, limits: Limits) -> object:
    return _filled_hash(decode_listpack(reader.string()), limits)


def _add_member(value: ZSetValue, member: bytes, score: float, limits: Limits) -> None:
    """Add a member that is not there.  Raises BadFormat."""
    if isnan(score):
        raise BadFormat("a sorted set has a score that is not a number")
    if not value.set(member, score, limits):
        raise BadFormat("a sorted set has a member twice")


def _load_zset(reader: Reader, limits: Limits) -> object:
    value = ZSetValue()
    for _ in range(_count(reader)):
        member = reader.string()
        _add_member(value, member, reader.text_double(), limits)
    return value


def _load_zset_2(reader: Reader, limits: Limits) -> object:
    value = ZSetValue()
    for _ in range(_count(reader)):
        member = reader.string()
        _add_member(value, member, reader.double(), limits)
    return value


def _filled_zset(words: list[bytes], limits: Limits) -> ZSetValue:
    """Return a sorted set of member, score, member, score."""
    if len(words) & 1:
        raise BadFormat("a sorted set has a member without a score")
    if not words:
        raise EmptyValue("a sorted set without members")
    value = ZSetValue()
    for at in range(0, len(words), 2):
        score = parse_float(words[at + 1])
        if score is None:
            raise BadFormat("a sorted set has a score that is not a number")
        _add_member(value, words[at], score, limits)
    return value


def _load_zset_ziplist(reader: Reader, limits: Limits) -> object:
    return _filled_zset(decode_ziplist(reader.string()), limits)


def _load_zset_listpack(reader: Reader, limits: Limits) -> object:
    return _filled_zset(decode_listpack(reader.string()), limits)


def _load_stream(reader: Reader, limits: Limits) -> object:
    return load_stream(reader, rdb.STREAM, limits)


def _load_stream_2(reader: Reader, limits: Limits) -> object:
    return load_stream(reader, rdb.STREAM_2, limits)


def _load_stream_3(reader: Reader, limits: Limits) -> object:
    return load_stream(reader, rdb.STREAM_3, limits)


_LOADERS: Final[dict[int, Callable[[Reader, Limits], object]]] = {
    rdb.LIST: _load_list,
    rdb.SET: _load_set,
    rdb.ZSET: _load_zset,
    rdb.HASH: _load_hash,
    rdb.ZSET_2: _load_zset_2,
    rdb.HASH_ZIPMAP: _load_zipmap,
    rdb.LIST_ZIPLIST: _load_list_ziplist,
    rdb.SET_INTSET: _load_intset,
    rdb.ZSET_ZIPLIST: _load_zset_ziplist,
    rdb.HASH_ZIPLIST: _load_hash_ziplist,
    rdb.LIST_QUICKLIST: _load_quicklist,
    rdb.HASH_LISTPACK: _load_hash_listpack,
    rdb.ZSET_LISTPACK: _load_zset_listpack,
    rdb.LIST_QUICKLIST_2: _load_quicklist_2,
    rdb.SET_LISTPACK: _load_set_listpack,
    rdb.STREAM: _load_stream,
    rdb.STREAM_2: _load_stream_2,
    rdb.STREAM_3: _load_stream_3,
}
