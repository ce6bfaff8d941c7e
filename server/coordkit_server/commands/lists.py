"""List commands (group "list"): elements in order, pushed and popped at both ends.

Map: lookup, push and pop, reading, changing in place, moving, popping from several keys; the blocking forms stand in
`blocking_lists`.
"""

from coordkit_server.commands.args import integer, integer_between, symmetric_integer
from coordkit_server.context import (
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
from coordkit_server.datatypes.list import ListValue
from coordkit_server.errors import (
    INDEX_OUT_OF_RANGE,
    MUST_BE_POSITIVE,
    NO_SUCH_KEY,
    CommandError,
    syntax_error,
    wrong_type,
)
from coordkit_server.keyspace.notify import LIST
from coordkit_server.keyspace.table import Entry
from coordkit_server.numeric import INT64_MAX
from coordkit_server.resp.reply import NULL_ARRAY, OK


def as_list(entry: Entry | None) -> ListValue | None:
    """Return the list at `entry`, None for None; raises WRONGTYPE."""
    if entry is None:
        return None
    value = entry.value
    if not isinstance(value, ListValue):
        raise wrong_type()
    return value


def lookup_list(cx: Context, key: bytes) -> ListValue | None:
    """Return the list at `key` for a read, None if absent; raises WRONGTYPE."""
    return as_list(cx.db.lookup_read(key))


def _push(cx: Context, at_head: bool, create: bool) -> object:
    """Push the arguments one after the other; return the length, 0 if the list must exist and does not."""
    argv = cx.argv
    key = argv[1]
    value = as_list(cx.db.lookup_write(key))
    if value is None:
        if not create:
            return 0
        value = ListValue()
        cx.db.add(key, value)
    if value.packed:
        value.expect(argv, 2, cx.services.limits)
    size = len(argv)
    i = 2
    while i < size:
        if at_head:
            value.push_left(argv[i])
        else:
            value.push_right(argv[i])
        i += 1
    cx.db.modified(key)
    cx.state.dirty += size - 3
    if cx.state.notify_flags:
        cx.db.notify(LIST, b"lpush" if at_head else b"rpush", key)
    return value.length()


def lpush(cx: Context) -> object:
    """LPUSH key element [element ...] -> length after it."""
    return _push(cx, True, True)


def rpush(cx: Context) -> object:
    """RPUSH key element [element ...] -> length after it."""
    return _push(cx, False, True)


def lpushx(cx: Context) -> object:
    """LPUSHX key element [element ...] -> length after it, 0 if there is no list."""
    return _push(cx, True, False)


def rpushx(cx: Context) -> object:
    """RPUSHX key element [element ...] -> length after it, 0 if there is no list."""
    return _push(cx, False, False)


def pop_one(cx: Context, entry: Entry, value: ListValue, at_head: bool) -> bytes:
    """Remove and return one end of a list that is not empty; the list goes when it is empty."""
    element = value.pop_left() if at_head else value.pop_right()
    popped(cx, entry, value, at_head)
    cx.db.modified(entry.key)
    return element


def popped(cx: Context, entry: Entry, value: ListValue, at_head: bool) -> None:
    """Publish a pop; remove the list once it is empty, else see whether it packs again."""
    if cx.state.notify_flags:
        cx.db.notify(LIST, b"lpop" if at_head else b"rpop", entry.key)
    if value.length() == 0:
        cx.delete_if_empty(entry, 0)
    elif not value.packed:
        value.shrink(cx.services.limits)


def pop_many(cx: Context, entry: Entry, value: ListValue, at_head: bool, count: int) -> list[object]:
    """Remove and return up to `count` elements from one end."""
    count = min(count, value.length())
    elements = value.take_left(count) if at_head else value.take_right(count)
    popped(cx, entry, value, at_head)
    cx.db.modified(entry.key)
    cx.state.dirty += count - 1
    return list(elements)


def _pop(cx: Context, at_head: bool) -> object:
    """Pop one element, or with a count a list of them."""
    argv = cx.argv
    if len(argv) > 3:
        raise CommandError(b"ERR wrong number of arguments for '" + argv[0].lower() + b"' command")
    count = 0
    if len(argv) == 3:
        count = integer_between(argv[2], 0, INT64_MAX, MUST_BE_POSITIVE)
    entry = cx.db.lookup_write(argv[1])
    value = as_list(entry)
    if value is None or entry is None:
        return None if len(argv) == 2 else NULL_ARRAY
    if len(argv) == 2:
        return pop_one(cx, entry, value, at_head)
    if count == 0:
        return []
    return pop_many(cx, entry, value, at_head, count)


def lpop(cx: Context) -> object:
    """LPOP key [count] -> first element, or the first elements."""
    return _pop(cx, True)


def rpop(cx: Context) -> object:
    """RPOP key [count] -> last element, or the last elements, last first."""
    return _pop(cx, False)


def llen(cx: Context) -> object:
    """LLEN key -> number of elements."""
    value = lookup_list(cx, cx.argv[1])
    return 0 if value is None else value.length()


def lindex(cx: Context) -> object:
    """LINDEX key index -> the element, null if out of range; negative indexes count from the end."""
    value = lookup_list(cx, cx.argv[1])
    if value is None:
        return None
    index = integer(cx.argv[2])
    size = value.length()
    if index < 0:
        index += size
    return value.at(index) if 0 <= index < size else None


def lrange(cx: Context) -> object:
    """LRANGE key start stop -> the elements, both ends included."""
    start = integer(cx.argv[2])
    stop = integer(cx.argv[3])
    value = lookup_list(cx, cx.argv[1])
    if value is None:
        return []
    first, after = clamp(start, stop, value.length())
    return value.range(first, after)


def clamp(start: int, stop: int, size: int) -> tuple[int, int]:
    """Return start and end (exclusive) within a sequence of `size` for Redis's inclusive, possibly negative, ends."""
    if start < 0:
        start = max(start + size, 0)
    if stop < 0:
        stop += size
    if start > stop or start >= size:
        return 0, 0
    return start, min(stop + 1, size)


def lset(cx: Context) -> object:
    """LSET key index element -> OK."""
    key = cx.argv[1]
    value = as_list(cx.db.lookup_write(key))
    if value is None:
        raise CommandError(NO_SUCH_KEY)
    index = integer(cx.argv[2])
    value.expect(cx.argv, 3, cx.services.limits)
    size = value.length()
    if index < 0:
        index += size
    if not 0 <= index < size:
        raise CommandError(INDEX_OUT_OF_RANGE)
    value.set_at(index, cx.argv[3])
    cx.db.modified(key)
    cx.db.notify(LIST, b"lset", key)
    value.shrink(cx.services.limits)
    return OK


def linsert(cx: Context) -> object:
    """LINSERT key BEFORE|AFTER pivot element -> length after it, -1 without the pivot, 0 without the list."""
    argv = cx.argv
    where = argv[2].upper()
    if where not in (b"BEFORE", b"AFTER"):
        raise syntax_error()
    key = argv[1]
    value = as_list(cx.db.lookup_write(key))
    if value is None:
        return 0
    value.expect(argv, 4, cx.services.limits)
    found = value.positions(argv[3], wanted=1)
    if not found:
        return -1
    value.insert(found[0] + 1 if where == b"AFTER" else found[0], argv[4])
    cx.db.modified(key)
    cx.db.notify(LIST, b"linsert", key)
    return value.length()


def lrem(cx: Context) -> object:
    """LREM key count element -> number removed: the first, the last (negative count) or all (0)."""
    key = cx.argv[1]
    count = integer(cx.argv[2])
    entry = cx.db.lookup_write(key)
    value = as_list(entry)
    if value is None or entry is None:
        return 0
    removed = value.remove(cx.argv[3], count)
    if removed:
        cx.db.modified(key)
        cx.state.dirty += removed - 1
        cx.db.notify(LIST, b"lrem", key)
        value.shrink(cx.services.limits)
        cx.delete_if_empty(entry, value.length())
    return removed


def ltrim(cx: Context) -> object:
    """LTRIM key start stop -> OK; only that range is kept."""
    key = cx.argv[1]
    start = integer(cx.argv[2])
    stop = integer(cx.argv[3])
    entry = cx.db.lookup_write(key)
    value = as_list(entry)
    if value is None or entry is None:
        return OK
    first, after = clamp(start, stop, value.length())
    removed = value.length() - (after - first)
    value.keep(first, after)
    cx.db.notify(LIST, b"ltrim", key)
    value.shrink(cx.services.limits)
    cx.delete_if_empty(entry, value.length())
    cx.db.signal_modified(key)
    cx.state.dirty += removed
    return OK


class _Lpos:
    """The options of LPOS."""

    def __init__(self) -> None:
        self.rank: int = 1
        self.count: int = -1
        self.most: int = 0


def _lpos_options(argv: list[bytes]) -> _Lpos:
    """Return RANK, COUNT and MAXLEN."""
    options = _Lpos()
    at = 3
    while at < len(argv):
        if at + 1 >= len(argv):
            raise syntax_error()
        word = argv[at].upper()
        text = argv[at + 1]
        if word == b"RANK":
            options.rank = symmetric_integer(text)
            if options.rank == 0:
                raise CommandError(
                    b"ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use "
                    b"negative to start from the end of the list"
                )
        elif word == b"COUNT":
            options.count = integer_between(text, 0, INT64_MAX, b"ERR COUNT can't be negative")
        elif word == b"MAXLEN":
            options.most = integer_between(text, 0, INT64_MAX, b"ERR MAXLEN can't be negative")
        else:
            raise syntax_error()
        at += 2
    return options


def lpos(cx: Context) -> object:
    """LPOS key element [RANK rank] [COUNT n] [MAXLEN len] -> index of the element, or with COUNT the indexes."""
    options = _lpos_options(cx.argv)
    value = lookup_list(cx, cx.argv[1])
    if value is None:
        return None if options.count < 0 else []
    wanted = 1 if options.count < 0 else options.count
    found = value.positions(cx.argv[2], rank=options.rank, wanted=wanted, looked_at=options.most)
    if options.count < 0:
        return found[0] if found else None
    return list(found)


def side(word: bytes) -> bool:
    """Return True for LEFT, False for RIGHT; raises a syntax error otherwise."""
    upper = word.upper()
    if upper not in (b"LEFT", b"RIGHT"):
        raise syntax_error()
    return upper == b"LEFT"


def move_element(cx: Context, source: bytes, target: bytes, from_head: bool, to_head: bool) -> bytes | None:
    """Pop from `source` and push on `target`; return the element, None if there is nothing to move."""
    entry = cx.db.lookup_write(source)
    value = as_list(entry)
    if value is None or entry is None:
        return None
    destination = as_list(cx.db.lookup_write(target))
    element = value.pop_left() if from_head else value.pop_right()
    if destination is None:
        destination = ListValue()
        cx.db.add(target, destination)
    cx.db.signal_modified(target)
    destination.expect([element], 0, cx.services.limits)
    if to_head:
        destination.push_left(element)
    else:
        destination.push_right(element)
    cx.db.notify(LIST, b"lpush" if to_head else b"rpush", target)
    popped(cx, entry, value, from_head)
    cx.db.modified(source)
    return element


def lmove(cx: Context) -> object:
    """LMOVE source destination LEFT|RIGHT LEFT|RIGHT -> the element moved, null if there is none."""
    argv = cx.argv
    return move_element(cx, argv[1], argv[2], side(argv[3]), side(argv[4]))


def rpoplpush(cx: Context) -> object:
    """RPOPLPUSH source destination -> the element moved, null if there is none."""
    return move_element(cx, cx.argv[1], cx.argv[2], False, True)


class MultiPop:
    """The arguments of LMPOP and BLMPOP: keys, side, count."""

    def __init__(self, argv: list[bytes], at: int) -> None:
        numkeys = integer_between(argv[at], 1, INT64_MAX, b"ERR numkeys should be greater than 0")
        where_at = at + 1 + numkeys
        if where_at >= len(argv):
            raise syntax_error()
        self.keys: list[bytes] = argv[at + 1 : where_at]
        self.from_head: bool = side(argv[where_at])
        self.count: int = -1
        following = where_at + 1
        while following < len(argv):
            if argv[following].upper() != b"COUNT" or following + 1 >= len(argv) or self.count >= 0:
                raise syntax_error()
            self.count = integer_between(argv[following + 1], 1, INT64_MAX, b"ERR count should be greater than 0")
            following += 2
        if self.count < 0:
            self.count = 1

    def run(self, cx: Context) -> object:
        """Pop from the first key with elements: [key, elements]; None if there is none."""
        for key in self.keys:
            entry = cx.db.lookup_write(key)
            value = as_list(entry)
            if value is not None and entry is not None:
                count = b"%d" % min(self.count, value.length())
                cx.rewrite([b"LPOP" if self.from_head else b"RPOP", key, count])
                return [key, pop_many(cx, entry, value, self.from_head, self.count)]
        return None


def lmpop(cx: Context) -> object:
    """LMPOP numkeys key [key ...] LEFT|RIGHT [COUNT count] -> [key, elements], null if all are empty."""
    elements = MultiPop(cx.argv, 1).run(cx)
    return NULL_ARRAY if elements is None else elements


def commands() -> list[Command]:
    """Return the rows of this group that do not block."""
    write = WRITE | DENYOOM
    return [
        Command(b"LINDEX", 3, READONLY, lindex, KEY1, summary=b"Reads an element."),
        Command(b"LINSERT", 5, write, linsert, KEY1, since=b"2.2.0", summary=b"Inserts beside an element."),
        Command(b"LLEN", 2, READONLY | FAST, llen, KEY1, summary=b"Counts the elements."),
        Command(b"LMOVE", 5, write, lmove, KEYS12, since=b"6.2.0", summary=b"Moves an element to another list."),
        Command(b"LMPOP", -4, WRITE, lmpop, NUMKEYS1, since=b"7.0.0", summary=b"Pops from the first list with any."),
        Command(b"LPOP", -2, WRITE | FAST, lpop, KEY1, summary=b"Pops the first element."),
        Command(b"LPOS", -3, READONLY, lpos, KEY1, since=b"6.0.6", summary=b"Finds an element."),
        Command(b"LPUSH", -3, write | FAST, lpush, KEY1, summary=b"Pushes at the start."),
        Command(b"LPUSHX", -3, write | FAST, lpushx, KEY1, since=b"2.2.0", summary=b"Pushes at the start of a list."),
        Command(b"LRANGE", 4, READONLY, lrange, KEY1, summary=b"Reads a range of elements."),
        Command(b"LREM", 4, WRITE, lrem, KEY1, summary=b"Removes equal elements."),
        Command(b"LSET", 4, write, lset, KEY1, summary=b"Replaces an element."),
        Command(b"LTRIM", 4, WRITE, ltrim, KEY1, summary=b"Keeps a range of elements."),
        Command(b"RPOP", -2, WRITE | FAST, rpop, KEY1, summary=b"Pops the last element."),
        Command(b"RPOPLPUSH", 3, write, rpoplpush, KEYS12, since=b"1.2.0", summary=b"Moves the last element."),
        Command(b"RPUSH", -3, write | FAST, rpush, KEY1, summary=b"Pushes at the end."),
        Command(b"RPUSHX", -3, write | FAST, rpushx, KEY1, since=b"2.2.0", summary=b"Pushes at the end of a list."),
    ]
