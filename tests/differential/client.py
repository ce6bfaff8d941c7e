"""A client that hides nothing: it returns every reply with its RESP type."""

import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.differential.case import Argument

# (type byte, value): value is bytes for lines and bulk strings, None for nulls, a tuple of replies for aggregates
Reply = tuple[str, object]


def pack(command: Sequence[Argument]) -> bytes:
    """The request bytes of one command."""
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


class RawClient:
    """One connection."""

    def __init__(self, host: str, port: int, timeout_s: float = 10.0) -> None:
        self._socket = socket.create_connection((host, port), timeout=timeout_s)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self._socket.close()

    def port(self) -> int:
        """Our end's port, which tells this client from others."""
        port: int = self._socket.getsockname()[1]
        return port

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def call(self, *command: Argument) -> Reply:
        """The reply to one command."""
        self.send(pack(command))
        return self.read()

    def read(self) -> Reply:
        """The next reply.  Raises ConnectionError at the end of the stream."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError(f"the server closed the connection after {line!r}")
        kind, rest = line[:1].decode("latin-1"), line[1:-2]
        if kind in "+-:,(#":
            return kind, rest
        if kind == "_":
            return kind, None
        if kind in "$=!":
            return (kind, None) if rest == b"-1" else (kind, self._bulk(int(rest)))
        if kind in "*~>":
            return (kind, None) if rest == b"-1" else (kind, tuple(self.read() for _ in range(int(rest))))
        if kind in "%|":
            return kind, tuple(self.read() for _ in range(2 * int(rest)))
        raise ConnectionError(f"no reply starts like {line!r}")

    def skip_payload(self) -> int:
        """Read past the data that SYNC sends in front of the stream, keep-alives included; return its size."""
        line = self._file.readline()
        while line == b"\n":
            line = self._file.readline()
        if line[:1] != b"$":
            raise ConnectionError(f"no data follow {line!r}")
        size = int(line[1:])
        self._file.read(size)
        return size

    def read_to_end(self) -> bytes:
        """Everything until the server closes."""
        return self._file.read()

    def _bulk(self, size: int) -> bytes:
        data = self._file.read(size + 2)
        return data[:-2]

    def changes(self) -> int:
        """How many changes of keys the server has counted."""
        _, text = self.call("INFO", "persistence")
        assert isinstance(text, bytes)
        for line in text.splitlines():
            name, _, value = line.removeprefix(b"txt:").partition(b":")
            if name == b"rdb_changes_since_last_save":
                return int(value)
        raise AssertionError("INFO tells no number of changes")
