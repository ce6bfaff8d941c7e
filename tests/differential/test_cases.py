"""Every case of every group, on each reference beside the bundled server, in both protocols."""

import importlib
import pkgutil
from collections.abc import Callable

import pytest

import tests.differential.cases as groups
from tests.differential.case import Case
from tests.differential.client import RawClient
from tests.differential.harness import run_case
from tests.differential.known import NOT_ON_REDIS, NOT_ON_VALKEY, excused
from tests.peers import Peer

TABLES = {"valkey": NOT_ON_VALKEY, "redis": NOT_ON_REDIS}


def all_cases() -> list[Case]:
    """The cases of all groups; the group's name stands in front of the id."""
    found: list[Case] = []
    for module in pkgutil.iter_modules(groups.__path__):
        cases: list[Case] = importlib.import_module(f"{groups.__name__}.{module.name}").CASES
        found.extend(Case(f"{module.name}:{case.id}", case.commands, case.unordered, case.differs) for case in cases)
    return found


def test_cases_ids_are_unique() -> None:
    ids = [case.id for case in all_cases()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("reference", ["valkey", "redis"])
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.id)
def test_case_replies_as_the_reference(
    case: Case, protocol: int, reference: str, running: Callable[[str], Peer]
) -> None:
    reason = case.differs or excused(TABLES[reference], case.id)
    if reason:
        pytest.skip(reason)
    replies = {}
    for name in (reference, "bundled"):
        peer = running(name)
        with RawClient(peer.host, peer.port) as client:
            replies[name] = run_case(case, client, protocol)
    for command, expected, got in zip(case.commands, replies[reference], replies["bundled"], strict=True):
        assert got == expected, f"{command} in {case.commands}"
