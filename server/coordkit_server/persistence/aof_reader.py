"""Reading the commands of an append-only file, with the offset of each.

A file holds RESP arrays of bulk strings, one a command, and lines that start with `#` (annotations such as `#TS:` and
a time).  It may end anywhere: that is a torn tail.  Anything else that is no such array is a broken file.
"""

from typing import BinaryIO, Final

CHUNK: Final = 1024 * 1024
_MAX_LINE: Final = 1024
_STAR: Final = 42
_DOLLAR: Final = 36
_HASH: Final = 35


class Torn(Exception):
    """The file ends within a command."""


class Broken(Exception):
    """What stands at the position is no command; the text says why."""


class CommandReader:
    """Reads commands from a binary file that stands at the first of them."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        self._file: Final = file
        self._data: bytes = b""
        self._at: int = 0  # in `_data`
        self._start: int = offset  # offset in the file of `_data`
        self.offset: int = offset  # behind the last command or annotation that was read whole
        self.timestamp_s: int = 0  # of the last annotation that tells the time

    def next_command(self) -> list[bytes] | None:
        """Return the next command, None at the end of the file.  Raises Torn and Broken."""
        while self._has(1):
            first = self._data[self._at]
            if first == _HASH:
                self._annotation()
            elif first == _STAR:
                return self._command()
            else:
                raise Broken("expected '*', got %r" % self._data[self._at : self._at + 1])
            self._note()
        return None

    def _note(self) -> None:
        """Remember how far everything is well."""
        self.offset = self._start + self._at

    def _has(self, size: int) -> bool:
        """Return True if `size` bytes follow the position, reading more if needed."""
        while len(self._data) - self._at < size:
            more = self._file.read(max(CHUNK, size))
            if not more:
                return False
            self._start += self._at
            self._data = self._data[self._at :] + more
            self._at = 0
        return True

    def _line(self) -> bytes:
        """Return the line at the position, without its end, and step past it."""
        end = self._data.find(b"\n", self._at)
        while end < 0:
            size = len(self._data) - self._at
            if size > _MAX_LINE:
                raise Broken("a line has no end")
            if not self._has(size + 1):
                raise Torn
            end = self._data.find(b"\n", self._at)
        line = self._data[self._at : end]
        self._at = end + 1
        return line[:-1] if line.endswith(b"\r") else line

    def _annotation(self) -> None:
        """Read a line that is no command."""
        line = self._line()
        if line.startswith(b"#TS:") and line[4:].isdigit():
            self.timestamp_s = int(line[4:])

    def _count(self, marker: int, least: int) -> int:
        """Return the number on the line at the position, which `marker` starts."""
        if not self._has(1):
            raise Torn
        if self._data[self._at] != marker:
            raise Broken("expected %r, got %r" % (chr(marker), self._data[self._at : self._at + 1]))
        digits = self._line()[1:]
        if not digits.isdigit() or int(digits) < least:
            raise Broken("%r is no length" % digits)
        return int(digits)

    def _command(self) -> list[bytes]:
        """Read an array of bulk strings."""
        argv: list[bytes] = []
        for _ in range(self._count(_STAR, 1)):
            size = self._count(_DOLLAR, 0)
            if not self._has(size + 2):
                raise Torn
            end = self._at + size
            argv.append(self._data[self._at : end])
            self._at = end + 2
        self._note()
        return argv
