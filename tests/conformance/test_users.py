"""Users of the bundled server beyond one connection: files, whose connections end, what is logged."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.differential.client import RawClient, pack
from tests.peers import Peer

StartPeer = Callable[..., Peer]
OK = ("+", b"OK")


def connected(peer: Peer) -> RawClient:
    """A client of `peer`."""
    return RawClient(peer.host, peer.port)


def fields(reply: object) -> dict[bytes, object]:
    """The fields of a map that RESP2 sends as an array."""
    assert isinstance(reply, tuple)
    items = reply[1]
    return {name[1]: value[1] for name, value in zip(items[::2], items[1::2], strict=True)}


@pytest.fixture
def peer(start_peer: StartPeer) -> Peer:
    """A bundled server of the test's own."""
    return start_peer("bundled")


def test_acl_file_is_read_written_and_read_again(start_peer: StartPeer, tmp_path: Path) -> None:
    path = tmp_path / "users.acl"
    path.write_text("user eve on >secret ~a* (+get ~b*) resetchannels +@string\n\nuser default on nopass ~* &* +@all\n")
    peer = start_peer("bundled", "--aclfile", str(path))
    with connected(peer) as admin, connected(peer) as eve:
        assert eve.call("AUTH", "eve", "secret") == OK
        assert eve.call("SET", "a", 1) == OK
        assert eve.call("GET", "b") == ("$", None)
        assert admin.call("ACL", "SETUSER", "adam", "on", "nopass", "+ping") == OK
        assert admin.call("ACL", "SAVE") == OK
        lines = path.read_text().splitlines()
        assert [line.split()[1] for line in lines] == ["adam", "default", "eve"]
        path.write_text(path.read_text().replace("+@string", "+@hash"))
        assert admin.call("ACL", "LOAD") == OK
        assert admin.call("PING") == ("+", b"PONG")
    with connected(peer) as eve:
        eve.call("AUTH", "eve", "secret")
        assert eve.call("SET", "a", 1)[0] == "-"
        assert eve.call("HSET", "ah", "f", "v") == (":", b"1")


@pytest.mark.parametrize(
    "text, reason",
    [
        ("user eve +nosuch", b":1: Error in applying operation '+nosuch': Unknown command"),
        ("user eve on\nuser eve on", b"WARNING: Duplicate user 'eve' found on line 2"),
        ("eve on", b":1 should start with user keyword followed by the username"),
        ("user eve (+get", b":1: Unmatched parenthesis in selector definition"),
        ("user eve ~* ~a", b":1: Adding a pattern after the * pattern"),
    ],
)
def test_acl_load_of_a_broken_file_changes_nothing(
    start_peer: StartPeer, tmp_path: Path, text: str, reason: bytes
) -> None:
    path = tmp_path / "users.acl"
    path.write_text("user adam on\n")
    peer = start_peer("bundled", "--aclfile", str(path))
    path.write_text(text)
    with connected(peer) as admin:
        kind, message = admin.call("ACL", "LOAD")
        assert kind == "-"
        assert isinstance(message, bytes)
        assert reason in message
        assert message.endswith(b"no change to the previously active ACL rules was performed")
        assert admin.call("ACL", "USERS") == ("*", (("$", b"adam"), ("$", b"default")))


def test_acl_file_with_an_error_ends_the_start(start_peer: StartPeer, tmp_path: Path) -> None:
    path = tmp_path / "users.acl"
    path.write_text("user eve +nosuch\n")
    with pytest.raises(RuntimeError, match="Aborting Redis startup because of ACL errors"):
        start_peer("bundled", "--aclfile", str(path))


def test_user_option_defines_a_user(start_peer: StartPeer) -> None:
    peer = start_peer(
        "bundled", "--user", "eve", "on", "nopass", "(+get", "~a)", "--user", "default", "on", "nopass", "+@all"
    )
    with connected(peer) as client:
        described = fields(client.call("ACL", "GETUSER", "eve"))
        assert described[b"commands"] == b"-@all"
        assert len(described[b"selectors"]) == 1  # type: ignore[arg-type]  # an array
        assert client.call("GET", "k")[0] == "-"


def test_user_named_twice_ends_the_start(start_peer: StartPeer) -> None:
    with pytest.raises(RuntimeError, match="Duplicate user found"):
        start_peer("bundled", "--user", "eve", "--user", "eve")


def test_deleted_user_is_disconnected_and_others_stay(peer: Peer) -> None:
    with connected(peer) as admin, connected(peer) as eve, connected(peer) as other:
        admin.call("ACL", "SETUSER", "eve", "on", "nopass", "+@all")
        eve.call("AUTH", "eve", "x")
        assert admin.call("ACL", "DELUSER", "eve") == (":", b"1")
        with pytest.raises((ConnectionError, EOFError)):
            eve.call("PING")
        assert other.call("PING") == ("+", b"PONG")


def test_user_who_deletes_itself_gets_the_reply_first(peer: Peer) -> None:
    with connected(peer) as eve:
        eve.call("ACL", "SETUSER", "eve", "on", "nopass", "+@all")
        eve.call("AUTH", "eve", "x")
        assert eve.call("ACL", "DELUSER", "eve") == (":", b"1")
        with pytest.raises((ConnectionError, EOFError)):
            eve.call("PING")


@pytest.mark.parametrize(
    "rules, stays",
    [
        (["resetchannels", "&a"], False),
        (["resetchannels", "&a*", "&b*"], True),
        (["resetchannels", "&a", "&b*", "&c"], True),
        (["allchannels"], True),
        (["resetchannels"], False),
    ],
)
def test_subscriber_is_disconnected_if_a_channel_is_taken_from_it(peer: Peer, rules: list[str], stays: bool) -> None:
    with connected(peer) as admin, connected(peer) as eve:
        admin.call("ACL", "SETUSER", "eve", "on", "nopass", "+@all", "resetchannels", "&a", "&b*")
        eve.call("AUTH", "eve", "x")
        eve.call("SUBSCRIBE", "a")
        eve.call("PSUBSCRIBE", "b*")
        admin.call("ACL", "SETUSER", "eve", *rules)
        _, clients = admin.call("CLIENT", "LIST")
        assert isinstance(clients, bytes)
        assert (b"user=eve" in clients) is stays


def test_blocked_client_is_refused_when_its_key_is_taken_from_it(peer: Peer) -> None:
    with connected(peer) as admin, connected(peer) as eve:
        admin.call("ACL", "SETUSER", "eve", "on", "nopass", "+@all", "allkeys")
        eve.call("AUTH", "eve", "x")
        eve.send(pack(["BLPOP", "l", 0]))
        while b"cmd=blpop" not in admin.call("CLIENT", "LIST")[1]:  # type: ignore[operator]  # text
            pass
        admin.call("ACL", "SETUSER", "eve", "resetkeys")
        admin.call("RPUSH", "l", "x")
        assert eve.read() == ("-", b"NOPERM No permissions to access a key")
        assert admin.call("LLEN", "l") == (":", b"1")


def test_refusals_are_logged_and_counted(peer: Peer) -> None:
    with connected(peer) as admin, connected(peer) as eve:
        admin.call("ACL", "SETUSER", "eve", "on", ">x", "+@all", "-get", "~k", "resetchannels")
        eve.call("AUTH", "eve", "wrong")
        eve.call("AUTH", "eve", "x")
        eve.call("GET", "k")
        eve.call("GET", "k")
        eve.call("SET", "other", "v")
        eve.call("PUBLISH", "c", "m")
        eve.call("EVAL", "return redis.pcall('get', 'k')", 0)
        kind, entries = admin.call("ACL", "LOG")
        assert kind == "*"
        assert isinstance(entries, tuple)
        seen = [fields(entry) for entry in entries]
        assert [(one[b"reason"], one[b"context"], one[b"object"], one[b"count"]) for one in seen] == [
            (b"command", b"lua", b"get", b"1"),
            (b"channel", b"toplevel", b"c", b"1"),
            (b"key", b"toplevel", b"other", b"1"),
            (b"command", b"toplevel", b"get", b"2"),
            (b"auth", b"toplevel", b"AUTH", b"1"),
        ]
        assert {one[b"username"] for one in seen} == {b"eve"}
        _, info = admin.call("INFO", "stats")
        assert isinstance(info, bytes)
        for name, count in ((b"auth", 1), (b"cmd", 3), (b"key", 1), (b"channel", 1)):
            assert b"acl_access_denied_%b:%d\r\n" % (name, count) in info
        admin.call("CONFIG", "SET", "acllog-max-len", 2)
        assert len(admin.call("ACL", "LOG")[1]) == 2  # type: ignore[arg-type]  # an array


def test_password_of_the_default_user_can_be_set_both_ways(peer: Peer) -> None:
    with connected(peer) as admin:
        assert admin.call("CONFIG", "SET", "requirepass", "one") == OK
        with connected(peer) as late:
            assert late.call("PING")[0] == "-"
            assert late.call("AUTH", "one") == OK
        admin.call("ACL", "SETUSER", "default", "resetpass", ">two")
        with connected(peer) as late:
            assert late.call("AUTH", "one")[0] == "-"
            assert late.call("AUTH", "two") == OK
        admin.call("ACL", "SETUSER", "default", "nopass")
        with connected(peer) as late:
            assert late.call("PING") == ("+", b"PONG")


def test_default_user_with_fewer_rights_binds_new_clients(peer: Peer) -> None:
    with connected(peer) as admin, connected(peer) as early:
        admin.call("ACL", "SETUSER", "admin", "on", "nopass", "+@all", "~*", "&*")
        admin.call("AUTH", "admin", "x")
        admin.call("ACL", "SETUSER", "default", "-flushall")
        with connected(peer) as late:
            for client in (early, late):
                assert client.call("FLUSHALL")[0] == "-"
                assert client.call("SET", "k", "v") == OK
