"""URLs: what they mean, and what opens a connection to them."""

import pytest

from coordkit.errors import ConfigurationError, ServerError, ServerUnavailable
from coordkit.transports.address import Address, opening, parse_url, redacted, refused_login, unreachable

URLS = {
    "redis://": Address(),
    "redis://example.org": Address(host="example.org"),
    "redis://example.org:7000/3": Address(host="example.org", port=7000, db=3),
    "redis://[::1]:7000": Address(host="::1", port=7000),
    "redis://:secret@h": Address(host="h", password="secret"),
    "redis://user:p%40ss@h?db=2": Address(host="h", username="user", password="p@ss", db=2),
    "redis://h?client_name=web": Address(host="h", client_name="web"),
    "unix:///run/redis.sock?db=1": Address(path="/run/redis.sock", db=1),
    "rediss://h?ssl_cert_reqs=none": Address(host="h", tls=True, tls_options={"ssl_cert_reqs": "none"}),
}


@pytest.mark.parametrize("url, address", URLS.items(), ids=list(URLS))
def test_parse_url_gives_the_address(url: str, address: Address) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    "url, word",
    [
        ("http://h", "must start with one of redis://, rediss://, unix://, embedded://"),
        ("h:6379", "must start with one of"),
        ("redis://h/x", "must be a number, not 'x'"),
        ("redis://h:x", "port"),
        ("redis://h?dbb=1", "unknown options .*dbb"),
        ("unix://", "names no socket"),
    ],
)
def test_parse_url_refuses_with_the_reason(url: str, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        parse_url(url)


def test_parse_url_error_keeps_the_password_to_itself() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_url("redis://user:secret@h/x")
    assert "secret" not in str(caught.value)


def test_address_in_messages_keeps_the_password_to_itself() -> None:
    address = parse_url("redis://user:secret@h")
    assert "secret" not in str(address)
    assert "secret" not in repr(address)
    assert redacted("redis://u:secret@h:1/0") == "redis://h:1/0"


def test_address_of_ipv6_host_is_written_in_brackets() -> None:
    assert str(parse_url("redis://[::1]:7000")) == "redis://[::1]:7000"


def argvs(address: Address, *, resp3: bool) -> list[tuple[str, ...]]:
    return [command.argv for command in opening(address, resp3=resp3)][:-2]  # without the two of CLIENT SETINFO


def test_opening_with_resp3_logs_in_by_hello() -> None:
    address = Address(username="u", password="p", db=2, client_name="web")
    assert argvs(address, resp3=True) == [
        ("HELLO", "3", "AUTH", "u", "p"),
        ("SELECT", "2"),
        ("CLIENT", "SETNAME", "web"),
    ]


def test_opening_with_password_only_names_the_default_user_in_hello() -> None:
    assert argvs(Address(password="p"), resp3=True) == [("HELLO", "3", "AUTH", "default", "p")]


def test_opening_without_resp3_logs_in_by_auth() -> None:
    assert argvs(Address(password="p"), resp3=False) == [("AUTH", "p")]
    assert argvs(Address(username="u", password="p"), resp3=False) == [("AUTH", "u", "p")]
    assert argvs(Address(), resp3=False) == []


@pytest.mark.parametrize(
    "command, reply, error",
    [
        ("HELLO", "WRONGPASS invalid username-password pair", ConfigurationError),
        ("HELLO", "NOAUTH HELLO must be called with the client already authenticated", ConfigurationError),
        ("AUTH", "ERR AUTH <password> called without any password configured", ConfigurationError),
        ("SELECT", "ERR DB index is out of range", ConfigurationError),
        ("HELLO", "LOADING Redis is loading the dataset in memory", ServerUnavailable),
    ],
)
def test_refused_login_says_who_has_to_do_something(command: str, reply: str, error: type[Exception]) -> None:
    assert type(refused_login(Address(), command, ServerError(reply))) is error


def test_unreachable_says_where_and_what_to_do() -> None:
    error = unreachable(Address(host="h"), ConnectionRefusedError(), 5)
    assert "redis://h:6379 (connection refused)" in str(error)
    assert "coordkit server" in str(error)
    assert "COORDKIT_URL" in str(error)


def test_tls_context_with_unreadable_files_is_refused() -> None:
    address = parse_url("rediss://h?ssl_ca_certs=/does/not/exist")
    with pytest.raises(ConfigurationError, match="TLS files"):
        address.tls_context()
