"""Sliding window, exact: no span of `per`, wherever it starts, ever holds more than `limit`.

The server keeps one entry a hit, whatever its cost, for one period: about 15 bytes each, so `limit` times that at most.
For limits of many thousands GCRA does with one small key.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Final

from coordkit.durations import Duration
from coordkit.ratelimit.base import REQUEST, US_PER_S, period_us, sent_again, whole
from coordkit.ratelimit.decision import Decision
from coordkit.scripts import Script


def parse_usage(reply: object) -> tuple[int, int, int]:
    """What is used (-1 - used if the hit found no room), and in us when all of it is free, when the hit finds room."""
    if not isinstance(reply, list) or len(reply) != 3:
        raise TypeError(f"ratelimit_sliding_window replied {reply!r}")
    used, reset_us, retry_us = reply  # a pattern with types takes two microseconds longer
    return used, reset_us, retry_us


CHECK: Final = Script(
    "ratelimit_sliding_window", ("hits",), ("limit", "window_us", "cost", *REQUEST), parse_usage, True, sent_again, 5
)


@dataclass(frozen=True, slots=True)
class SlidingWindow:
    """At most `limit` in any span of `per` seconds."""

    limit: int
    per: Duration
    window_us: int = field(init=False, repr=False, compare=False)

    kind: ClassVar[str] = "sliding_window"
    check_script: ClassVar[Script[object]] = CHECK

    def __post_init__(self) -> None:
        whole(self.limit, name="limit", least=1)
        object.__setattr__(self, "window_us", period_us(self.per, name="per"))  # documented for frozen instances

    @property
    def capacity(self) -> int:
        """The limit: the most that can be had at once."""
        return self.limit

    @property
    def window_s(self) -> float:
        """The length of the window."""
        return self.window_us / US_PER_S

    def arguments(self, cost: int) -> tuple[int, ...]:
        """Limit, window and cost."""
        return (self.limit, self.window_us, cost)

    def decision(self, reply: object, cost: int) -> Decision:  # noqa: ARG002 - the script has counted it
        """What the usage of the window means."""
        used, reset_us, retry_us = parse_usage(reply)
        admitted = used >= 0
        remaining = max(0, self.limit - (used if admitted else -1 - used))
        return Decision(admitted, self.limit, remaining, retry_us / US_PER_S, reset_us / US_PER_S)
