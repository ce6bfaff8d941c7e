"""Users' own redis-py clients: their settings are borrowed, their connections are left alone.

`Client.from_redis(redis.Redis(...))` and `AsyncClient.from_redis(redis.asyncio.Redis(...))` connect to the same server
with the same login, TLS files and database, over connections of the toolkit's own, which pipeline by themselves and
never send a command twice unasked.  The client that was passed is neither used nor closed.
"""

import ssl
from collections.abc import Mapping
from typing import Any, Final

import redis
import redis.asyncio

from coordkit.errors import ConfigurationError
from coordkit.transports.address import DEFAULT_PORT, Address

TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


class BorrowedSettings:
    """An endpoint that asks a redis-py client where to connect, anew for every connection: logins may rotate."""

    def __init__(self, client: object) -> None:
        pool = getattr(client, "connection_pool", None)
        settings = getattr(pool, "connection_kwargs", None)
        if not isinstance(settings, Mapping) or not ("host" in settings or "path" in settings):
            raise ConfigurationError(
                f"the settings of {client!r} do not name one server; pass redis.Redis or redis.asyncio.Redis, "
                "or use from_url"
            )
        self._settings: Mapping[str, object] = settings
        self._tls = issubclass(
            getattr(pool, "connection_class", object), (redis.SSLConnection, redis.asyncio.SSLConnection)
        )

    def __str__(self) -> str:
        """The URL without a login."""
        return str(self._address(None, None))

    def resolve(self) -> Address:
        """The address and the login now."""
        provider = self._settings.get("credential_provider")
        if provider is None:
            return self._address(self._text("username"), self._text("password"))
        credentials = _credentials(provider)
        return self._address(credentials[0] if len(credentials) > 1 else None, credentials[-1])

    def close(self) -> None:
        """Nothing to do: the client is its owner's."""

    def _address(self, username: str | None, password: str | None) -> Address:
        settings = self._settings
        return Address(
            host=self._text("host") or "localhost",
            port=int(str(settings.get("port", DEFAULT_PORT))),
            path=self._text("path"),
            db=int(str(settings.get("db") or 0)),
            username=username,
            password=password,
            client_name=self._text("client_name"),
            tls=self._tls,
            tls_options=self._tls_options() if self._tls else {},
        )

    def _tls_options(self) -> dict[str, str]:
        options = {name: value for name in TLS_OPTIONS if (value := self._text(name)) is not None}
        required = self._settings.get("ssl_cert_reqs", "required")
        if required in {"none", ssl.CERT_NONE}:
            options["ssl_cert_reqs"] = "none"
        if self._settings.get("ssl_check_hostname") is False:
            options["ssl_check_hostname"] = "false"
        return options

    def _text(self, name: str) -> str | None:
        value = self._settings.get(name)
        return None if value is None else str(value)


def borrowed_cluster(client: object) -> tuple[Address, ...]:
    """The nodes that a cluster client of redis-py started with, each with the login it has now; none for others."""
    if not isinstance(client, redis.RedisCluster | redis.asyncio.RedisCluster):
        return ()
    manager: Any = client.nodes_manager
    settings: Mapping[str, Any] = getattr(manager, "connection_kwargs", None) or getattr(
        client, "connection_kwargs", {}
    )
    provider = settings.get("credential_provider")
    login = _credentials(provider) if provider is not None else (settings.get("username"), settings.get("password"))
    tls = bool(settings.get("ssl")) or any(name in settings for name in TLS_OPTIONS)
    nodes = [node for node in manager.startup_nodes.values() if node.host]
    return tuple(
        Address(
            host=str(node.host),
            port=int(node.port),
            username=login[0] if len(login) > 1 else None,
            password=login[-1],
            client_name=settings.get("client_name"),
            tls=tls,
            tls_options={name: str(settings[name]) for name in TLS_OPTIONS if settings.get(name)} if tls else {},
        )
        for node in nodes
    )


def _credentials(provider: object) -> tuple[str, ...]:
    get = getattr(provider, "get_credentials", None)
    if get is None:
        raise ConfigurationError(f"the credential provider {provider!r} has no get_credentials()")
    return tuple(get())
