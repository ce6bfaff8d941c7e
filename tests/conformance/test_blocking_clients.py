"""Clients that wait, on every server: how long they wait, what the statistics say, and that no element is lost."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import monotonic

import pytest

from tests.differential.client import RawClient, Reply, pack
from tests.differential.scenario import Stage
from tests.peers import Peer

PRODUCERS, ELEMENTS_EACH, CONSUMERS = 3, 400, 8


Connect = Callable[[], RawClient]


@pytest.fixture
def connect(server: Peer) -> Iterator[Connect]:
    """Return a function that connects to the server; what it returned is closed in the end."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(RawClient(server.host, server.port))


@pytest.mark.parametrize(
    "command",
    [
        ["BLPOP", "k", "{}"],
        ["BRPOP", "k", "l", "{}"],
        ["BLMOVE", "k", "l", "LEFT", "LEFT", "{}"],
        ["BRPOPLPUSH", "k", "l", "{}"],
        ["BLMPOP", "{}", 1, "k", "LEFT"],
    ],
    ids=lambda command: command[0],
)
def test_timeout_passes_neither_early_nor_late(connect: Connect, command: list[str | int]) -> None:
    client = connect()
    late = []
    for seconds in (0.001, 0.03, 0.12):
        start = monotonic()
        reply = client.call(*[str(word).format(seconds) for word in command])
        late.append(monotonic() - start - seconds)
        assert reply[1] is None
    assert min(late) >= 0
    assert min(late) < 0.2  # a busy machine holds up one reply or another; a server that looks too seldom, all of them


def test_timeouts_many_end_in_their_order(connect: Connect) -> None:
    clients = {ms: connect() for ms in (90, 30, 60, 10)}
    started, waited = {}, {}
    for ms, client in clients.items():
        started[ms] = monotonic()  # of each: all four may take longer to send than the shortest waits
        client.send(pack(["BLPOP", "k", ms / 1000]))
    for ms in sorted(clients):
        assert clients[ms].read()[1] is None
        waited[ms] = monotonic() - started[ms]
    assert all(seconds > ms / 1000 - 0.005 for ms, seconds in waited.items())


def statistics(control: RawClient, command: str) -> dict[str, str]:
    _, text = control.call("INFO", "commandstats")
    assert isinstance(text, bytes)
    for line in text.decode().splitlines():
        if line.startswith(f"cmdstat_{command}:"):
            return dict(part.split("=") for part in line.split(":")[1].split(","))
    return {"calls": "0", "failed_calls": "0"}


@pytest.mark.parametrize(
    "end, failed",
    [("RPUSH", "0"), ("TIMEOUT", "0"), ("ERROR", "1")],
)
def test_statistics_however_a_wait_ends_count_one_call(server: Peer, connect: Connect, end: str, failed: str) -> None:
    if server.name == "redis":
        pytest.skip("7.0 counts a call when it blocks")
    control, client = connect(), connect()
    _, ident = client.call("CLIENT", "ID")
    control.call("CONFIG", "RESETSTAT")
    stage = Stage(server.host, server.port, 2)
    client.send(pack(["BLPOP", "k", 0]))
    stage.wait_for_blocked(1)
    assert statistics(control, "blpop")["calls"] == "0"
    assert isinstance(ident, bytes)
    control.call(*(["RPUSH", "k", "x"] if end == "RPUSH" else ["CLIENT", "UNBLOCK", ident, end]))
    client.read()
    stage.close()
    seen = statistics(control, "blpop")
    assert seen["calls"] == "1"
    assert seen["failed_calls"] == failed or server.name == "valkey"  # Valkey 9 does not count an unblocked client


class Consumer(threading.Thread):
    """Takes elements with whatever blocking command chance chooses, until it is told that there will be no more."""

    def __init__(self, server: Peer, number: int, over: threading.Event) -> None:
        super().__init__()
        self._server = server
        self._random = random.Random(number)
        self._over = over
        self.taken: list[bytes] = []

    def run(self) -> None:
        with RawClient(self._server.host, self._server.port) as client:
            while True:
                over = self._over.is_set()
                got = self._take(client)
                self.taken += got
                if over and not got:
                    return

    def _take(self, client: RawClient) -> list[bytes]:
        timeout = self._random.choice(["0.005", "0.02", "0.1"])
        match self._random.randrange(5):
            case 0:
                return elements(client.call("BLPOP", "a", "b", timeout))[1:]
            case 1:
                return elements(client.call("BRPOP", "b", "a", timeout))[1:]
            case 2:
                return elements(client.call("BLMPOP", timeout, 2, "a", "b", "LEFT", "COUNT", 3))[1:]
            case 3:  # moves stay among the lists: nothing is taken, nothing is lost
                client.call("BLMOVE", "a", "b", "RIGHT", "LEFT", timeout)
                return elements(client.call("BLPOP", "b", "a", timeout))[1:]
            case _:
                client.call("MULTI")
                client.call("LPOP", "a")
                client.call("RPOP", "b", 2)
                return elements(client.call("EXEC"))


def elements(reply: Reply) -> list[bytes]:
    """All bulk strings in `reply`."""
    kind, value = reply
    if isinstance(value, tuple):
        return [element for item in value for element in elements(item)]
    return [value] if isinstance(value, bytes) and kind == "$" else []


def produce(server: Peer, number: int) -> None:
    chance = random.Random(1000 + number)
    sent = 0
    with RawClient(server.host, server.port) as client:
        while sent < ELEMENTS_EACH:
            count = min(chance.choice([1, 1, 1, 2, 5]), ELEMENTS_EACH - sent)
            names = [f"{number}:{sent + i}" for i in range(count)]
            sent += count
            client.call(chance.choice(["LPUSH", "RPUSH"]), chance.choice("ab"), *names)


def disturb(server: Peer, over: threading.Event) -> None:
    """Block and go away again, with and without a word, and let others be unblocked."""
    chance = random.Random(7)
    while not over.wait(0.001):
        with RawClient(server.host, server.port) as client:
            client.send(pack(["BLMOVE", "none", "a", "LEFT", "LEFT", 0]) + pack(["BLPOP", "none", 0]))
            if chance.random() < 0.5:
                client.send(b"*1\r\n$4")
        with RawClient(server.host, server.port) as control:
            control.call("CLIENT", "UNBLOCK", chance.randrange(1, 200), chance.choice(["TIMEOUT", "ERROR"]))


def test_many_consumers_and_producers_lose_and_double_nothing(server: Peer, connect: Connect) -> None:
    over = threading.Event()
    consumers = [Consumer(server, number, over) for number in range(CONSUMERS)]
    producers = [threading.Thread(target=produce, args=(server, number)) for number in range(PRODUCERS)]
    disturber = threading.Thread(target=disturb, args=(server, over))
    threads = [*consumers, disturber, *producers]
    for thread in threads:
        thread.start()
    for thread in producers:
        thread.join()
    over.set()
    for thread in threads:
        thread.join()
    taken = Counter(element for consumer in consumers for element in consumer.taken)
    left = connect()
    for key in ("a", "b"):
        taken.update(elements(left.call("LRANGE", key, 0, -1)))
    expected = {b"%d:%d" % (number, i) for number in range(PRODUCERS) for i in range(ELEMENTS_EACH)}
    assert set(taken) == expected
    assert max(taken.values()) == 1
    stage = Stage(server.host, server.port, 2)
    stage.wait_for_blocked(0)
    stage.close()
