"""Time as a dependency: the real clock, and one that tests move by hand.

Rule of the room: nothing else in the server reads the time of day.
"""

from time import monotonic_ns, time_ns

from mypy_extensions import trait


@trait
class Clock:
    """Wall time for expiry and TIME; monotonic time for measuring."""

    def now_us(self) -> int:
        """Return the wall clock in microseconds since the Unix epoch."""
        raise NotImplementedError

    def monotonic_us(self) -> int:
        """Return a clock in microseconds that never goes back."""
        raise NotImplementedError


class SystemClock(Clock):
    """The machine's clock."""

    def now_us(self) -> int:
        """Return the wall clock in microseconds since the Unix epoch."""
        return time_ns() // 1000

    def monotonic_us(self) -> int:
        """Return a clock in microseconds that never goes back."""
        return monotonic_ns() // 1000


class ManualClock(Clock):
    """A clock that stands still until `advance_ms` moves it."""

    def __init__(self, start_ms: int) -> None:
        self.us: int = start_ms * 1000

    def now_us(self) -> int:
        """Return the time the test set, in microseconds."""
        return self.us

    def monotonic_us(self) -> int:
        """Return the time the test set, in microseconds."""
        return self.us

    def advance_ms(self, ms: int) -> None:
        """Move time forward by `ms` milliseconds."""
        self.us += ms * 1000
