"""A script that does not end: others are told, and it can be killed unless it has written."""

import threading
from collections.abc import Callable, Iterator
from queue import Queue

import pytest

from tests.conftest import PeerFactory
from tests.differential.client import RawClient, Reply, pack
from tests.peers import Peer

ENDLESS = "while true do pcall(function() while true do end end) end"
ENDLESS_CALLS = "while true do redis.call('get', KEYS[1]) end"
ENDLESS_COROUTINE = "coroutine.wrap(function() while true do end end)()"
ENDLESS_FUNCTION = "#!lua name=l\nredis.register_function('endless', function() while true do end end)"
ENDLESS_WRITER = "redis.call('set', KEYS[1], 'x') while true do end"


@pytest.fixture(params=["bundled", "redis"])
def busy(
    request: pytest.FixtureRequest, start_peer: PeerFactory
) -> Iterator[Callable[[str], tuple[Peer, Queue[Reply]]]]:
    """A server of the test's own that runs the given script and is busy; its reply arrives in the queue."""
    peer = start_peer(request.param, "--busy-reply-threshold", "50")
    threads = []

    def run(script: str) -> tuple[Peer, Queue[Reply]]:
        replies: Queue[Reply] = Queue()
        command: tuple[str | int, ...] = ("EVAL", script, 1, "k")
        if script.startswith("#!lua name="):
            with RawClient(peer.host, peer.port) as client:
                client.call("FUNCTION", "LOAD", script)
            command = ("FCALL", "endless", 1, "k")

        def call() -> None:
            try:
                with RawClient(peer.host, peer.port, timeout_s=30) as client:
                    replies.put(client.call(*command))
            except ConnectionError as error:
                replies.put(("closed", str(error)))

        thread = threading.Thread(target=call)
        thread.start()
        threads.append(thread)
        with RawClient(peer.host, peer.port) as client:
            while client.call("PING") == ("+", b"PONG"):
                pass
        return peer, replies

    yield run
    for thread in threads:
        thread.join(timeout=20)


def text(reply: Reply) -> bytes:
    assert isinstance(reply[1], bytes)
    return reply[1]


def test_busy_server_tells_others_and_kills_the_script(busy: Callable[[str], tuple[Peer, Queue[Reply]]]) -> None:
    peer, replies = busy(ENDLESS)
    with RawClient(peer.host, peer.port) as client:
        assert text(client.call("GET", "k")).startswith(b"BUSY ")
        assert client.call("MULTI") == ("+", b"OK")
        assert text(client.call("GET", "k")).startswith(b"BUSY ")
        assert text(client.call("EXEC")).startswith(b"EXECABORT ")
        assert client.call("SCRIPT", "KILL") == ("+", b"OK")
        while client.call("PING") != ("+", b"PONG"):
            pass
        assert text(client.call("SCRIPT", "KILL")).startswith(b"NOTBUSY ")
        assert client.call("EVAL", "return 7", 0) == (":", b"7")
    assert b"Script killed by user with SCRIPT KILL" in text(replies.get(timeout=10))


@pytest.mark.parametrize("script", [ENDLESS_CALLS, ENDLESS_COROUTINE])
def test_busy_script_wherever_it_loops_can_be_killed(
    busy: Callable[[str], tuple[Peer, Queue[Reply]]], script: str
) -> None:
    peer, replies = busy(script)
    with RawClient(peer.host, peer.port) as client:
        assert client.call("SCRIPT", "KILL") == ("+", b"OK")
    answer = text(replies.get(timeout=10))
    assert b"Script killed by user with SCRIPT KILL... script: " in answer
    assert answer.endswith(b", on @user_script:1.")


def test_busy_script_that_has_written_is_not_killed(busy: Callable[[str], tuple[Peer, Queue[Reply]]]) -> None:
    peer, _ = busy(ENDLESS_WRITER)
    with RawClient(peer.host, peer.port) as client:
        assert text(client.call("SCRIPT", "KILL")).startswith(b"UNKILLABLE ")
        client.send(b"SHUTDOWN NOSAVE\r\n")
        assert client.read_to_end() == b""
    peer.process.wait(timeout=10)
    assert not peer.alive


def test_busy_function_is_killed_as_a_function_only(busy: Callable[[str], tuple[Peer, Queue[Reply]]]) -> None:
    peer, replies = busy(ENDLESS_FUNCTION)
    with RawClient(peer.host, peer.port) as client:
        refused = text(client.call("GET", "k"))
        assert refused.startswith(b"BUSY ")
        assert text(client.call("SCRIPT", "KILL")) == refused
        running = client.call("FUNCTION", "STATS")
        assert b"endless" in repr(running).encode()
        assert client.call("FUNCTION", "KILL") == ("+", b"OK")
        while client.call("PING") != ("+", b"PONG"):
            pass
        assert text(client.call("FUNCTION", "KILL")).startswith(b"NOTBUSY ")
    assert b"Script killed by user with SCRIPT KILL... script: endless, on @user_function:2." in text(
        replies.get(timeout=10)
    )


def test_busy_script_is_not_killed_as_a_function(busy: Callable[[str], tuple[Peer, Queue[Reply]]]) -> None:
    peer, _ = busy(ENDLESS)
    with RawClient(peer.host, peer.port) as client:
        assert text(client.call("FUNCTION", "KILL")).startswith(b"BUSY ")
        assert text(client.call("FUNCTION", "STATS")).startswith(b"BUSY ")
        assert client.call("SCRIPT", "KILL") == ("+", b"OK")


# it ends once a client calls itself `enough`; in between others are answered
WRITES_TWICE = """
redis.call('rpush', KEYS[1], 'first')
repeat until string.find(redis.call('client', 'list'), 'name=enough')
redis.call('lpush', KEYS[1], 'second')
"""


@pytest.mark.parametrize("name", ["bundled", "redis"])
def test_busy_script_is_not_seen_half_done_by_blocked_clients(start_peer: PeerFactory, name: str) -> None:
    peer = start_peer(name, "--busy-reply-threshold", "10", "--enable-debug-command", "yes")
    with RawClient(peer.host, peer.port) as waits, RawClient(peer.host, peer.port) as admin:
        assert admin.call("DEBUG", "SET-DISABLE-DENY-SCRIPTS", 1) == ("+", b"OK")
        waits.send(pack(["BLPOP", "k", 0]))
        while b"blocked_clients:1" not in text(admin.call("INFO", "clients")):
            pass
        with RawClient(peer.host, peer.port) as writes:
            writes.send(pack(["EVAL", WRITES_TWICE, 1, "k"]))
            while admin.call("PING") == ("+", b"PONG"):
                pass
            admin.call("HELLO", 2, "SETNAME", "enough")
            assert writes.read() == ("$", None)
        assert waits.read() == ("*", (("$", b"k"), ("$", b"second")))


def test_busy_server_that_shuts_down_lets_nobody_in(busy: Callable[[str], tuple[Peer, Queue[Reply]]]) -> None:
    peer, replies = busy(ENDLESS_WRITER)
    with RawClient(peer.host, peer.port) as admin:
        with pytest.raises(ConnectionError):
            admin.call("SHUTDOWN", "NOSAVE")
        with pytest.raises(ConnectionRefusedError):
            RawClient(peer.host, peer.port)
    assert replies.get(timeout=10)[0] in ("closed", "-")  # the script ends with the server
