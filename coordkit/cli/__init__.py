"""The command line: `coordkit server | worker | sidecar | demo | ping`.  A command is imported when it is called."""

from importlib import import_module
from typing import Final

import click

from coordkit.transports.address import library_version

COMMANDS: Final = {
    "demo": "coordkit.cli.demo",
    "ping": "coordkit.cli.ping",
    "server": "coordkit.cli.server",
    "sidecar": "coordkit.cli.sidecar",
    "worker": "coordkit.cli.worker",
}
"""Name -> module; the module has the command as `command`."""


class Commands(click.Group):
    """The commands of the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Their names in order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """The command, None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name]).command
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "COORDKIT"})
@click.version_option(library_version())
def main() -> None:
    """Locks, rate limits, reliable job queues and pub/sub, on Redis, Valkey or the bundled server.

    \b
    coordkit server                 start the bundled server on port 6379
    coordkit worker app:mail        run the jobs of the queue `mail` in app.py
    coordkit sidecar                answer rate limit checks over HTTP
    coordkit demo                   watch four processes share real work, and one of them die

    Where a server is needed, it is the one of --url, else of COORDKIT_URL, else redis://localhost:6379.
    """
