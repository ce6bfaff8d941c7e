"""The table of front ends, and `run_sidecar`, which puts rules, client and a front end together."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from coordkit.errors import ConfigurationError
from coordkit.sidecar import http
from coordkit.sidecar.config import Rule
from coordkit.sidecar.service import RateLimitService, Source

Stop = Callable[[], None]
Serve = Callable[[RateLimitService, socket.socket, Callable[[Stop], None]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Frontend:
    """One protocol: how it is served, and the port it has unless told otherwise."""

    summary: str
    port: int
    serve: Serve


FRONTENDS: Final[Mapping[str, Frontend]] = {
    "http": Frontend("POST /check with JSON, /health, /ready, /metrics", 8089, http.serve),
}


async def run_sidecar(
    rules: Mapping[str, Rule],
    source: Source,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    frontend: str = "http",
    on_ready: Callable[[str, int], None] | None = None,
) -> None:
    """Answer requests until SIGTERM or SIGINT; what is under way then is answered first.

    `source` is an AsyncClient; its timeout is the longest that a check may take in an outage.  Port 0 is any free one;
    `on_ready` gets the address.  Raises ConfigurationError for an unknown front end and an address that cannot be used.
    """
    entry = FRONTENDS.get(frontend)
    if entry is None:
        raise ConfigurationError(f"there is no front end {frontend!r}; there are {', '.join(FRONTENDS)}")
    service = RateLimitService(rules, source)
    with _listening(host, entry.port if port is None else port) as listening:
        loop = asyncio.get_running_loop()

        def on_start(stop: Stop) -> None:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop)
            if on_ready is not None:
                on_ready(host, listening.getsockname()[1])

        try:
            await entry.serve(service, listening, on_start)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as exc:
        raise ConfigurationError(f"the sidecar cannot listen on {host}:{port}: {exc.strerror}") from exc
