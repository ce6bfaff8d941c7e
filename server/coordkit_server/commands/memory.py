"""MEMORY (group "server"): what a key takes, measured on the objects and estimated from samples for collections."""

import gc
from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.commands.help import help_reply
from coordkit_server.commands.server import container
from coordkit_server.context import KEY2, LOADING, READONLY, STALE, Command, Context
from coordkit_server.errors import syntax_error
from coordkit_server.keyspace.sizes import BUCKET, LIST_SLOT, entry_bytes
from coordkit_server.process import peak_bytes, resident_bytes
from coordkit_server.resp.reply import OK, MapReply, VerbatimReply

DEFAULT_SAMPLES: Final = 5


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
    return None if entry is None else entry_bytes(entry.key, entry.value, samples)


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
            tables = len(database) * BUCKET
            expires = database.volatile_count() * LIST_SLOT
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
