"""What is left after the server is killed at random moments: every acknowledged change, in order, nothing half done."""

import contextlib
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.differential.client import RawClient, pack
from tests.peers import Peer

PeerFactory = Callable[..., Peer]
WRITERS = 4
WITHIN_S = 20.0


class Writer(threading.Thread):
    """Appends numbers to a list and notes the last one in a string, both in one transaction, until the server dies."""

    def __init__(self, peer: Peer, name: str, start: int, pipeline: int) -> None:
        super().__init__(name=name)
        self.client = RawClient(peer.host, peer.port, timeout_s=WITHIN_S)
        self.sent = start
        self.acknowledged = start
        self.pipeline = pipeline

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._write()
        self.client.close()

    def _write(self) -> None:
        """Send some transactions; count those that were acknowledged."""
        batch = []
        first = self.sent + 1
        for number in range(first, first + self.pipeline):
            batch += [
                ("MULTI",),
                ("RPUSH", "list:" + self.name, number),
                ("SET", "last:" + self.name, number),
                ("EXEC",),
            ]
        self.sent += self.pipeline
        self.client.send(b"".join(pack(command) for command in batch))
        for number in range(first, first + self.pipeline):
            replies = [self.client.read() for _ in range(4)]
            assert replies[3] == ("*", ((":", b"%d" % number), ("+", b"OK")))
            self.acknowledged = number


def numbers_left(client: RawClient, name: str) -> int:
    """The last number that a writer's keys hold, which have to agree and to be complete."""
    _, items = client.call("LRANGE", "list:" + name, 0, -1)
    assert isinstance(items, tuple)
    numbers = [int(value) for _, value in items]
    assert numbers == list(range(1, len(numbers) + 1))
    _, last = client.call("GET", "last:" + name)
    assert int(last or b"0") == len(numbers)  # type: ignore[call-overload]
    return len(numbers)


def crash_rounds(start_peer: PeerFactory, directory: Path, policy: str, rounds: int, seed: int) -> None:
    """Write, rewrite, kill, start again, compare; the files live through all rounds."""
    chance = random.Random(seed)
    left = dict.fromkeys([f"w{number}" for number in range(WRITERS)], 0)
    directory.mkdir()
    for _ in range(rounds):
        options = ("--appendonly", "yes", "--appendfsync", policy, "--dir", str(directory))
        server = start_peer("bundled", *options)
        with RawClient(server.host, server.port, timeout_s=WITHIN_S) as control:
            for name, known in left.items():
                assert numbers_left(control, name) == known
            writers = [Writer(server, name, known, chance.choice([1, 1, 5])) for name, known in left.items()]
            for writer in writers:
                writer.start()
            time.sleep(chance.uniform(0.02, 0.15))
            if chance.random() < 0.6:
                control.call("BGREWRITEAOF")
                time.sleep(chance.uniform(0.0, 0.1))
        server.kill()
        for writer in writers:
            writer.join(WITHIN_S)
            assert not writer.is_alive()
        again = start_peer("bundled", *options)
        with RawClient(again.host, again.port, timeout_s=WITHIN_S) as control:
            for writer in writers:
                found = numbers_left(control, writer.name)
                assert writer.acknowledged <= found <= writer.sent
                left[writer.name] = found
        again.kill()
    assert sum(left.values()) > rounds


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_killed_server_keeps_every_acknowledged_transaction(
    policy: str, start_peer: PeerFactory, tmp_path: Path
) -> None:
    crash_rounds(start_peer, tmp_path / "data", policy, rounds=5, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_killed_server_keeps_every_acknowledged_transaction_for_long(
    policy: str, start_peer: PeerFactory, tmp_path: Path
) -> None:
    crash_rounds(start_peer, tmp_path / "data", policy, rounds=67, seed=2)
