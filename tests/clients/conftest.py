"""The bundled server that the clients talk to."""

from collections.abc import Callable

import pytest

from tests.peers import Peer


@pytest.fixture
def bundled(running: Callable[[str], Peer]) -> Peer:
    """The session's bundled server, empty."""
    peer = running("bundled")
    peer.command("FLUSHALL")
    return peer
