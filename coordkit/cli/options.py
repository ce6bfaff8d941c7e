"""Options and messages that several commands share."""

import os
import sys
from collections.abc import Callable
from typing import Final, NoReturn

import click

from coordkit.client import DEFAULT_URL, URL_VARIABLE
from coordkit.transports.address import redacted

EXIT_UNAVAILABLE: Final = 69
"""As in sysexits.h: a server that is needed does not answer."""

EXIT_BROKEN: Final = 70
"""EX_SOFTWARE: something that must not happen did."""

EXIT_HANDED_BACK: Final = 75
"""As in sysexits.h, a passing failure: jobs were given back, somebody else will run them."""

EXIT_CONFIGURATION: Final = 78
"""As in sysexits.h: something is set up in a way that cannot work."""


def url_option(help_text: str = "The server.") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option --url; without it COORDKIT_URL decides."""
    return click.option(
        "--url", metavar="URL", envvar=URL_VARIABLE, help=f"{help_text}  [default: {URL_VARIABLE}, or {DEFAULT_URL}]"
    )


def shown_url(url: str | None) -> str:
    """The URL that is used, without its password, for messages."""
    return redacted(url or os.environ.get(URL_VARIABLE) or DEFAULT_URL)


def fail(message: str, status: int) -> NoReturn:
    """End the command with a message on standard error."""
    click.echo(f"coordkit: {message}", err=True)
    sys.exit(status)


def interactive() -> bool:
    """Whether somebody watches: a terminal that is not a dumb one."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
