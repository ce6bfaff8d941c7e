"""Calls of scripts as RESP bytes.

Rules of the room: no sockets, no clock.  Packing nine words costs as much as all else that the client does for a call;
so what the calls of one limiter have in common is packed once.
"""

from typing import Final

from coordkit.scripts import Args, Keys, Script
from coordkit.wire import pack, pack_command

MOST_HEADS: Final = 1024
"""How many are kept.  They are made anew when there are more: an application has a few limits, and a few costs."""

MOST_LINES: Final = 512
LINES: Final = tuple(b"$%d\r\n" % size for size in range(MOST_LINES))
"""The lines before words of these lengths."""

END: Final = b"\r\n"


def packed_words(words: Args) -> bytes:
    """Words of a command as RESP bytes, without the line before them that counts them."""
    return pack(words).partition(b"\r\n")[2]


class ScriptCalls:
    """EVALSHA of any script; see `Script.steady`."""

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: dict[tuple[str, Args], tuple[bytes, bytes]] = {}

    def pack(self, script: Script[object], keys: Keys, args: Args) -> bytes:
        """The call as bytes."""
        if not args or len(args) != script.steady or len(keys) != 1 or args.__class__ is not tuple:
            return pack_command((b"EVALSHA", script.sha1, len(keys), *keys, *args))
        steady = args[:-1]
        (key,), last = keys, args[-1]
        before, between = self._heads.get((script.sha1, steady)) or self._made_head(script.sha1, steady)
        if last.__class__ is int:
            last = b"%d" % last
        elif not isinstance(last, bytes):
            last = str(last).encode()
        size, last_size = len(key), len(last)
        return b"".join(
            (
                before,
                LINES[size] if size < MOST_LINES else b"$%d\r\n" % size,
                key,
                between,
                LINES[last_size] if last_size < MOST_LINES else b"$%d\r\n" % last_size,
                last,
                END,
            )
        )

    def _made_head(self, sha1: str, steady: Args) -> tuple[bytes, bytes]:
        """What stands before the key, and between it and the last argument, kept for the next call."""
        if len(self._heads) >= MOST_HEADS:
            self._heads.clear()
        count = b"*%d\r\n" % (len(steady) + 5)
        head = count + packed_words((b"EVALSHA", sha1, 1)), END + packed_words(steady)
        self._heads[sha1, steady] = head
        return head
