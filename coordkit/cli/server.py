"""`coordkit server`: becomes the bundled server's own command line."""

import importlib.util
import os
import sys

import click

from coordkit.cli.options import EXIT_CONFIGURATION, fail


@click.command(
    "server",
    short_help="Start the bundled server.",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Start the bundled server: `coordkit server [FILE] [--port N] [--unixsocket PATH] [--dir DIR] ...`.

    Takes a configuration file and options in Redis's syntax; `coordkit server --help` shows the server's own help.
    """
    if importlib.util.find_spec("coordkit_server") is None:
        fail("the bundled server is not installed; run `pip install 'coordkit[server]'`", EXIT_CONFIGURATION)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "coordkit_server", *arguments])  # noqa: S606 - becomes the server
