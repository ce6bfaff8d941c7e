"""Real clusters of three masters and three replicas, of Redis and of Valkey: every primitive, also by shared clients
and on trio, a slot on its way, a master that is killed while others listen on it.
"""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import trio

from coordkit import GCRA, AsyncClient, Client, CoordkitError, Queue
from coordkit.keys import Keys
from coordkit.pubsub.channel import Subscription
from coordkit.pubsub.message import Gap, Message
from coordkit.transports.slots import slot_of
from tests.peers import STARTERS, Peer, PeerMissing, free_port
from tests.programs import missing, program

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


@pytest.fixture(params=["redis", "valkey"])
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[list[Peer]]:
    """Six nodes that serve all slots, masters first."""
    nodes: list[Peer] = []
    try:
        for number in range(6):
            port = free_port()
            options = (
                *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-config-file", "nodes"),
                *("--repl-diskless-sync-delay", "0"),
            )
            nodes.append(STARTERS[request.param](tmp_path / str(number), *options, port=port))
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
        missing(str(reason))
    finally:
        for node in nodes:
            node.stop()


def url_of(nodes: list[Peer]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)


async def everything(ck: AsyncClient, listeners: int | None = 1) -> None:
    """Each primitive, with keys on all nodes."""
    names = [f"name{number}" for number in range(20)]
    leases = [await ck.lock(name, ttl=2.0).acquire(timeout=5) for name in names]
    assert all(await asyncio.gather(*(ck.limiter("api", GCRA(10, 60)).check(name) for name in names)))
    await asyncio.sleep(2.5)  # renewed, in as many scripts as there are slots
    for lease in leases:
        lease.check()
        assert await lease.release()
    async with ck.channel("news").subscribe() as messages:
        assert await ck.channel("news").publish("hello") == listeners or listeners is None
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
        await a_shared_client_works(url)
        await asyncio.to_thread(trio.run, trio_works, url)
        with Client.from_url(url, timeout=5) as blocking:
            await the_death_of_a_master_is_survived(ck, blocking, cluster)
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


async def a_shared_client_works(url: str) -> None:
    """The same through the cluster clients of redis-py, and over their borrowed settings."""
    host, port = url.removeprefix("redis+cluster://").split(",")[0].split(":")
    theirs: Any = redis.asyncio.RedisCluster(host=host, port=int(port))
    blocking: Any = redis.RedisCluster(host=host, port=int(port), decode_responses=True)
    async with AsyncClient(redis=theirs, share=True) as ck, AsyncClient.from_redis(theirs) as own:
        assert "cluster" in str(own.backend.transport)
        await everything(ck, listeners=None)
        await waiters_are_woken(ck, url)
        async with own.lock("borrowed").hold(timeout=5):
            pass
    with Client(redis=blocking, share=True) as one, one.channel("news").subscribe() as messages:
        with one.lock("shared").hold(timeout=5):
            assert one.limiter("api", GCRA(10, 60)).check("shared")
        one.channel("news").publish("hello")
        assert getattr(messages.get(5), "data", None) == "hello"
    assert await theirs.ping()
    assert blocking.ping()
    await theirs.aclose()
    blocking.close()


async def trio_works(url: str) -> None:
    """Locks, limits and channels on trio, also by threads through a blocking client."""
    host, port = url.removeprefix("redis+cluster://").split(",")[0].split(":")
    blocking: Any = redis.RedisCluster(host=host, port=int(port))
    async with AsyncClient(redis=blocking, share=True) as ck, ck.channel("news").subscribe() as messages:
        async with ck.lock("shared on trio").hold(timeout=5):
            assert (await ck.limiter("api", GCRA(10, 60)).check("shared on trio")).allowed
        await ck.channel("news").publish("hello")
        assert getattr(await messages.get(20), "data", None) == "hello"
    blocking.close()
    async with AsyncClient.from_url(url, timeout=5) as ck:
        for number in range(10):
            async with ck.lock(f"trio{number}").hold(timeout=5):
                assert await ck.limiter("api", GCRA(10, 60)).check(f"trio{number}")
        async with ck.channel("trio").subscribe() as messages:
            assert await ck.channel("trio").publish("hello") == 1
            assert getattr(await messages.get(5), "data", None) == "hello"


def served_by(node: Peer, key: bytes) -> bool:
    return not node.command("EXISTS", key).startswith(b"-MOVED")


def heard_all(messages: Subscription[Message | Gap]) -> bool:
    """Whether there was a gap, and a message came."""
    kinds: set[type] = set()
    while len(kinds) < 2 and (item := messages.get(40)) is not None:
        kinds.add(type(item))
    return kinds == {Gap, Message}


async def the_death_of_a_master_is_survived(ck: AsyncClient, blocking: Client, nodes: list[Peer]) -> None:
    """Its replica serves its slots; calls are bounded meanwhile, and those for other nodes are none the worse; who
    listened on it hears of a gap, and then what is published.
    """
    numbered = [f"name{number}" for number in range(200)]
    channel = next(name for name in numbered if served_by(nodes[0], ck.keys.channel(name)))
    bucket = ck.keys.limit("api", "gcra")
    elsewhere = [name for name in numbered if not served_by(nodes[0], bucket + name.encode())][:20]
    async with ck.channel(channel).subscribe(gaps=True) as messages:
        with blocking.channel(channel).subscribe(gaps=True) as heard:
            await others_go_on_while_one_is_dead(ck, nodes, elsewhere)
            # Both are there when the message reaches two clients, on the node that has the slot now.
            async with asyncio.timeout(40):
                receivers = 0
                while receivers != 2:
                    await asyncio.sleep(0.05)
                    with contextlib.suppress(CoordkitError):
                        receivers = await ck.channel(channel).publish("hello")
                assert await asyncio.to_thread(heard_all, heard)
                kinds: set[type] = set()
                while kinds != {Gap, Message}:
                    kinds.add(type(await messages.get()))


async def others_go_on_while_one_is_dead(ck: AsyncClient, nodes: list[Peer], elsewhere: list[str]) -> None:
    limiter = ck.limiter("api", GCRA(10, 60))
    await asyncio.gather(*(limiter.peek(name) for name in elsewhere))  # each node's breaker has seen its node well
    nodes[0].kill()
    deadline_s = time.monotonic() + 40
    names = [f"after{number}" for number in range(30)]
    dead = asyncio.gather(*(limiter.peek(name) for name in names), return_exceptions=True)
    while not dead.done():
        results = await asyncio.gather(*(limiter.peek(name) for name in elsewhere[:5]), return_exceptions=True)
        outages = {str(one) for one in results if isinstance(one, BaseException)}
        # For a moment the nodes that are well serve nothing either: that is the cluster's way of failing over.
        assert all("CLUSTERDOWN" in text or "probed in the background" in text for text in outages), outages
        await asyncio.sleep(0.02)
    await dead
    while True:
        started_s = time.monotonic()
        results = await asyncio.gather(
            *(ck.limiter("api", GCRA(10, 60)).peek(name) for name in names), return_exceptions=True
        )
        assert time.monotonic() - started_s < 5.0 + 3.0  # one deadline, on a busy machine; two would be 10 s
        assert all(not isinstance(one, Exception) or isinstance(one, CoordkitError) for one in results), results
        if not any(isinstance(one, Exception) for one in results):
            break
        assert time.monotonic() < deadline_s, results
        await asyncio.sleep(0.1)
    for name in names:
        async with ck.lock(name).hold(timeout=5):
            pass
