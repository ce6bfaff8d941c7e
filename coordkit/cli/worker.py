"""`coordkit worker module:queue`: runs the jobs of a queue until it is told to stop."""

import asyncio
import importlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import Final

import click

from coordkit.cli.lines import ColourLines, PlainLines, QuietLines
from coordkit.cli.options import (
    EXIT_BROKEN,
    EXIT_CONFIGURATION,
    EXIT_HANDED_BACK,
    EXIT_UNAVAILABLE,
    fail,
    interactive,
    shown_url,
    url_option,
)
from coordkit.client import AsyncClient, Client
from coordkit.errors import ConfigurationError, CoordkitError
from coordkit.queue.declaration import Queue
from coordkit.queue.worker.reporter import Reporter
from coordkit.queue.worker.worker import (
    DEFAULT_CONCURRENCY,
    DEFAULT_DRAIN_S,
    STOP_S,
    Worker,
    WorkerReport,
)

log = logging.getLogger("coordkit.worker")

LINES: Final[dict[str, Callable[[], Reporter]]] = {
    "colour": ColourLines,
    "plain": PlainLines,
    "quiet": QuietLines,
}


def load_queue(target: str) -> Queue:
    """The queue that `module:name` names.  Raises ConfigurationError with what is wrong."""
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise ConfigurationError(f"{target!r} names no queue; write module:queue, for example app:mail")
    if "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    module = _imported(module_name)
    queue = getattr(module, name, None)
    if not isinstance(queue, Queue):
        queues = sorted(key for key, value in vars(module).items() if isinstance(value, Queue))
        raise ConfigurationError(f"{module_name!r} has no queue {name!r}; its queues are {queues}")
    return queue


def _imported(name: str) -> ModuleType:
    """The module `name`.  Raises ConfigurationError if there is none, or if it raises itself: then with where."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name + ".").startswith(exc.name + "."):
            raise ConfigurationError(f"there is no module {exc.name!r} in {Path.cwd()} or on the Python path") from exc
        raise _not_imported(name, exc) from exc
    except Exception as exc:
        raise _not_imported(name, exc) from exc
    except SystemExit as exc:  # a script without `if __name__ == "__main__"`
        raise ConfigurationError(f"the module {name!r} ended the process when it was imported: {exc!r}") from exc


def _not_imported(name: str, exc: Exception) -> ConfigurationError:
    """The error for a module that raised `exc`: what it raised, and the innermost line that did."""
    frames = traceback.extract_tb(exc.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})"
    if isinstance(exc, SyntaxError):
        where = ""  # its text tells that
    return ConfigurationError(f"the module {name!r} cannot be imported: {type(exc).__name__}: {exc}{where}")


@click.command("worker", short_help="Run the jobs of a queue.")
@click.argument("target", metavar="MODULE:QUEUE")
@url_option("The server with the queue.")
@click.option(
    "-c",
    "--concurrency",
    default=DEFAULT_CONCURRENCY,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Jobs at a time.",
)
@click.option(
    "--drain-timeout",
    default=DEFAULT_DRAIN_S,
    show_default=True,
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="How long running jobs may go on after the first SIGTERM or SIGINT.",
)
@click.option(
    "--give-up",
    type=click.FloatRange(0.1),
    metavar="SECONDS",
    help="End with status 69 when the server stays away for so long.  [default: wait for it]",
)
@click.option("--lines", type=click.Choice(sorted(LINES)), help="How to print.  [default: colour on a terminal]")
@click.option("--stop-on-eof", is_flag=True, help="Drain also when standard input is closed: its starter has ended.")
@click.option("--prefix", default="ck", show_default=True, help="Prefix of all keys on the server.")
def command(
    target: str,
    url: str | None,
    concurrency: int,
    drain_timeout: float,
    give_up: float | None,
    lines: str | None,
    prefix: str,
    *,
    stop_on_eof: bool,
) -> None:
    """Run the jobs of the queue that MODULE:QUEUE declares.

    The first SIGTERM or SIGINT drains: no job is fetched any more, running ones may end.  The second one gives running
    jobs back to the queue at once.  A worker that is killed loses nothing: its jobs come back when their leases end.

    \b
    Exit status: 0 drained; 69 the server stayed away; 70 its loop or its heartbeat died; 75 jobs were given back
    unfinished; 78 a mistake in the set-up.

    \b
    coordkit worker app:mail
    coordkit worker app:mail --concurrency 50 --url redis://queue.example:6379
    """
    reporter = LINES[lines or ("colour" if interactive() else "plain")]()
    try:
        queue = load_queue(target)
        _check_shared(url)
        report = _run(
            _work(
                queue,
                url,
                prefix,
                lambda client, blocking: Worker(
                    queue,
                    client,
                    blocking,
                    concurrency=concurrency,
                    drain_timeout=drain_timeout,
                    give_up=give_up,
                    reporter=reporter,
                ),
                reporter,
                stop_on_eof=stop_on_eof,
            )
        )
    except ConfigurationError as exc:
        fail(str(exc), EXIT_CONFIGURATION)
    except CoordkitError as exc:
        _leave_threads(EXIT_UNAVAILABLE)
        fail(f"the worker ends: {exc}", EXIT_UNAVAILABLE)
    except Exception as exc:
        log.exception("the worker broke")
        _leave_threads(EXIT_BROKEN)
        fail(f"the worker broke: {type(exc).__name__}: {exc}", EXIT_BROKEN)
    if report.count("released") or report.untold:
        _leave_threads(EXIT_HANDED_BACK)
        sys.exit(EXIT_HANDED_BACK)


def _run(work: Coroutine[object, object, WorkerReport]) -> WorkerReport:
    """What `work` returns, on a loop of its own.

    Like asyncio.run, but it waits for nothing that does not end: not for tasks that catch their cancellation, and not
    for threads.  Their jobs have been given back, or their leases end: somebody else runs them.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(_end_tasks(loop))
        asyncio.set_event_loop(None)
        loop.close()


async def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left on the loop, and let it clean up for `STOP_S`."""
    left = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in left:
        task.cancel()
    generators = loop.create_task(loop.shutdown_asyncgens())
    _, pending = await asyncio.wait((*left, generators), timeout=STOP_S)
    if pending:
        click.echo(f"coordkit: {len(pending)} cancelled tasks have not ended; the worker ends without them", err=True)
        loop.set_exception_handler(_say_nothing)  # of tasks that were destroyed: it has just been said


def _say_nothing(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """What a loop that is closed does about errors."""


def _threads() -> list[str]:
    """The names of the threads that Python waits for at its end."""
    main = threading.main_thread()
    return [thread.name for thread in threading.enumerate() if not thread.daemon and thread is not main]


def _leave_threads(status: int) -> None:
    """See to it that the process ends with `status`, though Python waits for threads (of `asyncio.to_thread`, say)."""
    if _threads():
        timer = threading.Timer(STOP_S, _end_process, (status,))
        timer.daemon = True  # it does not run if the threads end before
        timer.start()


def _end_process(status: int) -> None:
    """End the process at once."""
    click.echo(f"coordkit: threads have not ended: {', '.join(_threads())}; the process ends without them", err=True)
    sys.stdout.flush()
    os._exit(status)


def _check_shared(url: str | None) -> None:
    """Raises ConfigurationError for a server that nobody else can put jobs into."""
    if shown_url(url) == "embedded://":
        raise ConfigurationError(
            "embedded:// is a server of this process alone: nobody could give it jobs; write embedded:///data/dir"
        )


def drain_at_end_of_input(loop: asyncio.AbstractEventLoop, worker: Worker) -> None:
    """Drain the worker once nothing more can come from standard input."""
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        worker.drain()


async def _work(
    queue: Queue,
    url: str | None,
    prefix: str,
    make: Callable[[AsyncClient, Client], Worker],
    reporter: Reporter,
    *,
    stop_on_eof: bool,
) -> WorkerReport:
    """What the worker has done, after it was told to stop."""
    loop = asyncio.get_running_loop()
    beat_timeout_s = max(0.5, queue.lease_ms / 3000)
    async with AsyncClient.from_url(url, prefix=prefix) as client:
        with Client.from_url(url, prefix=prefix, timeout=beat_timeout_s) as blocking_client:
            worker = make(client, blocking_client)
            asked = 0

            def stop() -> None:
                nonlocal asked
                asked += 1
                if asked == 1:
                    worker.drain()
                else:
                    worker.release()

            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop)
            if stop_on_eof:
                loop.add_reader(sys.stdin.fileno(), drain_at_end_of_input, loop, worker)
            reporter.notice(f"worker {worker.id} runs {queue!r} of {shown_url(url)}")
            report = await worker.run()
            counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.outcomes.items()))
            reporter.notice(f"stopped: {counts or 'no jobs'}" + (f", {report.untold} untold" if report.untold else ""))
            return report
