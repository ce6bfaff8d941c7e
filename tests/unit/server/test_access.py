"""Users and selectors without a server: what rules leave behind, and what is remembered of refusals."""

import pytest

from coordkit_server.access.refusals import Refusal, RefusalLog
from coordkit_server.access.users import UserError, Users, joined_selectors
from coordkit_server.commands.permissions import TableCatalog
from coordkit_server.commands.table import build_table
from coordkit_server.config import Config
from coordkit_server.configfile import UsageError, user_definitions
from coordkit_server.configrewrite import rewritten


@pytest.fixture
def users() -> Users:
    """The users of a fresh server."""
    return Users(TableCatalog(build_table()))


@pytest.mark.parametrize(
    "rules, described",
    [
        ("", "off sanitize-payload resetchannels -@all"),
        ("on nopass ~* &* +@all", "on nopass sanitize-payload ~* &* +@all"),
        ("~a ~b ~a %R~a %W~c &x &x", "off sanitize-payload ~a ~b %W~c resetchannels &x -@all"),
        ("%R~a %W~a", "off sanitize-payload ~a resetchannels -@all"),
        ("+get +set -get", "off sanitize-payload resetchannels -@all +set -get"),
        ("+config|get +config|set +config", "off sanitize-payload resetchannels -@all +config"),
        ("+@all -client +client|id", "off sanitize-payload resetchannels +@all -client +client|id"),
        ("+@Read -@READ", "off sanitize-payload resetchannels -@all -@read"),
        ("+get +@all", "off sanitize-payload resetchannels +@all"),
        ("+select|0 +SELECT|0", "off sanitize-payload resetchannels -@all +select|0"),
        (
            "(+get ~a) (-@all)",
            "off sanitize-payload resetchannels -@all (~a resetchannels -@all +get) (resetchannels -@all)",
        ),
        ("(+get) clearselectors", "off sanitize-payload resetchannels -@all"),
        ("on nopass +get ~a reset", "off sanitize-payload resetchannels -@all"),
        ("skip-sanitize-payload", "off skip-sanitize-payload resetchannels -@all"),
    ],
)
def test_described_user_can_be_made_again(users: Users, rules: str, described: str) -> None:
    user = users.adopt(users.changed(b"eve", rules.encode().split()))
    assert user.described().decode() == described
    assert users.changed(b"adam", user.described().split()).described() == user.described()


def test_joined_selectors_open_one_is_refused() -> None:
    assert joined_selectors([b"on", b"(+get", b"~a", b"~b)", b"(+set)"]) == [b"on", b"(+get ~a ~b)", b"(+set)"]
    with pytest.raises(UserError) as caught:
        joined_selectors([b"on", b"(+get", b"~a"])
    assert caught.value.reason == b"Unmatched parenthesis in acl selector starting at '(+get'."


def test_users_new_ones_start_with_all_channels_if_so_configured(users: Users) -> None:
    users.all_channels = True
    assert users.changed(b"eve", []).described() == b"off sanitize-payload &* -@all"


def test_users_pristine_until_something_changes(users: Users) -> None:
    assert users.is_pristine()
    users.set_password(b"secret")
    assert not users.is_pristine()
    users.set_password(b"")
    assert users.is_pristine()
    users.adopt(users.changed(b"eve", []))
    assert not users.is_pristine()


def test_refusal_log_counts_alike_ones_of_a_minute_together() -> None:
    log = RefusalLog()
    for now_ms in (0, 60_000, 120_001):
        log.add(Refusal(log.next_id(), b"key", b"toplevel", b"k", b"eve", now_ms), b"client", 10)
    log.add(Refusal(log.next_id(), b"key", b"lua", b"k", b"eve", 120_001), b"client", 10)
    assert [(entry.id, entry.count, entry.where) for entry in log.entries] == [
        (2, 1, b"lua"),
        (1, 1, b"toplevel"),
        (0, 2, b"toplevel"),
    ]
    log.trim(1)
    assert [entry.id for entry in log.entries] == [2]


def test_rewritten_configuration_replaces_the_users() -> None:
    config = Config()
    old = ["# users", "user eve on", "databases 16", "user adam on"]
    assert rewritten(config, old, ["user eve off", "user zoe on"]) == [
        "# users",
        "user eve off",
        "user zoe on",
        "databases 16",
    ]
    assert rewritten(config, ["databases 16"], ["user eve on"])[-1] == "user eve on"
    assert rewritten(config, ["user eve on"], []) == []


def test_user_definitions_name_twice_is_refused() -> None:
    assert user_definitions([("port", "1"), ("user", "eve on"), ("user", "adam")]) == [["eve", "on"], ["adam"]]
    with pytest.raises(UsageError, match="Duplicate user found"):
        user_definitions([("user", "eve on"), ("user", "eve off")])
    with pytest.raises(UsageError, match="name is missing"):
        user_definitions([("user", "")])
