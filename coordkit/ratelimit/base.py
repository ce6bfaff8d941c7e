"""What an algorithm is to the rest of the room, and the checks all of them share."""

import math
from typing import ClassVar, Final, Protocol

from coordkit.durations import Duration, to_seconds
from coordkit.errors import ConfigurationError
from coordkit.ratelimit.decision import Decision
from coordkit.scripts import Args, Script

EXACT: Final = 2**51
"""Lua counts in doubles: whole numbers up to 2^53 are exact.  Two bits are kept back for sums."""

LONGEST_S: Final = 50 * 365 * 86400
"""Fifty years: the longest time that is below EXACT in microseconds."""

US_PER_S: Final = 1_000_000


REQUEST: Final = ("consume", "request", "*age_us")
"""The last arguments of every algorithm's script: whether to take the cost, the name of the hit (empty when only
looking), and, if it may have been run before, how long ago it was first sent."""


def sent_again(args: Args, age_ms: int) -> Args:
    """The arguments of a hit that is sent again `age_ms` after the first time."""
    return (*args, age_ms * 1000)


class Algorithm(Protocol):
    """A rate limit as declared: immutable, without a connection, and comparable."""

    kind: ClassVar[str]
    """The word for it in keys, files and options."""
    check_script: ClassVar[Script[object]]
    """Its arguments are those of `arguments`, then REQUEST."""

    @property
    def capacity(self) -> int:
        """The most that can be had at once, and so the highest cost."""
        ...

    @property
    def window_s(self) -> float:
        """How long it takes until all of it can be had again."""
        ...

    def arguments(self, cost: int) -> tuple[int, ...]:
        """What the script is called with, up to the cost."""
        ...

    def decision(self, reply: object, cost: int) -> Decision:
        """What the script's reply to a hit of `cost` means."""
        ...


def whole(value: object, *, name: str, least: int) -> int:
    """`value` as it is.  Raises ConfigurationError, which names it, unless it is a whole number from `least` up."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < EXACT:
        raise ConfigurationError(f"{name} must be a whole number from {least} to 2^51, not {value!r}")
    return value


def period_us(value: Duration, *, name: str) -> int:
    """`value` as microseconds, rounded up.

    Raises ConfigurationError, which names it, for less than one microsecond and more than 50 years.
    """
    seconds = to_seconds(value, name=name)
    # The rounding absorbs binary fractions: 0.000003 s is 3 us, not 4.
    microseconds = math.ceil(round(seconds * US_PER_S, 3))
    if not 1 <= microseconds <= LONGEST_S * US_PER_S:
        raise ConfigurationError(f"{name} must be from one microsecond to 50 years, not {value!r}")
    return microseconds
