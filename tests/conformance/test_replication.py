"""The bundled server as a primary: real servers follow it under load, a hand-made replica asks by the protocol."""

import random
import time
from collections.abc import Callable

import pytest

from tests.contents import contents
from tests.differential.client import RawClient, pack
from tests.peers import Peer

PeerFactory = Callable[..., Peer]
WITHIN_S = 20.0
FOREVER_MS = 0
COUNT_AND_EXPIRE = "redis.call('INCR', KEYS[1]) return redis.call('EXPIRE', KEYS[1], 5000)"


def connect(peer: Peer) -> RawClient:
    return RawClient(peer.host, peer.port, timeout_s=WITHIN_S)


def info(client: RawClient, section: str) -> dict[bytes, bytes]:
    """The fields of a section of INFO."""
    _, text = client.call("INFO", section)
    assert isinstance(text, bytes)
    pairs = [line.partition(b":") for line in text.splitlines()]
    return {name: value for name, _, value in pairs}


def eventually(holds: Callable[[], bool]) -> None:
    """Return once `holds()` is true; fail if that takes too long."""
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def write_load(client: RawClient, commands: int, seed: int) -> None:
    """Change keys of every type in several databases, in a pipeline."""
    chance = random.Random(seed)
    for _ in range(commands // 100):
        batch = [pack(("SELECT", chance.randrange(3)))]
        for _ in range(100):
            key, number = f"k{chance.randrange(50)}", chance.randrange(1000)
            batch.append(pack(chance.choice(WRITES)(key, number)))
        client.send(b"".join(batch))
        for _ in batch:
            client.read()


WRITES: list[Callable[[str, int], tuple[str | int | float, ...]]] = [
    lambda key, number: ("SET", "s" + key, number),
    lambda key, number: ("SET", "s" + key, number, "EX", 1000 + number),
    lambda key, number: ("INCRBYFLOAT", "f" + key, number / 7),
    lambda key, number: ("APPEND", "a" + key, "x" * (number % 50)),
    lambda key, number: ("LPUSH", "l" + key, number, number + 1),
    lambda key, number: ("RPOP", "l" + key),
    lambda key, number: ("LMPOP", 1, "l" + key, "LEFT", "COUNT", number % 4 + 1),
    lambda key, number: ("HSET", "h" + key, number % 30, number),
    lambda key, number: ("HINCRBYFLOAT", "h" + key, "n", number / 3),
    lambda key, number: ("SADD", "t" + key, *range(number % 20 + 1)),
    lambda key, number: ("SPOP", "t" + key, number % 5 + 1),
    lambda key, number: ("ZADD", "z" + key, number / 9, number % 40),
    lambda key, number: ("ZPOPMIN", "z" + key),
    lambda key, number: ("EXPIRE", "h" + key, 2000 + number),
    lambda key, number: ("GETEX", "s" + key, "EX", 3000 + number),
    lambda key, number: ("DEL", "l" + key),
    lambda key, number: ("PFADD", "p" + key, number),
    lambda key, number: ("SET", "gone" + key, number, "PX", 1),
    lambda key, number: (
        "EVAL",
        "redis.call('INCR', KEYS[1]) return redis.call('EXPIRE', KEYS[1], 5000)",
        1,
        "e" + key,
    ),
]


@pytest.mark.parametrize("follower", ["redis", "valkey"])
def test_real_server_that_follows_under_load_ends_with_the_same_contents(
    follower: str, start_peer: PeerFactory
) -> None:
    ours = start_peer("bundled")
    replica = start_peer(follower, "--replicaof", "127.0.0.1", str(ours.port))
    with connect(ours) as writer, connect(replica) as reader:
        eventually(lambda: info(reader, "replication")[b"master_link_status"] == b"up")
        write_load(writer, 4000, seed=7)
        assert writer.call("SET", "last", "1") == ("+", b"OK")
        assert writer.call("WAIT", 1, FOREVER_MS) == (":", b"1")
        expected = contents(writer)
        assert len(expected) > 300
        assert contents(reader) == expected


def test_real_server_that_comes_back_is_sent_what_it_missed(start_peer: PeerFactory) -> None:
    ours = start_peer("bundled")
    replica = start_peer("redis", "--replicaof", "127.0.0.1", str(ours.port))
    with connect(ours) as writer, connect(replica) as reader:
        eventually(lambda: info(reader, "replication")[b"master_link_status"] == b"up")
        writer.call("SET", "before", "1")
        assert writer.call("WAIT", 1, FOREVER_MS) == (":", b"1")
        assert writer.call("CLIENT", "KILL", "TYPE", "replica") == (":", b"1")
        writer.call("SET", "meanwhile", "2")
        assert writer.call("WAIT", 1, FOREVER_MS) == (":", b"1")
        assert reader.call("GET", "meanwhile") == ("$", b"2")
        stats = info(writer, "stats")
        assert (stats[b"sync_full"], stats[b"sync_partial_ok"]) == (b"1", b"1")


@pytest.mark.parametrize("follower", ["redis", "valkey"])
def test_real_server_that_followed_under_load_takes_over(follower: str, start_peer: PeerFactory) -> None:
    ours = start_peer("bundled")
    replica = start_peer(follower, "--replicaof", "127.0.0.1", str(ours.port))
    with connect(ours) as writer, connect(replica) as reader:
        write_load(writer, 2000, seed=8)  # while the other fetches the data, or before or behind that
        eventually(lambda: info(reader, "replication")[b"master_link_status"] == b"up")
        write_load(writer, 2000, seed=9)
        assert writer.call("SELECT", 0) == ("+", b"OK")
        assert writer.call("RPUSH", "jobs", "a", "b") == (":", b"2")
        assert writer.call("WAIT", 1, FOREVER_MS) == (":", b"1")
        expected = contents(writer)
        assert reader.call("REPLICAOF", "NO", "ONE") == ("+", b"OK")
        ours.kill()
        assert contents(reader) == expected
        assert reader.call("RPUSH", "jobs", "c") == (":", b"3")


class HandMade:
    """A replica of our own that says only what a test asks it to say."""

    def __init__(self, peer: Peer) -> None:
        self.client = connect(peer)
        assert self.client.call("REPLCONF", "listening-port", 4711) == ("+", b"OK")
        assert self.client.call("REPLCONF", "capa", "eof", "capa", "psync2") == ("+", b"OK")

    def full_sync(self) -> tuple[bytes, int]:
        """Ask for everything; return the replication ID and the offset of the data."""
        _, line = self.client.call("PSYNC", "?", -1)
        assert isinstance(line, bytes)
        word, replid, offset = line.split()
        assert word == b"FULLRESYNC"
        assert self.client.skip_payload() > 0
        return replid, int(offset)

    def commands(self, count: int) -> list[list[object]]:
        """The next commands of the stream."""
        found = []
        for _ in range(count):
            _, items = self.client.read()
            assert isinstance(items, tuple)
            found.append([value for _, value in items])
        return found


def test_psync_with_a_known_offset_goes_on_there(start_peer: PeerFactory) -> None:
    ours = start_peer("bundled")
    first = HandMade(ours)
    replid, offset = first.full_sync()
    with connect(ours) as writer:
        writer.call("SET", "a", "1")
        writer.call("SET", "b", "2")
    first.client.close()
    second = HandMade(ours)
    size_of_select = len(pack(("SELECT", 0)))
    reply = second.client.call("PSYNC", replid, offset + 1 + size_of_select)
    assert reply == ("+", b"CONTINUE " + replid)
    assert second.commands(2) == [[b"SET", b"a", b"1"], [b"SET", b"b", b"2"]]
    second.client.close()


@pytest.mark.parametrize("replid, beyond", [("0" * 40, 0), (None, 1000)])
def test_psync_with_an_unknown_history_or_offset_is_full(
    start_peer: PeerFactory, replid: str | None, beyond: int
) -> None:
    ours = start_peer("bundled")
    first = HandMade(ours)
    known, offset = first.full_sync()
    second = HandMade(ours)
    _, line = second.client.call("PSYNC", replid or known, offset + 1 + beyond)
    assert isinstance(line, bytes)
    assert line.startswith(b"FULLRESYNC " + known)
    first.client.close()
    second.client.close()


def test_wait_counts_what_replicas_acknowledge(start_peer: PeerFactory) -> None:
    ours = start_peer("bundled")
    replica = HandMade(ours)
    _, start = replica.full_sync()
    with connect(ours) as writer, connect(ours) as other:
        writer.call("SET", "a", "1")
        assert writer.call("WAIT", 1, 10) == (":", b"0")
        assert other.call("WAIT", 1, 10) == (":", b"1")  # it has written nothing
        writer.send(pack(("WAIT", 1, FOREVER_MS)))
        select, change, ask, again = replica.commands(4)
        assert (select[0], change[0], ask, again) == (b"SELECT", b"SET", [b"REPLCONF", b"GETACK", b"*"], ask)
        sent = len(pack(("SELECT", 0))) + len(pack(("SET", "a", 1)))
        replica.client.send(pack(("REPLCONF", "ACK", start + sent - 1)))
        replica.client.send(pack(("REPLCONF", "ACK", start + sent)))
        assert writer.read() == (":", b"1")
        assert info(writer, "replication")[b"slave0"].startswith(
            b"ip=127.0.0.1,port=4711,state=online,offset=%d,lag=0" % (start + sent)
        )
    replica.client.close()


def test_waitaof_counts_what_replicas_have_on_disk(start_peer: PeerFactory) -> None:
    ours = start_peer("bundled")
    replica = HandMade(ours)
    _, start = replica.full_sync()
    with connect(ours) as writer:
        writer.call("SET", "a", "1")
        sent = len(pack(("SELECT", 0))) + len(pack(("SET", "a", 1)))
        writer.send(pack(("WAITAOF", 0, 1, FOREVER_MS)))
        replica.commands(3)
        replica.client.send(pack(("REPLCONF", "ACK", start + sent, "FACK", start + sent - 1)))
        replica.client.send(pack(("REPLCONF", "ACK", start + sent, "FACK", start + sent)))
        assert writer.read() == ("*", ((":", b"0"), (":", b"1")))
    replica.client.close()


def test_replica_shows_in_client_list_role_and_info(start_peer: PeerFactory) -> None:
    ours = start_peer("bundled")
    replica = HandMade(ours)
    _, offset = replica.full_sync()
    with connect(ours) as client:
        assert client.call("ROLE") == (
            "*",
            (
                ("$", b"master"),
                (":", b"%d" % offset),
                ("*", (("*", (("$", b"127.0.0.1"), ("$", b"4711"), ("$", b"0"))),)),
            ),
        )
        _, text = client.call("CLIENT", "LIST", "TYPE", "replica")
        assert isinstance(text, bytes)
        assert b" flags=S " in text
        assert text.count(b"\n") == 1
        assert info(client, "clients")[b"connected_clients"] == b"1"
        replica.client.close()
        eventually(lambda: info(client, "replication")[b"connected_slaves"] == b"0")


def test_writes_without_enough_replicas_are_refused(start_peer: PeerFactory) -> None:
    ours = start_peer("bundled", "--min-replicas-to-write", "1")
    refused = ("-", b"NOREPLICAS Not enough good replicas to write.")
    with connect(ours) as client:
        assert client.call("SET", "a", "1") == refused
        assert client.call("EVAL", "return redis.pcall('SET', 'a', 1)", 0) == refused
        assert client.call("GET", "a") == ("$", None)
        replica = HandMade(ours)
        replica.full_sync()
        eventually(lambda: client.call("SET", "a", "1") == ("+", b"OK"))
        replica.client.close()
        eventually(lambda: client.call("SET", "a", "2") == refused)


def test_replicaof_another_server_is_refused_and_no_one_is_fine(start_peer: PeerFactory) -> None:
    with connect(start_peer("bundled")) as client:
        assert client.call("REPLICAOF", "NO", "ONE") == ("+", b"OK")
        kind, text = client.call("REPLICAOF", "127.0.0.1", 6379)
        assert isinstance(text, bytes)
        assert (kind, text[:29]) == ("-", b"ERR this server can be a prim")
        assert client.call("FAILOVER", "ABORT") == ("-", b"ERR No failover in progress.")
