"""When a key was used last, or how often it is, in the 31 bits that an entry has for it.

When: ticks of an eighth of a second, which begin anew every eight years.  How often (the LFU policies): a logarithmic
counter from 0 to 255 that fades with time, beside the minute that it was changed in.
Source: Redis documentation, "Key eviction", "The new LFU mode".
"""

from random import Random
from typing import Final

from mypy_extensions import i32

INITIAL: Final = 5  # of a new key, so that it is not the first to go
HIGHEST: Final = 255
_TICK_MS: Final = 125
_TICKS: Final = 1 << 31
_MINUTE_MS: Final = 60_000
_MINUTES: Final = 1 << 22


def ticks(at_ms: int) -> i32:
    """Return what an entry stores for a use at `at_ms`."""
    return i32(at_ms // _TICK_MS % _TICKS)


def idle_ms(stored: i32, now_ms: int) -> int:
    """Return how long ago a use was, to an eighth of a second; 0 if the clock has been set back since."""
    return _since(now_ms // _TICK_MS - int(stored), _TICKS) * _TICK_MS


def used_before(idle_s: int, now_ms: int) -> i32:
    """Return what an entry stores if it has been idle for `idle_s`, four years at most."""
    return ticks(now_ms - min(idle_s * 1000, (_TICKS // 2 - 1) * _TICK_MS))


def packed(now_ms: int, counter: int) -> i32:
    """Return what an entry stores for `counter` at this time."""
    return i32(now_ms // _MINUTE_MS % _MINUTES * 256 + counter)


def frequency_now(stored: i32, now_ms: int, decay_minutes: int) -> int:
    """Return the counter in `stored`, one less for every `decay_minutes` (0: never) that have passed."""
    counter = int(stored) % 256
    if decay_minutes == 0:
        return counter
    return max(counter - _since(now_ms // _MINUTE_MS - int(stored) // 256, _MINUTES) // decay_minutes, 0)


def _since(difference: int, circle: int) -> int:
    """Return how far a clock that begins anew after `circle` has gone; more than half of that is a step back."""
    passed = difference % circle
    return passed if passed < circle // 2 else 0


def used(stored: i32, now_ms: int, decay_minutes: int, log_factor: int, random: Random) -> i32:
    """Return what to store after one more use: the higher the counter, the more uses it takes to grow."""
    counter = frequency_now(stored, now_ms, decay_minutes)
    if counter < HIGHEST and random.random() < 1.0 / (max(counter - INITIAL, 0) * log_factor + 1):
        counter += 1
    return packed(now_ms, counter)
