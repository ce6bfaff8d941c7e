"""Channels on every server, blocking and asynchronous."""

import asyncio
import threading
import time

import pytest

from coordkit import AsyncClient, Client, ConfigurationError, Gap, Message, ServerUnavailable, SubscriptionOverflow
from tests.conftest import PeerFactory
from tests.peers import Peer, free_port

HELD = [1, "two", {"three": [3, None, 3.5]}, None]


def kill_subscribers(server: Peer) -> None:
    """End the connections that are subscribed, as a server does with a reader that is too slow."""
    assert server.command("CLIENT", "KILL", "TYPE", "pubsub") == b":1\r\n"


async def test_async_subscription_gets_what_is_published_from_its_start_on(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck, AsyncClient.from_url(server_url) as other:
        assert await other.channel("news").publish("too early") == 0
        async with ck.channel("news").subscribe() as messages:
            for data in HELD:
                assert await other.channel("news").publish(data) == 1
            assert await other.channel("sports").publish("elsewhere") == 0
            got = [await anext(messages) for _ in HELD]
        assert got == [Message("news", data) for data in HELD]
        while await other.channel("news").publish("too late"):
            await asyncio.sleep(0.001)


async def test_async_subscriptions_share_one_connection_and_all_get_everything(server: Peer) -> None:
    async with AsyncClient.from_url(server.url) as ck:
        news = ck.channel("news")
        async with news.subscribe() as one, news.subscribe() as two, ck.channel("sports").subscribe() as other:
            assert await news.publish("hello") == 1
            assert (await anext(one)).data == (await anext(two)).data == "hello"
            assert await other.get(timeout=0.01) is None
            async with news.subscribe() as late:
                assert await news.publish("again") == 1
                assert (await anext(late)).data == "again"
            assert (await anext(one)).data == (await anext(two)).data == "again"
            assert await news.publish("still") == 1


async def test_async_subscription_get_comes_back_after_its_timeout(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck, ck.channel("news").subscribe() as messages:
        started_s = time.monotonic()
        assert await messages.get(timeout=0.05) is None
        assert 0.04 < time.monotonic() - started_s < 2
        await ck.channel("news").publish(1)
        message = await messages.get(timeout=5)
        assert message is not None
        assert message.data == 1


async def test_async_reader_that_is_cancelled_loses_no_message(server_url: str) -> None:
    got: list[object] = []
    async with AsyncClient.from_url(server_url) as ck, ck.channel("news").subscribe() as messages:

        async def read_one() -> None:
            message = await messages.get()
            assert message is not None
            got.append(message.data)

        published = 0
        while published < 100:
            reader = asyncio.create_task(read_one())
            await asyncio.sleep(0)
            await ck.channel("news").publish(published)
            published += 1
            reader.cancel()
            await asyncio.wait({reader})
        while len(got) < published and (message := await messages.get(timeout=5)) is not None:
            got.append(message.data)
        assert await messages.get(timeout=0.05) is None
    assert got == list(range(100))


async def test_async_subscription_reports_a_gap_after_a_lost_connection_and_goes_on(server: Peer) -> None:
    async with AsyncClient.from_url(server.url) as ck:
        news = ck.channel("news")
        async with news.subscribe(gaps=True) as messages, news.subscribe() as plain:
            await news.publish("before")
            assert await messages.get(timeout=5) == Message("news", "before")
            kill_subscribers(server)
            assert await messages.get(timeout=5) == Gap("news", None)
            assert await news.publish("after") == 1
            assert await messages.get(timeout=5) == Message("news", "after")
            assert [(await anext(plain)).data for _ in range(2)] == ["before", "after"]
            assert plain.statistics().gaps == 1


async def test_async_subscription_survives_a_restarted_server(start_peer: PeerFactory) -> None:
    server = start_peer("valkey")
    async with AsyncClient.from_url(server.url) as ck, ck.channel("news").subscribe(gaps=True) as messages:
        server.kill()
        start_peer("valkey", port=server.port)
        assert await messages.get(timeout=10) == Gap("news", None)
        assert await ck.channel("news").publish("back") == 1
        assert await messages.get(timeout=5) == Message("news", "back")


async def test_async_slow_reader_loses_the_oldest_and_is_told(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        news = ck.channel("news")
        async with news.subscribe(buffer=10, gaps=True) as slow, news.subscribe() as quick:
            for number in range(100):
                await news.publish(number)
            assert [(await anext(quick)).data for _ in range(100)] == list(range(100))
            assert await anext(slow) == Gap("news", 90)
            assert await anext(slow) == Message("news", 90)
            counted = slow.statistics()
            assert (counted.received, counted.dropped, counted.buffered) == (100, 90, 9)


async def test_async_slow_reader_with_policy_error_raises_after_what_is_held(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        news = ck.channel("news")
        async with news.subscribe(buffer=2, overflow="error") as slow, news.subscribe() as quick:
            for number in range(3):
                await news.publish(number)
            for _ in range(3):
                await anext(quick)
            assert [(await anext(slow)).data for _ in range(2)] == [0, 1]
            with pytest.raises(SubscriptionOverflow, match="'news'"):
                await anext(slow)


async def test_async_subscription_ends_when_the_client_is_closed(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck, ck.channel("news").subscribe() as messages:
        reader = asyncio.create_task(messages.get())
        await asyncio.sleep(0.01)
        await ck.aclose()
        assert await asyncio.wait_for(reader, 5) is None
        assert [message async for message in messages] == []


async def test_async_subscription_outside_its_block_raises(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        messages = ck.channel("news").subscribe()
        with pytest.raises(ConfigurationError, match="'news' is not open"):
            await messages.get()
        async with messages:
            with pytest.raises(ConfigurationError, match=r"'news' is not open.*only once"):
                await messages.__aenter__()


async def test_async_subscribe_without_a_server_raises() -> None:
    async with AsyncClient.from_url(f"redis://127.0.0.1:{free_port()}", timeout=0.2) as ck:
        with pytest.raises(ServerUnavailable):
            await ck.channel("news").subscribe().__aenter__()


def test_subscription_gets_what_is_published_from_its_start_on(server_url: str) -> None:
    with Client.from_url(server_url) as ck, Client.from_url(server_url) as other:
        assert other.channel("news").publish("too early") == 0
        with ck.channel("news").subscribe() as messages:
            for data in HELD:
                assert other.channel("news").publish(data) == 1
            got = [next(messages) for _ in HELD]
            assert messages.get(timeout=0.01) is None
        assert got == [Message("news", data) for data in HELD]
        deadline_s = time.monotonic() + 5  # the subscription thread says so to the server in its next turn
        while other.channel("news").publish("too late"):
            assert time.monotonic() < deadline_s


def test_subscription_until_quiet_ends_when_nothing_comes(server_url: str) -> None:
    with Client.from_url(server_url) as ck, ck.channel("news").subscribe() as messages:
        for number in range(500):
            ck.channel("news").publish(number)
        assert [message.data for message in messages.until_quiet(1.0)] == list(range(500))


def test_subscription_is_ended_by_close_in_another_thread(server_url: str) -> None:
    with Client.from_url(server_url) as ck, ck.channel("news").subscribe() as messages:
        ck.channel("news").publish("last")
        timer = threading.Timer(0.1, messages.close)
        timer.start()
        assert [message.data for message in messages] == ["last"]
        timer.join()


def test_subscription_is_ended_by_the_end_of_its_client(server_url: str) -> None:
    with Client.from_url(server_url) as ck, ck.channel("news").subscribe() as messages:
        timer = threading.Timer(0.1, ck.close)
        timer.start()
        assert list(messages) == []
        timer.join()


def test_subscription_reports_a_gap_after_a_lost_connection_and_goes_on(server: Peer) -> None:
    with Client.from_url(server.url) as ck:
        news = ck.channel("news")
        with news.subscribe(gaps=True) as messages:
            kill_subscribers(server)
            assert messages.get(timeout=5) == Gap("news", None)
            assert news.publish("after") == 1
            assert messages.get(timeout=5) == Message("news", "after")
            assert messages.statistics().gaps == 1


def test_slow_reader_with_policy_drop_newest_keeps_the_first(server_url: str) -> None:
    with Client.from_url(server_url) as ck:
        news = ck.channel("news")
        with news.subscribe(buffer=2, overflow="drop_newest", gaps=True) as slow, news.subscribe() as quick:
            for number in range(5):
                news.publish(number)
            assert [next(quick).data for _ in range(5)] == [0, 1, 2, 3, 4]
            assert list(slow.until_quiet(0.1)) == [Message("news", 0), Message("news", 1), Gap("news", 3)]
