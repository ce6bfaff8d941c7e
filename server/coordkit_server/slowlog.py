"""The slow log: the commands that took longest, newest first."""

from typing import Final

_MAX_ARGUMENTS: Final = 32
_MAX_BYTES: Final = 128


class SlowEntry:
    """One slow command."""

    def __init__(
        self,
        ident: int,
        argv: list[bytes],
        at_us: int,
        duration_us: int,
        address: bytes,
        name: bytes,
    ) -> None:
        self.id: Final = ident
        self.argv: Final = argv
        self.at_us: Final = at_us
        self.duration_us: Final = duration_us
        self.address: Final = address
        self.name: Final = name


class SlowLog:
    """The newest `max_length` commands that took `threshold_us` or longer (-1: none are logged)."""

    def __init__(self) -> None:
        self.threshold_us: int = 10000
        self.max_length: int = 128
        self.entries: list[SlowEntry] = []
        self._next_id: int = 0

    def add(
        self,
        argv: list[bytes],
        at_us: int,
        duration_us: int,
        address: bytes,
        name: bytes,
    ) -> None:
        """Log one command, shortened to 32 arguments of 128 bytes."""
        self.entries.insert(
            0,
            SlowEntry(self._next_id, _shorten(argv), at_us, duration_us, address, name),
        )
        self._next_id += 1
        self.trim()

    def trim(self) -> None:
        """Drop the oldest entries beyond `max_length`."""
        del self.entries[self.max_length :]


def _shorten(argv: list[bytes]) -> list[bytes]:
    """Return `argv` with long arguments and long tails summed up."""
    kept = argv if len(argv) <= _MAX_ARGUMENTS else argv[: _MAX_ARGUMENTS - 1]
    shown = [
        arg if len(arg) <= _MAX_BYTES else arg[:_MAX_BYTES] + b"... (%d more bytes)" % (len(arg) - _MAX_BYTES)
        for arg in kept
    ]
    if len(kept) < len(argv):
        shown.append(b"... (%d more arguments)" % (len(argv) - len(kept)))
    return shown
