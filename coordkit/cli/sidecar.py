"""`coordkit sidecar`: rate limit checks for programs in any language, over HTTP."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from coordkit.cli.options import EXIT_CONFIGURATION, EXIT_UNAVAILABLE, fail, shown_url, url_option
from coordkit.client import AsyncClient
from coordkit.errors import ConfigurationError, CoordkitError

if TYPE_CHECKING:
    from coordkit.sidecar.config import Rule

CHECK_TIMEOUT_S: Final = 1.0
"""A check that takes longer is decided by the limit's `on_outage`: whoever asks must not be held up."""


@click.command("sidecar", short_help="Answer rate limit checks over HTTP.")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@url_option("The server that keeps the counts.")
@click.option("--limit", "limits", multiple=True, metavar="NAME=ALGORITHM:LIMIT/PERIOD", help="A limit; repeatable.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0: any.  [default: 8089]")
@click.option("--frontend", default="http", show_default=True, help="Protocol to speak.")
@click.option(
    "--timeout",
    default=CHECK_TIMEOUT_S,
    show_default=True,
    type=click.FloatRange(0.001),
    metavar="SECONDS",
    help="How long the server may take before a limit's on_outage decides.",
)
def command(
    file: Path | None,
    url: str | None,
    limits: tuple[str, ...],
    host: str,
    port: int | None,
    frontend: str,
    timeout: float,
) -> None:
    """Answer rate limit checks over HTTP, with the limits of FILE (TOML or YAML) and of --limit.

    \b
    coordkit sidecar --limit api=gcra:100/1s:burst=20
    curl -d '{"limiter": "api", "key": "user:42"}' http://127.0.0.1:8089/check

    Also GET /health, /ready and /metrics.  SIGTERM and SIGINT end it with status 0: requests that have come in are
    answered first, one that is still being sent has half a second for it, and is answered 408 then; whoever has not
    taken its answers 10 seconds later is cut off.
    """
    try:
        from coordkit.sidecar.config import load_rules
        from coordkit.sidecar.frontends import run_sidecar
    except ImportError as exc:
        fail(f"the sidecar needs {exc.name}; run `pip install 'coordkit[sidecar]'`", EXIT_CONFIGURATION)

    def ready(at_host: str, at_port: int) -> None:
        click.echo(f"{frontend} on {at_host}:{at_port}, counts on {shown_url(url)}")

    async def serve(rules: "Mapping[str, Rule]") -> None:
        async with AsyncClient.from_url(url, timeout=timeout) as client:
            await run_sidecar(rules, client, host=host, port=port, frontend=frontend, on_ready=ready)

    try:
        rules = load_rules(file, limits)
        for rule in rules.values():
            click.echo(f"limit {rule.name}: {rule.algorithm}, in an outage {rule.on_outage}")
        asyncio.run(serve(rules))
    except ConfigurationError as exc:
        fail(str(exc), EXIT_CONFIGURATION)
    except CoordkitError as exc:
        fail(str(exc), EXIT_UNAVAILABLE)
