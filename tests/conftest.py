"""Fixtures for tests that talk to a server: `server` and `server_url` run a test once for every peer.

A peer that is not installed skips its tests, and fails them where the environment says CI=true.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.peers import STARTERS, Peer, PeerMissing, start_sentinel

PeerFactory = Callable[..., Peer]

# How long an example takes, or drawing one, says more of the machine than of what is tested.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


def missing(reason: PeerMissing) -> None:
    """Skip the test that needs the peer, or fail it on CI, where every peer has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(str(reason))
    pytest.skip(str(reason))


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Peer]]:
    """Return the session's server of the given name, started at its first use."""
    peers: dict[str, Peer] = {}

    def running_peer(name: str) -> Peer:
        if name not in peers or not peers[name].alive:  # a test may have killed it
            try:
                peers[name] = STARTERS[name](tmp_path_factory.mktemp(name))
            except PeerMissing as reason:
                missing(reason)
        return peers[name]

    yield running_peer
    for peer in peers.values():
        peer.stop()


@pytest.fixture(params=sorted(STARTERS))
def server(request: pytest.FixtureRequest, running: Callable[[str], Peer]) -> Peer:
    """A server shared by the session, emptied before the test."""
    peer = running(request.param)
    peer.command("FLUSHALL")
    peer.command("SCRIPT", "FLUSH")
    return peer


@pytest.fixture
def server_url(server: Peer) -> str:
    """The URL of `server`."""
    return server.url


@pytest.fixture
def start_peer(tmp_path: Path) -> Iterator[PeerFactory]:
    """Start a server of the test's own, to be killed, paused or restarted: `start_peer(name, *options,
    port=None)`.
    """
    started: list[Peer] = []

    def start(name: str, *options: str, port: int | None = None) -> Peer:
        try:
            starter = start_sentinel if name == "sentinel" else STARTERS[name]
            peer = starter(tmp_path / f"{name}{len(started)}", *options, port=port)
        except PeerMissing as reason:
            missing(reason)
            raise
        started.append(peer)
        return peer

    yield start
    for peer in started:
        peer.stop()
