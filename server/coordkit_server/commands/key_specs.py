"""Key specifications: where the keys of a command stand and what happens to them, as COMMAND INFO tells it.

Source: Redis documentation, "Command key specifications".
"""

from collections.abc import Callable
from typing import Final

from coordkit_server.commands.reference import KEY_SPECS, TIPS
from coordkit_server.resp.reply import MapReply, SetReply, Simple

# in the order in which COMMAND GETKEYSANDFLAGS tells them
_FLAGS: Final[list[bytes]] = [
    b"RO",
    b"RW",
    b"OW",
    b"RM",
    b"access",
    b"update",
    b"insert",
    b"delete",
    b"not_key",
    b"incomplete",
    b"variable_flags",
]

FoundKey = tuple[int, bytes]  # position in argv, flags joined by commas


class KeySpecification:
    """One specification: begin (an index, a keyword or unknown) and the keys from there on."""

    def __init__(self, text: bytes) -> None:
        self.flags, where = text.split(b"@", 1)
        self.counted: Final = b"#" in where
        begin, _, rest = where.partition(b"#" if self.counted else b":")
        self.unknown: Final = begin == b"?"
        self.keyword: bytes = b""
        self.start: int = 0
        if b"/" in begin:
            self.keyword, _, begin = begin.partition(b"/")
        if not self.unknown:
            self.start = int(begin)
        numbers = [] if self.unknown else [int(number) for number in rest.split(b",")]
        self.numbers: Final[list[int]] = numbers

    def has_flag(self, flag: bytes) -> bool:
        """Return True if `flag` is among the flags."""
        return flag in self.flags.split(b",")

    def find(self, argv: list[bytes]) -> list[int] | None:
        """Return the positions of the keys in `argv`, None if they cannot be told."""
        if self.unknown or self.has_flag(b"incomplete"):
            return None
        first = self._begin(argv)
        if first == 0:
            return []
        size = len(argv)
        if self.counted:
            at = first + self.numbers[0]
            if at >= size or not argv[at].isdigit():
                return None
            step = self.numbers[2]
            first += self.numbers[1]
            last = first + (int(argv[at]) - 1) * step
        else:
            relative, step, limit = self.numbers
            if relative >= 0:
                last = first + relative
            else:
                last = size + relative if limit == 0 else first + (size - first) // limit + relative
        if last >= size or last < first:
            return None
        return list(range(first, last + 1, step))

    def _begin(self, argv: list[bytes]) -> int:
        """Return the index that the specification starts from, 0 if its keyword is not there."""
        if not self.keyword:
            return self.start
        forward = self.start > 0
        at = self.start if forward else len(argv) + self.start
        while 0 < at < len(argv) - (1 if forward else 0):
            if argv[at].upper() == self.keyword:
                return at + 1
            at += 1 if forward else -1
        return 0

    def reply(self) -> object:
        """Return the specification as COMMAND INFO shows it."""
        begin: list[object] = [b"index", self.start]
        begin_type = b"index"
        if self.keyword:
            begin = [b"keyword", self.keyword, b"startfrom", self.start]
            begin_type = b"keyword"
        find: list[object] = []
        find_type = b"keynum" if self.counted else b"range"
        names = (b"keynumidx", b"firstkey", b"keystep") if self.counted else (b"lastkey", b"keystep", b"limit")
        for name, number in zip(names, self.numbers, strict=False):
            find.append(name)
            find.append(number)
        if self.unknown:
            begin, begin_type, find_type = [], b"unknown", b"unknown"
        return MapReply(
            [
                b"flags",
                flags_reply(self.flags),
                b"begin_search",
                MapReply([b"type", begin_type, b"spec", MapReply(begin)]),
                b"find_keys",
                MapReply([b"type", find_type, b"spec", MapReply(find)]),
            ]
        )


def flags_reply(flags: bytes) -> object:
    """Return flags as a set of simple strings."""
    given = flags.split(b",")
    return SetReply([Simple(flag) for flag in _FLAGS if flag in given])


def specifications() -> dict[bytes, list[KeySpecification]]:
    """Return the key specifications by full name of the command."""
    table: dict[bytes, list[KeySpecification]] = {}
    for text, names in KEY_SPECS:
        specs = [KeySpecification(part) for part in text.split(b" ")]
        for name in names.split(b" "):
            table[name] = specs
    return table


def tips() -> dict[bytes, list[bytes]]:
    """Return the tips by full name of the command."""
    table: dict[bytes, list[bytes]] = {}
    for text, names in TIPS:
        for name in names.split(b" "):
            table[name] = text.split(b" ")
    return table


# -- commands whose arguments decide what happens to their keys ---------------------------------------------------


def _set_keys(argv: list[bytes]) -> list[FoundKey]:
    """Return the key of SET: read only with GET."""
    reads = b"GET" in [word.upper() for word in argv[3:]]
    return [(1, b"RW,access,update" if reads else b"OW,update")]


def _bitfield_keys(argv: list[bytes]) -> list[FoundKey]:
    """Return the key of BITFIELD: changed unless there is nothing but GET."""
    words = [word.upper() for word in argv[2:]]
    changes = b"SET" in words or b"INCRBY" in words
    return [(1, b"RW,access,update" if changes else b"RO,access")]


def _sort_keys(argv: list[bytes]) -> list[FoundKey]:
    """Return the keys of SORT: the last STORE counts."""
    found: list[FoundKey] = [(1, b"RO,access")]
    at = 2
    while at < len(argv):
        word = argv[at].upper()
        if word == b"STORE" and at + 1 < len(argv):
            found = [(1, b"RO,access"), (at + 1, b"OW,update")]
        at += {b"LIMIT": 3, b"GET": 2, b"BY": 2, b"STORE": 2}.get(word, 1)
    return found


def _sort_ro_keys(argv: list[bytes]) -> list[FoundKey]:
    """Return the key of SORT_RO."""
    return [(1, b"RO,access")]


def _migrate_keys(argv: list[bytes]) -> list[FoundKey]:
    """Return the keys of MIGRATE: one in its place, or those behind KEYS if that is empty; none for both."""
    flags = b"RW,access,delete"
    at = 6
    while at < len(argv):
        word = argv[at].upper()
        if word == b"KEYS":
            return [] if argv[3] else [(position, flags) for position in range(at + 1, len(argv))]
        at += {b"AUTH": 2, b"AUTH2": 3}.get(word, 1)
    return [(3, flags)]


_OWN_RULES: Final[dict[bytes, Callable[[list[bytes]], list[FoundKey]]]] = {
    b"bitfield": _bitfield_keys,
    b"migrate": _migrate_keys,
    b"set": _set_keys,
    b"sort": _sort_keys,
    b"sort_ro": _sort_ro_keys,
}


def find_keys(name: bytes, specs: list[KeySpecification], argv: list[bytes]) -> list[FoundKey] | None:
    """Return the keys of the command `name` in `argv` with their flags, None if they cannot be told."""
    own = _OWN_RULES.get(name)
    if own is not None:
        return own(argv)
    found: list[FoundKey] = []
    for spec in specs:
        if spec.has_flag(b"not_key"):
            continue
        positions = spec.find(argv)
        if positions is None:
            return None
        found.extend([(position, spec.flags) for position in positions])
    return found
