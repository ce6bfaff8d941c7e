"""What applications need to test themselves against the toolkit.

with outage(client):
    assert client.limiter("api", GCRA(10, 1), on_outage="allow").check("user:42").degraded
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from coordkit.client import AsyncClient, Client
from coordkit.errors import ConfigurationError, OutcomeUnknown, ServerUnavailable

__all__ = ["outage"]


@contextmanager
def outage(client: Client | AsyncClient, kind: Literal["unavailable", "unknown"] = "unavailable") -> Iterator[None]:
    """While it is entered, every call of `client` fails as if its server were away; nothing is sent.

    `kind` says how: "unavailable" raises ServerUnavailable, "unknown" OutcomeUnknown, as a lost answer does.
    """
    failure: ServerUnavailable | OutcomeUnknown
    match kind:
        case "unavailable":
            failure = ServerUnavailable("the server is away: coordkit.testing.outage is in force")
        case "unknown":
            failure = OutcomeUnknown("the answer was lost: coordkit.testing.outage is in force")
        case _:
            raise ConfigurationError(f"the kind of an outage is 'unavailable' or 'unknown', not {kind!r}")
    client.backend.health.force(failure)
    try:
        yield
    finally:
        client.backend.health.force(None)
