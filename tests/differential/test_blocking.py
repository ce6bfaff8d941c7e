"""Every blocking scenario, on each reference beside the bundled server, in both protocols."""

from collections.abc import Callable

import pytest

from tests.differential.blocking_scenarios import SCENARIOS
from tests.differential.known import NOT_ON_REDIS, NOT_ON_VALKEY, excused
from tests.differential.scenario import Scenario, Stage
from tests.differential.stream_scenarios import SCENARIOS as STREAM_SCENARIOS
from tests.differential.waiting_client_scenarios import SCENARIOS as WAITING_CLIENT_SCENARIOS
from tests.peers import Peer

TABLES = {"valkey": NOT_ON_VALKEY, "redis": NOT_ON_REDIS}


@pytest.mark.parametrize("reference", ["valkey", "redis"])
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize(
    "scenario", SCENARIOS + WAITING_CLIENT_SCENARIOS + STREAM_SCENARIOS, ids=lambda scenario: scenario.id
)
def test_scenario_told_as_the_reference_tells(
    scenario: Scenario, protocol: int, reference: str, running: Callable[[str], Peer]
) -> None:
    if protocol not in scenario.protocols:
        pytest.skip("the scenario belongs to the other protocol")
    reason = excused(TABLES[reference], f"blocking:{scenario.id}")
    if reason:
        pytest.skip(reason)
    told = {}
    for name in (reference, "bundled"):
        peer = running(name)
        told[name] = Stage(peer.host, peer.port, protocol).play(scenario)
    assert told["bundled"] == told[reference]
