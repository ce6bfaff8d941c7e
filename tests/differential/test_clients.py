"""Scenarios of clients that cache, pause, listen or get no replies, on each reference beside the bundled server."""

from collections.abc import Callable

import pytest

from tests.differential.client_scenarios import OTHERS, TRACKING
from tests.differential.known import NOT_ON_REDIS, NOT_ON_VALKEY, excused
from tests.differential.scenario import Scenario, Stage
from tests.peers import Peer

TABLES = {"valkey": NOT_ON_VALKEY, "redis": NOT_ON_REDIS}


@pytest.mark.parametrize("reference", ["valkey", "redis"])
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("scenario", [*TRACKING, *OTHERS], ids=lambda scenario: scenario.id)
def test_clients_told_as_the_reference_tells(
    scenario: Scenario, protocol: int, reference: str, running: Callable[[str], Peer]
) -> None:
    if protocol not in scenario.protocols:
        pytest.skip("the scenario belongs to the other protocol")
    reason = excused(TABLES[reference], f"clients:{scenario.id}")
    if reason:
        pytest.skip(reason)
    told = {}
    for name in (reference, "bundled"):
        peer = running(name)
        told[name] = Stage(peer.host, peer.port, protocol).play(scenario)
    assert told["bundled"] == told[reference]
