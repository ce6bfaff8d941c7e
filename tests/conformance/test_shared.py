"""Users' own redis-py clients, shared: every primitive through them, their errors as ours, nothing of theirs closed."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.backoff
import redis.retry

from coordkit import (
    GCRA,
    AsyncClient,
    Client,
    ConfigurationError,
    LockTimeout,
    OutcomeUnknown,
    Queue,
    ServerError,
    ServerUnavailable,
)
from coordkit.codec import Codec
from coordkit.queue.worker import Worker
from coordkit.transports.shared import AsyncSharedTransport, SharedTransport, mapped, undecoded
from tests.outages import bounded
from tests.peers import Peer
from tests.proxy import FaultyProxy

mail = Queue("mail")


@mail.job(retries=0)
async def note(ctx: object, number: int) -> int:
    return number


class Plain(Codec):
    """Bytes that are no text."""

    def encode(self, value: object) -> bytes:
        assert isinstance(value, bytes)
        return value

    def decode(self, data: bytes) -> object:
        return data


EVERY_FORM = pytest.mark.parametrize(
    "options",
    [
        {"protocol": 2},
        {"protocol": 3},
        {"protocol": 2, "decode_responses": True},
        {"protocol": 3, "decode_responses": True},
    ],
    ids=["resp2", "resp3", "resp2-decoding", "resp3-decoding"],
)


@asynccontextmanager
async def their_async(url: str, **options: Any) -> AsyncIterator[Any]:
    client: Any = redis.asyncio.Redis.from_url(url, **options)
    yield client
    await client.aclose()


@contextmanager
def their_blocking(url: str, **options: Any) -> Iterator[Any]:
    client: Any = redis.Redis.from_url(url, **options)
    yield client
    client.close()


@EVERY_FORM
async def test_every_primitive_runs_through_a_shared_async_client(server: Peer, options: dict[str, Any]) -> None:
    async with their_async(server.url, **options) as theirs:
        before = len(asyncio.all_tasks())
        async with (
            AsyncClient(redis=theirs, share=True, codec=Plain()) as ck,
            AsyncClient.from_redis(theirs, share=True) as other,
            AsyncClient.from_url(server.url, codec=Plain()) as own,
        ):
            await other.ping()
            lease = await own.lock("l", ttl=30).acquire()
            waiting = asyncio.create_task(ck.lock("l").acquire(timeout=10))
            while (await other.lock("l").info()).waiters != 1:
                await asyncio.sleep(0.002)
            await asyncio.sleep(0.1)
            released_s = time.monotonic()
            await lease.release()
            woken = await waiting
            assert time.monotonic() - released_s < 15  # by a push: the lease of the other would have lasted 30 s
            with pytest.raises(LockTimeout):
                await other.lock("l").acquire(timeout=0.05)
            assert await woken.release()
            decisions = [await ck.limiter("api", GCRA(2, 60)).check("u") for _ in range(3)]
            assert [decision.allowed for decision in decisions] == [True, True, False]
            async with ck.channel("news").subscribe() as messages:
                assert await own.channel("news").publish(b"\xff\x00") == 1
                assert getattr(await messages.get(5), "data", None) == b"\xff\x00"
                assert await ck.channel("news").publish(b"more") == 1
                assert getattr(await messages.get(5), "data", None) == b"more"
            with Client.from_url(server.url) as blocking:
                worker = Worker(mail, other, blocking)
                running = asyncio.create_task(worker.run())
                assert await (await other.queue(mail).enqueue(note, number=7)).result(10) == 7
                worker.drain()
                await running
        async with asyncio.timeout(5):
            while len(asyncio.all_tasks()) != before:  # who was cancelled has its last turn when the loop comes to it
                await asyncio.sleep(0.002)
        assert await theirs.ping()
        assert await theirs.set("k", "v")
        assert await theirs.get("k") in {"v", b"v"}


@EVERY_FORM
def test_every_primitive_runs_through_a_shared_blocking_client(server: Peer, options: dict[str, Any]) -> None:
    threads = threading.active_count()
    with their_blocking(server.url, **options) as theirs:
        with (
            Client(redis=theirs, share=True, codec=Plain()) as ck,
            Client.from_url(server.url, codec=Plain()) as own,
        ):
            ck.ping()
            lease = own.lock("l", ttl=30).acquire()
            release = threading.Timer(0.2, lease.release)
            release.start()
            started_s = time.monotonic()
            with ck.lock("l").hold(timeout=10):
                assert time.monotonic() - started_s < 5
            release.join()
            decisions = [ck.limiter("api", GCRA(2, 60)).check("u") for _ in range(3)]
            assert [decision.allowed for decision in decisions] == [True, True, False]
            with ck.channel("news").subscribe() as messages:
                assert own.channel("news").publish(b"\xff\x00") == 1
                assert getattr(messages.get(5), "data", None) == b"\xff\x00"
            assert ck.queue(mail).name == "mail"
        assert theirs.ping()
        assert theirs.get("nothing") is None
    deadline_s = time.monotonic() + 5
    while threading.active_count() > threads:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.mark.parametrize("server", ["bundled"], indirect=True)
async def test_connection_that_listened_is_clean_when_it_goes_back_to_the_pool(server: Peer) -> None:
    async with their_async(server.url, max_connections=2) as theirs:
        async with AsyncClient(redis=theirs, share=True) as ck, ck.channel("news").subscribe():
            assert await ck.channel("news").publish("x") == 1
        assert await asyncio.gather(*(theirs.echo(f"{number}") for number in range(2))) == [b"0", b"1"]
    with their_blocking(server.url, max_connections=2) as blocking:
        with Client(redis=blocking, share=True) as one, one.channel("news").subscribe():
            assert one.channel("news").publish("x") == 1
        assert [blocking.echo("a"), blocking.echo("b")] == [b"a", b"b"]


@pytest.mark.parametrize("server", ["bundled"], indirect=True)
async def test_shared_subscription_comes_back_after_a_cut_and_tells_the_gap(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:
        async with (
            their_async(proxy.url) as theirs,
            AsyncClient(redis=theirs, share=True, timeout=2) as ck,
            AsyncClient.from_url(server.url) as own,
            ck.channel("news").subscribe(gaps=True) as messages,
        ):
            proxy.cut()
            async with asyncio.timeout(10):
                assert type(await messages.get()).__name__ == "Gap"
                assert await own.channel("news").publish("hello") == 1
                assert getattr(await messages.get(), "data", None) == "hello"
        with (
            their_blocking(proxy.url) as blocking,
            Client(redis=blocking, share=True, timeout=2) as one,
            one.channel("news").subscribe(gaps=True) as heard,
        ):
            proxy.cut()
            assert type(heard.get(10)).__name__ == "Gap"


@pytest.mark.parametrize("server", ["bundled"], indirect=True)
async def test_stream_that_sends_for_long_keeps_no_ended_task(server: Peer) -> None:
    async with their_async(server.url) as theirs:
        stream = await AsyncSharedTransport(theirs).open_stream()
        replies: asyncio.Queue[object] = asyncio.Queue()
        stream.start(replies.put_nowait, lambda: None)
        for _ in range(20):
            stream.send("PING")
            await replies.get()
            await asyncio.sleep(0)
        assert len(stream._tasks) <= 2  # who reads, and who sent last
        await stream.close()
        await stream.close()


async def test_silent_server_costs_a_shared_client_one_deadline(server: Peer) -> None:
    with FaultyProxy(server.port) as proxy:
        async with their_async(proxy.url) as theirs, AsyncClient(redis=theirs, share=True, timeout=0.4) as ck:
            limiter = ck.limiter("api", GCRA(10, 1e6))
            await limiter.check("u")
            proxy.mute = True
            assert isinstance(await bounded(lambda: limiter.check("u"), 0.4), OutcomeUnknown)
            refused = await bounded(ck.ping, 0.1)
            assert isinstance(refused, ServerUnavailable)
            assert "probed in the background" in str(refused)
            proxy.heal()
            async with asyncio.timeout(5):
                while True:
                    try:
                        decision = await limiter.check("u")
                        break
                    except (ServerUnavailable, OutcomeUnknown):
                        await asyncio.sleep(0.01)
            assert decision.remaining == 7  # sent again, counted once
            with pytest.raises(ServerError, match="WRONGTYPE"):
                await ck.backend.execute(("LPUSH", limiter._plans.key("u"), "x"))


async def test_server_that_is_not_there_is_unavailable_through_a_shared_client() -> None:
    never = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    async with (
        their_async("redis://127.0.0.1:1", retry=None) as theirs,
        AsyncClient(redis=theirs, share=True, timeout=0.3) as ck,
    ):
        with pytest.raises((ServerUnavailable, OutcomeUnknown)):
            await ck.ping()
    with their_blocking("redis://127.0.0.1:1", retry=never) as blocking, Client(redis=blocking, share=True) as one:
        with pytest.raises(ServerUnavailable, match="gives no connection"):
            one.ping()
        transport = SharedTransport(blocking, timeout_s=0.2)
        with pytest.raises(ServerUnavailable):
            transport.subscribe(b"c", _Silent())
        transport.close()


class _Silent:
    def on_message(self, channel: bytes, payload: bytes) -> None: ...

    def on_gap(self) -> None: ...

    def on_close(self) -> None: ...


def test_client_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"redis\.Redis or redis\.RedisCluster here"):
        Client(redis=redis.asyncio.Redis(), share=True)
    with pytest.raises(ConfigurationError, match=r"redis\.asyncio\.Redis, "):
        AsyncClient(redis="redis://localhost", share=True)
    with pytest.raises(ConfigurationError, match="needs"):
        Client(share=True)


def test_texts_are_bytes_again_however_deep() -> None:
    assert undecoded(["a", [1, None, "\u00e9"], b"\xff"]) == [b"a", [1, None, b"\xc3\xa9"], b"\xff"]


@pytest.mark.parametrize(
    "theirs, ours, text",
    [
        (redis.exceptions.NoScriptError("No matching script."), ServerError, "NOSCRIPT No matching script."),
        (redis.exceptions.ResponseError("unknown command"), ServerError, "ERR unknown command"),
        (redis.exceptions.ResponseError("WRONGTYPE x"), ServerError, "WRONGTYPE x"),
        (redis.exceptions.ReadOnlyError("You can't write"), ServerUnavailable, "READONLY"),
        (redis.exceptions.BusyLoadingError("Redis is loading"), ServerUnavailable, "LOADING"),
        (redis.exceptions.ClusterDownError("CLUSTERDOWN The cluster is down"), ServerUnavailable, "CLUSTERDOWN The"),
        (redis.exceptions.AuthenticationError("wrong"), ConfigurationError, "refused the login"),
        (redis.exceptions.ConnectionError("Connection reset"), OutcomeUnknown, "may have run"),
        (TimeoutError(), OutcomeUnknown, "may have run"),
        (redis.exceptions.ClusterError("TTL exhausted."), OutcomeUnknown, "TTL"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_errors_of_redis_py_become_ours(theirs: Exception, ours: type[Exception], text: str) -> None:
    error = mapped(theirs, "the server")
    assert type(error) is ours
    assert text in str(error)
