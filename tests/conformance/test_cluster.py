"""A real cluster of three masters and three replicas: every primitive, a slot on its way, a master that is killed."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordkit import GCRA, AsyncClient, Client, CoordkitError, Queue
from coordkit.keys import Keys
from coordkit.transports.slots import slot_of
from tests.peers import Peer, PeerMissing, free_port, start_redis
from tests.programs import program

pytestmark = [pytest.mark.peers, pytest.mark.timeout(120)]

mail = Queue("mail")


@mail.job()
async def note(ctx: object, number: int) -> None: ...


def soon(condition: Callable[[], bool], within_s: float = 40) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def says(node: Peer, fact: bytes, *words: str) -> bool:
    """Whether the reply of the node holds `fact`."""
    with contextlib.suppress(OSError):
        return fact in node.command(*words)
    return False


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[Peer]]:
    """Six nodes that serve all slots, masters first."""
    nodes: list[Peer] = []
    try:
        for number in range(6):
            port = free_port()
            while port > 55_000:  # its bus listens 10,000 above
                port = free_port()
            options = (
                *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-config-file", "nodes"),
                *("--repl-diskless-sync-delay", "0"),
            )
            nodes.append(start_redis(tmp_path / str(number), *options, port=port))
        hosts = [f"127.0.0.1:{node.port}" for node in nodes]
        command = (program("redis-cli"), "--cluster", "create", *hosts, "--cluster-replicas", "1", "--cluster-yes")
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        for node in nodes:
            soon(lambda node=node: says(node, b"cluster_state:ok", "CLUSTER", "INFO"))  # type: ignore[misc]
        nodes.sort(key=lambda node: not says(node, b"role:master", "INFO", "replication"))
        for replica in nodes[3:]:  # only one that has its master's data may take its place
            soon(lambda replica=replica: says(replica, b"master_link_status:up", "INFO", "replication"))  # type: ignore[misc]
        yield nodes
    except PeerMissing as reason:
        pytest.skip(str(reason))
    finally:
        for node in nodes:
            node.stop()


def url_of(nodes: list[Peer]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)


async def everything(ck: AsyncClient) -> None:
    """Each primitive, with keys on all nodes."""
    names = [f"name{number}" for number in range(20)]
    leases = [await ck.lock(name, ttl=1.0).acquire(timeout=5) for name in names]
    assert all(await asyncio.gather(*(ck.limiter("api", GCRA(10, 60)).check(name) for name in names)))
    await asyncio.sleep(1.5)  # renewed, in as many scripts as there are slots
    for lease in leases:
        lease.check()
        assert await lease.release()
    async with ck.channel("news").subscribe() as messages:
        assert await ck.channel("news").publish("hello") == 1
        async for message in messages:
            assert getattr(message, "data", None) == "hello"
            break
    job = await ck.queue(mail).enqueue(note, number=1)
    assert (await job.info()).state == "ready"


async def test_every_primitive_works_on_a_cluster_through_a_reshard_and_a_failover(cluster: list[Peer]) -> None:
    url = url_of(cluster)
    async with AsyncClient.from_url(url, timeout=5) as ck:
        await everything(ck)
        await waiters_are_woken(ck, url)
        await slots_on_their_way_are_followed(ck, cluster)
        await the_death_of_a_master_is_survived(ck, cluster)
    with Client.from_url(url, timeout=5) as blocking:
        for number in range(20):
            with blocking.lock(f"other{number}").hold(timeout=5):
                assert blocking.limiter("api", GCRA(10, 60)).check(f"other{number}")
    assert len(asyncio.all_tasks()) == 1


async def waiters_are_woken(ck: AsyncClient, url: str) -> None:
    """A waiter hears at once of a release, on whichever node the lock is."""
    async with AsyncClient.from_url(url) as other:
        for number in range(6):
            held = await ck.lock(f"wait{number}").acquire()
            waiting = asyncio.create_task(other.lock(f"wait{number}").acquire(timeout=20))
            while (await ck.lock(f"wait{number}").info()).waiters != 1:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.2)
            released_s = time.monotonic()
            await held.release()
            lease = await waiting
            assert time.monotonic() - released_s < 1.0
            await lease.release()


async def slots_on_their_way_are_followed(ck: AsyncClient, nodes: list[Peer]) -> None:
    """A slot that is being moved (ASK), and that has been moved (MOVED)."""
    limiter = ck.limiter("api", GCRA(1000, 1e7))
    assert (await limiter.check("moving")).remaining == 999
    slot = slot_of(Keys.of("ck").limit("api", "gcra") + b"moving")
    owners = {node.command("CLUSTER", "MYID").split(b"\r\n")[1].decode(): node for node in nodes[:3]}
    source_id, source = next(
        (i, n) for i, n in owners.items() if not n.command("GET", f"{{{word_in(slot)}}}").startswith(b"-")
    )
    target_id, target = next((i, n) for i, n in owners.items() if n is not source)
    assert target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id) == b"+OK\r\n"
    assert source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id) == b"+OK\r\n"
    key = b"ck:limit:api:gcra:moving"
    assert source.command("MIGRATE", "127.0.0.1", target.port, key, 0, 5000) == b"+OK\r\n"
    assert (await limiter.check("moving")).remaining == 998  # ASK
    for node in (target, source, *nodes[:3]):
        node.command("CLUSTER", "SETSLOT", slot, "NODE", target_id)
    assert (await limiter.check("moving")).remaining == 997  # MOVED


def word_in(slot: int) -> str:
    """Some word of the slot."""
    return next(str(number) for number in range(1_000_000) if slot_of(b"%d" % number) == slot)


async def the_death_of_a_master_is_survived(ck: AsyncClient, nodes: list[Peer]) -> None:
    """After a master was killed its replica serves its slots; no call outlasts its deadline meanwhile."""
    nodes[0].kill()
    deadline_s = time.monotonic() + 40
    names = [f"after{number}" for number in range(30)]
    while True:
        started_s = time.monotonic()
        results = await asyncio.gather(
            *(ck.limiter("api", GCRA(10, 60)).peek(name) for name in names), return_exceptions=True
        )
        assert time.monotonic() - started_s < 5.0 + 0.3
        assert all(not isinstance(one, Exception) or isinstance(one, CoordkitError) for one in results), results
        if not any(isinstance(one, Exception) for one in results):
            break
        assert time.monotonic() < deadline_s, results
        await asyncio.sleep(0.1)
    for name in names:
        async with ck.lock(name).hold(timeout=5):
            pass
