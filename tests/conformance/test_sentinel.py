"""A master, its replica and three sentinels: the client finds the master, and the next one when it is killed."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from coordkit import GCRA, AsyncClient, Client, ConfigurationError, CoordkitError, LeaseLost, ServerUnavailable
from coordkit.transports.address import Address
from coordkit.transports.sentinel import SentinelEndpoint, parse_sentinel_url
from tests.conftest import PeerFactory
from tests.peers import Peer, free_port

SENTINEL = """
port {port}
bind 127.0.0.1
dir {directory}
sentinel monitor mymaster 127.0.0.1 {master} 2
sentinel down-after-milliseconds mymaster 500
sentinel failover-timeout mymaster 2000
sentinel parallel-syncs mymaster 1
"""


def soon(condition: Callable[[], bool], within_s: float = 20) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def says(server: Peer, fact: bytes) -> bool:
    """Whether the server says so of its replication; one that changes its role drops its clients."""
    with contextlib.suppress(OSError):
        return fact in server.command("INFO", "replication")
    return False


def knows(sentinel: Peer, fact: bytes) -> bool:
    """Whether the sentinel says so of the service."""
    return fact in sentinel.command("SENTINEL", "MASTER", "mymaster")


@pytest.fixture
def service(start_peer: PeerFactory, tmp_path: Path) -> tuple[str, Peer, Peer]:
    """The URL of a watched service, its master and its replica, in sync."""
    master = start_peer("redis")
    replica = start_peer("redis", "--replicaof", "127.0.0.1", str(master.port))
    soon(partial(says, replica, b"master_link_status:up"))
    sentinels = []
    for number in range(3):
        directory, port = tmp_path / f"watcher{number}", free_port()
        directory.mkdir()
        settings = directory / "sentinel.conf"
        settings.write_text(SENTINEL.format(port=port, directory=directory, master=master.port))
        sentinels.append(start_peer("sentinel", str(settings), port=port))
    for sentinel in sentinels:
        soon(partial(knows, sentinel, b"num-other-sentinels\r\n$1\r\n2"))
        soon(partial(knows, sentinel, b"num-slaves\r\n$1\r\n1"))
    hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
    return f"redis+sentinel://{hosts}/mymaster", master, replica


def test_sentinel_url_names_sentinels_service_and_login() -> None:
    url = "redis+sentinel://me:pw@a:1,b/orders/3?client_name=web&sentinel_password=s"
    assert parse_sentinel_url(url) == SentinelEndpoint(
        (Address(host="a", port=1, password="s"), Address(host="b", port=26379, password="s")),
        "orders",
        Address(host="localhost", db=3, username="me", password="pw", client_name="web"),
    )
    assert str(parse_sentinel_url(url)) == "redis+sentinel://a:1,b:26379/orders"


@pytest.mark.parametrize("url", ["redis+sentinel://a:1", "redis+sentinel:///orders"])
def test_sentinel_url_without_service_or_host_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="must name sentinels and a service"):
        Client.from_url(url)


def test_sentinels_that_are_away_are_an_outage() -> None:
    with (
        pytest.raises(ServerUnavailable, match="no sentinel of 'orders'"),
        Client.from_url("redis+sentinel://127.0.0.1:1/orders", timeout=1) as ck,
    ):
        ck.ping()


@pytest.mark.peers
async def test_failover_under_load_loses_no_lock_silently_and_goes_on(service: tuple[str, Peer, Peer]) -> None:
    url, master, replica = service
    answered, failures = 0, []
    stopping = asyncio.Event()
    async with AsyncClient.from_url(url, timeout=2) as ck:
        limiter = ck.limiter("api", GCRA(100_000, 1e6))

        async def load() -> None:
            nonlocal answered
            while not stopping.is_set():
                try:
                    assert not (await limiter.check("u")).degraded
                    answered += 1
                except CoordkitError as exc:
                    failures.append(exc)
                await asyncio.sleep(0.005)

        users = [asyncio.create_task(load()) for _ in range(4)]
        lease = await ck.lock("l", ttl=3).acquire()
        await asyncio.sleep(0.3)
        master.kill()
        async with asyncio.timeout(30):
            while not says(replica, b"role:master"):
                await asyncio.sleep(0.05)
            before = answered
            while answered < before + 50:
                await asyncio.sleep(0.05)
        stopping.set()
        await asyncio.gather(*users)
        try:  # the lease went on, or its holder hears that it did not: never silence
            lease.check()
            info = await ck.lock("l").info()
            assert info.owner == lease.owner
            assert await lease.release()
        except LeaseLost:
            assert lease.lost.is_set()
        again = await ck.lock("l").acquire(timeout=10)
        assert again.fence > lease.fence
        await again.release()
    assert all(isinstance(failure, CoordkitError) for failure in failures)


@pytest.mark.peers
def test_blocking_client_finds_the_new_master_after_a_planned_failover(service: tuple[str, Peer, Peer]) -> None:
    url, master, replica = service
    with Client.from_url(url, timeout=5) as ck:
        ck.ping()
        sentinel_port = int(url.split(":")[2].split(",")[0])
        sentinel = Peer("sentinel", "127.0.0.1", sentinel_port, master.process)
        assert sentinel.command("SENTINEL", "FAILOVER", "mymaster").startswith(b"+OK")
        soon(partial(says, replica, b"role:master"))
        soon(partial(says, master, b"role:slave"))
        lease = ck.lock("l").acquire(timeout=5)  # the connection was to a server that is a replica now
        assert lease.release()
