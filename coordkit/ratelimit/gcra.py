"""GCRA, also known as token bucket: an even rate, with a burst on top.

A bucket has room for `burst`.  A hit fills it by its cost, and `limit` a period drain from it, evenly.  In any span of
t seconds at most `burst + limit * t / per` are admitted, and whoever keeps to the rate is never refused.
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar, Final

from coordkit.durations import Duration
from coordkit.errors import ConfigurationError
from coordkit.ratelimit.base import EXACT, LONGEST_S, REQUEST, US_PER_S, period_us, sent_again, whole
from coordkit.ratelimit.decision import Decision
from coordkit.scripts import Script

made: Final = tuple.__new__


def parse_level(reply: object) -> int:
    """The level of the bucket, or -1 - level if the hit found no room."""
    if isinstance(reply, int):
        return reply
    raise TypeError(f"ratelimit_gcra replied {reply!r}")


CHECK: Final = Script(
    "ratelimit_gcra", ("bucket",), ("token", "drain", "capacity", "cost", *REQUEST), parse_level, True, sent_again, 6
)


def units(limit: int, burst: int, period: int) -> tuple[int, int]:
    """How many units a token counts, and how many drain in a microsecond: whole numbers, in lowest terms.

    Where a full bucket would leave the exact range of a double, a token is counted too high, by at most one unit: the
    rate is then lower than asked for by a part in 2^51 / burst, and never higher.
    """
    exact = Fraction(period, limit)
    if burst * exact.numerator < EXACT:
        return exact.numerator, exact.denominator
    drain = EXACT * exact.denominator // (burst * exact.numerator)
    return math.ceil(exact * drain), drain


@dataclass(frozen=True, slots=True, init=False)
class GCRA:
    """At most `limit` per `per` (seconds) in the long run, and `burst` at once; without one, `limit` at once."""

    limit: int
    per: Duration
    burst: int
    token: int = field(repr=False, compare=False)
    drain: int = field(repr=False, compare=False)

    kind: ClassVar[str] = "gcra"
    check_script: ClassVar[Script[object]] = CHECK

    def __init__(self, limit: int, per: Duration, *, burst: int | None = None) -> None:
        whole(limit, name="limit", least=1)
        burst = limit if burst is None else whole(burst, name="burst", least=1)
        period = period_us(per, name="per")
        if burst * period > limit * LONGEST_S * US_PER_S:
            raise ConfigurationError(f"a burst of {burst} at {limit} per {per} would take over 50 years to refill")
        token, drain = units(limit, burst, period)
        values = {"limit": limit, "per": per, "burst": burst, "token": token, "drain": drain}
        for name, value in values.items():
            object.__setattr__(self, name, value)  # the documented way to fill a frozen instance

    @property
    def capacity(self) -> int:
        """The burst: the most that can be had at once."""
        return self.burst

    @property
    def window_s(self) -> float:
        """How long a full bucket takes to drain."""
        return self.burst * self.token / (self.drain * US_PER_S)

    def arguments(self, cost: int) -> tuple[int, ...]:
        """Units of a token, drain and capacity, then the cost in tokens."""
        return (self.token, self.drain, self.burst * self.token, cost)

    def decision(self, reply: object, cost: int) -> Decision:
        """What the level of the bucket means for a hit of `cost`."""
        level = reply if reply.__class__ is int else parse_level(reply)
        token, drain, burst = self.token, self.drain, self.burst
        # All of it is rounded to the careful side: whole tokens, and whole microseconds that are enough to wait.
        if level >= 0:
            # The way around Decision's own constructor, which is not compiled, for the answer of nearly every check.
            return made(Decision, (True, burst, burst - -(-level // token), 0.0, -(-level // drain) / US_PER_S, False))
        level = -1 - level
        wait_us = -((burst * token - level - cost * token) // drain)
        remaining = burst - -(-level // token)
        return Decision(False, burst, remaining, wait_us / US_PER_S, -(-level // drain) / US_PER_S)
