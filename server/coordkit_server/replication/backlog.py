"""The newest part of the stream of changes, for replicas that come back after a short absence."""

from collections import deque
from typing import Final


class Backlog:
    """The last bytes of the stream, at most a chunk more than `limit_bytes`."""

    def __init__(self, start: int, limit_bytes: int) -> None:
        self.first: int = start  # offset in the stream of the oldest byte kept
        self.end: int = start  # offset behind the newest
        self.limit_bytes: int = limit_bytes
        self._chunks: Final[deque[bytes]] = deque()

    def append(self, chunk: bytes) -> None:
        """Keep `chunk`, forget what is too old."""
        self._chunks.append(chunk)
        self.end += len(chunk)
        self.trim()

    def trim(self) -> None:
        """Forget what `limit_bytes` has no room for; the newest chunk always stays."""
        chunks = self._chunks
        while len(chunks) > 1 and self.end - self.first - len(chunks[0]) >= self.limit_bytes:
            self.first += len(chunks.popleft())

    def length(self) -> int:
        """Return how many bytes are kept."""
        return self.end - self.first

    def holds(self, offset: int) -> bool:
        """Return True if everything from `offset` on is kept."""
        return self.first <= offset <= self.end

    def since(self, offset: int) -> list[bytes]:
        """Return the stream from `offset` on, which must be held."""
        found: list[bytes] = []
        at = self.end
        for chunk in reversed(self._chunks):
            if at <= offset:
                break
            at -= len(chunk)
            found.append(chunk if at >= offset else chunk[offset - at :])
        found.reverse()
        return found
