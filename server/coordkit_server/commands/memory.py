"""MEMORY (group "server"): what a key takes, measured on the objects and estimated from samples for collections."""

import gc
from sys import getsizeof
from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.commands.help import help_reply
from coordkit_server.commands.server import container
from coordkit_server.context import KEY2, LOADING, READONLY, STALE, Command, Context
from coordkit_server.datatypes.hash import HashValue
from coordkit_server.datatypes.list import ListValue
from coordkit_server.datatypes.set import SetValue
from coordkit_server.datatypes.stream import StreamValue
from coordkit_server.datatypes.zset import ZSetValue
from coordkit_server.errors import syntax_error
from coordkit_server.keyspace.database import Entry
from coordkit_server.process import peak_bytes, resident_bytes
from coordkit_server.resp.reply import OK, MapReply, VerbatimReply

DEFAULT_SAMPLES: Final = 5
# a dict holds an element in 24 bytes and an index, two thirds full at most: 60 bytes on average while it grows
_DICT_SLOT: Final = 60
_LIST_SLOT: Final = 8
_FLOAT: Final = 24
# a nack with its id, and its places in the lists of group and consumer
_NACK: Final = 160
_GROUP: Final = 600
_CONSUMER: Final = 500


def entry_bytes(entry: Entry, samples: int) -> int:
    """Return about how many bytes the key, its bookkeeping and its value take; `samples` 0 looks at every element."""
    own = getsizeof(entry) + getsizeof(entry.key) + _DICT_SLOT + _LIST_SLOT
    return own + _value_bytes(entry.value, samples)


def _value_bytes(value: object, samples: int) -> int:
    """Return about how many bytes a stored value takes."""
    if isinstance(value, ListValue):
        size = value.length()
        return getsizeof(value) + _elements_bytes(value.range(0, _sampled(size, samples)), size, _LIST_SLOT)
    if isinstance(value, HashValue):
        fields = list(value.fields)
        looked = fields[: _sampled(len(fields), samples)]
        contents = [value.fields[field] for field in looked]
        return (
            getsizeof(value)
            + _elements_bytes(looked, len(fields), _DICT_SLOT)
            + _elements_bytes(contents, len(fields), 0)
        )
    if isinstance(value, SetValue):
        members = list(value.members)
        return getsizeof(value) + _elements_bytes(members[: _sampled(len(members), samples)], len(members), _DICT_SLOT)
    if isinstance(value, ZSetValue):
        size = value.length()
        looked = value.order.range(0, _sampled(size, samples))[1]
        return getsizeof(value) + _elements_bytes(looked, size, _DICT_SLOT + 2 * _LIST_SLOT + _FLOAT)
    if isinstance(value, StreamValue):
        return getsizeof(value) + _stream_bytes(value)
    return getsizeof(value)


def _stream_bytes(stream: StreamValue) -> int:
    """Return the bytes of entries and groups; nothing is sampled, as nodes know their sizes."""
    total = 0
    for node in stream.nodes:
        total += node.memory_bytes()
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


def memory_usage(cx: Context) -> object:
    """MEMORY USAGE key [SAMPLES count] -> bytes, null if absent; count 0 looks at every element."""
    argv = cx.argv
    samples = DEFAULT_SAMPLES
    if len(argv) != 3:
        if len(argv) != 5 or argv[3].upper() != b"SAMPLES":
            raise syntax_error()
        samples = integer(argv[4])
        if samples < 0:
            raise syntax_error()
    entry = cx.db.peek(argv[2])
    return None if entry is None else entry_bytes(entry, samples)


def memory_stats(cx: Context) -> object:
    """MEMORY STATS -> what is measured: of the process, and keys of each database."""
    used = resident_bytes()
    peak = max(peak_bytes(), used)
    keys = 0
    items: list[object] = [
        b"peak.allocated",
        peak,
        b"total.allocated",
        used,
        b"startup.allocated",
        cx.services.startup_bytes,
    ]
    for database in cx.services.databases:
        if len(database):
            keys += len(database)
            tables = len(database) * (_DICT_SLOT + _LIST_SLOT)
            expires = database.volatile_count() * _LIST_SLOT
            sizes: list[object] = [b"overhead.hashtable.main", tables, b"overhead.hashtable.expires", expires]
            items.extend([b"db.%d" % database.index, MapReply(sizes)])
    dataset = max(used - cx.services.startup_bytes, 0)
    items.extend(
        [
            b"keys.count",
            keys,
            b"keys.bytes-per-key",
            dataset // keys if keys else 0,
            b"dataset.bytes",
            dataset,
            b"dataset.percentage",
            100.0 * dataset / used,
            b"peak.percentage",
            100.0 * used / peak,
        ]
    )
    return MapReply(items)


def memory_purge(cx: Context) -> object:
    """MEMORY PURGE -> OK; unreachable cycles are collected."""
    gc.collect()
    return OK


def memory_malloc_stats(cx: Context) -> object:
    """MEMORY MALLOC-STATS -> that Python's allocator has no report."""
    return VerbatimReply(b"txt", b"Stats not supported for the current allocator")


def memory_doctor(cx: Context) -> object:
    """MEMORY DOCTOR -> advice, in words."""
    used = resident_bytes()
    peak = max(peak_bytes(), used)
    limit = cx.services.config.number("maxmemory")
    advice: list[str] = []
    if used < _SMALL_BYTES:
        return VerbatimReply(b"txt", b"This server holds so little that there is nothing to say about its memory.\n")
    if peak > used + used // 2:
        advice.append(f"At its peak it used {peak} bytes, {peak * 100 // used} % of now; freed memory is used again.")
    if limit and used > limit:
        advice.append(f"It uses {used} bytes, more than maxmemory, which is {limit}.")
    if not advice:
        advice.append("There is nothing wrong with the memory of this server.")
    return VerbatimReply(b"txt", ("\n".join(advice) + "\n").encode())


def memory_help(cx: Context) -> object:
    """MEMORY HELP -> lines of help."""
    return help_reply(b"MEMORY", _HELP)


_SMALL_BYTES: Final = 64 * 1024 * 1024
_HELP: Final[list[bytes]] = [
    b"DOCTOR",
    b"    Give advice.",
    b"MALLOC-STATS",
    b"    Show the allocator's report, if it has one.",
    b"PURGE",
    b"    Give back what can be given back.",
    b"STATS",
    b"    Tell what the memory is used for.",
    b"USAGE <key> [SAMPLES <count>]",
    b"    Tell how many bytes a key takes; count 0 looks at every element.",
]


def commands() -> list[Command]:
    """Return the row of MEMORY."""
    since = b"4.0.0"
    return [
        Command(
            b"MEMORY",
            -2,
            0,
            container,
            since=since,
            summary=b"Tells what keys take.",
            subcommands=[
                Command(b"DOCTOR", 2, 0, memory_doctor, since=since),
                Command(b"HELP", 2, LOADING | STALE, memory_help, since=since),
                Command(b"MALLOC-STATS", 2, 0, memory_malloc_stats, since=since),
                Command(b"PURGE", 2, 0, memory_purge, since=since),
                Command(b"STATS", 2, 0, memory_stats, since=since),
                Command(b"USAGE", -3, READONLY, memory_usage, KEY2, since=since),
            ],
        )
    ]
