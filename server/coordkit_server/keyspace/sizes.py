"""About how many bytes a key takes: measured on the objects, estimated from samples for collections."""

from itertools import islice
from sys import getsizeof
from typing import Final

from coordkit_server.datatypes.hash import HashValue
from coordkit_server.datatypes.list import ListValue
from coordkit_server.datatypes.set import SetValue
from coordkit_server.datatypes.stream import StreamValue
from coordkit_server.datatypes.zset import ZSetValue

# a dict holds an element in 24 bytes and an index, two thirds full at most: 60 bytes on average while it grows
DICT_SLOT: Final = 60
LIST_SLOT: Final = 8
_FLOAT: Final = 24
BUCKET: Final = 16  # an entry's places in the database's table
_ENTRY: Final = 64
# the object header of a key and of a string
_HEADER: Final = 33
# a nack with its id, and its places in the lists of group and consumer
_NACK: Final = 160
_GROUP: Final = 600
_CONSUMER: Final = 500


def entry_bytes(key: bytes, value: object, samples: int) -> int:
    """Return the bytes of a key, its bookkeeping and its value; `samples` 0 looks at every element."""
    return _ENTRY + BUCKET + _HEADER + len(key) + _value_bytes(value, samples)


def _value_bytes(value: object, samples: int) -> int:
    """Return the bytes of a stored value."""
    if isinstance(value, bytes):
        return _HEADER + len(value)
    if isinstance(value, ListValue):
        size = value.length()
        return getsizeof(value) + _elements_bytes(value.range(0, _sampled(size, samples)), size, LIST_SLOT)
    if isinstance(value, HashValue):
        size = len(value.fields)
        looked = list(islice(value.fields, _sampled(size, samples)))
        contents = [value.fields[field] for field in looked]
        return getsizeof(value) + _elements_bytes(looked, size, DICT_SLOT) + _elements_bytes(contents, size, 0)
    if isinstance(value, SetValue):
        size = len(value.members)
        return getsizeof(value) + _elements_bytes(list(islice(value.members, _sampled(size, samples))), size, DICT_SLOT)
    if isinstance(value, ZSetValue):
        small_bytes = value.small_bytes()
        if small_bytes:
            return getsizeof(value) + _HEADER + small_bytes
        size = value.length()
        looked = value.members(0, _sampled(size, samples))
        return getsizeof(value) + _elements_bytes(looked, size, DICT_SLOT + 2 * LIST_SLOT + _FLOAT)
    if isinstance(value, StreamValue):
        return getsizeof(value) + _stream_bytes(value, samples)
    return getsizeof(value)


def _stream_bytes(stream: StreamValue, samples: int) -> int:
    """Return the bytes of entries and groups; nodes know their sizes."""
    total = 0
    count = len(stream.nodes)
    if count:
        looked = stream.nodes[: _sampled(count, samples)]
        for node in looked:
            total += node.memory_bytes()
        total = total * count // len(looked)
    for name, group in stream.groups.items():
        total += _GROUP + getsizeof(name) + group.pending.size * _NACK
        for consumer in group.consumers:
            total += _CONSUMER + getsizeof(consumer)
    return total


def _sampled(size: int, samples: int) -> int:
    """Return how many of `size` elements to look at."""
    return size if samples == 0 else min(size, samples)


def _elements_bytes(looked: list[bytes], size: int, overhead: int) -> int:
    """Return the bytes of `size` elements like those `looked` at, each with `overhead`."""
    if not looked:
        return 0
    total = 0
    for element in looked:
        total += getsizeof(element)
    return size * overhead + total * size // len(looked)
