"""The command `coordkit demo` and its options."""

import asyncio
import sys
import time
from pathlib import Path

import click

from coordkit.cli.demo.display import Display, LiveDisplay, PlainDisplay
from coordkit.cli.demo.jobs import Settings
from coordkit.cli.demo.show import Options, fitting, random_prefix, run_demo
from coordkit.cli.demo.texts import default_roots, find_texts
from coordkit.cli.options import EXIT_CONFIGURATION, EXIT_UNAVAILABLE, fail, interactive
from coordkit.client import AsyncClient
from coordkit.embedded import is_embedded, parse_embedded_url
from coordkit.errors import ConfigurationError, CoordkitError

DEFAULTS = Settings()


@click.command("demo", short_help="Watch processes share work, and one of them die.")
@click.option("--url", metavar="URL", help="The server.  [default: embedded://, a bundled one of its own]")
@click.option(
    "--dir",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Count the text files below it.  [default: this directory and Python's standard library]",
)
@click.option("--files", default=2000, show_default=True, type=click.IntRange(1), help="How many files at most.")
@click.option("--workers", default=4, show_default=True, type=click.IntRange(1, 64), help="Worker processes.")
@click.option("--kills", default=1, show_default=True, type=click.IntRange(0, 64), help="How many of them to SIGKILL.")
@click.option("--rate", default=DEFAULTS.rate, show_default=True, type=click.IntRange(1), help="Files a second.")
@click.option("--burst", default=DEFAULTS.burst, show_default=True, type=click.IntRange(1), help="Files at once.")
@click.option(
    "--concurrency", default=4, show_default=True, type=click.IntRange(1, 1000), help="Jobs at a time, each worker."
)
def command(
    url: str | None,
    directory: Path | None,
    files: int,
    workers: int,
    kills: int,
    rate: int,
    burst: int,
    concurrency: int,
) -> None:
    """Watch processes share real work on one server, and survive the death of some of them.

    One job a file: workers count its words under a rate limit, add them to shared totals under a lock whose fence is
    checked, and tell how far they are on a channel.  Half way one worker is killed.  In the end a referee looks at what
    everybody wrote down: nothing lost, nothing counted twice, never two holders of the lock, never more than the limit.

    \b
    Exit status: 0 everything held; 1 it did not; 69 no server; 78 a mistake in the options.
    """
    paths = find_texts([directory.resolve()] if directory else default_roots(), files)
    if not paths:
        fail(f"there are no text files below {directory}; give another --dir", EXIT_CONFIGURATION)
    display: Display = LiveDisplay() if interactive() else PlainDisplay()
    settings = fitting(Settings(rate, burst), len(paths))
    if settings != Settings(rate, burst):
        display.say(f"there are few files: at most {settings.rate} a second, {settings.burst} at once")
    options = Options(paths, workers, kills, concurrency, settings)
    try:
        held = asyncio.run(_demo(url or "embedded://", options, display))
    except ConfigurationError as exc:
        fail(str(exc), EXIT_CONFIGURATION)
    except CoordkitError as exc:
        fail(str(exc), EXIT_UNAVAILABLE)
    if not held:
        sys.exit(1)


async def _demo(url: str, options: Options, display: Display) -> bool:
    """Whether all invariants held, on the server at `url`; an embedded one lives as long as this takes."""
    server = parse_embedded_url(url) if is_embedded(url) else None
    if server is not None:
        started_s = time.monotonic()
        address = await asyncio.to_thread(server.resolve)
        display.say(f"the bundled server was ready after {(time.monotonic() - started_s) * 1000:.0f} ms")
        url = str(address)
    try:
        prefix = random_prefix()
        async with AsyncClient.from_url(url, prefix=prefix) as client:
            await client.ping()
            return await run_demo(client, url, prefix, options, display)
    finally:
        if server is not None:
            await asyncio.to_thread(server.close)
