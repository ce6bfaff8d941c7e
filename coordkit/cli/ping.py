"""`coordkit ping`: does the server answer, and how fast."""

import time

import click

from coordkit.cli.options import EXIT_CONFIGURATION, EXIT_UNAVAILABLE, fail, shown_url, url_option
from coordkit.client import Client
from coordkit.errors import ConfigurationError, CoordkitError


@click.command("ping", short_help="Ask the server for an answer.")
@url_option()
@click.option("-c", "--count", default=1, show_default=True, type=click.IntRange(1), help="How often to ask.")
@click.option("--timeout", default=5.0, show_default=True, type=click.FloatRange(0.001), help="Seconds to wait.")
def command(url: str | None, count: int, timeout: float) -> None:
    """Ask the server for an answer and show how long it took.

    Exit status 0 if it answered, 69 if it did not, 78 for a URL or a login that cannot be right: fit for a
    health check.
    """
    try:
        with Client.from_url(url, timeout=timeout) as client:
            for _ in range(count):
                started_s = time.perf_counter()
                client.ping()
                spent_ms = (time.perf_counter() - started_s) * 1000
                click.echo(f"PONG from {shown_url(url)} in {spent_ms:.2f} ms")
    except ConfigurationError as exc:
        fail(str(exc), EXIT_CONFIGURATION)
    except CoordkitError as exc:
        fail(str(exc), EXIT_UNAVAILABLE)
