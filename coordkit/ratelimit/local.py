"""The stand-in for the server in an outage: each process counts for itself, its share of the limit.

Whatever the algorithm, no span of its window holds more than the share, counted in sixteenths of the window: a bounded
memory a key, and always on the careful side.  What the server had counted before the outage is not known here.
"""

import math
import threading
from collections import OrderedDict, deque
from typing import Final

from coordkit.ratelimit.decision import Decision

PARTS: Final = 16
MAX_KEYS: Final = 10_000
"""Keys that are remembered; beyond it the one that was not asked for the longest is forgotten."""


class LocalLimits:
    """The hits of one limiter in this process.  The time is an argument."""

    __slots__ = ("_hits", "_lock", "_part_s", "_share")

    def __init__(self, capacity: int, window_s: float, *, instances: int) -> None:
        self._share = max(1, capacity // instances)
        self._part_s = window_s / PARTS
        self._hits: OrderedDict[bytes, deque[tuple[int, int]]] = OrderedDict()
        self._lock = threading.Lock()

    def decide(self, key: bytes, cost: int, now_s: float, *, consume: bool) -> Decision:
        """Whether `cost` has room in this process's share; then, with `consume`, it is taken."""
        part = math.floor(now_s / self._part_s)
        with self._lock:
            hits = self._hits.get(key)
            if hits is None:
                hits = deque()
            while hits and hits[0][0] < part - PARTS:
                hits.popleft()
            used = sum(taken for _, taken in hits)
            allowed = used + cost <= self._share
            if allowed and consume and cost:
                if hits and hits[-1][0] == part:
                    hits[-1] = (part, hits[-1][1] + cost)
                else:
                    hits.append((part, cost))
                used += cost
            if hits:
                self._hits[key] = hits
                self._hits.move_to_end(key)
            if len(self._hits) > MAX_KEYS:
                self._hits.popitem(last=False)
            retry_s = 0.0 if allowed else self._free_s(hits, used + cost - self._share, now_s)
            reset_s = self._leaves_s(hits[-1][0], now_s) if hits else 0.0
        remaining = max(0, self._share - used)
        return Decision(allowed, self._share, remaining, retry_s, reset_s, degraded=True)

    def clear(self) -> None:
        """Forget everything: the server counts again."""
        with self._lock:
            self._hits.clear()

    def _leaves_s(self, part: int, now_s: float) -> float:
        """When the hits of `part` count no more."""
        return max(0.0, (part + PARTS + 1) * self._part_s - now_s)

    def _free_s(self, hits: deque[tuple[int, int]], wanted: int, now_s: float) -> float:
        """When so much has left.  A cost above the share never has room: after a whole window it is looked at anew."""
        for part, taken in hits:
            wanted -= taken
            if wanted <= 0:
                return self._leaves_s(part, now_s)
        return PARTS * self._part_s
