"""Keyspace notifications: classes of events, their letters in CONFIG, and the sink that publishes them."""

from typing import Final

from mypy_extensions import trait

KEYSPACE: Final = 1  # K
KEYEVENT: Final = 2  # E
GENERIC: Final = 4  # g
STRING: Final = 8  # $
LIST: Final = 16  # l
SET: Final = 32  # s
HASH: Final = 64  # h
ZSET: Final = 128  # z
EXPIRED: Final = 256  # x
EVICTED: Final = 512  # e
STREAM: Final = 1024  # t
KEY_MISS: Final = 2048  # m
MODULE: Final = 8192  # d
NEW: Final = 16384  # n
ALL: Final = GENERIC | STRING | LIST | SET | HASH | ZSET | EXPIRED | EVICTED | STREAM | MODULE

# in the order in which CONFIG GET spells them
_LETTERS: Final[list[tuple[str, int]]] = [
    ("g", GENERIC),
    ("$", STRING),
    ("l", LIST),
    ("s", SET),
    ("h", HASH),
    ("z", ZSET),
    ("x", EXPIRED),
    ("e", EVICTED),
    ("t", STREAM),
    ("d", MODULE),
    ("n", NEW),
    ("K", KEYSPACE),
    ("E", KEYEVENT),
    ("m", KEY_MISS),
]


def parse_flags(text: str) -> int | None:
    """Return the classes that the letters in `text` name, None if one is unknown."""
    flags = 0
    for letter in text:
        bit = ALL if letter == "A" else 0
        for known, value in _LETTERS:
            if known == letter:
                bit = value
        if bit == 0:
            return None
        flags |= bit
    return flags


def format_flags(flags: int) -> str:
    """Return the letters for `flags`, `A` standing for all common classes."""
    text = ""
    if flags & ALL == ALL:
        text = "A"
    for letter, bit in _LETTERS:
        if flags & bit and not (bit & ALL and text.startswith("A")):
            text += letter
    return text


@trait
class EventSink:
    """Where events go: pub/sub, wired by the composition root."""

    def publish_event(self, flags: int, db_index: int, event: bytes, key: bytes) -> None:
        """Publish `event` on `key` to the channels that `flags` (KEYSPACE, KEYEVENT) ask for."""
        raise NotImplementedError
