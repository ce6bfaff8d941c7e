"""How much memory scripts may use, and what happens at the limit.

The interpreter itself may fail to allocate (a string of a gigabyte, say): that is an error of the script, which no
`pcall` of the script can catch.  What the server hands over is another matter: where an argument or a reply finds no
room the process would end, so the server looks first, and ends a script that uses too much.
"""

from typing import Final

from lupa.lua51 import LuaRuntime

# what an interpreter may allocate
LIMIT_BYTES: Final = 1 << 30
# for the handling of an error at the limit
_RESERVE_BYTES: Final = 1 << 24

# between two looks: so many hand-overs, each of them small
_CALLS: Final = 64
_SMALL_BYTES: Final = 1 << 12


class Memory:
    """Watches the memory of one interpreter, which may allocate `limit` bytes."""

    def __init__(self, lua: LuaRuntime, limit: int) -> None:
        self._lua: Final = lua
        self._limit: Final = limit
        self._room: Final = limit // 2  # what may be in use when the server hands something over
        self._unseen: int = 0

    def is_short(self, size: int) -> bool:
        """Return True if there is no room to hand `size` bytes over; now and then, and for large ones, it looks."""
        self._unseen += 1
        if size < _SMALL_BYTES and self._unseen < _CALLS:
            return False
        self._unseen = 0
        needed = 2 * size  # a collection on its way into a table is there twice
        if self._used() + needed <= self._room:
            return False
        self._lua.gccollect()
        return self._used() + needed > self._room

    def _used(self) -> int:
        """Return how many bytes are allocated."""
        return self._lua.get_memory_used() or 0

    def open_reserve(self) -> None:
        """Let the error be handled that ended a script."""
        self._lua.set_max_memory(self._limit + _RESERVE_BYTES)

    def close_reserve(self) -> None:
        """Go on after an error; what the script leaves behind is collected if it is much."""
        if self._used() > self._room:
            self._lua.gccollect()
        self._lua.set_max_memory(self._limit)


def weight(reply: object) -> int:
    """Return how many bytes a reply has, about; of nested ones, of the first two levels."""
    if isinstance(reply, bytes):
        return len(reply)
    if isinstance(reply, list):
        total = 0
        for item in reply:
            if isinstance(item, bytes):
                total += len(item) + 16
            elif isinstance(item, list):
                total += weight_of_all(item)
            else:
                total += 16
        return total
    return 0


def weight_of_all(items: list[object]) -> int:
    """Return how many bytes `items` have, about."""
    total = 16
    for item in items:
        total += len(item) + 16 if isinstance(item, bytes) else 16
    return total
