"""The log of what was refused (ACL LOG): the newest first, alike refusals of a minute counted together."""

from typing import Final

_TOGETHER_MS: Final = 60_000
_LOOKED_AT: Final = 10  # newest entries among which a refusal of the same kind is looked for


class Refusal:
    """One kind of refusal."""

    def __init__(self, ident: int, reason: bytes, where: bytes, what: bytes, user: bytes, now_ms: int) -> None:
        self.id: Final = ident
        self.reason: Final = reason  # command, key, channel, auth
        self.where: Final = where  # toplevel, multi, lua
        self.what: Final = what
        self.user: Final = user
        self.created_ms: Final = now_ms
        self.updated_ms: int = now_ms
        self.count: int = 1
        self.client: bytes = b""  # the line of CLIENT LIST of the last one


class RefusalLog:
    """The newest refusals."""

    def __init__(self) -> None:
        self.entries: Final[list[Refusal]] = []
        self._next_id: int = 0

    def add(self, entry: Refusal, client: bytes, max_length: int) -> None:
        """Enter a refusal made by `new`, or count it with one that is like it."""
        for at in range(min(_LOOKED_AT, len(self.entries))):
            known = self.entries[at]
            if (
                known.reason == entry.reason
                and known.where == entry.where
                and known.what == entry.what
                and known.user == entry.user
                and entry.created_ms - known.updated_ms <= _TOGETHER_MS
            ):
                known.count += 1
                known.updated_ms = entry.created_ms
                known.client = client
                self.entries.insert(0, self.entries.pop(at))
                return
        entry.client = client
        self._next_id += 1
        self.entries.insert(0, entry)
        self.trim(max_length)

    def next_id(self) -> int:
        """Return the number of the next entry."""
        return self._next_id

    def trim(self, max_length: int) -> None:
        """Forget the oldest entries beyond `max_length`."""
        del self.entries[max_length:]

    def clear(self) -> None:
        """Forget all entries."""
        self.entries.clear()
