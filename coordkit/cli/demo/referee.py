"""The referee: what the marks prove.  Pure functions; times are the server's, in microseconds.

Lines of evidence:
    started    worker, job, attempt                  before anything else is done for the job
    admitted   worker, when it was about to ask      after the limiter said yes
    lock       enter | leave, worker, fence          first and last thing while the lock is held
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coordkit.cli.demo.record import Mark

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
    """admissions; peak: the most that any span saw above `rate` times its length; bound: what may be seen at most."""

    admissions: int
    peak: float
    bound: float

    @property
    def kept(self) -> bool:
        """Whether the limit was kept."""
        return self.peak <= self.bound


def judge_limiter(marks: Sequence[Mark], rate: int, burst: int) -> LimiterReport:
    """Whether any span of time, from one admission to another, saw more than `burst + rate * span` admissions.

    A mark is later than its admission, but no later than it is after the asking: a span between marks may hold what was
    admitted so much earlier, and the bound is higher by that.
    """
    slack_s = max((mark.time_us - int(mark.words[1]) for mark in marks), default=0) / 1e6
    lowest = float("inf")
    peak = 0.0
    first_us = marks[0].time_us if marks else 0
    for index, mark in enumerate(marks):
        level = index - rate * (mark.time_us - first_us) / 1e6
        lowest = min(lowest, level)
        peak = max(peak, level - lowest + 1)
    return LimiterReport(len(marks), peak, burst + rate * slack_s + 1e-6)


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
