"""A user's blocking redis-py client shared with event loops, on asyncio, uvloop and trio; and what trio refuses."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.to_thread
import pytest
import redis
import redis.asyncio

from coordkit import (
    GCRA,
    AsyncClient,
    Client,
    ConfigurationError,
    LockTimeout,
    Message,
    OutcomeUnknown,
    Queue,
    ServerUnavailable,
)
from coordkit.errors import ClientClosed
from coordkit.queue.worker import Worker
from coordkit.transports import errands
from coordkit.transports.shared_threads import ThreadedSharedTransport
from tests.peers import Peer
from tests.proxy import FaultyProxy

mail = Queue("mail")


@mail.job(retries=0)
async def note(ctx: object, number: int) -> int:
    return number


Run = Callable[[Callable[[], Awaitable[None]]], None]


def _run_asyncio(main: Callable[[], Awaitable[None]]) -> None:
    anyio.run(main)


def _run_uvloop(main: Callable[[], Awaitable[None]]) -> None:
    pytest.importorskip("uvloop")
    anyio.run(main, backend_options={"use_uvloop": True})


def _run_trio(main: Callable[[], Awaitable[None]]) -> None:
    anyio.run(main, backend="trio")


EVERYWHERE = pytest.mark.parametrize("run", [_run_asyncio, _run_uvloop, _run_trio], ids=["asyncio", "uvloop", "trio"])
BUNDLED = pytest.mark.parametrize("server", ["bundled"], indirect=True)


@contextmanager
def theirs_of(url: str, **options: Any) -> Iterator[Any]:
    client: Any = redis.Redis.from_url(url, **options)
    yield client
    client.close()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Threads of the toolkit end with its clients."""
    before = set(threading.enumerate())
    yield
    deadline_s = time.monotonic() + 20
    while left := {one for one in threading.enumerate() if one.name.startswith("coordkit")} - before:
        assert time.monotonic() < deadline_s, left
        time.sleep(0.01)


async def waiters(ck: AsyncClient, number: int) -> None:
    """Wait until so many wait for the lock."""
    with anyio.fail_after(20):
        while (await ck.lock("l").info()).waiters != number:
            await anyio.sleep(0.005)


async def every_primitive(ck: AsyncClient, own: AsyncClient) -> None:
    """A turn with each through the shared client, with `own` on the other side."""
    await ck.ping()
    lease = await own.lock("l", ttl=30).acquire()
    async with anyio.create_task_group() as group:

        async def take() -> None:
            async with ck.lock("l").hold(timeout=20) as mine:
                assert mine.fence > lease.fence

        group.start_soon(take)
        await waiters(own, 1)
        started_s = time.monotonic()
        await lease.release()
    assert time.monotonic() - started_s < 15  # the lease would have lasted 30 s
    assert (await own.lock("l").info()).owner is None
    decisions = [await ck.limiter("api", GCRA(2, 60)).check("u") for _ in range(3)]
    assert [decision.allowed for decision in decisions] == [True, True, False]
    async with ck.channel("news").subscribe() as messages:
        for number in range(50):
            assert await own.channel("news").publish(number) == 1
        with anyio.fail_after(20):
            heard = [await messages.get() for _ in range(50)]
    assert [message.data for message in heard if isinstance(message, Message)] == list(range(50))
    with anyio.fail_after(20):
        while await ck.channel("news").publish("x"):
            await anyio.sleep(0.01)


@EVERYWHERE
@pytest.mark.parametrize("options", [{}, {"protocol": 3, "decode_responses": True}], ids=["plain", "resp3-decoding"])
def test_every_primitive_runs_through_a_blocking_client_that_is_shared(
    server: Peer, run: Run, options: dict[str, Any]
) -> None:
    with theirs_of(server.url, **options) as theirs:

        async def main() -> None:
            async with AsyncClient(redis=theirs, share=True) as ck, AsyncClient(redis=theirs) as own:
                assert isinstance(ck.backend.transport, ThreadedSharedTransport)
                await every_primitive(ck, own)
                with Client.from_url(server.url) as blocking:
                    worker = Worker(mail, ck, blocking)
                    async with anyio.create_task_group() as group:
                        group.start_soon(worker.run)
                        assert await (await ck.queue(mail).enqueue(note, number=7)).result(20) == 7
                        worker.drain()
            with pytest.raises(ClientClosed):
                await ck.ping()

        run(main)
        assert theirs.ping()
        assert theirs.set("k", "v")
        assert theirs.get("k") in {"v", b"v"}


@EVERYWHERE
@BUNDLED
@pytest.mark.parametrize("kind", [redis.Redis, redis.asyncio.Redis])
def test_settings_of_any_redis_client_are_borrowed_on_every_loop(server: Peer, run: Run, kind: Any) -> None:
    async def main() -> None:
        async with AsyncClient(redis=kind.from_url(server.url)) as ck, AsyncClient.from_url(server.url) as own:
            await every_primitive(ck, own)

    run(main)


@EVERYWHERE
@BUNDLED
def test_silent_server_costs_a_caller_one_deadline_though_the_thread_waits_on(server: Peer, run: Run) -> None:
    with FaultyProxy(server.port) as proxy, theirs_of(proxy.url, socket_timeout=8) as theirs:

        async def main() -> None:
            async with AsyncClient(redis=theirs, share=True, timeout=0.4) as ck:
                limiter = ck.limiter("api", GCRA(10, 1e6))
                await limiter.check("u")
                proxy.mute = True
                started_s = time.monotonic()
                with pytest.raises(OutcomeUnknown):
                    await limiter.check("u")
                with pytest.raises(ServerUnavailable, match="probed in the background"):
                    await ck.ping()
                assert time.monotonic() - started_s < 6  # not the 8 s of the socket
                proxy.heal()
                with anyio.fail_after(20):
                    while True:
                        try:
                            decision = await limiter.check("u")
                            break
                        except (ServerUnavailable, OutcomeUnknown):
                            await anyio.sleep(0.01)
                assert decision.remaining == 7  # sent again, counted once

        run(main)


@EVERYWHERE
@BUNDLED
def test_call_that_is_cancelled_takes_back_what_it_gets_later(server: Peer, run: Run) -> None:
    with FaultyProxy(server.port) as proxy, theirs_of(proxy.url, socket_timeout=8) as theirs:

        async def main() -> None:
            async with AsyncClient(redis=theirs, share=True) as ck, AsyncClient.from_url(server.url) as own:
                await ck.ping()
                proxy.delay_s = 0.5
                with anyio.move_on_after(0.1) as scope:
                    await ck.lock("l").acquire()
                assert scope.cancelled_caught
                proxy.delay_s = 0.0
                with anyio.fail_after(20):
                    while await own.lock("l").locked():
                        await anyio.sleep(0.01)
                async with own.lock("l").hold():
                    with pytest.raises(LockTimeout):
                        await ck.lock("l").acquire(timeout=0.05)
                    with anyio.move_on_after(0.1):
                        await ck.lock("l").acquire()
                await waiters(own, 0)
                assert not await own.lock("l").locked()

        run(main)


@EVERYWHERE
@BUNDLED
def test_subscription_comes_back_after_a_cut_and_ends_when_its_client_is_closed(server: Peer, run: Run) -> None:
    with FaultyProxy(server.port) as proxy, theirs_of(proxy.url) as theirs:

        async def main() -> None:
            async with AsyncClient.from_url(server.url) as own:
                ck = AsyncClient(redis=theirs, share=True)
                async with ck.channel("news").subscribe(gaps=True) as messages:
                    proxy.cut()
                    with anyio.fail_after(20):
                        assert type(await messages.get()).__name__ == "Gap"
                        assert await own.channel("news").publish("hello") == 1
                        assert getattr(await messages.get(), "data", None) == "hello"
                        async with anyio.create_task_group() as group:

                            async def listen() -> None:
                                assert await messages.get() is None

                            group.start_soon(listen)
                            await anyio.sleep(0.05)
                            await ck.aclose()
                with anyio.fail_after(20):
                    while await own.channel("news").publish("x"):
                        await anyio.sleep(0.01)

        run(main)


@BUNDLED
def test_connection_that_listened_goes_back_to_the_pool_unconnected(server: Peer) -> None:
    with theirs_of(server.url, max_connections=2) as theirs:

        async def main() -> None:
            async with AsyncClient(redis=theirs, share=True) as ck, ck.channel("news").subscribe() as messages:
                assert await ck.channel("news").publish("x") == 1
                assert getattr(await messages.get(20), "data", None) == "x"

        _run_trio(main)
        assert [theirs.echo("a"), theirs.echo("b")] == [b"a", b"b"]


@BUNDLED
def test_one_client_is_shared_by_loops_of_two_libraries_and_used_again_after_both(server: Peer) -> None:
    with theirs_of(server.url) as theirs:
        ck = AsyncClient(redis=theirs, share=True)
        together = threading.Barrier(2)

        async def main() -> None:
            async with ck, AsyncClient.from_url(server.url) as own:
                name = f"channel of {threading.get_ident()}"
                async with ck.channel(name).subscribe() as messages:
                    await anyio.to_thread.run_sync(together.wait, 20)
                    assert await own.channel(name).publish("hello") == 1
                    assert getattr(await messages.get(20), "data", None) == "hello"
                    await anyio.to_thread.run_sync(together.wait, 20)

        threads = [threading.Thread(target=run, args=(main,)) for run in (_run_asyncio, _run_trio)]
        failures: list[object] = []
        before, threading.excepthook = threading.excepthook, failures.append
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
        finally:
            threading.excepthook = before
        assert not failures

        async def again() -> None:
            async with ck:
                await ck.ping()

        _run_trio(again)


@BUNDLED
def test_more_calls_than_threads_are_all_made(server: Peer) -> None:
    with theirs_of(server.url) as theirs:

        async def main() -> None:
            async with AsyncClient(redis=theirs, share=True, timeout=60) as ck:
                together = 10 * errands.MAX_THREADS
                limiter = ck.limiter("api", GCRA(2 * together, 1e6))
                async with anyio.create_task_group() as group:
                    for _ in range(together):
                        group.start_soon(limiter.check, "u")
                mine = [one for one in threading.enumerate() if one.name == "coordkit-errands"]
                assert 1 <= len(mine) <= errands.MAX_THREADS
                assert (await limiter.peek("u")).remaining == together

        _run_trio(main)


def test_errand_that_no_thread_has_taken_is_never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errands, "MAX_THREADS", 1)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        taken, free = asyncio.Event(), threading.Event()
        run: list[str] = []
        sent = errands.Errands()

        def hold() -> bool:
            loop.call_soon_threadsafe(taken.set)
            return free.wait(30)

        held = sent.send(loop, hold)
        await taken.wait()
        waiting = sent.send(loop, lambda: run.append("second"))
        third = sent.send(loop, lambda: run.append("third"))
        assert not sent.give_up(held)
        assert sent.give_up(waiting)
        assert not sent.give_up(waiting)
        free.set()
        assert await held.future is True
        await third.future
        assert run == ["third"]
        sent.end_idle()

    asyncio.run(main())


def test_asyncio_client_is_refused_on_trio_where_it_is_shared_with_what_to_do() -> None:
    theirs = redis.asyncio.Redis()
    made_outside = AsyncClient(redis=theirs, share=True)
    reached: list[str] = []

    async def main() -> None:
        with pytest.raises(ConfigurationError, match=r"share a blocking redis\.Redis .* or leave out share=True"):
            AsyncClient(redis=theirs, share=True)
        reached.append("at construction")
        with pytest.raises(ConfigurationError, match=r"share a blocking redis\.Redis .* or leave out share=True"):
            await made_outside.ping()
        with pytest.raises(ConfigurationError, match="on trio"):
            await made_outside.channel("news").subscribe().__aenter__()
        reached.append("at first use")

    _run_trio(main)
    assert reached == ["at construction", "at first use"]
