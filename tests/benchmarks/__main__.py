"""`python -m tests.benchmarks`: the bundled server beside the originals, the client beside others; see --help."""

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks import client_bench, memory_bench, persistence_bench, report, server_bench, servers

PARTS: Final = ("server", "memory", "persistence", "client")


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the median counts (default: 5)")
    parser.add_argument("--quick", action="store_true", help="a fifth of the load: for a look, not for a statement")
    parser.add_argument("--part", choices=PARTS, help="only one of these")
    parser.add_argument("--case", help="only cases whose name holds this word")
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="where the JSON file goes")
    return parser.parse_args()


def progress(text: str) -> None:
    """Say what is going on, where somebody watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def measured_servers(options: argparse.Namespace, running: Sequence[servers.Server]) -> list[server_bench.Row]:
    """The servers' rows, as far as they can be measured here."""
    if shutil.which("redis-benchmark") is None:
        print("The servers are left out: redis-benchmark is not on PATH; apt-get install redis-tools")
        return []
    rows: list[server_bench.Row] = []
    settings = {"rounds": options.rounds, "quick": options.quick, "only": options.case}
    with contextlib.suppress(KeyboardInterrupt):  # what was measured until then is worth a table
        for group in server_bench.measure(running, **settings, leave_out=print):
            rows += group
            progress(f"{group[0].case}, pipeline {group[0].pipeline}")
    return rows


def measured_clients(options: argparse.Namespace, server: servers.Server) -> list[client_bench.Row]:
    """The clients' rows."""
    rows: list[client_bench.Row] = []
    with contextlib.suppress(KeyboardInterrupt):
        for row in client_bench.measure(server, rounds=options.rounds, quick=options.quick, only=options.case):
            rows.append(row)
            progress(f"{row.case}, concurrency {row.concurrency}")
    return rows


def measured_persistence(options: argparse.Namespace) -> list[persistence_bench.Row]:
    """The rows of what keeping data costs."""
    rows: list[persistence_bench.Row] = []
    settings = {"rounds": options.rounds, "quick": options.quick, "only": options.case}
    with contextlib.suppress(KeyboardInterrupt):
        for group in persistence_bench.measure(**settings, leave_out=print):
            rows += group
            progress(group[0].case)
    return rows


def measured_memory(options: argparse.Namespace) -> list[memory_bench.Row]:
    """The rows of what data take in memory."""
    rows: list[memory_bench.Row] = []
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as scratch:
        for group in memory_bench.measure(Path(scratch), quick=options.quick, only=options.case):
            rows += group
            progress(f"memory of {group[0].kind}")
    return rows


def main() -> None:
    """Measure, print the tables, keep the JSON."""
    options = arguments()
    parts = PARTS if options.part is None else (options.part,)
    with tempfile.TemporaryDirectory() as scratch, servers.running(Path(scratch)) as (running, missing):
        for line in missing:
            print(f"Left out: {line}")
        if not running:
            sys.exit("There is no server to measure.")
        versions = {server.name: server.version for server in running}
        server_rows = measured_servers(options, running) if "server" in parts else []
        client_rows = measured_clients(options, running[0]) if "client" in parts else []
    memory_rows = measured_memory(options) if "memory" in parts else []
    persistence_rows = measured_persistence(options) if "persistence" in parts else []
    progress("")
    settings: dict[str, object] = {
        "rounds": options.rounds,
        "quick": options.quick,
        "servers": versions,
        "connections": server_bench.CONNECTIONS,
        "client_server": running[0].name,
    }
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    if server_rows:
        print(f"\nServers ({shown}), {server_bench.CONNECTIONS} connections, medians of {options.rounds} rounds;")
        print(f"ratios to {running[0].name}, CPU time from the servers' own processes\n")
        print(report.table(report.SERVER_HEAD, map(report.server_cells, server_rows)))
    if memory_rows:
        print(f"\nMemory ({shown}), growth for each key or element; ratios of resident bytes to what")
        print(f"{running[0].name} counts as used_memory\n")
        print(report.table(report.MEMORY_HEAD, map(report.memory_cells, memory_rows)))
    if client_rows:
        print(f"\nClients on {running[0].name} {running[0].version}, asyncio, medians of {options.rounds} rounds\n")
        print(report.table(report.CLIENT_HEAD, map(report.client_cells, client_rows)))
    if persistence_rows:
        print(f"\nKeeping data, medians of {options.rounds} rounds; ratios to the other figure of the round\n")
        print(report.table(report.PERSISTENCE_HEAD, map(report.persistence_cells, persistence_rows)))
    rows: dict[str, Sequence[report.Row]] = {
        "server": server_rows,
        "memory": memory_rows,
        "persistence": persistence_rows,
        "client": client_rows,
    }
    print(f"\nKept in {report.write(options.out, settings, rows)}")


if __name__ == "__main__":
    main()
