"""Clocks: `SystemClock` for programs, `ManualClock` for tests.  No code reads the time in another way.

Only spans are measured here.  Moments that several processes agree on come from the server's `TIME`.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def monotonic(self) -> float:
        """Seconds from some fixed moment; never goes back."""
        ...


class SystemClock:
    """The operating system's clock."""

    __slots__ = ()

    def monotonic(self) -> float:
        """Seconds from some fixed moment; never goes back."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until `advance` is called."""

    __slots__ = ("_now_s",)

    def __init__(self, now_s: float = 0.0) -> None:
        self._now_s = now_s

    def monotonic(self) -> float:
        """Seconds from the start, as advanced."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Move the time forward."""
        self._now_s += seconds
