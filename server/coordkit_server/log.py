"""The server's log: one line an event on standard output or a file, in Redis's layout."""

import os
from datetime import datetime
from typing import Final

_LEVELS: Final = {"debug": 0, "verbose": 1, "notice": 2, "warning": 3, "nothing": 4}
_MARKS: Final = ".-*#"
STDOUT: Final = 1


class Log:
    """Writes lines at or above a level."""

    def __init__(self, path: str, level: str) -> None:
        self._path: Final = path
        self._level: int = _LEVELS[level]

    def set_level(self, level: str) -> None:
        """Drop lines below `level` from now on."""
        self._level = _LEVELS[level]

    def shows_verbose(self) -> bool:
        """Return True if verbose lines are written: what goes into one may cost more than to ask."""
        return self._level <= 1

    def verbose(self, text: str) -> None:
        """Write something that is of use where much is."""
        self._write(1, text)

    def notice(self, text: str) -> None:
        """Write something worth knowing."""
        self._write(2, text)

    def warning(self, text: str) -> None:
        """Write something important."""
        self._write(3, text)

    def write(self, level: int, text: str) -> None:
        """Write at `level` 0 (debug) to 3 (warning)."""
        self._write(level, text)

    def _write(self, level: int, text: str) -> None:
        """Write one line, `pid:role time mark text`."""
        if level < self._level:
            return
        stamp = datetime.now().astimezone().strftime("%d %b %Y %H:%M:%S.%f")[:-3]
        line = f"{os.getpid()}:M {stamp} {_MARKS[level]} {text}\n"
        data = line.encode("utf-8", "surrogateescape")
        try:
            if self._path:
                with open(self._path, "ab", 0) as file:
                    file.write(data)
            else:
                os.write(STDOUT, data)  # not through a buffer, which would keep what a full disk refuses
        except OSError:
            # A full disk, a directory that went, a reader that has gone: the server goes on without this line.
            pass
