"""What the demo shows: a live bar and tables on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

PLAIN_STEPS: Final = 10
"""Progress lines on a plain output."""


class Row(NamedTuple):
    """A line of the result.  `holds`: whether an invariant holds; None for a mere figure."""

    name: str
    value: str
    note: str = ""
    holds: bool | None = None


class Display(Protocol):
    """Shows progress while it is open, then the result."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def say(self, text: str) -> None:
        """A line about what happens."""
        ...

    def alarm(self, text: str) -> None:
        """A line about something violent."""
        ...

    def begin(self, total: int) -> None:
        """Work begins."""
        ...

    def advance(self, done: int, words: int, workers: int) -> None:
        """So much is done."""
        ...

    def table(self, rows: Sequence[Row]) -> None:
        """The result."""
        ...


class LiveDisplay:
    """For people."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]:>12,} words  {task.fields[workers]} workers"),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task("files", total=None, visible=False, words=0, workers=0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """A line."""
        self._console.print(f"[cyan]·[/] {text}")

    def alarm(self, text: str) -> None:
        """A red line."""
        self._console.print(f"[bold red]✗ {text}[/]")

    def begin(self, total: int) -> None:
        """Show the bar."""
        self._progress.update(self._task, total=total, visible=True)

    def advance(self, done: int, words: int, workers: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, words=words, workers=workers)

    def table(self, rows: Sequence[Row]) -> None:
        """A table with a verdict on each invariant."""
        table = Table(show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(justify="center")
        table.add_column(justify="right", no_wrap=True)
        table.add_column(style="dim")
        for row in rows:
            sign = {None: "", True: "[green]✓[/]", False: "[bold red]✗[/]"}[row.holds]
            table.add_row(row.name, sign, row.value, row.note, style="bold red" if row.holds is False else None)
        self._console.print(table)


class PlainDisplay:
    """For pipes and logs."""

    def __init__(self) -> None:
        self._total = 0
        self._shown = 0
        self._started_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def say(self, text: str) -> None:
        """A line."""
        print(f"{time.monotonic() - self._started_s:6.2f} s  {text}", flush=True)

    def alarm(self, text: str) -> None:
        """A line."""
        self.say(f"!! {text}")

    def begin(self, total: int) -> None:
        """Nothing to show yet."""
        self._total = total

    def advance(self, done: int, words: int, workers: int) -> None:
        """A line for every tenth."""
        step = done * PLAIN_STEPS // max(self._total, 1)
        if step > self._shown:
            self._shown = step
            self.say(f"{done} of {self._total} files, {words} words, {workers} workers")

    def table(self, rows: Sequence[Row]) -> None:
        """A line a row."""
        width = max(len(row.name) for row in rows)
        value_width = max(len(row.value) for row in rows)
        for row in rows:
            verdict = {None: "    ", True: "ok  ", False: "FAIL"}[row.holds]
            print(f"{row.name:<{width}}  {verdict}  {row.value:>{value_width}}  {row.note}".rstrip(), flush=True)
