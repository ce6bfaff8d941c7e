"""The demo's referee and its counting: each violation has to be seen."""

import random
from pathlib import Path

import pytest

from coordkit.cli.demo.record import Mark
from coordkit.cli.demo.referee import judge_limiter, judge_lock, judge_recovery
from coordkit.cli.demo.texts import Counts, count_files, find_texts

LockMark = tuple[int, str, str, int]


def lock_marks(*rows: LockMark) -> list[Mark]:
    return [Mark(moment, (action, worker, str(fence))) for moment, action, worker, fence in rows]


TURNS = [(1, "enter", "a", 1), (2, "leave", "a", 1), (3, "enter", "b", 2), (4, "leave", "b", 2)]
DIED_INSIDE = [(1, "enter", "a", 1), (9, "enter", "b", 2), (10, "leave", "b", 2)]


@pytest.mark.parametrize(
    "rows, killed, overlaps, unordered, abandoned",
    [
        pytest.param(TURNS, {}, 0, 0, 0, id="turns"),
        pytest.param([TURNS[0], TURNS[2], TURNS[1], TURNS[3]], {}, 2, 0, 0, id="two_inside"),
        pytest.param(DIED_INSIDE, {"a": 5}, 0, 0, 1, id="died_inside"),
        pytest.param(DIED_INSIDE, {}, 1, 0, 0, id="never_left"),
        pytest.param(DIED_INSIDE, {"a": 20}, 1, 0, 0, id="entered_before_its_death"),
        pytest.param([*DIED_INSIDE, (11, "leave", "a", 1)], {"a": 5}, 1, 0, 1, id="left_after_its_death"),
        pytest.param([TURNS[1]], {}, 1, 0, 0, id="left_without_entering"),
        pytest.param([*TURNS[2:], *TURNS[:2]], {}, 0, 1, 0, id="fence_fell"),
        pytest.param([*TURNS, (5, "enter", "c", 2), (6, "leave", "c", 2)], {}, 0, 1, 0, id="fence_repeated"),
    ],
)
def test_judge_lock_sees_every_overlap(
    rows: list[LockMark], killed: dict[str, int], overlaps: int, unordered: int, abandoned: int
) -> None:
    report = judge_lock(lock_marks(*rows), killed)
    assert (report.overlaps, report.unordered, report.abandoned) == (overlaps, unordered, abandoned)
    assert report.acquisitions == sum(row[1] == "enter" for row in rows)


def admitted(*times_s: float, late_s: float = 0.0) -> list[Mark]:
    return [Mark(round(time_s * 1e6), ("1", str(round((time_s - late_s) * 1e6)))) for time_s in times_s]


def test_judge_limiter_accepts_a_burst_and_the_rate_after_it() -> None:
    report = judge_limiter(admitted(*[0.0] * 5, *(number / 10 for number in range(1, 50))), rate=10, burst=5)
    assert report.kept
    assert report.peak == pytest.approx(5, abs=1e-3)
    assert report.admissions == 54


@pytest.mark.parametrize(
    "times_s", [[0.0] * 6, [0.0] * 5 + [0.05], [number / 10 for number in range(50)] + [4.9] * 5], ids=str
)
def test_judge_limiter_sees_one_admission_too_many(times_s: list[float]) -> None:
    assert not judge_limiter(admitted(*times_s), rate=10, burst=5).kept


def test_judge_limiter_allows_for_what_the_marks_came_late() -> None:
    times_s = [0.0] * 5 + [0.05]
    assert judge_limiter(admitted(*times_s, late_s=0.06), rate=10, burst=5).kept
    assert not judge_limiter(admitted(*times_s, late_s=0.04), rate=10, burst=5).kept


def test_judge_limiter_agrees_with_looking_at_every_span() -> None:
    chosen = random.Random(5)
    for _ in range(50):
        marks = []
        for _ in range(chosen.randrange(1, 40)):
            asked_us = chosen.randrange(1_700_000_000_000_000, 1_700_000_003_000_000)
            marks.append(Mark(asked_us + chosen.randrange(1, 200_000), ("1", str(asked_us))))
        marks.sort()
        spans = [(int(mark.words[1]), mark.time_us) for mark in marks]
        plainly = max(
            sum(first <= asked and marked <= last for asked, marked in spans) - 10 * (last - first) / 1e6
            for first, _ in spans
            for _, last in spans
            if last > first
        )
        assert judge_limiter(marks, rate=10, burst=1).peak == pytest.approx(max(plainly, 0), abs=1e-3)


def test_judge_recovery_counts_from_the_kill_to_the_next_start() -> None:
    marks = [
        Mark(1_000_000, ("a", "x", "1")),
        Mark(1_000_000, ("b", "y", "1")),
        Mark(1_100_000, ("a", "z", "1")),
        Mark(3_000_000, ("b", "x", "2")),
        Mark(4_500_000, ("b", "z", "2")),
        Mark(5_000_000, ("b", "y", "2")),
    ]
    report = judge_recovery(marks, {"a": 2_000_000})
    assert report.recovery_s == (2.5,)
    assert (report.attempts, report.repeated_jobs, report.recovered_jobs) == (6, 3, 2)


def test_find_texts_takes_text_files_only_and_each_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two\nthree\n")
    (tmp_path / "b.bin").write_bytes(b"\x00\x01")
    (tmp_path / "c.latin").write_bytes(b"caf\xe9 au lait")
    (tmp_path / "empty").touch()
    (tmp_path / ".hidden").write_text("no")
    (tmp_path / "long.txt").write_text("\N{EURO SIGN}" * 5000)  # the probe ends within a character
    for name in (".git", "__pycache__", "venv", "deep"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "inside.txt").write_text(name)
    found = find_texts([tmp_path, tmp_path / "deep"], limit=10)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.txt", "long.txt", "deep/inside.txt"]
    assert len(find_texts([tmp_path], limit=2)) == 2
    assert count_files(found[:1]) == Counts(files=1, lines=2, words=3, bytes=14)
