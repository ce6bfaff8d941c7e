"""What cjson and cmsgpack cost in scripts: `python -m tests.benchmarks.libraries_bench`.

The same document of 80 jobs, 100 times in one script, on all servers that are installed, in turn.  Prints the CPU time
of one operation, the median of the rounds, and how many times that of the first server it is.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Final

from tests.benchmarks import report, servers

REPEATED: Final = 100
JOBS: Final = [
    {
        "id": number + 1000,
        "name": f"job-{number}",
        "queue": "mail",
        "attempts": number % 4,
        "delay": number * 0.25,
        "data": {"to": f"user{number}@example.org", "n": number * 37},
        "done": number % 2 == 0,
    }
    for number in range(80)
]
DOCUMENT: Final = json.dumps(JOBS, separators=(",", ":"))
# what an operation works on, and its name
OPERATIONS: Final = {
    "cjson.decode": "ARGV[1]",
    "cjson.encode": "cjson.decode(ARGV[1])",
    "cmsgpack.unpack": "cmsgpack.pack(cjson.decode(ARGV[1]))",
    "cmsgpack.pack": "cjson.decode(ARGV[1])",
}


def script(operation: str) -> str:
    """The script that does `operation` REPEATED times."""
    return f"local data, f = {OPERATIONS[operation]}, {operation} for _ = 1, {REPEATED} do f(data) end"


def cpu_us(server: servers.Server, operation: str, runs: int) -> float:
    """The CPU time of one operation, in microseconds."""
    before_s = server.cpu_s()
    for _ in range(runs):
        server.client.eval(script(operation), 0, DOCUMENT)
    return (server.cpu_s() - before_s) / runs / REPEATED * 1e6


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--runs", type=int, default=20, help="scripts a round: CPU time is counted in hundredths of a second"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, servers.running(Path(scratch)) as (running, missing):
        for line in missing:
            print(f"Left out: {line}")
        rows: list[tuple[str, ...]] = []
        for operation in OPERATIONS:
            found: list[list[float]] = [[] for _ in running]
            for _ in range(options.rounds):
                for server, costs_us in zip(running, found, strict=True):
                    costs_us.append(cpu_us(server, operation, options.runs))
            medians_us = [statistics.median(costs_us) for costs_us in found]
            for server, median_us in zip(running, medians_us, strict=True):
                shown = f"{server.name} {server.version}"
                rows.append((operation, shown, f"{median_us:.0f}", f"{median_us / medians_us[0]:.2f}"))
    print(f"{len(DOCUMENT)} bytes of JSON\n")
    print(report.table(("operation", "server", "CPU us", "ratio"), rows))


if __name__ == "__main__":
    main()
