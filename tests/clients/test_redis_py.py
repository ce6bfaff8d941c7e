"""redis-py, blocking and asyncio, with RESP2 and RESP3."""

import asyncio
from collections.abc import Iterator

import pytest
import redis
import redis.asyncio

from tests.peers import Peer


@pytest.fixture(params=[2, 3])
def protocol(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture
def client(bundled: Peer, protocol: int) -> Iterator[redis.Redis]:
    connection = redis.Redis(bundled.host, bundled.port, protocol=protocol, decode_responses=True, client_name="tests")
    yield connection
    connection.close()


def test_redis_py_reads_what_it_wrote(client: redis.Redis) -> None:
    assert client.set("k", "v", ex=100, nx=True) is True
    assert client.get("k") == "v"
    assert 98 <= client.ttl("k") <= 100
    assert client.hset("h", mapping={"a": 1, "b": 2}) == 2
    assert client.hgetall("h") == {"a": "1", "b": "2"}
    assert client.rpush("l", "x", "y") == 2
    assert client.lrange("l", 0, -1) == ["x", "y"]
    assert client.sadd("s", "m") == 1
    assert client.smembers("s") == {"m"}
    assert client.zadd("z", {"a": 1.5, "b": 2}) == 2
    assert [tuple(pair) for pair in client.zrange("z", 0, -1, withscores=True)] == [("a", 1.5), ("b", 2.0)]
    assert sorted(client.scan_iter("*")) == ["h", "k", "l", "s", "z"]
    client.mset({f"many:{number}": number for number in range(1500)})
    assert set(client.scan_iter("many:*", count=100)) == {f"many:{number}" for number in range(1500)}
    assert list(client.blpop(["none", "l"], timeout=1) or []) == ["l", "x"]


def test_redis_py_pipelines_and_transactions(client: redis.Redis) -> None:
    with client.pipeline(transaction=True) as pipe:
        pipe.watch("n")  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        pipe.multi()
        pipe.incr("n")
        pipe.incrby("n", 4)
        assert pipe.execute() == [1, 5]
        pipe.watch("n")  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        client.set("n", 0)
        pipe.multi()
        pipe.incr("n")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    with client.pipeline(transaction=False) as pipe:
        for number in range(2000):
            pipe.rpush("many", number)
        assert pipe.execute() == list(range(1, 2001))


def test_redis_py_runs_scripts_and_locks(client: redis.Redis) -> None:
    script = client.register_script("return {KEYS[1], ARGV[1], redis.call('incr', KEYS[1])}")
    assert script(keys=["c"], args=["x"]) == ["c", "x", 1]
    client.script_flush()
    assert script(keys=["c"], args=["y"]) == ["c", "y", 2]
    with client.lock("lock", timeout=5):
        assert client.lock("lock", timeout=5).acquire(blocking=False) is False


def test_redis_py_publishes_and_subscribes(client: redis.Redis) -> None:
    with client.pubsub() as pubsub:  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        pubsub.subscribe("news")
        pubsub.psubscribe("n*")
        assert [pubsub.get_message(timeout=5)["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
        assert client.publish("news", "hello") == 2
        got = [pubsub.get_message(timeout=5) for _ in range(2)]
        assert [(message["type"], message["data"]) for message in got] == [("message", "hello"), ("pmessage", "hello")]


def test_redis_py_reads_the_server_s_state(client: redis.Redis, protocol: int) -> None:
    info = client.info()
    assert info["redis_version"].startswith("7.2")
    assert info["loading"] == 0
    own = [line for line in client.client_list() if line["name"] == "tests"]
    assert own
    assert own[0]["resp"] == str(protocol)
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert client.command_count() > 150
    assert "get" in client.command()
    assert client.time()[0] > 1_600_000_000


async def test_redis_py_asyncio_serves_many_tasks(bundled: Peer, protocol: int) -> None:
    async with redis.asyncio.Redis(host=bundled.host, port=bundled.port, protocol=protocol) as client:
        await asyncio.gather(*(client.incr("n") for _ in range(50)))
        assert await client.get("n") == b"50"
        async with client.lock("lock", timeout=5):
            assert await client.exists("lock") == 1
