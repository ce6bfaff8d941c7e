"""What a worker tells while it works: `Reporter`, and `LogReporter`, which writes it to the log."""

import logging
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger("coordkit.worker")


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that ended.

    outcome: done, failed, rejected or released: so the server has taken it; lost: the job was not ours any more;
    untold: the worker ended before the server had answered.
    """

    id: str
    name: str
    number: int
    outcome: str
    seconds: float
    error: str = ""


class Reporter(Protocol):
    """Hears of everything on the event loop; must not block."""

    def ended(self, attempt: Attempt) -> None:
        """An attempt ended, and the server has said whether its end counts."""
        ...

    def trouble(self, text: str) -> None:
        """Something is wrong and is tried again."""
        ...

    def notice(self, text: str) -> None:
        """The worker has changed its state."""
        ...


class LogReporter:
    """Writes to the log `coordkit.worker`."""

    def ended(self, attempt: Attempt) -> None:
        """One line an attempt."""
        level = logging.INFO if attempt.outcome == "done" else logging.WARNING
        log.log(
            level,
            "%s %s %s attempt %d %.3f s %s",
            attempt.outcome,
            attempt.name,
            attempt.id,
            attempt.number,
            attempt.seconds,
            attempt.error,
        )

    def trouble(self, text: str) -> None:
        """A warning."""
        log.warning("%s", text)

    def notice(self, text: str) -> None:
        """An information."""
        log.info("%s", text)
