"""Calls of scripts as RESP bytes.

Rules of the room: no sockets, no clock.  Packing nine words costs as much as all else that the client does for a call;
so what the calls of one limiter have in common is packed once.
"""

from typing import Final

from coordkit.scripts import Arg, Args, Keys, Script
from coordkit.wire import pack, pack_command

MOST_HEADS: Final = 1024
"""How many are kept.  They are made anew when there are more: an application has a few limits, and a few costs."""

PLACE: Final = b"$%d\r\n%b\r\n"
"""Where a word goes: its length and itself."""


def packed_words(words: Args) -> bytes:
    """Words of a command as RESP bytes, without the line before them that counts them."""
    return pack(words).partition(b"\r\n")[2]


class ScriptCalls:
    """EVALSHA of any script; see `Script.steady`."""

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: dict[tuple[str, tuple[Arg, ...]], bytes] = {}

    def pack(self, script: Script[object], keys: Keys, args: Args) -> bytes:
        """The call as bytes."""
        if not args or len(args) != script.steady or len(keys) != 1:
            return pack_command((b"EVALSHA", script.sha1, len(keys), *keys, *args))
        steady = tuple(args[:-1])
        head = self._heads.get((script.sha1, steady)) or self._made_head(script.sha1, steady)
        key, last = keys[0], args[-1]
        if last.__class__ is int:
            last = b"%d" % last
        elif not isinstance(last, bytes):
            last = str(last).encode()
        return head % (len(key), key, len(last), last)

    def _made_head(self, sha1: str, steady: tuple[Arg, ...]) -> bytes:
        """The call with places for its key and its last argument, kept for the next one."""
        if len(self._heads) >= MOST_HEADS:
            self._heads.clear()
        count = b"*%d\r\n" % (len(steady) + 5)
        words = packed_words(steady).replace(b"%", b"%%")
        head = count + packed_words((b"EVALSHA", sha1, 1)) + PLACE + words + PLACE
        self._heads[sha1, steady] = head
        return head
