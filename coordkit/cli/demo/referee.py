"""The referee: what the marks prove.  Pure functions; times are the server's, in microseconds.

Lines of evidence:
    started    worker, job, attempt                  before anything else is done for the job
    admitted   worker, when it was about to ask      after the limiter said yes
    lock       enter | leave, worker, fence          first and last thing while the lock is held
"""

import bisect
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from coordkit.cli.demo.record import Mark

ROUNDING: Final = 1e-3
"""Of the sums below: far less than one admission."""

Killed = Mapping[str, int]
"""Process id of each killed worker -> when it was killed."""


@dataclass(frozen=True, slots=True)
class LockReport:
    """overlaps: entries while another holder was inside; unordered: fences that did not rise; abandoned: holders killed
    inside.
    """

    acquisitions: int
    overlaps: int
    unordered: int
    abandoned: int


def judge_lock(marks: Sequence[Mark], killed: Killed) -> LockReport:
    """Whether there was ever more than one holder inside.

    A killed holder never leaves; entering after its death is no overlap.  A mark of its own that arrives later than
    that would be one.
    """
    acquisitions = overlaps = unordered = abandoned = 0
    inside: tuple[str, str] | None = None
    highest = 0
    for mark in marks:
        action, worker, fence = mark.words
        if action == "enter":
            acquisitions += 1
            if inside is not None:
                if inside[0] in killed and mark.time_us >= killed[inside[0]] and inside[0] != worker:
                    abandoned += 1
                else:
                    overlaps += 1
            unordered += int(fence) <= highest
            highest = max(highest, int(fence))
            inside = (worker, fence)
        elif inside == (worker, fence):
            inside = None
        else:
            overlaps += 1
    return LockReport(acquisitions, overlaps, unordered, abandoned)


@dataclass(frozen=True, slots=True)
class LimiterReport:
    """peak: the most that any span saw above `rate` times its length; bound: the burst, which it may not exceed."""

    admissions: int
    peak: float
    bound: float

    @property
    def kept(self) -> bool:
        """Whether the limit was kept."""
        return self.peak <= self.bound + ROUNDING


def judge_limiter(marks: Sequence[Mark], rate: int, burst: int) -> LimiterReport:
    """Whether any span of time saw more than `burst + rate * span` admissions.

    An admission happened between its asking and its mark.  It counts for every span that holds both, so that nothing is
    said about a span that is not certain: the spans from each asking to each later mark are looked at, all of them.
    """
    intervals = sorted(((int(mark.words[1]), mark.time_us) for mark in marks), reverse=True)
    ends_us = sorted(mark.time_us for mark in marks)
    levels = SuffixLevels([-rate * (end - before) / 1e6 for before, end in itertools.pairwise(ends_us[:1] + ends_us)])
    peak = 0.0
    for asked_us, marked_us in intervals:  # the latest asking first: what is counted so far lies after it
        levels.add(bisect.bisect_left(ends_us, marked_us), 1.0)
        first = bisect.bisect_left(ends_us, asked_us)
        before_us = ends_us[max(first - 1, 0)]
        peak = max(peak, levels.highest_from(first) + rate * (asked_us - before_us) / 1e6)
    return LimiterReport(len(marks), peak, float(burst))


class SuffixLevels:
    """Running sums of a list of steps: change a step, or find the highest sum from a place on, in O(log n)."""

    def __init__(self, steps: Sequence[float]) -> None:
        self._size = 1 << max(len(steps) - 1, 0).bit_length()
        self._sums = [0.0] * self._size + [*steps, *([-math.inf] * (self._size - len(steps)))]
        self._highest = list(self._sums)  # of the running sums within a node
        for node in range(self._size - 1, 0, -1):
            self._join(node)

    def add(self, place: int, amount: float) -> None:
        """Raise the step at `place`."""
        node = self._size + place
        self._sums[node] += amount
        self._highest[node] += amount
        while node > 1:
            node //= 2
            self._join(node)

    def highest_from(self, place: int) -> float:
        """The highest sum of the steps from `place` on, to any later place."""
        node = self._size + place
        total, highest = self._sums[node], self._highest[node]
        while node > 1:
            if node % 2 == 0:
                highest = max(highest, total + self._highest[node + 1])
                total += self._sums[node + 1]
            node //= 2
        return highest

    def _join(self, node: int) -> None:
        left, right = 2 * node, 2 * node + 1
        self._sums[node] = self._sums[left] + self._sums[right]
        self._highest[node] = max(self._highest[left], self._sums[left] + self._highest[right])


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """attempts of all jobs; jobs started more than once; seconds from each kill until its jobs were started again."""

    attempts: int
    repeated_jobs: int
    recovered_jobs: int
    recovery_s: tuple[float, ...]


def judge_recovery(marks: Sequence[Mark], killed: Killed) -> RecoveryReport:
    """How long the jobs of killed workers waited for somebody else: the last one of each kill counts."""
    starts: dict[str, list[tuple[int, str]]] = {}
    for mark in marks:
        worker, job, _ = mark.words
        starts.setdefault(job, []).append((mark.time_us, worker))
    slowest: dict[str, float] = {}
    recovered = 0
    for attempts in starts.values():
        for (_, worker), (again_us, _) in itertools.pairwise(attempts):
            if worker in killed and again_us >= killed[worker]:
                recovered += 1
                slowest[worker] = max(slowest.get(worker, 0.0), (again_us - killed[worker]) / 1e6)
    return RecoveryReport(
        len(marks), sum(len(attempts) > 1 for attempts in starts.values()), recovered, tuple(slowest.values())
    )
