"""SORT and SORT_RO (group "generic"): the elements of a list, set or sorted set in order, or what they lead to.

Map: options, BY and GET patterns, loading and ordering, output, rows.  Texts are compared byte by byte (the C locale).
"""

from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.commands.permissions import may_read_every_key
from coordkit_server.context import DENYOOM, KEY1, MOVABLE_KEYS, READONLY, WRITE, Command, Context, KeySpec
from coordkit_server.datatypes.hash import HashValue
from coordkit_server.datatypes.list import ListValue
from coordkit_server.datatypes.set import SetValue
from coordkit_server.datatypes.zset import ZSetValue
from coordkit_server.errors import SORT_NOT_NUMBERS, CommandError, syntax_error, wrong_type
from coordkit_server.keyspace.notify import GENERIC, LIST
from coordkit_server.numeric import parse_float

_ITSELF: Final = b"#"
_SPACES: Final = b" \t\n\v\f\r"
_ARGUMENTS: Final = {b"LIMIT": 2, b"GET": 1, b"BY": 1}


class SortOptions:
    """What the options of SORT ask for."""

    def __init__(self) -> None:
        self.descending: bool = False
        self.alphabetic: bool = False
        self.offset: int = 0
        self.count: int = -1
        self.by: bytes | None = None
        self.store: bytes | None = None
        self.gets: list[bytes] = []


def _options(cx: Context, may_store: bool) -> SortOptions:
    """Return the options behind the key; raises a syntax error for unknown ones."""
    options = SortOptions()
    sees_all = may_read_every_key(cx)
    argv = cx.argv
    at = 2
    while at < len(argv):
        word = argv[at].upper()
        left = len(argv) - at - 1
        if word in (b"ASC", b"DESC"):
            options.descending = word == b"DESC"
        elif word == b"ALPHA":
            options.alphabetic = True
        elif word == b"LIMIT" and left >= 2:
            options.offset = integer(argv[at + 1])
            options.count = integer(argv[at + 2])
            at += 2
        elif left >= 1 and (word in (b"BY", b"GET") or (word == b"STORE" and may_store)):
            at += 1
            if not sees_all and (word == b"GET" or (word == b"BY" and b"*" in argv[at])):
                raise CommandError(b"ERR " + word + b" option of SORT denied due to insufficient ACL permissions.")
            if word == b"BY":
                options.by = argv[at]
            elif word == b"GET":
                options.gets.append(argv[at])
            else:
                options.store = argv[at]
        else:
            raise syntax_error()
        at += 1
    return options


class Pattern:
    """A BY or GET pattern: where an element's text goes, and the field of a hash behind `->`."""

    def __init__(self, text: bytes) -> None:
        star = text.find(b"*")
        arrow = text.find(b"->", star + 1) if star >= 0 else -1
        key_end = arrow if 0 <= arrow < len(text) - 2 else len(text)
        self.itself: Final = text == _ITSELF
        self.constant: Final = star < 0
        self.prefix: Final = text[:star]
        self.suffix: Final = text[star + 1 : key_end]
        self.field: Final = text[key_end + 2 :]

    def value(self, cx: Context, element: bytes) -> bytes | None:
        """Return what `element` leads to, None if there is nothing."""
        if self.itself:
            return element
        if self.constant:
            return None
        entry = cx.db.lookup_read(self.prefix + element + self.suffix)
        if entry is None:
            return None
        value = entry.value
        if self.field:
            return value.fields.get(self.field) if isinstance(value, HashValue) else None
        return bytes(value) if isinstance(value, (bytes, bytearray)) else None


def _number(text: bytes) -> float:
    """Return `text` as the C library's strtod reads all of it; raises if it does not."""
    value = parse_float(text)
    if value is None:
        text, _, _ = text.partition(b"\0")
        value = parse_float(text.lstrip(_SPACES)) if text else 0.0
    if value is None:
        raise CommandError(SORT_NOT_NUMBERS)
    return value


def _elements(value: object) -> list[bytes]:
    """Return the elements in the order of the value itself; raises WRONGTYPE."""
    if value is None:
        return []
    if isinstance(value, ListValue):
        return value.range(0, value.length())
    if isinstance(value, SetValue):
        return value.listed()
    if isinstance(value, ZSetValue):
        value.packed = False  # so does Redis, even for SORT_RO
        return value.members(0, value.length())
    raise wrong_type()


def _collated(text: bytes, options: SortOptions) -> bytes:
    """Return the part of `text` that is compared: the C library's strcoll, not used for STORE, stops at a zero byte."""
    return text if options.store is not None else text.partition(b"\0")[0]


def _in_order(cx: Context, elements: list[bytes], by: Pattern | None, options: SortOptions) -> list[bytes]:
    """Return the elements sorted; those without a weight count as 0, or come first by alphabet."""
    if options.alphabetic:
        texts: list[tuple[bool, bytes]] = []
        for element in elements:
            text = element if by is None else by.value(cx, element)
            texts.append((text is not None, _collated(text or b"", options)))
        places = sorted(range(len(elements)), key=texts.__getitem__, reverse=options.descending)
        return [elements[place] for place in places]
    weights = elements if by is None else [by.value(cx, element) for element in elements]
    weighted: list[tuple[float, bytes]] = []
    for weight, element in zip(weights, elements, strict=True):
        weighted.append((0.0 if weight is None else _number(weight), element))
    weighted.sort(reverse=options.descending)
    return [element for _, element in weighted]


def _sorted_part(cx: Context, options: SortOptions) -> list[bytes]:
    """Return the elements that LIMIT leaves of the ordered value."""
    entry = cx.db.lookup_read(cx.argv[1])
    value = None if entry is None else entry.value
    elements = _elements(value)
    by = None if options.by is None else Pattern(options.by)
    if by is None or not by.constant:
        elements = _in_order(cx, elements, by, options)
    elif not isinstance(value, SetValue):
        if options.descending:
            elements = elements[::-1]
    elif options.store is not None or cx.session.in_script:
        elements = sorted(elements, reverse=options.descending)  # a set has no order of its own to keep
    size = len(elements)
    start = min(max(options.offset, 0), size)
    stop = size if options.count < 0 else min(start + options.count, size)
    return elements[start:stop]


def _output(cx: Context, elements: list[bytes], gets: list[bytes]) -> list[object]:
    """Return the elements, or what each GET makes of each of them."""
    found: list[object] = []
    if not gets:
        found.extend(elements)
        return found
    patterns = [Pattern(text) for text in gets]
    for element in elements:
        for pattern in patterns:
            found.append(pattern.value(cx, element))
    return found


def sort(cx: Context) -> object:
    """SORT key [BY pattern] [LIMIT start count] [GET pattern ...] [ASC|DESC] [ALPHA] [STORE key] -> elements, count"""
    options = _options(cx, True)
    found = _output(cx, _sorted_part(cx, options), options.gets)
    if options.store is None:
        return found
    _store(cx, options.store, found)
    return len(found)


def sort_ro(cx: Context) -> object:
    """SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC|DESC] [ALPHA] -> elements."""
    options = _options(cx, False)
    return _output(cx, _sorted_part(cx, options), options.gets)


def _store(cx: Context, key: bytes, found: list[object]) -> None:
    """Make `found` the list at `key`, nothing as the empty string; an empty result removes the key."""
    db = cx.db
    if not found:
        if db.discard(key):
            db.notify(GENERIC, b"del", key)
        return
    value = ListValue()
    for element in found:
        value.push_right(element if isinstance(element, bytes) else b"")
    value.settle(cx.services.limits)
    db.set(key, value)
    cx.state.dirty += len(found) - 1
    db.notify(LIST, b"sortstore", key)


def _sort_keys(argv: list[bytes]) -> list[int] | None:
    """Return where SORT names keys: the first argument, and the one behind the last STORE."""
    stored: list[int] = []
    at = 2
    while at < len(argv):
        word = argv[at].upper()
        if word == b"STORE" and at + 1 < len(argv):
            stored = [at + 1]
        at += 1 + _ARGUMENTS.get(word, 0)
    return [1, *stored]


def commands() -> list[Command]:
    """Return the rows of this part of the group."""
    return [
        Command(
            b"SORT",
            -2,
            WRITE | DENYOOM,
            sort,
            KeySpec(1, 1, 1, _sort_keys),
            summary=b"Sorts a list, set or sorted set.",
        ),
        Command(
            b"SORT_RO",
            -2,
            READONLY | MOVABLE_KEYS,
            sort_ro,
            KEY1,
            since=b"7.0.0",
            summary=b"Sorts a list, set or sorted set, and stores nothing.",
        ),
    ]
