"""Where a client connects to: the URL, the environment, another client's settings."""

import asyncio
import math
from datetime import timedelta

import pytest
import redis
import redis.asyncio
from redis.credentials import UsernamePasswordCredentialProvider

from coordkit.client import DEFAULT_URL, URL_VARIABLE, AsyncClient, Client, endpoint_of
from coordkit.embedded import EmbeddedServer
from coordkit.errors import ClientClosed, ConfigurationError
from coordkit.transports.address import Address, parse_url
from coordkit.transports.redis_py import BorrowedSettings


def test_endpoint_without_url_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_VARIABLE, "redis://example.org:7000")
    assert endpoint_of(None) == Address(host="example.org", port=7000)
    assert endpoint_of("redis://h") == Address(host="h")


def test_endpoint_without_url_and_environment_is_a_local_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    assert endpoint_of(None) == parse_url(DEFAULT_URL)


def test_endpoint_of_embedded_url_is_an_embedded_server_that_is_not_started() -> None:
    server = endpoint_of("embedded:///data/dir")
    assert isinstance(server, EmbeddedServer)
    assert server.pid is None
    assert str(server) == "embedded:///data/dir"


@pytest.mark.parametrize("make", [Client.from_url, AsyncClient.from_url])
def test_client_of_a_bad_url_is_refused_at_once(make: object) -> None:
    assert callable(make)
    with pytest.raises(ConfigurationError, match="must start with"):
        make("localhost:6379")


@pytest.mark.parametrize("make", [Client.from_url, AsyncClient.from_url])
def test_client_with_a_bad_prefix_is_refused_at_once(make: object) -> None:
    assert callable(make)
    with pytest.raises(ConfigurationError, match="prefix"):
        make("redis://h", prefix="a{b")


BORROWED = {
    "tcp": (
        redis.Redis(host="h", port=7000, db=2, username="u", password="p", client_name="web"),
        Address(host="h", port=7000, db=2, username="u", password="p", client_name="web"),
    ),
    "url": (redis.Redis.from_url("redis://:p@h:7000/1"), Address(host="h", port=7000, db=1, password="p")),
    "unix": (redis.Redis(unix_socket_path="/run/r.sock"), Address(path="/run/r.sock")),
    "asyncio": (redis.asyncio.Redis(host="h"), Address(host="h")),
    "tls": (
        redis.Redis(host="h", ssl=True, ssl_ca_certs="/ca.pem", ssl_cert_reqs="none"),
        Address(
            host="h",
            tls=True,
            tls_options={"ssl_ca_certs": "/ca.pem", "ssl_cert_reqs": "none"},
        ),
    ),
    "provider": (
        redis.Redis(host="h", credential_provider=UsernamePasswordCredentialProvider("u", "p")),
        Address(host="h", username="u", password="p"),
    ),
}


@pytest.mark.parametrize("client, address", BORROWED.values(), ids=list(BORROWED))
def test_borrowed_settings_give_the_server_and_the_login(client: object, address: Address) -> None:
    assert BorrowedSettings(client).resolve() == address


def test_borrowed_settings_keep_the_password_to_themselves() -> None:
    assert str(BorrowedSettings(redis.Redis(host="h", password="secret"))) == "redis://h:6379"


SENTINEL = redis.Sentinel([("h", 1)])  # type: ignore[no-untyped-call]  # redis-py's own gap


@pytest.mark.parametrize(
    "client",
    [object(), SENTINEL.master_for("m")],  # type: ignore[no-untyped-call]  # redis-py's own gap
    ids=["object", "sentinel"],
)
def test_borrowed_settings_of_what_is_no_single_server_are_refused(client: object) -> None:
    with pytest.raises(ConfigurationError, match="do not name one server"):
        BorrowedSettings(client)


def test_client_of_nothing_says_what_it_needs() -> None:
    with pytest.raises(ConfigurationError, match="a client needs a server"):
        Client()


def test_client_takes_a_redis_client_of_the_application() -> None:
    theirs = redis.Redis(host="h", port=7000)
    assert str(Client(redis=theirs).backend.transport) == "redis://h:7000"
    assert str(AsyncClient(redis=redis.asyncio.Redis(host="h")).backend.transport) == "redis://h:6379"


def test_statistics_of_a_client_that_was_never_used_are_empty() -> None:
    statistics = Client.from_url("redis://h").statistics()
    assert (statistics.state, statistics.openings, statistics.rejected) == ("closed", 0, 0)


TIMEOUTS = [0, -1, math.nan, math.inf, timedelta(0), "2"]


@pytest.mark.parametrize("timeout", TIMEOUTS)
@pytest.mark.parametrize("make", [Client.from_url, AsyncClient.from_url, Client, AsyncClient])
def test_client_with_a_timeout_that_cannot_work_is_refused_at_once(make: object, timeout: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match="timeout must be") as caught:
        make(timeout=timeout)
    assert isinstance(caught.value, ConfigurationError)


def test_client_with_a_timeout_of_zero_says_what_to_pass() -> None:
    with pytest.raises(ConfigurationError, match=r"longer than zero, not 0; pass seconds, for example timeout=2\.0"):
        Client.from_url("redis://h", timeout=0)


def test_closed_client_is_not_entered_again() -> None:
    client = Client.from_url("redis://h")
    with client, client:
        pass
    with pytest.raises(ClientClosed, match="make a new one"):
        client.__enter__()


async def test_closed_async_client_is_not_entered_again() -> None:
    client = AsyncClient.from_url("redis://h")
    async with client:
        pass
    with pytest.raises(ClientClosed, match="make a new one"):
        await client.__aenter__()


def test_async_client_that_was_closed_in_another_loop_is_entered() -> None:
    client = AsyncClient.from_url("redis://h")

    async def use() -> None:
        async with client:
            pass

    asyncio.run(use())
    asyncio.run(use())


WRONG_URLS = {
    "number": (5, "must be text like 'redis://localhost:6379', not 5"),
    "zero": (0, "must be text"),
    "bytes": (b"redis://h", "must be text"),
    "null": ("embedded:///x\0", "no null character"),
    "escaped": ("unix:///x%00", "no null character"),
    "surrogate": ("redis://\ud800", "cannot be read"),
    "brackets": ("redis://[::1", "cannot be read: Invalid IPv6 URL"),
    "sentinel": ("redis+sentinel://[::1/service", "cannot be read"),
    "sentinel port": ("redis+sentinel://h:99999/service", "up to 65535"),
    "cluster": ("redis+cluster://[::1", "cannot be read"),
}


@pytest.mark.parametrize("kind", WRONG_URLS)
@pytest.mark.parametrize("make", [Client.from_url, AsyncClient.from_url])
def test_client_of_what_is_no_url_is_refused_at_once(make: object, kind: str) -> None:
    url, message = WRONG_URLS[kind]
    assert callable(make)
    with pytest.raises(ConfigurationError, match=message):
        make(url)
