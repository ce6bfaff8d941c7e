"""The arithmetic and the tables of the benchmarks."""

import json
from pathlib import Path

from tests.benchmarks import client_bench, memory_bench, persistence_bench, report, server_bench

SLOW, FAST = server_bench.Sample(50_000, 10.0), server_bench.Sample(100_000, 4.0)


def test_server_row_is_of_medians_and_of_ratios_round_by_round() -> None:
    case = server_bench.CASES[0]
    ours = [SLOW, FAST, SLOW]
    row = server_bench.row(case, 16, "bundled", ours, [FAST, FAST, SLOW])
    assert (row.requests_per_s, row.cpu_us) == (50_000, 10.0)
    assert (row.ratio, row.cpu_ratio) == (1.0, 1.0)
    assert row.target == 0.5


def test_targets_are_those_of_the_bundled_server() -> None:
    plain, script = server_bench.CASES[0], server_bench.CASES[-1]
    assert [case.target(pipeline) for case in (plain, script) for pipeline in (1, 16)] == [0.9, 0.5, 0.6, 0.6]
    assert server_bench.row(plain, 1, "redis", [FAST], [FAST]).target is None


def test_memory_rows_are_bytes_a_key_and_ratios_to_what_the_reference_counts() -> None:
    kind = memory_bench.Kind("strings", "key", 1000, memory_bench.strings, 2.0)
    growths = [memory_bench.Growth("redis", 150_000, 100_000), memory_bench.Growth("bundled", 201_000, 90_000)]
    reference, ours = memory_bench.rows(kind, 1000, growths)
    assert (reference.resident_bytes, reference.used_bytes, reference.ratio, reference.target) == (150, 100, 1.5, None)
    assert (ours.resident_bytes, ours.ratio, ours.target) == (201, 2.01, 2.0)
    assert report.memory_cells(ours)[-3:] == ("2.01", "2.0", "above target")
    assert report.memory_cells(reference)[-2:] == ("", "")


def test_verdict_rounds_as_the_table_does() -> None:
    assert report.verdict(0.896, 0.9) == "ok"
    assert report.verdict(0.89, 0.9) == "below target"
    assert report.verdict(0.1, None) == ""


def test_table_is_aligned_markdown() -> None:
    lines = report.table(("command", "ratio"), [("GET", "1.00"), ("LPUSH", "10.00")]).splitlines()
    assert lines == [
        "| command | ratio |",
        "| ------- | ----: |",
        "| GET     |  1.00 |",
        "| LPUSH   | 10.00 |",
    ]


def test_result_file_holds_rows_settings_and_machine(tmp_path: Path) -> None:
    server_row = server_bench.row(server_bench.CASES[0], 1, "bundled", [FAST], [SLOW])
    sample = client_bench.Sample(60_000.0, 8.0, 6.0)
    client_row = client_bench.row(client_bench.CASES[0], 50, [(sample, client_bench.Sample(10_000.0, 70.0, 9.0))])
    memory_row = memory_bench.Row("strings", "key", "bundled", 200.0, 190.0, 1.9, 2.0)
    path = report.write(
        tmp_path / "results", {"rounds": 1}, {"server": [server_row], "client": [client_row], "memory": [memory_row]}
    )
    document = json.loads(path.read_text())
    assert document["settings"] == {"rounds": 1}
    assert document["server"][0]["ratio"] == 2.0
    assert document["client"][0]["ratio"] == 6.0
    assert document["memory"][0]["resident_bytes"] == 200.0
    assert document["client"][0]["target"] == 5.0
    assert document["machine"]["cpus"] >= 1


def test_log_row_is_the_median_of_the_ratios_of_the_rounds() -> None:
    case = persistence_bench.LOG_CASES[0]
    row = persistence_bench.log_row(case, [(90.0, 100.0), (50.0, 40.0), (80.0, 100.0)])
    assert (row.figure, row.ratio, row.target) == (80.0, 0.9, 0.85)
    assert report.persistence_cells(row)[-1] == "ok"


def test_snapshot_rows_judge_loading_by_its_multiple() -> None:
    fast = persistence_bench.Snapshot(1.0, 2.0, 0.5, 10.0, 0.4)
    slow = persistence_bench.Snapshot(3.0, 2.0, 2.0, 40.0, 1.3)
    rows = persistence_bench.snapshot_rows([(fast, slow)])
    assert [row.ratio for row in rows if row.server == "bundled"] == [3.0, 1.0, 4.0, 4.0, 1.3 / 0.4]
    assert [report.persistence_cells(row)[-1] for row in rows] == [""] * 9 + ["above target"]
