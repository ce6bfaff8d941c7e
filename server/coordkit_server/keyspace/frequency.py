"""How often a key is used, in a logarithmic counter from 0 to 255 that fades with time (the LFU policies).

The counter shares the place of the access time in an entry: minutes since the epoch times 256, plus the counter.
Source: Redis documentation, "Key eviction", "The new LFU mode".
"""

from random import Random
from typing import Final

INITIAL: Final = 5  # of a new key, so that it is not the first to go
HIGHEST: Final = 255
_MINUTE_MS: Final = 60_000


def packed(now_ms: int, counter: int) -> int:
    """Return what an entry stores for `counter` at this time."""
    return now_ms // _MINUTE_MS * 256 + counter


def frequency_now(stored: int, now_ms: int, decay_minutes: int) -> int:
    """Return the counter in `stored`, one less for every `decay_minutes` (0: never) that have passed."""
    counter = stored % 256
    if decay_minutes == 0:
        return counter
    return max(counter - max(now_ms // _MINUTE_MS - stored // 256, 0) // decay_minutes, 0)


def used(stored: int, now_ms: int, decay_minutes: int, log_factor: int, random: Random) -> int:
    """Return what to store after one more use: the higher the counter, the more uses it takes to grow."""
    counter = frequency_now(stored, now_ms, decay_minutes)
    if counter < HIGHEST and random.random() < 1.0 / (max(counter - INITIAL, 0) * log_factor + 1):
        counter += 1
    return packed(now_ms, counter)
