"""The answer of a limiter."""

from typing import NamedTuple


class Decision(NamedTuple):
    """Whether something may happen now, and what is left.  True in a condition if it is allowed.

    All times are in seconds from now.  Who was refused has used up nothing.
    """

    allowed: bool
    limit: int
    """The most that can be had at once."""
    remaining: int
    """What can still be had at once, now."""
    retry_after: float
    """When the same cost will be allowed if nobody else takes it; 0 if it was allowed."""
    reset_after: float
    """When all of `limit` can be had again if nobody takes anything."""
    degraded: bool = False
    """The server gave no answer, and the limiter's `on_outage` decided."""

    def __bool__(self) -> bool:
        return self.allowed
