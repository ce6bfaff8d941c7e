"""Both transports on every server: scripts, errors, subscriptions, lost connections, deadlines, many callers."""

import asyncio
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from coordkit.errors import ConfigurationError, OutcomeUnknown, ServerError, ServerUnavailable
from coordkit.guard import AsyncGuard
from coordkit.lock import INFO
from coordkit.transports.address import Address, parse_url
from coordkit.transports.asyncio_ import AsyncioTransport
from coordkit.transports.socket_ import SocketTransport
from tests.conftest import PeerFactory
from tests.peers import Peer, free_port
from tests.programs import program
from tests.proxy import FaultyProxy

KEY = (b"ck:{lock:x}",)
FREE = [b"", 0, 0, 0]


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes]] = []
        self.gaps = 0

    def on_message(self, channel: bytes, payload: bytes) -> None:
        self.messages.append((channel, payload))

    def on_gap(self) -> None:
        self.gaps += 1

    def on_close(self) -> None:
        self.closed = True


@pytest.fixture
async def transport(server_url: str) -> AsyncIterator[AsyncioTransport]:
    transport = AsyncioTransport(parse_url(server_url))
    yield transport
    await transport.aclose()


@pytest.fixture
def blocking(server_url: str) -> Iterator[SocketTransport]:
    transport = SocketTransport(parse_url(server_url))
    yield transport
    transport.close()


async def soon(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def soon_in_thread(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


# -- asynchronous --------------------------------------------------------------------------------------------------


async def test_async_call_after_script_flush_costs_one_more_trip_and_works(
    transport: AsyncioTransport, server: Peer
) -> None:
    for _ in range(2):
        assert await transport.call(INFO, KEY, ()) == FREE
        server.command("SCRIPT", "FLUSH")


async def test_async_call_that_was_begun_after_script_flush_is_settled_by_one_more_trip(
    transport: AsyncioTransport, server: Peer
) -> None:
    assert transport.begin(INFO, KEY, ()) is None  # there is no connection yet
    assert await transport.call(INFO, KEY, ()) == FREE
    server.command("SCRIPT", "FLUSH")
    begun = transport.begin(INFO, KEY, ())
    assert begun is not None
    reply = await begun[1]
    assert isinstance(reply, ServerError)
    assert await transport.settled(begun[0], reply, INFO, KEY, ()) == FREE
    server.command("SCRIPT", "FLUSH")
    assert await AsyncGuard(transport).call(INFO, KEY, ()) == FREE


@pytest.mark.parametrize("kind", ["async", "blocking"])
async def test_server_that_is_busy_for_the_moment_is_unavailable(start_peer: PeerFactory, kind: str) -> None:
    peer = start_peer("redis", "--replicaof", "127.0.0.1", "1")
    peer.command("CONFIG", "SET", "replica-serve-stale-data", "no")
    asynchronous, blocking = AsyncioTransport(parse_url(peer.url)), SocketTransport(parse_url(peer.url))
    call = asynchronous.execute(("GET", "k")) if kind == "async" else asyncio.to_thread(blocking.execute, ("GET", "k"))
    with pytest.raises(ServerUnavailable, match="cannot work at the moment: MASTERDOWN"):
        await call
    await asynchronous.aclose()
    blocking.close()


async def test_async_execute_raises_the_servers_error(transport: AsyncioTransport) -> None:
    await transport.execute(("SET", "k", "v"))
    with pytest.raises(ServerError, match="WRONGTYPE"):
        await transport.execute(("LPUSH", "k", "v"))
    assert await transport.execute(("GET", "k")) == b"v"


async def test_async_calls_from_many_tasks_get_their_own_replies(transport: AsyncioTransport) -> None:
    async def echo(number: int) -> None:
        for turn in range(20):
            word = b"%d:%d" % (number, turn)
            assert await transport.execute(("ECHO", word)) == word

    await asyncio.gather(*(echo(number) for number in range(100)))


async def test_async_calls_under_a_storm_of_cancellations_never_get_anothers_reply(
    transport: AsyncioTransport,
) -> None:
    rng = random.Random(7)

    async def echo(number: int) -> None:
        word = b"%d" % number
        assert await transport.execute(("ECHO", word)) == word

    for wave in range(30):
        tasks = [asyncio.create_task(echo(1000 * wave + number)) for number in range(100)]
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        for task in rng.sample(tasks, 50):
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [result for result in results if isinstance(result, AssertionError)]


async def test_async_large_values_come_through_whole(transport: AsyncioTransport) -> None:
    value = os.urandom(3_000_000)
    await transport.execute(("SET", "big", value))
    assert await transport.execute(("GET", "big")) == value


async def test_async_more_requests_than_fit_in_flight_are_all_answered(transport: AsyncioTransport) -> None:
    replies = await asyncio.gather(*(transport.execute(("ECHO", number)) for number in range(10_000)))
    assert replies == [b"%d" % number for number in range(10_000)]


async def test_async_transport_is_used_from_one_loop_after_another(server_url: str) -> None:
    transport = AsyncioTransport(parse_url(server_url))

    def in_new_loop() -> object:
        async def work() -> object:
            reply = await transport.execute(("ECHO", "a"))
            await transport.aclose()
            return reply

        return asyncio.run(work())

    async def again() -> object:
        return await asyncio.to_thread(in_new_loop)

    assert await again() == b"a"


async def test_async_unreachable_server_says_where_and_what_to_do() -> None:
    transport = AsyncioTransport(Address(host="127.0.0.1", port=1))
    with pytest.raises(ServerUnavailable, match=r"redis://127.0.0.1:1 \(connection refused\); start one with"):
        await transport.execute(("PING",))
    await transport.aclose()


async def test_async_closed_transport_refuses_calls(server_url: str) -> None:
    transport = AsyncioTransport(parse_url(server_url))
    await transport.execute(("PING",))
    await transport.aclose()
    with pytest.raises(ServerUnavailable, match="is closed"):
        await transport.execute(("PING",))


async def test_async_connection_cut_under_way_leaves_the_outcome_unknown_and_is_replaced(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:
        transport = AsyncioTransport(parse_url(proxy.url))
        await transport.execute(("PING",))
        proxy.mute = True
        calls = [asyncio.create_task(transport.execute(("INCR", "n"))) for _ in range(3)]
        await soon(lambda: b"3" in server.command("GET", "n"))
        proxy.cut()
        for result in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(result, OutcomeUnknown)
        proxy.mute = False
        assert await transport.execute(("GET", "n")) == b"3"
        await transport.aclose()


async def test_async_silent_server_ends_the_call_at_its_deadline_and_the_connection_with_it(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:
        transport = AsyncioTransport(parse_url(proxy.url), timeout_s=1.0)
        await transport.execute(("PING",))
        proxy.mute = True
        started_s = time.monotonic()
        with pytest.raises(OutcomeUnknown, match=r"did not answer within (1|0\.9\d*) s"):
            await transport.execute(("INCR", "n"))
        assert 0.95 < time.monotonic() - started_s < 2.0
        proxy.mute = False
        assert await transport.execute(("GET", "n")) == b"1"
        assert proxy.accepted == 2
        await transport.aclose()


@pytest.mark.parametrize("kind", ["async", "blocking"])
async def test_server_that_takes_connections_and_never_answers_is_unavailable(server: Peer, kind: str) -> None:
    with FaultyProxy(server.port) as proxy:
        proxy.mute = True
        address = parse_url(f"{proxy.url}/1")
        asynchronous, blocking = AsyncioTransport(address, timeout_s=0.2), SocketTransport(address, timeout_s=0.2)
        call = asynchronous.execute(("PING",)) if kind == "async" else asyncio.to_thread(blocking.execute, ("PING",))
        with pytest.raises(ServerUnavailable):
            await call
        await asynchronous.aclose()
        blocking.close()


@pytest.mark.parametrize("kind", ["async", "blocking"])
async def test_server_that_answers_a_login_twice_is_unavailable(server: Peer, kind: str) -> None:
    with FaultyProxy(server.port) as proxy:
        proxy.twice = True
        address = parse_url(f"{proxy.url}/1")
        asynchronous, blocking = AsyncioTransport(address, timeout_s=0.2), SocketTransport(address, timeout_s=0.2)
        call = asynchronous.execute(("PING",)) if kind == "async" else asyncio.to_thread(blocking.execute, ("PING",))
        with pytest.raises(ServerUnavailable):
            await call
        await asynchronous.aclose()
        blocking.close()


async def test_async_stopped_server_ends_every_call_at_its_deadline(start_peer: PeerFactory) -> None:
    peer = start_peer("valkey")
    transport = AsyncioTransport(parse_url(peer.url), timeout_s=0.8)
    await transport.execute(("PING",))
    os.kill(peer.pid, signal.SIGSTOP)
    results = await asyncio.gather(*(transport.execute(("PING",)) for _ in range(50)), return_exceptions=True)
    assert all(isinstance(result, OutcomeUnknown) for result in results)
    os.kill(peer.pid, signal.SIGCONT)
    assert await transport.execute(("PING",), time.monotonic() + 10) == b"PONG"
    await transport.aclose()


async def test_async_subscription_hears_messages_and_topics(transport: AsyncioTransport) -> None:
    everything, topic = Heard(), Heard()
    assert await transport.subscribe(b"c", everything) is True
    assert await transport.subscribe(b"c", topic, b"mine") is False
    assert await transport.publish(b"c", b"mine") == 1
    assert await transport.publish(b"c", b"other") == 1
    await soon(lambda: len(everything.messages) == 2)
    assert topic.messages == [(b"c", b"mine")]
    transport.unsubscribe(b"c", everything)
    await transport.publish(b"c", b"mine")
    await soon(lambda: len(topic.messages) == 2)
    assert len(everything.messages) == 2


async def test_async_subscription_after_a_cut_is_back_and_tells_the_gap(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:
        transport = AsyncioTransport(parse_url(proxy.url))
        heard = [Heard() for _ in range(3)]
        for number, listener in enumerate(heard):
            await transport.subscribe(b"c%d" % number, listener)
        proxy.cut()
        await soon(lambda: all(listener.gaps == 1 for listener in heard))
        for number, listener in enumerate(heard):
            await transport.publish(b"c%d" % number, b"x")
            await soon(lambda listener=listener: len(listener.messages) == 1)  # type: ignore[misc]
        await transport.aclose()


async def test_async_signal_of_many_waiters_wakes_only_the_one_addressed(transport: AsyncioTransport) -> None:
    signals = [transport.signal() for _ in range(100)]
    for number, waiter in enumerate(signals):
        await transport.subscribe(b"inbox", waiter, b"%d" % number)
    await transport.publish(b"inbox", b"42")
    assert await signals[42].wait(5) is True
    assert await signals[42].wait(0) is False
    assert [number for number, waiter in enumerate(signals) if await waiter.wait(0)] == []


async def test_async_subscription_to_unreachable_server_fails_within_the_timeout() -> None:
    transport = AsyncioTransport(Address(host="127.0.0.1", port=1), timeout_s=0.2)
    with pytest.raises(ServerUnavailable, match="did not confirm the subscription"):
        await transport.subscribe(b"c", Heard())
    await transport.aclose()


# -- blocking ------------------------------------------------------------------------------------------------------


def test_call_after_script_flush_costs_one_more_trip_and_works(blocking: SocketTransport, server: Peer) -> None:
    for _ in range(2):
        assert blocking.call(INFO, KEY, ()) == FREE
        server.command("SCRIPT", "FLUSH")


def test_execute_raises_the_servers_error_and_keeps_the_connection(blocking: SocketTransport) -> None:
    blocking.execute(("SET", "k", "v"))
    first = blocking.execute(("CLIENT", "ID"))
    with pytest.raises(ServerError, match="WRONGTYPE"):
        blocking.execute(("LPUSH", "k", "v"))
    assert blocking.execute(("CLIENT", "ID")) == first


def test_calls_from_many_threads_get_their_own_replies(blocking: SocketTransport) -> None:
    wrong: list[object] = []

    def echo(number: int) -> None:
        for turn in range(50):
            word = b"%d:%d" % (number, turn)
            reply = blocking.execute(("ECHO", word))
            if reply != word:
                wrong.append((word, reply))

    threads = [threading.Thread(target=echo, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_connection_closed_by_the_server_while_idle_is_replaced_unnoticed(
    blocking: SocketTransport, server: Peer
) -> None:
    identity = blocking.execute(("CLIENT", "ID"))
    assert isinstance(identity, int)
    server.command("CLIENT", "KILL", "ID", str(identity))
    soon_in_thread(lambda: b"id=%d " % identity not in server.command("CLIENT", "LIST"))
    assert blocking.execute(("INCR", "n")) == 1


def test_connection_cut_under_way_leaves_the_outcome_unknown_and_is_replaced(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:
        transport = SocketTransport(parse_url(proxy.url))
        transport.execute(("PING",))
        proxy.mute = True
        threading.Timer(0.1, proxy.cut).start()
        with pytest.raises(OutcomeUnknown, match="may have run"):
            transport.execute(("INCR", "n"))
        proxy.mute = False
        assert transport.execute(("GET", "n")) == b"1"
        transport.close()


def test_silent_server_ends_the_call_at_its_deadline(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:
        transport = SocketTransport(parse_url(proxy.url), timeout_s=1.0)
        transport.execute(("PING",))
        proxy.mute = True
        with pytest.raises(OutcomeUnknown, match=r"did not answer within (1|0\.9\d*) s"):
            transport.execute(("PING",))
        proxy.mute = False
        assert transport.execute(("PING",)) == b"PONG"
        transport.close()


def test_unreachable_server_says_where_and_what_to_do() -> None:
    transport = SocketTransport(Address(host="127.0.0.1", port=1))
    with pytest.raises(ServerUnavailable, match=r"redis://127.0.0.1:1 \(connection refused\); start one with"):
        transport.execute(("PING",))


def test_subscription_hears_messages_and_topics(blocking: SocketTransport) -> None:
    everything, topic = Heard(), Heard()
    assert blocking.subscribe(b"c", everything) is True
    assert blocking.subscribe(b"c", topic, b"mine") is False
    assert blocking.publish(b"c", b"mine") == 1
    assert blocking.publish(b"c", b"other") == 1
    soon_in_thread(lambda: len(everything.messages) == 2)
    assert topic.messages == [(b"c", b"mine")]


def test_subscription_after_a_cut_is_back_and_tells_the_gap(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:
        transport = SocketTransport(parse_url(proxy.url))
        heard = [Heard() for _ in range(3)]
        for number, listener in enumerate(heard):
            transport.subscribe(b"c%d" % number, listener)
        proxy.cut()
        soon_in_thread(lambda: all(listener.gaps == 1 for listener in heard))
        transport.publish(b"c1", b"x")
        soon_in_thread(lambda: len(heard[1].messages) == 1)
        transport.close()


def test_forked_child_has_connections_of_its_own(blocking: SocketTransport) -> None:
    parent = blocking.execute(("CLIENT", "ID"))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if blocking.execute(("CLIENT", "ID")) != parent else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert blocking.execute(("CLIENT", "ID")) == parent


# -- opening -------------------------------------------------------------------------------------------------------

SERVERS = ["redis", "valkey", "bundled"]


@pytest.mark.parametrize("name", SERVERS)
async def test_password_database_and_name_of_the_url_are_used(start_peer: PeerFactory, name: str) -> None:
    peer = start_peer(name, "--requirepass", "se cret")
    url = f"redis://:se%20cret@127.0.0.1:{peer.port}/3?client_name=web"
    asynchronous, blocking = AsyncioTransport(parse_url(url)), SocketTransport(parse_url(url))
    await asynchronous.execute(("SET", "k", "v"))
    assert await asynchronous.execute(("CLIENT", "GETNAME")) == b"web"
    assert blocking.execute(("GET", "k")) == b"v"
    assert blocking.execute(("CLIENT", "GETNAME")) == b"web"
    await asynchronous.aclose()
    blocking.close()


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("login", ["", ":wrong@"], ids=["none", "wrong"])
async def test_refused_login_is_a_configuration_error(start_peer: PeerFactory, name: str, login: str) -> None:
    peer = start_peer(name, "--requirepass", "secret")
    address = parse_url(f"redis://{login}127.0.0.1:{peer.port}/1")
    asynchronous, blocking = AsyncioTransport(address), SocketTransport(address)
    with pytest.raises(ConfigurationError, match="give user and password in the URL"):
        await asynchronous.execute(("PING",))
    with pytest.raises(ConfigurationError, match="give user and password in the URL"):
        blocking.execute(("PING",))
    await asynchronous.aclose()
    blocking.close()


@pytest.mark.parametrize("name", SERVERS)
async def test_unix_socket_is_used(start_peer: PeerFactory, tmp_path: Path, name: str) -> None:
    path = tmp_path / "s"
    start_peer(name, "--unixsocket", str(path))
    asynchronous, blocking = AsyncioTransport(parse_url(f"unix://{path}")), SocketTransport(parse_url(f"unix://{path}"))
    assert await asynchronous.execute(("PING",)) == b"PONG"
    assert blocking.execute(("PING",)) == b"PONG"
    await asynchronous.aclose()
    blocking.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost, signed by itself; its key is beside it."""
    path = tmp_path / "cert.pem"
    subprocess.run(
        [
            *(program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(tmp_path / "key.pem"), "-out", str(path)),
        ],
        check=True,
        capture_output=True,
    )
    return path


async def test_tls_is_used_for_calls_and_subscriptions(start_peer: PeerFactory, certificate: Path) -> None:
    port = free_port()
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(certificate.with_name("key.pem")))
    start_peer("redis", "--tls-port", str(port), *files, "--tls-auth-clients", "no")
    address = parse_url(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}")
    asynchronous, blocking = AsyncioTransport(address), SocketTransport(address)
    heard, heard_by_thread = Heard(), Heard()
    await asynchronous.subscribe(b"c", heard)
    blocking.subscribe(b"c", heard_by_thread)
    payload = os.urandom(200_000)
    assert await asynchronous.publish(b"c", payload) == 2
    assert blocking.publish(b"c", b"x") == 2
    await soon(lambda: heard.messages == heard_by_thread.messages == [(b"c", payload), (b"c", b"x")])
    await asynchronous.aclose()
    blocking.close()


async def test_tls_with_an_unknown_certificate_is_refused(start_peer: PeerFactory, certificate: Path) -> None:
    port = free_port()
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(certificate.with_name("key.pem")))
    start_peer("redis", "--tls-port", str(port), *files, "--tls-auth-clients", "no")
    address = parse_url(f"rediss://127.0.0.1:{port}")
    asynchronous, blocking = AsyncioTransport(address), SocketTransport(address)
    with pytest.raises(ServerUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await asynchronous.execute(("PING",))
    with pytest.raises(ServerUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        blocking.execute(("PING",))
    await asynchronous.aclose()
    blocking.close()


async def test_server_without_hello_is_spoken_to_in_resp2(start_peer: PeerFactory) -> None:
    peer = start_peer("redis", "--rename-command", "HELLO", "")
    transport = AsyncioTransport(parse_url(peer.url))
    heard = Heard()
    await transport.subscribe(b"c", heard)
    await transport.publish(b"c", b"x")
    await soon(lambda: heard.messages == [(b"c", b"x")])
    await transport.aclose()
