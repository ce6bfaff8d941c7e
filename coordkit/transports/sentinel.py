"""Servers that Redis Sentinel watches: who is the master is asked anew for every connection.

    redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/SERVICE[/db]

Options after `?` as for redis://, and sentinel_username, sentinel_password for the sentinels' own login.  After a
failover the old connections break or refuse to write; the calls that are under way find the new master within their
deadline, and a holder whose lock did not reach it is told when the lease is renewed.
"""

import time
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl, urlencode

from coordkit.errors import ConfigurationError, CoordkitError, ServerUnavailable
from coordkit.transports.address import Address, parse_url, redacted, split_url
from coordkit.transports.socket_ import Connection
from coordkit.wire import Reply, pack

SCHEME: Final = "redis+sentinel"
SENTINEL_PORT: Final = 26379
ASK_WITHIN_S: Final = 0.5
"""How long one sentinel, or the server it names, may take: the next one is asked then."""


def is_sentinel(url: str) -> bool:
    """Whether `url` names sentinels."""
    return url.startswith(f"{SCHEME}:")


def parse_sentinel_url(url: str) -> "SentinelEndpoint":
    """The sentinels and the service that `url` names.  Raises ConfigurationError for what it cannot mean."""
    parts = split_url(url)
    login, _, hosts = parts.netloc.rpartition("@")
    service, _, db = parts.path.strip("/").partition("/")
    if not hosts or not service:
        raise ConfigurationError(
            f"the URL {redacted(url)!r} must name sentinels and a service: {SCHEME}://host:26379,host:26379/mymaster"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    username, password = options.pop("sentinel_username", None), options.pop("sentinel_password", None)
    login = f"{login}@" if login else ""
    template = parse_url(f"redis://{login}localhost/{db}" + (f"?{urlencode(options)}" if options else ""))
    sentinels = []
    for host in hosts.split(","):
        named = parse_url(f"redis://{host}")
        port = named.port if split_url(f"redis://{host}").port else SENTINEL_PORT
        sentinels.append(Address(host=named.host, port=port, username=username, password=password))
    return SentinelEndpoint(tuple(sentinels), service, template)


@dataclass(frozen=True, slots=True)
class SentinelEndpoint:
    """The master of a service, as its sentinels know it.  `template` holds login, database and name."""

    sentinels: tuple[Address, ...]
    service: str
    template: Address

    def __str__(self) -> str:
        """The URL without a login."""
        return f"{SCHEME}://{','.join(f'{one.host}:{one.port}' for one in self.sentinels)}/{self.service}"

    def resolve(self) -> Address:
        """The master now.  Raises ServerUnavailable if no sentinel names one that says so itself."""
        troubles = []
        for sentinel in self.sentinels:
            try:
                master = self._master(_asked(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service))
                role = _asked(master, "ROLE")
            except CoordkitError as exc:
                troubles.append(f"{sentinel}: {exc}")
                continue
            if isinstance(role, list) and role[0] == b"master":
                return master
            troubles.append(f"{sentinel}: {master} is no master (yet, or any more)")
        raise ServerUnavailable(f"no sentinel of {self.service!r} knows a master that works: {'; '.join(troubles)}")

    def close(self) -> None:
        """Nothing to do: nothing stays open."""

    def _master(self, reply: Reply) -> Address:
        match reply:
            case [bytes(host), bytes(port)]:
                return replace(self.template, host=host.decode(), port=int(port))
        raise ServerUnavailable(f"it does not know {self.service!r}: {reply!r}")


def _asked(address: Address, *argv: str) -> Reply:
    """The reply of one server to one command."""
    deadline_s = time.monotonic() + ASK_WITHIN_S
    connection = Connection(replace(address, db=0), deadline_s)
    try:
        return connection.exchange(pack(argv), deadline_s)
    finally:
        connection.close()
