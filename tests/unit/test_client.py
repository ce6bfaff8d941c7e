"""Where a client connects to: the URL, the environment, another client's settings."""

import pytest
import redis
import redis.asyncio
from redis.credentials import UsernamePasswordCredentialProvider

from coordkit.client import DEFAULT_URL, URL_VARIABLE, AsyncClient, Client, endpoint_of
from coordkit.embedded import EmbeddedServer
from coordkit.errors import ConfigurationError
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
