"""What `coordkit worker` prints: one line a job, in colour where a terminal is attached."""

import sys
import time
from typing import Final

from rich.console import Console
from rich.text import Text

from coordkit.queue.worker.reporter import Attempt

STYLES: Final = {
    "done": ("✓", "green"),
    "failed": ("✗", "red"),
    "rejected": ("✗", "bold red"),
    "released": ("↩", "yellow"),
    "lost": ("⚠", "yellow"),
    "untold": ("⚠", "yellow"),
}


class PlainLines:
    """`12:00:01 done welcome 1f0c... attempt 1 12.3 ms`, for logs and pipes."""

    def ended(self, attempt: Attempt) -> None:
        """One line."""
        words = (
            f"{attempt.outcome} {attempt.name} {attempt.id} attempt {attempt.number} {attempt.seconds * 1000:.1f} ms"
        )
        _write(f"{words} {attempt.error}".rstrip())

    def trouble(self, text: str) -> None:
        """One line."""
        _write(f"warning: {text}")

    def notice(self, text: str) -> None:
        """One line."""
        _write(text)


class QuietLines(PlainLines):
    """Only what went wrong."""

    def ended(self, attempt: Attempt) -> None:
        """A line for what was not done."""
        if attempt.outcome != "done":
            super().ended(attempt)


class ColourLines:
    """The same for people."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)

    def ended(self, attempt: Attempt) -> None:
        """One line."""
        sign, style = STYLES.get(attempt.outcome, ("·", "white"))
        line = Text.assemble(
            (time.strftime("%H:%M:%S "), "dim"),
            (f"{sign} {attempt.outcome:<8} ", style),
            (attempt.name, "bold"),
            (f" {attempt.id}", "dim"),
            f" {attempt.seconds * 1000:.1f} ms",
        )
        if attempt.number > 1:
            line.append(f"  attempt {attempt.number}", "yellow")
        if attempt.error:
            line.append(f"  {attempt.error}", "red")
        self._console.print(line, soft_wrap=True)

    def trouble(self, text: str) -> None:
        """One line."""
        self._console.print(Text.assemble((time.strftime("%H:%M:%S "), "dim"), (f"! {text}", "yellow")), soft_wrap=True)

    def notice(self, text: str) -> None:
        """One line."""
        self._console.print(Text.assemble((time.strftime("%H:%M:%S "), "dim"), (f"· {text}", "cyan")), soft_wrap=True)


def _write(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()
