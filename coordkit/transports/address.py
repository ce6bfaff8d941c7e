"""Where a server is and how to log in: the meaning of a URL, and the commands that open a connection.

    redis://[[user]:password@]host[:port][/db]        TCP
    rediss://...                                      TLS; options below
    unix://[[user]:password@]/path/to/socket[?db=N]   unix socket

Options after `?`: db, client_name, and for TLS ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_check_hostname
(true, false), ssl_cert_reqs (required, none).
"""

import contextlib
import socket
import ssl
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from coordkit.errors import ConfigurationError, CoordkitError, ServerError, ServerUnavailable

DEFAULT_PORT: Final = 6379
SCHEMES: Final = ("redis", "rediss", "unix")
ACCEPTED: Final = "redis://, rediss://, unix://, embedded://, redis+sentinel://, redis+cluster://"
OPTIONS: Final = frozenset(
    {
        "client_name",
        "db",
        "ssl_ca_certs",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
    }
)


class Endpoint(Protocol):
    """Where a transport connects to: an address, or something that has to be started to have one."""

    def resolve(self) -> "Address":
        """The address now; may block until a server runs.  Raises ServerUnavailable, ConfigurationError."""
        ...

    def close(self) -> None:
        """It is not needed any more."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """One server.  `path` is set for unix sockets, else `host` and `port`."""

    host: str = "localhost"
    port: int = DEFAULT_PORT
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    client_name: str | None = None
    tls: bool = False
    tls_options: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """The URL without its password, for messages."""
        if self.path is not None:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{'s' if self.tls else ''}://{host}:{self.port}"

    def resolve(self) -> "Address":
        """Itself: there is nothing to start."""
        return self

    def close(self) -> None:
        """Nothing to do: the server is not ours."""

    def tls_context(self) -> ssl.SSLContext | None:
        """The TLS settings, None without TLS.  Raises ConfigurationError for files that cannot be read."""
        if not self.tls:
            return None
        options = self.tls_options
        try:
            context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
            if "ssl_certfile" in options:
                context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
        except OSError as exc:
            raise ConfigurationError(f"the TLS files of {self} cannot be used: {exc}") from exc
        if options.get("ssl_cert_reqs") == "none":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif options.get("ssl_check_hostname") == "false":
            context.check_hostname = False
        return context


def parse_url(url: str) -> Address:
    """The server that `url` names.  Raises ConfigurationError for what it cannot mean."""
    parts = split_url(url)
    if parts.scheme not in SCHEMES:
        raise ConfigurationError(f"the URL {redacted(url)!r} must start with one of {ACCEPTED}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := options.keys() - OPTIONS:
        raise ConfigurationError(
            f"the URL {redacted(url)!r} has unknown options {sorted(unknown)}; known are {sorted(OPTIONS)}"
        )
    local = parts.scheme == "unix"
    db = options.get("db", "" if local else parts.path.strip("/"))
    if db and not db.isdecimal():
        raise ConfigurationError(f"the database in {redacted(url)!r} must be a number, not {db!r}")
    if local and not parts.path:
        raise ConfigurationError(f"the URL {redacted(url)!r} names no socket; write unix:///path/to/socket")
    try:
        port = parts.port or DEFAULT_PORT
    except ValueError as exc:
        raise ConfigurationError(f"the port in {redacted(url)!r} must be a number up to 65535") from exc
    return Address(
        host=parts.hostname or "localhost",
        port=port,
        path=unquote(parts.path) if local else None,
        db=int(db or 0),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        client_name=options.get("client_name"),
        tls=parts.scheme == "rediss",
        tls_options={name: value for name, value in options.items() if name.startswith("ssl_")},
    )


def split_url(url: str) -> SplitResult:
    """The parts of `url`.  Raises ConfigurationError if it has none, or holds what no host and no path can."""
    try:
        url.encode()
        parts = urlsplit(url)
    except ValueError as exc:  # broken text, or brackets of an IPv6 address that do not match
        raise ConfigurationError(f"the URL {redacted(url)!r} cannot be read: {exc}") from exc
    if "\0" in url or "\0" in unquote(parts.path):
        raise ConfigurationError(f"the URL {redacted(url)!r} must hold no null character")
    return parts


def redacted(url: str) -> str:
    """`url` without its password, for messages."""
    scheme, separator, rest = url.partition("://")
    return scheme + separator + rest.rpartition("@")[2]


def library_version() -> str:
    """The installed version of coordkit, for CLIENT SETINFO."""
    try:
        return version("coordkit")
    except PackageNotFoundError:
        return "0"  # run from the sources


@dataclass(frozen=True, slots=True)
class Opening:
    """One command of a connection's opening; `required` says whether an error reply ends the connection."""

    argv: tuple[str, ...]
    required: bool


def opening(address: Address, *, resp3: bool) -> list[Opening]:
    """The commands to send first, in order.  With `resp3` the first is HELLO; if it fails, open again
    without.
    """
    credentials: tuple[str, ...] = ()
    if address.password is not None:
        credentials = (address.username or "default", address.password)
    commands: list[Opening] = []
    if resp3:
        commands.append(Opening(("HELLO", "3", *(("AUTH", *credentials) if credentials else ())), required=True))
    elif credentials:
        words = credentials if address.username else credentials[1:]
        commands.append(Opening(("AUTH", *words), required=True))
    if address.db:
        commands.append(Opening(("SELECT", str(address.db)), required=True))
    if address.client_name:
        commands.append(Opening(("CLIENT", "SETNAME", address.client_name), required=False))
    commands.append(Opening(("CLIENT", "SETINFO", "LIB-NAME", "coordkit"), required=False))
    commands.append(Opening(("CLIENT", "SETINFO", "LIB-VER", library_version()), required=False))
    return commands


KEEPALIVE_IDLE_S: Final = 15
KEEPALIVE_EVERY_S: Final = 5
KEEPALIVE_PROBES: Final = 3


def keep_alive(stream: socket.socket) -> None:
    """Let the system notice within half a minute that the other side of an idle connection is gone."""
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    values = {"TCP_KEEPIDLE": KEEPALIVE_IDLE_S, "TCP_KEEPINTVL": KEEPALIVE_EVERY_S, "TCP_KEEPCNT": KEEPALIVE_PROBES}
    for name, value in values.items():
        option = getattr(socket, name, None)  # not every system has them all
        if option is not None:
            with contextlib.suppress(OSError):
                stream.setsockopt(socket.IPPROTO_TCP, option, value)


def unreachable(address: Address, exc: Exception, timeout_s: float) -> ServerUnavailable:
    """The error for a server that could not be connected to."""
    if isinstance(exc, TimeoutError):
        why = f"no connection within {timeout_s:g} s"
    elif isinstance(exc, ConnectionRefusedError) or "Connect call failed" in str(exc):
        why = "connection refused"
    else:
        why = str(exc)
    return ServerUnavailable(
        f"no server answers at {address} ({why}); start one with `coordkit server`, or give another URL "
        "(from_url, COORDKIT_URL)"
    )


def refused_login(address: Address, command: str, reply: ServerError) -> CoordkitError:
    """The error for a reply that ends the opening of a connection."""
    if reply.code in {"NOAUTH", "WRONGPASS", "NOPERM"} or command == "AUTH":
        return ConfigurationError(
            f"{address} refused the login: {reply}; give user and password in the URL, redis://user:password@host"
        )
    if command == "SELECT":
        return ConfigurationError(f"{address} has no such database: {reply}")
    return ServerUnavailable(f"{address} does not take connections now: {reply}")
