"""The command table: the rows of every group, joined and checked."""

from coordkit_server.commands import (
    acl,
    aof,
    bitfield,
    bitmaps,
    blocking_lists,
    client,
    cluster,
    command_info,
    connection,
    counters,
    debug,
    dumping,
    expiry,
    functions,
    geo,
    hashes,
    hyperloglog,
    info,
    keys,
    latency,
    lists,
    lolwut,
    memory,
    migrate,
    monitoring,
    pubsub,
    replication,
    scripting,
    server,
    sets,
    slowlog,
    snapshots,
    sorting,
    stream_groups,
    stream_info,
    stream_reads,
    streams,
    strings,
    subsequence,
    transactions,
    zset_algebra,
    zset_ranges,
    zsets,
)
from coordkit_server.context import Command


def build_table() -> dict[bytes, Command]:
    """Return all commands by upper-case name.  Raises ValueError for a name that two groups claim."""
    groups: list[tuple[bytes, list[Command]]] = [
        (b"bitmap", bitfield.commands()),
        (b"bitmap", bitmaps.commands()),
        (b"connection", client.commands()),
        (b"connection", connection.commands()),
        (b"generic", dumping.commands()),
        (b"generic", expiry.commands()),
        (b"generic", keys.commands()),
        (b"generic", replication.waiting_commands()),
        (b"generic", sorting.commands()),
        (b"geo", geo.commands()),
        (b"generic", migrate.commands()),
        (b"hash", hashes.commands()),
        (b"hyperloglog", hyperloglog.commands()),
        (b"list", blocking_lists.commands()),
        (b"list", lists.commands()),
        (b"pubsub", pubsub.commands()),
        (b"scripting", functions.commands()),
        (b"scripting", scripting.commands()),
        (b"server", acl.commands()),
        (b"cluster", cluster.cluster_commands()),
        (b"server", cluster.module_commands()),
        (b"server", lolwut.commands()),
        (b"server", aof.commands()),
        (b"server", command_info.commands()),
        (b"server", debug.commands()),
        (b"server", info.commands()),
        (b"server", latency.commands()),
        (b"server", memory.commands()),
        (b"server", monitoring.commands()),
        (b"server", replication.commands()),
        (b"server", server.commands()),
        (b"server", slowlog.commands()),
        (b"server", snapshots.commands()),
        (b"set", sets.commands()),
        (b"sorted-set", zset_algebra.commands()),
        (b"sorted-set", zset_ranges.commands()),
        (b"sorted-set", zsets.commands()),
        (b"stream", stream_groups.commands()),
        (b"stream", stream_info.commands()),
        (b"stream", stream_reads.commands()),
        (b"stream", streams.commands()),
        (b"string", counters.commands()),
        (b"string", strings.commands()),
        (b"string", subsequence.commands()),
        (b"transactions", transactions.commands()),
    ]
    table: dict[bytes, Command] = {}
    for group, rows in groups:
        for row in rows:
            if row.name in table:
                raise ValueError(f"command {row.name!r} stands in two groups")
            row.group = group
            if row.subcommands is not None:
                for sub in row.subcommands.values():
                    sub.group = group
            table[row.name] = row
    return table


def renamed_table(table: dict[bytes, Command], renames: list[list[str]]) -> dict[bytes, Command]:
    """Return the commands by the names they are called by, after each (name, new name) in turn; "" removes one.

    A row keeps its own name: rules of users, statistics and texts tell of it as ever.  Raises ValueError."""
    served = table.copy()
    for old, new in renames:
        row = served.pop(old.encode("utf-8", "surrogateescape").upper(), None)
        if row is None:
            raise ValueError(f"rename-command {old!r} {new!r}: No such command in rename-command")
        name = new.encode("utf-8", "surrogateescape").upper()
        if name in served:
            raise ValueError(f"rename-command {old!r} {new!r}: Target command name already exists")
        if name:
            served[name] = row
    return served
