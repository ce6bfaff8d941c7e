"""What the commands of every case do besides replying: keyspace events and the count of changes.

Both decide what a replica, a cache or an append log learns, and a reply does not show them."""

from collections.abc import Callable

import pytest

from tests.differential.case import Case
from tests.differential.client import RawClient
from tests.differential.known import EFFECTS_DIFFER, NOT_ON_REDIS, NOT_ON_VALKEY, excused
from tests.differential.observer import Event, Observer
from tests.differential.test_cases import all_cases
from tests.peers import Peer

TABLES = {"valkey": NOT_ON_VALKEY, "redis": NOT_ON_REDIS}
Effect = tuple[int, tuple[Event, ...]]


def effects_of(case: Case, peer: Peer) -> list[Effect]:
    """For each command of `case`: how many changes it made, and its events."""
    observer = Observer(peer)
    found = []
    with RawClient(peer.host, peer.port) as client:
        for command in case.commands:
            before = observer.control.changes()
            client.call(*command)
            found.append((observer.control.changes() - before, observer.events()))
    observer.close()
    return found


@pytest.mark.parametrize("reference", ["valkey", "redis"])
@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.id)
def test_case_has_the_effects_of_the_reference(case: Case, reference: str, running: Callable[[str], Peer]) -> None:
    reason = case.differs or excused(TABLES[reference], case.id)
    reason = reason or EFFECTS_DIFFER.get(case.id) or EFFECTS_DIFFER.get(f"{reference}:{case.id}")
    if reason:
        pytest.skip(reason)
    expected, got = (effects_of(case, running(name)) for name in (reference, "bundled"))
    for command, theirs, ours in zip(case.commands, expected, got, strict=True):
        assert ours == theirs, f"{command} in {case.commands}"
