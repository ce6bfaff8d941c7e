"""The servers of these tests allow DEBUG: keys are to expire when a command meets them, not by chance."""

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import missing
from tests.peers import STARTERS, Peer, PeerMissing


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Peer]]:
    """Return the session's server of the given name, started at its first use."""
    peers: dict[str, Peer] = {}

    def running_peer(name: str) -> Peer:
        if name not in peers or not peers[name].alive:
            try:
                peers[name] = STARTERS[name](tmp_path_factory.mktemp(name), "--enable-debug-command", "yes")
            except PeerMissing as reason:
                missing(reason)
        return peers[name]

    yield running_peer
    for peer in peers.values():
        peer.stop()
