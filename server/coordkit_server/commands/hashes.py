"""Hash commands (group "hash"): fields and values under a key.

Map: lookup, writing, reading, counters, HRANDFIELD, HSCAN, rows.
"""

from coordkit_server.commands.args import integer, long_double, symmetric_integer
from coordkit_server.commands.keys import scan_cursor, scan_options
from coordkit_server.context import DENYOOM, FAST, KEY1, READONLY, WRITE, Command, Context
from coordkit_server.datatypes.hash import HashValue
from coordkit_server.errors import (
    NAN_OR_INFINITY,
    OUT_OF_RANGE,
    OVERFLOW,
    CommandError,
    syntax_error,
    wrong_arity,
    wrong_type,
)
from coordkit_server.keyspace.notify import HASH
from coordkit_server.longdouble import sum_text
from coordkit_server.numeric import INT64_MAX, INT64_MIN, parse_int
from coordkit_server.resp.reply import OK, MapReply, PairsReply

HASH_NOT_INTEGER = b"ERR hash value is not an integer"
HASH_NOT_FLOAT = b"ERR hash value is not a float"


def lookup_hash(cx: Context, key: bytes) -> HashValue | None:
    """Return the hash at `key` for a read, None if absent; raises WRONGTYPE."""
    entry = cx.db.lookup_read(key)
    if entry is None:
        return None
    value = entry.value
    if not isinstance(value, HashValue):
        raise wrong_type()
    return value


def hash_for_write(cx: Context, key: bytes) -> HashValue:
    """Return the hash at `key`, made if absent; raises WRONGTYPE."""
    entry = cx.db.lookup_write(key)
    if entry is None:
        created = HashValue()
        cx.db.add(key, created)
        return created
    value = entry.value
    if not isinstance(value, HashValue):
        raise wrong_type()
    return value


def _set_pairs(cx: Context, name: bytes) -> int:
    """Set the fields in the arguments; return how many are new."""
    argv = cx.argv
    size = len(argv)
    if size % 2:
        raise CommandError(wrong_arity(name))
    key = argv[1]
    value = hash_for_write(cx, key)
    limits = cx.services.limits
    created = 0
    if value.packed and size // 2 - 1 > limits.hash_max_listpack_entries:
        value.packed = False  # judged before fields that stand twice are known
    i = 2
    while i < size:
        if value.set(argv[i], argv[i + 1], limits):
            created += 1
        i += 2
    cx.db.modified(key)
    cx.state.dirty += size // 2 - 2
    if cx.state.notify_flags:
        cx.db.notify(HASH, b"hset", key)
    return created


def hset(cx: Context) -> object:
    """HSET key field value [field value ...] -> number of new fields."""
    return _set_pairs(cx, b"hset")


def hmset(cx: Context) -> object:
    """HMSET key field value [field value ...] -> OK."""
    _set_pairs(cx, b"hmset")
    return OK


def hsetnx(cx: Context) -> object:
    """HSETNX key field value -> 1 if set, 0 if the field exists."""
    key = cx.argv[1]
    value = hash_for_write(cx, key)
    if cx.argv[2] in value.fields:
        return 0
    value.set(cx.argv[2], cx.argv[3], cx.services.limits)
    cx.db.modified(key)
    cx.db.notify(HASH, b"hset", key)
    return 1


def hdel(cx: Context) -> object:
    """HDEL key field [field ...] -> number of fields removed; an empty hash is removed."""
    argv = cx.argv
    key = argv[1]
    entry = cx.db.lookup_write(key)
    if entry is None:
        return 0
    value = entry.value
    if not isinstance(value, HashValue):
        raise wrong_type()
    removed = 0
    for i in range(2, len(argv)):
        if value.remove(argv[i]):
            removed += 1
    if removed:
        cx.db.modified(key)
        cx.state.dirty += removed - 1
        cx.db.notify(HASH, b"hdel", key)
        cx.delete_if_empty(entry, len(value.fields))
    return removed


def hget(cx: Context) -> object:
    """HGET key field -> the value, null if absent."""
    value = lookup_hash(cx, cx.argv[1])
    return None if value is None else value.fields.get(cx.argv[2])


def hmget(cx: Context) -> object:
    """HMGET key field [field ...] -> the values, null for absent fields."""
    argv = cx.argv
    value = lookup_hash(cx, argv[1])
    found: list[object] = []
    for i in range(2, len(argv)):
        found.append(None if value is None else value.fields.get(argv[i]))
    return found


def hgetall(cx: Context) -> object:
    """HGETALL key -> field, value, ..."""
    value = lookup_hash(cx, cx.argv[1])
    items: list[object] = []
    if value is not None:
        for field, content in value.fields.items():
            items.append(field)
            items.append(content)
    return MapReply(items)


def hkeys(cx: Context) -> object:
    """HKEYS key -> the fields."""
    value = lookup_hash(cx, cx.argv[1])
    return [] if value is None else list(value.fields)


def hvals(cx: Context) -> object:
    """HVALS key -> the values."""
    value = lookup_hash(cx, cx.argv[1])
    return [] if value is None else list(value.fields.values())


def hlen(cx: Context) -> object:
    """HLEN key -> number of fields."""
    value = lookup_hash(cx, cx.argv[1])
    return 0 if value is None else len(value.fields)


def hexists(cx: Context) -> object:
    """HEXISTS key field -> 1 if the field exists, else 0."""
    value = lookup_hash(cx, cx.argv[1])
    return 1 if value is not None and cx.argv[2] in value.fields else 0


def hstrlen(cx: Context) -> object:
    """HSTRLEN key field -> length of the value, 0 if absent."""
    value = lookup_hash(cx, cx.argv[1])
    return 0 if value is None else len(value.fields.get(cx.argv[2], b""))


def hincrby(cx: Context) -> object:
    """HINCRBY key field increment -> the value after adding it."""
    key, field = cx.argv[1], cx.argv[2]
    amount = integer(cx.argv[3])
    value = hash_for_write(cx, key)
    current = parse_int(value.fields.get(field, b"0"))
    if current is None:
        raise CommandError(HASH_NOT_INTEGER)
    total = current + amount
    if total > INT64_MAX or total < INT64_MIN:
        raise CommandError(OVERFLOW)
    value.set(field, b"%d" % total, cx.services.limits)
    cx.db.modified(key)
    if cx.state.notify_flags:
        cx.db.notify(HASH, b"hincrby", key)
    return total


def hincrbyfloat(cx: Context) -> object:
    """HINCRBYFLOAT key field increment -> the value after adding it, as text."""
    key, field = cx.argv[1], cx.argv[2]
    amount = long_double(cx.argv[3])
    if amount is None:
        raise CommandError(b"ERR value is NaN or Infinity")
    value = hash_for_write(cx, key)
    current = long_double(value.fields.get(field, b"0"), HASH_NOT_FLOAT)
    total = None if current is None else sum_text(current, amount)
    if total is None:
        raise CommandError(NAN_OR_INFINITY)
    value.set(field, total, cx.services.limits)
    cx.db.modified(key)
    cx.db.notify(HASH, b"hincrbyfloat", key)
    cx.rewrite([b"HSET", key, field, total])
    return total


def hrandfield(cx: Context) -> object:
    """HRANDFIELD key [count [WITHVALUES]] -> random fields; a negative count may repeat them."""
    argv = cx.argv
    with_values = False
    count = 0
    if len(argv) > 2:
        count = symmetric_integer(argv[2])
        if len(argv) > 4 or (len(argv) == 4 and argv[3].upper() != b"WITHVALUES"):
            raise syntax_error()
        with_values = len(argv) == 4
        if with_values and not -INT64_MAX // 2 <= count <= INT64_MAX // 2:
            raise CommandError(OUT_OF_RANGE)
    value = lookup_hash(cx, argv[1])
    if len(argv) == 2:
        return None if value is None else value.random_fields(cx.services.random, -1)[0]
    if value is None:
        return []
    items: list[object] = []
    for field in value.random_fields(cx.services.random, count):
        items.append(field)
        if with_values:
            items.append(value.fields[field])
    return PairsReply(items) if with_values else items


def hscan(cx: Context) -> object:
    """HSCAN key cursor [MATCH pattern] [COUNT count] -> [next cursor, field, value, ...]."""
    cursor = scan_cursor(cx.argv[2])
    value = lookup_hash(cx, cx.argv[1])
    if value is None:
        return [b"0", []]  # before the options are looked at, as in Redis
    options = scan_options(cx.argv, 3, False)
    following, fields = value.scan(cursor, options.count)
    items: list[object] = []
    for field in fields:
        if options.admits(field):
            items.append(field)
            items.append(value.fields[field])
    return [b"%d" % following, items]


def commands() -> list[Command]:
    """Return the rows of this group."""
    write = WRITE | DENYOOM | FAST
    read = READONLY | FAST
    return [
        Command(b"HDEL", -3, WRITE | FAST, hdel, KEY1, since=b"2.0.0", summary=b"Removes fields."),
        Command(b"HEXISTS", 3, read, hexists, KEY1, since=b"2.0.0", summary=b"Tells whether a field exists."),
        Command(b"HGET", 3, read, hget, KEY1, since=b"2.0.0", summary=b"Reads a field."),
        Command(b"HGETALL", 2, READONLY, hgetall, KEY1, since=b"2.0.0", summary=b"Reads all fields and values."),
        Command(b"HINCRBY", 4, write, hincrby, KEY1, since=b"2.0.0", summary=b"Adds a number to a field."),
        Command(b"HINCRBYFLOAT", 4, write, hincrbyfloat, KEY1, since=b"2.6.0", summary=b"Adds a decimal to a field."),
        Command(b"HKEYS", 2, READONLY, hkeys, KEY1, since=b"2.0.0", summary=b"Lists the fields."),
        Command(b"HLEN", 2, read, hlen, KEY1, since=b"2.0.0", summary=b"Counts the fields."),
        Command(b"HMGET", -3, read, hmget, KEY1, since=b"2.0.0", summary=b"Reads several fields."),
        Command(b"HMSET", -4, write, hmset, KEY1, since=b"2.0.0", summary=b"Sets several fields."),
        Command(b"HRANDFIELD", -2, READONLY, hrandfield, KEY1, since=b"6.2.0", summary=b"Chooses fields at random."),
        Command(b"HSCAN", -3, READONLY, hscan, KEY1, since=b"2.8.0", summary=b"Walks over the fields in steps."),
        Command(b"HSET", -4, write, hset, KEY1, since=b"2.0.0", summary=b"Sets fields."),
        Command(b"HSETNX", 4, write, hsetnx, KEY1, since=b"2.0.0", summary=b"Sets a field if it is absent."),
        Command(b"HSTRLEN", 3, read, hstrlen, KEY1, since=b"3.2.0", summary=b"Tells the length of a value."),
        Command(b"HVALS", 2, READONLY, hvals, KEY1, since=b"2.0.0", summary=b"Lists the values."),
    ]
