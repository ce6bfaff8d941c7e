"""The same client on other event loops: uvloop, one loop after the other, several loops in several threads, a child."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from coordkit import GCRA, AsyncClient, Queue
from tests.peers import Peer

mail = Queue("mail")


@mail.job()
async def note(ctx: object, number: int) -> None: ...


async def everything(ck: AsyncClient, name: str) -> None:
    """A turn with each primitive."""
    async with ck.lock(name).hold(timeout=5) as lease:
        assert lease.expires_in() > 0
    assert await ck.limiter("api", GCRA(1000, 60)).check(name)
    await ck.queue(mail).enqueue(note, number=1)
    async with ck.channel(name).subscribe() as messages:
        assert await ck.channel(name).publish("hello") == 1
        async for message in messages:
            assert getattr(message, "data", None) == "hello"
            break


def test_every_primitive_works_on_uvloop(server: Peer) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        async with AsyncClient.from_url(server.url) as ck:
            await everything(ck, "a")
            await asyncio.gather(*(ck.limiter("api", GCRA(10_000, 60)).check("u") for _ in range(1000)))
        assert len(asyncio.all_tasks()) == 1

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def test_one_client_serves_several_loops_in_several_threads_and_each_closes_its_own(server: Peer) -> None:
    ck = AsyncClient.from_url(server.url)
    together = threading.Barrier(4)

    async def main(name: str) -> int:
        await ck.ping()
        together.wait(10)
        results = await asyncio.gather(*(ck.backend.execute(("ECHO", f"{name}:{turn}")) for turn in range(300)))
        assert results == [f"{name}:{turn}".encode() for turn in range(300)]
        await everything(ck, name)
        await ck.aclose()
        return len(asyncio.all_tasks())

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda name: asyncio.run(main(name)), "abcd")) == [1, 1, 1, 1]


def test_forked_child_runs_a_loop_of_its_own_on_connections_of_its_own(server: Peer) -> None:
    ck = AsyncClient.from_url(server.url)

    async def identity() -> object:
        return await ck.backend.execute(("CLIENT", "ID"))

    loop = asyncio.new_event_loop()
    parent = loop.run_until_complete(identity())
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if asyncio.run(identity()) != parent else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert loop.run_until_complete(identity()) == parent
    loop.run_until_complete(ck.aclose())
    loop.close()
