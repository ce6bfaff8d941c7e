"""Ten thousand clients at once, deep pipelines and values of 100 MB: nothing is quadratic, nothing is lost.

Run with `-m slow` (`make chaos`)."""

import resource
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential.client import RawClient, pack
from tests.peers import Peer, start_bundled

pytestmark = pytest.mark.slow

WANTED = 10_000
SPARE_FILES = 200  # what the test runner has open itself
PIPELINE = 1_000
VALUE_BYTES = 100 * 1024 * 1024


@pytest.fixture(scope="module")
def connections() -> int:
    """How many connections this machine allows: both ends need a file, each in a process of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < WANTED + SPARE_FILES and hard > soft:
        soft = WANTED + SPARE_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED + SPARE_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(WANTED, soft - SPARE_FILES)


@pytest.fixture(scope="module")
def bundled(connections: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """A bundled server that takes as many clients."""
    peer = start_bundled(tmp_path_factory.mktemp("many"), "--maxclients", str(connections + 10))
    yield peer
    peer.stop()


def resident_kb(pid: int) -> int:
    """The resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(f"process {pid} tells no VmRSS")


@pytest.mark.timeout(300)
def test_connections_ten_thousand_are_served(bundled: Peer, connections: int) -> None:
    with RawClient(bundled.host, bundled.port) as control:
        control.call("FLUSHALL")
    before_kb = resident_kb(bundled.pid)
    clients: list[socket.socket] = []
    try:
        started = time.monotonic()
        for number in range(connections):
            client = socket.create_connection((bundled.host, bundled.port), timeout=30)
            client.sendall(pack(["SET", f"key:{number}", number]))
            clients.append(client)
        for client in clients:
            assert client.recv(64) == b"+OK\r\n"
        opened_s = time.monotonic() - started
        each_kb = (resident_kb(bundled.pid) - before_kb) / connections
        started = time.monotonic()
        for number, client in enumerate(clients):
            client.sendall(pack(["GET", f"key:{number}"]))
        for number, client in enumerate(clients):
            assert client.recv(64) == b"$%d\r\n%d\r\n" % (len(str(number)), number)
        asked_s = time.monotonic() - started
    finally:
        for client in clients:
            client.close()
    what = f"{connections} connections: opened in {opened_s:.1f} s, {each_kb:.1f} KB each, asked in {asked_s:.1f} s"
    print(what)
    assert each_kb < 40, what
    assert asked_s < 30, what
    with RawClient(bundled.host, bundled.port, timeout_s=30) as control:
        assert control.call("DBSIZE") == (":", b"%d" % connections)


@pytest.mark.timeout(300)
def test_connections_idle_cost_the_busy_ones_little(bundled: Peer, connections: int) -> None:
    def rate() -> float:
        with RawClient(bundled.host, bundled.port, timeout_s=30) as client:
            started = time.monotonic()
            for _ in range(2000):
                client.call("PING")
            return 2000 / (time.monotonic() - started)

    alone = rate()
    idle = [socket.create_connection((bundled.host, bundled.port), timeout=30) for _ in range(connections - 5)]
    try:
        among = rate()
    finally:
        for client in idle:
            client.close()
    assert among > alone / 3, f"{among:.0f} requests/s among {len(idle)} idle clients, {alone:.0f} alone"


@pytest.mark.timeout(300)
def test_pipeline_time_grows_with_its_depth_and_not_faster(bundled: Peer) -> None:
    def seconds(depth: int) -> float:
        with RawClient(bundled.host, bundled.port, timeout_s=60) as client:
            started = time.monotonic()
            client.send(pack(["INCR", f"counter:{depth}"]) * depth)
            for number in range(depth):
                assert client.read() == (":", b"%d" % (number + 1))
            return time.monotonic() - started

    seconds(PIPELINE)
    short = min(seconds(10 * PIPELINE + number) for number in range(3))
    long = seconds(100 * PIPELINE)
    assert long < 10 * short * 3, f"{10 * PIPELINE} commands took {short:.2f} s, ten times as many {long:.2f} s"


@pytest.mark.timeout(300)
def test_pipeline_of_a_client_that_reads_late_is_held_back(bundled: Peer) -> None:
    """The replies of a deep pipeline wait for their reader: the server neither drops them nor piles them all up."""
    with RawClient(bundled.host, bundled.port, timeout_s=60) as client:
        client.call("SET", "big", b"x" * 100_000)
        before_kb = resident_kb(bundled.pid)
        with socket.create_connection((bundled.host, bundled.port), timeout=60) as slow:
            slow.sendall(pack(["GET", "big"]) * PIPELINE)  # 100 MB of replies
            client.call("PING")
            piled_kb = resident_kb(bundled.pid) - before_kb
            expected = len(b"$100000\r\n") + 100_000 + 2
            received = 0
            while received < PIPELINE * expected:
                ready, _, _ = select.select([slow], [], [], 60)
                assert ready, f"nothing more after {received} bytes"
                received += len(slow.recv(1 << 20))
        assert received == PIPELINE * expected
    assert piled_kb < 60_000, f"{piled_kb} KB were piled up for a client that did not read"


@pytest.mark.timeout(300)
def test_value_of_a_hundred_megabytes_comes_and_goes_in_linear_time(bundled: Peer) -> None:
    def seconds(size: int) -> float:
        value = b"v" * size
        with RawClient(bundled.host, bundled.port, timeout_s=120) as client:
            started = time.monotonic()
            assert client.call("SET", "value", value) == ("+", b"OK")
            assert client.call("GET", "value") == ("$", value)
            return time.monotonic() - started

    tenth = min(seconds(VALUE_BYTES // 10) for _ in range(3))
    whole = seconds(VALUE_BYTES)
    with RawClient(bundled.host, bundled.port, timeout_s=30) as client:
        client.call("DEL", "value")
    assert whole < tenth * 40 + 1, f"100 MB took {whole:.2f} s, 10 MB {tenth:.2f} s"
