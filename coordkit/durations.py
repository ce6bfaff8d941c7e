"""Durations: the public API takes seconds or timedelta, everything inside is integer milliseconds or float
seconds.
"""

import math
from datetime import timedelta
from typing import Final

from coordkit.errors import ConfigurationError

Duration = float | int | timedelta
MAX_S: Final = 3_155_760_000.0
"""A hundred years: what is longer is a mistake of units, and no number that a server can keep as a time."""


def to_seconds(value: Duration, *, name: str) -> float:
    """`value` as seconds, zero or more.

    Raises ConfigurationError, which names the argument `name`, for a negative, infinite or non-numeric value, and
    for more than a hundred years.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds.__class__ is not float and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
        raise ConfigurationError(f"{name} must be seconds or a timedelta, not {value!r}")
    if not 0 <= seconds < math.inf:
        raise ConfigurationError(f"{name} must be a finite duration of zero or more, not {value!r}")
    if seconds > MAX_S:
        raise ConfigurationError(f"{name} must be a hundred years ({MAX_S:.0f} s) at most, not {value!r}")
    return float(seconds)


def to_positive_seconds(value: Duration, *, name: str) -> float:
    """`value` as seconds, more than zero.

    Raises ConfigurationError, which names the argument `name` and says what to pass, for zero too.
    """
    seconds = to_seconds(value, name=name)
    if seconds == 0:
        raise ConfigurationError(
            f"{name} must be longer than zero, not {value!r}; pass seconds, for example {name}=2.0"
        )
    return seconds


def to_ms(value: Duration, *, name: str) -> int:
    """`value` as whole milliseconds, at least 1: rounded up, since a lease must never be shorter than asked
    for.

    Raises ConfigurationError, which names the argument `name`, for zero, negative or infinite values.
    """
    seconds = to_seconds(value, name=name)
    if seconds == 0:
        raise ConfigurationError(f"{name} must be longer than zero, not {value!r}")
    # The rounding absorbs binary fractions: 0.003 s is 3 ms, not 4.
    return max(1, math.ceil(round(seconds * 1000, 6)))
