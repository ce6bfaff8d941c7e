"""Set commands (group "set"): unique members under a key.

Map: lookup, members, random members, set algebra, SSCAN, rows.
"""

from typing import Final

from coordkit_server.commands.args import integer_between, symmetric_integer
from coordkit_server.commands.keys import scan_cursor, scan_options
from coordkit_server.context import (
    ALL_KEYS,
    DENYOOM,
    FAST,
    KEY1,
    KEYS12,
    NUMKEYS1,
    READONLY,
    WRITE,
    Command,
    Context,
)
from coordkit_server.datatypes.set import SetValue, difference, intersection, stored_intersection, union
from coordkit_server.errors import (
    MUST_BE_POSITIVE,
    CommandError,
    syntax_error,
    wrong_type,
)
from coordkit_server.keyspace.notify import GENERIC, SET
from coordkit_server.keyspace.table import Entry
from coordkit_server.numeric import INT64_MAX
from coordkit_server.resp.reply import SetReply

# members that one SREM names when a SPOP is repeated
SPOP_BATCH: Final = 1024


def as_set(entry: Entry | None) -> SetValue | None:
    """Return the set at `entry`, None for None; raises WRONGTYPE."""
    if entry is None:
        return None
    value = entry.value
    if not isinstance(value, SetValue):
        raise wrong_type()
    return value


def lookup_set(cx: Context, key: bytes) -> SetValue | None:
    """Return the set at `key` for a read, None if absent; raises WRONGTYPE."""
    return as_set(cx.db.lookup_read(key))


def sadd(cx: Context) -> object:
    """SADD key member [member ...] -> number of new members."""
    argv = cx.argv
    key = argv[1]
    value = as_set(cx.db.lookup_write(key))
    limits = cx.services.limits
    size = len(argv)
    if value is None:
        value = SetValue()
        value.begin(argv[2], size - 2, limits)
        cx.db.add(key, value)
    elif size > 3:
        value.expect(size - 2, limits)
    added = 0
    i = 2
    while i < size:
        if value.add(argv[i], limits):
            added += 1
        i += 1
    if added:
        cx.db.modified(key)
        cx.state.dirty += added - 1
        if cx.state.notify_flags:
            cx.db.notify(SET, b"sadd", key)
    return added


def srem(cx: Context) -> object:
    """SREM key member [member ...] -> number of members removed; an empty set is removed."""
    argv = cx.argv
    key = argv[1]
    entry = cx.db.lookup_write(key)
    value = as_set(entry)
    if value is None or entry is None:
        return 0
    removed = 0
    for i in range(2, len(argv)):
        if value.remove(argv[i]):
            removed += 1
    if removed:
        cx.db.modified(key)
        cx.state.dirty += removed - 1
        cx.db.notify(SET, b"srem", key)
        cx.delete_if_empty(entry, value.length())
    return removed


def smembers(cx: Context) -> object:
    """SMEMBERS key -> all members."""
    value = lookup_set(cx, cx.argv[1])
    return SetReply([] if value is None else list(value.listed()))


def sismember(cx: Context) -> object:
    """SISMEMBER key member -> 1 if it is a member, else 0."""
    value = lookup_set(cx, cx.argv[1])
    return 1 if value is not None and cx.argv[2] in value.members else 0


def smismember(cx: Context) -> object:
    """SMISMEMBER key member [member ...] -> 1 or 0 for each."""
    value = lookup_set(cx, cx.argv[1])
    return [1 if value is not None and member in value.members else 0 for member in cx.argv[2:]]


def scard(cx: Context) -> object:
    """SCARD key -> number of members."""
    value = lookup_set(cx, cx.argv[1])
    return 0 if value is None else value.length()


def smove(cx: Context) -> object:
    """SMOVE source destination member -> 1 if moved, 0 if it is not in the source."""
    source_key, target_key, member = cx.argv[1], cx.argv[2], cx.argv[3]
    entry = cx.db.lookup_write(source_key)
    target_entry = cx.db.lookup_write(target_key)
    source = as_set(entry)
    if source is None or entry is None:
        return 0  # whatever the destination holds
    target = as_set(target_entry)
    if source is target:
        return 1 if member in source.members else 0
    if not source.remove(member):
        return 0
    cx.db.notify(SET, b"srem", source_key)
    cx.delete_if_empty(entry, source.length())
    if target is None:
        target = SetValue()
        target.begin(member, 1, cx.services.limits)
        cx.db.add(target_key, target)
    cx.db.modified(source_key)
    if target.add(member, cx.services.limits):
        cx.db.modified(target_key)
        cx.db.notify(SET, b"sadd", target_key)
    return 1


def spop(cx: Context) -> object:
    """SPOP key [count] -> random members, removed."""
    argv = cx.argv
    if len(argv) > 3:
        raise syntax_error()
    count = 1
    if len(argv) == 3:
        count = integer_between(argv[2], 0, INT64_MAX, MUST_BE_POSITIVE)
    key = argv[1]
    entry = cx.db.lookup_write(key)
    value = as_set(entry)
    if value is None or entry is None:
        return None if len(argv) == 2 else SetReply([])
    if count == 0:
        return SetReply([])
    size = value.length()
    if count >= size:
        members = value.listed()
    else:
        members = value.pop_random(cx.services.random, count, cx.services.limits)
    cx.db.modified(key)
    cx.state.dirty += len(members) - 1
    cx.db.notify(SET, b"spop", key)
    cx.delete_if_empty(entry, size - len(members))
    if cx.propagates():
        _propagate_spop(cx, key, members, size)
    return members[0] if len(argv) == 2 else SetReply(list(members))


def _propagate_spop(cx: Context, key: bytes, members: list[bytes], size: int) -> None:
    """Let the removal of just these members be repeated; the set had `size`."""
    if len(cx.argv) == 3 and len(members) == size:
        cx.rewrite([b"UNLINK" if cx.state.propagation.lazy_server_del else b"DEL", key])
    elif len(members) == 1:
        cx.rewrite([b"SREM", key, members[0]])
    else:
        for at in range(0, len(members), SPOP_BATCH):
            cx.propagate([b"SREM", key, *members[at : at + SPOP_BATCH]])
        cx.prevent_propagation()


def srandmember(cx: Context) -> object:
    """SRANDMEMBER key [count] -> random members; a negative count may repeat them."""
    argv = cx.argv
    if len(argv) > 3:
        raise syntax_error()
    count = 0
    if len(argv) == 3:
        count = symmetric_integer(argv[2])
    value = lookup_set(cx, argv[1])
    if len(argv) == 2:
        return None if value is None else value.random_members(cx.services.random, -1)[0]
    return [] if value is None else list(value.random_members(cx.services.random, count))


def _sources(cx: Context, keys: list[bytes]) -> list[SetValue | None]:
    """Return the sets at `keys`; raises WRONGTYPE for any other type."""
    return [lookup_set(cx, key) for key in keys]


def sinter(cx: Context) -> object:
    """SINTER key [key ...] -> members of all sets."""
    return SetReply(list(intersection(_sources(cx, cx.argv[1:]), 0)))


def sunion(cx: Context) -> object:
    """SUNION key [key ...] -> members of any set."""
    return SetReply(list(union(_sources(cx, cx.argv[1:]), cx.services.limits).listed()))


def sdiff(cx: Context) -> object:
    """SDIFF key [key ...] -> members of the first set only."""
    return SetReply(list(difference(_sources(cx, cx.argv[1:]), cx.services.limits).listed()))


def sintercard(cx: Context) -> object:
    """SINTERCARD numkeys key [key ...] [LIMIT limit] -> size of the intersection."""
    argv = cx.argv
    count = integer_between(argv[1], 1, INT64_MAX, b"ERR numkeys should be greater than 0")
    if count > len(argv) - 2:
        raise CommandError(b"ERR Number of keys can't be greater than number of args")
    limit = 0
    at = 2 + count
    while at < len(argv):
        if argv[at].upper() != b"LIMIT" or at + 1 >= len(argv):
            raise syntax_error()
        limit = integer_between(argv[at + 1], 0, INT64_MAX, b"ERR LIMIT can't be negative")
        at += 2
    return len(intersection(_sources(cx, argv[2 : 2 + count]), limit))


def _store(cx: Context, value: SetValue, event: bytes) -> int:
    """Put `value` at the destination, remove the destination if it is empty; return its size."""
    key = cx.argv[1]
    if value.length() == 0:
        if cx.db.discard(key):
            cx.db.notify(GENERIC, b"del", key)
        return 0
    cx.db.set(key, value)
    cx.db.notify(SET, event, key)
    return value.length()


def sinterstore(cx: Context) -> object:
    """SINTERSTORE destination key [key ...] -> size of the stored intersection."""
    return _store(cx, stored_intersection(_sources(cx, cx.argv[2:]), cx.services.limits), b"sinterstore")


def sunionstore(cx: Context) -> object:
    """SUNIONSTORE destination key [key ...] -> size of the stored union."""
    return _store(cx, union(_sources(cx, cx.argv[2:]), cx.services.limits), b"sunionstore")


def sdiffstore(cx: Context) -> object:
    """SDIFFSTORE destination key [key ...] -> size of the stored difference."""
    return _store(cx, difference(_sources(cx, cx.argv[2:]), cx.services.limits), b"sdiffstore")


def sscan(cx: Context) -> object:
    """SSCAN key cursor [MATCH pattern] [COUNT count] -> [next cursor, members]."""
    cursor = scan_cursor(cx.argv[2])
    value = lookup_set(cx, cx.argv[1])
    if value is None:
        return [b"0", []]  # before the options are looked at, as in Redis
    options = scan_options(cx.argv, 3, False)
    following, members = value.scan(cursor, options.count)
    return [b"%d" % following, [member for member in members if options.admits(member)]]


def commands() -> list[Command]:
    """Return the rows of this group."""
    write = WRITE | DENYOOM
    read = READONLY | FAST
    return [
        Command(b"SADD", -3, write | FAST, sadd, KEY1, summary=b"Adds members."),
        Command(b"SCARD", 2, read, scard, KEY1, summary=b"Counts the members."),
        Command(b"SDIFF", -2, READONLY, sdiff, ALL_KEYS, summary=b"Subtracts sets."),
        Command(b"SDIFFSTORE", -3, write, sdiffstore, ALL_KEYS, summary=b"Stores the difference of sets."),
        Command(b"SINTER", -2, READONLY, sinter, ALL_KEYS, summary=b"Intersects sets."),
        Command(b"SINTERCARD", -3, READONLY, sintercard, NUMKEYS1, since=b"7.0.0", summary=b"Counts an intersection."),
        Command(b"SINTERSTORE", -3, write, sinterstore, ALL_KEYS, summary=b"Stores the intersection of sets."),
        Command(b"SISMEMBER", 3, read, sismember, KEY1, summary=b"Tells whether a member is there."),
        Command(b"SMEMBERS", 2, READONLY, smembers, KEY1, summary=b"Lists the members."),
        Command(b"SMISMEMBER", -3, read, smismember, KEY1, since=b"6.2.0", summary=b"Asks about several members."),
        Command(b"SMOVE", 4, WRITE | FAST, smove, KEYS12, summary=b"Moves a member to another set."),
        Command(b"SPOP", -2, WRITE | FAST, spop, KEY1, summary=b"Removes random members."),
        Command(b"SRANDMEMBER", -2, READONLY, srandmember, KEY1, summary=b"Chooses random members."),
        Command(b"SREM", -3, WRITE | FAST, srem, KEY1, summary=b"Removes members."),
        Command(b"SSCAN", -3, READONLY, sscan, KEY1, since=b"2.8.0", summary=b"Walks over the members in steps."),
        Command(b"SUNION", -2, READONLY, sunion, ALL_KEYS, summary=b"Unites sets."),
        Command(b"SUNIONSTORE", -3, write, sunionstore, ALL_KEYS, summary=b"Stores the union of sets."),
    ]
