"""The asynchronous client on asyncio, uvloop and trio, through anyio, whose scopes cancel alike on all of them."""

import asyncio
import functools
import ssl
import subprocess
import threading
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.lowlevel
import pytest

from coordkit import (
    GCRA,
    AsyncClient,
    Client,
    JobFailed,
    LeaseLost,
    LimitTimeout,
    LockTimeout,
    Queue,
    ServerUnavailable,
    SlidingWindow,
)
from coordkit.queue.worker import JobContext, Worker
from tests.conftest import PeerFactory
from tests.outages import TIMEOUT_S, back, bounded, in_time, no_task_is_left
from tests.peers import Peer
from tests.programs import program
from tests.proxy import FaultyProxy

MOST_STEPS: Final = 60

Main = Callable[[], Coroutine[Any, Any, None]]
Library = Callable[[Main], None]


async def alone(main: Main) -> None:
    """Run it; then no task of the toolkit is there any more."""
    await main()
    await no_task_is_left()


def on(backend: str, **options: bool) -> Library:
    """What runs a test on the library."""
    return lambda main: anyio.run(functools.partial(alone, main), backend=backend, backend_options=options)


LIBRARIES: Final[dict[str, Library]] = {
    "asyncio": on("asyncio"),
    "uvloop": on("asyncio", use_uvloop=True),
    "trio": on("trio"),
}

# What differs is the library: one server shows it as well as three.
pytestmark = pytest.mark.parametrize("server", ["bundled"], indirect=True)

mail = Queue("mail", lease=1.0)


@mail.job(retries=0)
async def double(ctx: JobContext, number: int) -> int:
    await anyio.sleep(0.01)
    return 2 * number


@mail.job(retries=0)
def triple(ctx: JobContext, number: int) -> int:
    return 3 * number


@mail.job(retries=0, timeout=0.05)
async def endless(ctx: JobContext) -> None:
    await anyio.sleep(60)


@mail.job(retries=0)
async def impatient(ctx: JobContext) -> None:
    raise TimeoutError("my own")


@mail.job(retries=0)
async def stuck(ctx: JobContext) -> str:
    await anyio.sleep(0.05 if ctx.crashes or ctx.attempt > 1 else 60)
    return "done"


@pytest.fixture(params=LIBRARIES, ids=str)
def library(request: pytest.FixtureRequest) -> Library:
    return LIBRARIES[request.param]


@asynccontextmanager
async def client(url: str, **options: Any) -> AsyncIterator[AsyncClient]:
    """A client that is closed in the end."""
    async with AsyncClient.from_url(url, **options) as ck:
        yield ck


async def soon(condition: Callable[[], Awaitable[object]]) -> None:
    with anyio.fail_after(15):
        while not await condition():
            await anyio.sleep(0.002)


# -- what works ----------------------------------------------------------------------------------------------------


def test_lock_excludes_wakes_by_push_and_times_out(server: Peer, library: Library) -> None:
    async def main() -> None:
        async with client(server.url) as ck, client(server.url) as other:
            order: list[int] = []

            async def work(number: int) -> None:
                async with (ck if number % 2 else other).lock("l").hold(timeout=10):
                    order.append(number)
                    await anyio.sleep(0.001)
                    order.append(number)

            async with anyio.create_task_group() as group:
                for number in range(12):
                    group.start_soon(work, number)
            assert order[::2] == order[1::2]
            assert sorted(order[::2]) == list(range(12))
            lease = await ck.lock("l").acquire()
            with pytest.raises(LockTimeout):
                await other.lock("l").acquire(timeout=0.05)
            assert (await other.lock("l").info()).waiters == 0
            assert await lease.release()

    library(main)


def test_lease_is_renewed_and_its_loss_cancels_the_body(server: Peer, library: Library) -> None:
    async def main() -> None:
        async with client(server.url) as ck:
            async with ck.lock("l", ttl=1.0).hold() as lease:
                await anyio.sleep(1.2)
                lease.check()
            assert not await ck.lock("l").locked()
            with pytest.raises(LeaseLost):  # noqa: PT012 - the body is the subject
                async with ck.lock("l", ttl=0.3).hold() as lease:
                    await ck.backend.execute(("FLUSHALL",))
                    await anyio.sleep(30)
            await lease.lost.wait()
            with pytest.raises(LeaseLost, match="no longer has it"):  # noqa: PT012 - as above
                async with ck.lock("l").hold() as lease:
                    await ck.backend.execute(("FLUSHALL",))
                    await lease.extend(60)

    library(main)


def test_scope_around_a_hold_that_is_cancelled_releases_and_goes_on_as_cancelled(
    server: Peer, library: Library
) -> None:
    async def main() -> None:
        async with client(server.url) as ck:
            with anyio.move_on_after(0.05) as scope:
                async with ck.lock("l").hold():
                    await anyio.sleep(30)
            assert scope.cancelled_caught
            assert not await ck.lock("l").locked()

    library(main)


@pytest.mark.parametrize("algorithm", [GCRA(5, 0.5), SlidingWindow(5, 0.5)], ids=lambda one: one.kind)
def test_limiter_admits_refuses_and_waits(server: Peer, library: Library, algorithm: GCRA | SlidingWindow) -> None:
    async def main() -> None:
        async with client(server.url) as ck:
            limiter = ck.limiter("api", algorithm)
            admitted = [bool(await limiter.check("u")) for _ in range(6)]
            assert admitted == [True] * 5 + [False]
            with pytest.raises(LimitTimeout):
                await limiter.acquire("u", 5, timeout=0.001)
            assert await limiter.acquire("u", timeout=5)
            assert await limiter.reset("u")

    library(main)


def test_worker_runs_jobs_of_every_kind(server: Peer, library: Library) -> None:
    async def main() -> None:
        with Client.from_url(server.url) as blocking:
            async with client(server.url) as ck, anyio.create_task_group() as group:
                worker = Worker(mail, ck, blocking, drain_timeout=5)
                group.start_soon(worker.run)
                queue = ck.queue(mail)
                jobs = [await queue.enqueue(double, number=number) for number in range(20)]
                assert [await job.result(10) for job in jobs] == [2 * number for number in range(20)]
                assert await (await queue.enqueue(triple, number=2)).result(10) == 6
                with pytest.raises(JobFailed, match=r"not done within 0\.05 s"):
                    await (await queue.enqueue(endless)).result(10)
                with pytest.raises(JobFailed, match="TimeoutError: my own"):
                    await (await queue.enqueue(impatient)).result(10)
                worker.drain()
            assert worker.report.count("done") == 21

    library(main)


def test_worker_that_is_cancelled_or_released_leaves_its_job_to_the_next(server: Peer, library: Library) -> None:
    async def main() -> None:
        with Client.from_url(server.url) as blocking:
            async with client(server.url) as ck:
                queue = ck.queue(mail)
                job = await queue.enqueue(stuck)

                async def leased() -> bool:
                    return (await job.info()).state == "leased"

                async with anyio.create_task_group() as group:
                    group.start_soon(Worker(mail, ck, blocking).run)
                    await soon(leased)
                    group.cancel_scope.cancel()
                async with anyio.create_task_group() as group:
                    worker = Worker(mail, ck, blocking)
                    group.start_soon(worker.run)
                    assert await job.result(15) == "done"  # when the lease has ended
                    worker.release()

    library(main)


def test_channel_delivers_and_ends_with_its_client(server: Peer, library: Library) -> None:
    async def main() -> None:
        async with (
            client(server.url) as ck,
            client(server.url) as other,
            ck.channel("news").subscribe() as messages,
        ):
            for number in range(100):
                assert await other.channel("news").publish(number) == 1
            assert [getattr(await messages.get(5), "data", None) for _ in range(100)] == list(range(100))
            assert await messages.get(0.01) is None

            async def ended() -> None:
                assert [message async for message in messages] == []

            async with anyio.create_task_group() as group:
                group.start_soon(ended)
                await anyio.lowlevel.checkpoint()
                await ck.aclose()

    library(main)


def test_embedded_server_starts_and_ends_with_its_client(server: Peer, library: Library) -> None:
    async def main() -> None:
        async with client("embedded://") as ck, ck.lock("l").hold(timeout=5):
            assert await ck.lock("l").locked()

    library(main)


def test_large_values_and_many_calls_at_once_come_through_whole(server: Peer, library: Library) -> None:
    async def main() -> None:
        value = bytes(range(256)) * 12_000
        async with client(server.url) as ck:
            execute = ck.backend.execute
            await execute(("SET", "big", value))
            assert await execute(("GET", "big")) == value
            wrong = []

            async def echo(number: int) -> None:
                if await execute(("ECHO", number)) != b"%d" % number:
                    wrong.append(number)

            async with anyio.create_task_group() as group:
                for number in range(6000):
                    group.start_soon(echo, number)
            assert not wrong

    library(main)


def test_storm_of_cancellations_never_gives_anothers_reply(server: Peer, library: Library) -> None:
    async def main() -> None:
        async with client(server.url) as ck:
            wrong: list[bytes] = []

            async def echo(word: bytes, scope: anyio.CancelScope) -> None:
                with scope:
                    if await ck.backend.execute(("ECHO", word)) != word:
                        wrong.append(word)

            for wave in range(20):
                scopes = [anyio.CancelScope() for _ in range(60)]
                async with anyio.create_task_group() as group:
                    for number, scope in enumerate(scopes):
                        group.start_soon(echo, b"%d:%d" % (wave, number), scope)
                    for _ in range(wave % 4):
                        await anyio.lowlevel.checkpoint()
                    for scope in scopes[wave % 2 :: 2]:
                        scope.cancel()
            assert not wrong

    library(main)


def test_one_client_serves_trio_and_asyncio_in_two_threads_at_once(server: Peer) -> None:
    ck = AsyncClient.from_url(server.url)
    together = threading.Barrier(2)
    done: list[str] = []

    async def main(name: str) -> None:
        await ck.ping()
        together.wait(10)
        for turn in range(200):
            word = f"{name}{turn}".encode()
            assert await ck.backend.execute(("ECHO", word)) == word
        async with ck.lock("l").hold(timeout=10):
            done.append(name)
        await ck.aclose()

    threads = [
        threading.Thread(target=LIBRARIES[name], args=(lambda name=name: main(name),)) for name in ("trio", "asyncio")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(done) == ["asyncio", "trio"]


def test_trio_speaks_tls(server: Peer, start_peer: PeerFactory, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    options = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext {names} -keyout {key} -out {cert}"
    subprocess.run([program("openssl"), *options.split()], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(ready: threading.Event, ports: list[int], ended: threading.Event) -> None:
        async def pair(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            upstream, downstream = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(forward(reader, downstream), forward(upstream, writer))

        async with await asyncio.start_server(pair, "127.0.0.1", 0, ssl=context) as listener:
            ports.append(listener.sockets[0].getsockname()[1])
            ready.set()
            await asyncio.to_thread(ended.wait, 30)

    ready, ended, ports = threading.Event(), threading.Event(), list[int]()
    thread = threading.Thread(target=asyncio.run, args=(serve(ready, ports, ended),))
    thread.start()
    assert ready.wait(10)

    async def main() -> None:
        async with client(f"rediss://127.0.0.1:{ports[0]}?ssl_ca_certs={cert}") as ck:
            value = bytes(range(256)) * 4000
            await ck.backend.execute(("SET", "big", value))
            assert await ck.backend.execute(("GET", "big")) == value
            async with ck.lock("l").hold(timeout=5):
                pass
        with pytest.raises(ServerUnavailable, match="certificate"):
            async with client(f"rediss://127.0.0.1:{ports[0]}") as ck:
                await ck.ping()

    LIBRARIES["trio"](main)
    ended.set()
    thread.join(10)


# -- cancelled at every await point -------------------------------------------------------------------------------


@types.coroutine
def cancelled_at(
    work: Coroutine[Any, Any, object], step: int, cancel: Callable[[], None]
) -> Generator[Any, Any, object]:
    """What `work` returns; `cancel` is called when it waits for the `step`th time."""
    waited, failure, sent = 0, None, None
    while True:
        try:
            trap = work.send(sent) if failure is None else work.throw(failure)
        except StopIteration as stop:
            return stop.value
        waited += 1
        if waited == step:
            cancel()
        failure = sent = None
        try:
            sent = yield trap
        except BaseException as exc:
            failure = exc


async def every_step(make: Callable[[], Coroutine[Any, Any, object]], check: Callable[[], Awaitable[object]]) -> int:
    """At how many points the work was cancelled; `check` runs after each."""
    for step in range(1, MOST_STEPS):
        with anyio.CancelScope() as scope:
            await cancelled_at(make(), step, scope.cancel)
        await check()
        if not scope.cancel_called:
            return step - 1
    raise AssertionError(f"more than {MOST_STEPS} await points")


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "connecting"])
def test_lock_cancelled_at_every_await_point_is_free_afterwards(
    server: Peer, library: Library, connected: bool
) -> None:
    async def main() -> None:
        async with client(server.url) as other, client(server.url) as ck:
            await ck.ping()

            async def free() -> None:
                async def is_free() -> bool:
                    info = await other.lock("l").info()
                    return (info.owner, info.waiters) == (None, 0)

                await soon(is_free)

            async def hold() -> None:
                one = ck if connected else AsyncClient.from_url(server.url)
                try:
                    async with one.lock("l").hold(timeout=5):
                        await anyio.lowlevel.checkpoint()
                finally:
                    if not connected:
                        await one.aclose()

            assert await every_step(hold, free) >= 2

    library(main)


def test_lock_waited_for_and_cancelled_at_every_await_point_leaves_no_place_in_the_queue(
    server: Peer, library: Library
) -> None:
    async def main() -> None:
        async with client(server.url) as ck, client(server.url) as other, anyio.create_task_group() as group:
            await ck.ping()
            held = [await other.lock("l").acquire()]

            async def let_go() -> None:
                await anyio.sleep(0.02)
                await held.pop().release()

            async def wait_behind_a_holder() -> None:
                group.start_soon(let_go)
                async with ck.lock("l").hold(timeout=5):
                    pass

            async def nothing_left() -> None:
                async def is_free() -> bool:
                    return not held and (await other.lock("l").info()).waiters == 0

                await soon(is_free)
                held.append(await other.lock("l").acquire(timeout=5))

            assert await every_step(wait_behind_a_holder, nothing_left) >= 4
            await held[0].release()

    library(main)


def test_limiter_and_enqueue_cancelled_at_every_await_point_count_at_most_once(server: Peer, library: Library) -> None:
    async def main() -> None:
        async with client(server.url) as ck:
            limiter, queue = ck.limiter("api", GCRA(1000, 1e7)), ck.queue(mail)
            await ck.ping()
            steps = await every_step(lambda: limiter.check("u"), anyio.lowlevel.checkpoint)
            assert 1 <= 1000 - (await limiter.peek("u")).remaining <= steps + 1
            await every_step(lambda: queue.enqueue(double, number=1, key="once"), anyio.lowlevel.checkpoint)
            assert (await queue.stats()).enqueued == 1

    library(main)


def test_subscription_cancelled_at_every_await_point_leaves_the_channel_to_others(
    server: Peer, library: Library
) -> None:
    async def main() -> None:
        async with client(server.url) as ck:
            news = ck.channel("news")

            async def listen() -> None:
                async with news.subscribe() as messages:
                    await news.publish("hello")
                    await messages.get(1)

            async def heard_by_others() -> None:
                async with news.subscribe() as messages:
                    assert await news.publish("again") == 1
                    while getattr(await messages.get(5), "data", None) != "again":
                        pass  # what the cancelled one has published may come first

            assert await every_step(listen, heard_by_others) >= 2

    library(main)


# -- faults --------------------------------------------------------------------------------------------------------


def test_nothing_listens_is_said_at_once(server: Peer, library: Library) -> None:
    async def main() -> None:
        async with client("redis://127.0.0.1:1") as ck:
            with pytest.raises(ServerUnavailable, match="connection refused"):
                await ck.ping()

    library(main)


@pytest.mark.parametrize("fault", ["cut", "reset", "half_close", "mute", "refuse"])
def test_fault_is_survived_in_bounded_time_on_trio(server: Peer, fault: str) -> None:
    async def scenario(_: int) -> None:
        with FaultyProxy(server.port) as proxy:
            async with client(proxy.url, timeout=TIMEOUT_S) as ck, ck.channel("news").subscribe() as messages:
                limiter = ck.limiter("api", GCRA(1000, 1e7))
                await limiter.check("u")
                lease = await ck.lock("l", ttl=30).acquire()
                if fault in {"mute", "refuse"}:
                    setattr(proxy, fault, True)
                    proxy.cut()
                else:
                    getattr(proxy, fault)()
                for _ in range(3):
                    result = await bounded(lambda: limiter.check("u"), TIMEOUT_S)
                    assert not isinstance(result, Exception) or fault in {"mute", "refuse"}
                proxy.heal()
                await back(lambda: limiter.check("u"))
                assert await lease.release()

                async def heard() -> bool:
                    return await ck.channel("news").publish("hello") == 1

                await soon(heard)
                message = await messages.get(5)
                assert getattr(message, "data", None) == "hello"

    LIBRARIES["trio"](lambda: in_time(scenario))
