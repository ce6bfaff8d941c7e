"""When leases are renewed, and when they are lost: decisions without a server and without waiting."""

import gc

import pytest

from coordkit.errors import LeaseLost
from coordkit.keys import Keys
from coordkit.lease import Identity
from coordkit.lock import LockPlans
from coordkit.plan import Call
from coordkit.renewal import BATCH, BaseLease, Grant, Renewals, renew
from tests.unit.fakes import play

KEYS = Keys.of("ck")


class PlainLease(BaseLease):
    """A lease that only remembers."""

    def _tell_loss(self) -> None:
        self.told = True

    def check_at(self, now_s: float) -> None:
        self._check(now_s)


def make(name: str = "report", *, started_s: float = 0.0, ttl_ms: int = 30_000, renewed: bool = True) -> PlainLease:
    plans = LockPlans(name, ttl_ms=ttl_ms, renewed=renewed, keys=KEYS, identity=Identity(KEYS))
    return PlainLease(plans, Grant(b"t", 5, started_s))


def holding(*leases: BaseLease) -> Renewals:
    renewals = Renewals()
    for lease in leases:
        renewals.add(lease)
    return renewals


def test_renewals_are_due_after_a_third_of_the_ttl() -> None:
    lease = make()
    renewals = holding(lease)
    assert renewals.next_s() == 10.0
    assert renewals.due(6.9) == []
    assert renewals.due(10.0) == [[lease]]


def test_renewals_under_way_are_not_due_again() -> None:
    lease = make()
    renewals = holding(lease)
    renewals.due(10.0)
    assert renewals.due(10.0) == []
    assert renewals.next_s() == 30.0


def test_renewals_take_along_what_is_due_soon() -> None:
    first, second = make("a"), make("b", started_s=2.0)
    [batch] = holding(first, second).due(10.0)
    assert set(batch) == {first, second}


def test_renewals_come_in_batches() -> None:
    leases = [make(str(number)) for number in range(2 * BATCH + 1)]
    assert sorted(len(batch) for batch in holding(*leases).due(10.0)) == [1, BATCH, BATCH]


def test_renewed_lease_counts_from_the_moment_it_was_asked() -> None:
    lease = make()
    renewals = holding(lease)
    [batch] = renewals.due(10.0)
    renewals.renewed(batch, [True], started_s=10.5)
    assert lease.until_s == 40.5
    assert renewals.next_s() == 20.5


def test_lease_the_server_has_no_more_is_lost() -> None:
    lease = make()
    renewals = holding(lease)
    [batch] = renewals.due(10.0)
    renewals.renewed(batch, [False], started_s=10.0)
    assert lease.told
    with pytest.raises(LeaseLost, match=r"'report' \(fence 5\) was lost: the server no longer has it"):
        lease.check_at(10.0)
    assert renewals.held() == []


def test_failed_renewal_is_tried_again_until_the_lease_ends() -> None:
    lease = make()
    renewals = holding(lease)
    now_s = 10.0
    attempts = 0
    while renewals.held():
        for batch in renewals.due(now_s):
            attempts += 1
            renewals.failed(batch, now_s)
        now_s = min(renewals.next_s(), 31.0)
    assert attempts == 80  # every quarter of a second
    assert lease.lost_because == "it was not renewed within its 30000 ms"


def test_lease_without_renewal_is_lost_at_its_end() -> None:
    lease = make(renewed=False)
    renewals = holding(lease)
    assert renewals.due(10.0) == []
    assert renewals.next_s() == 30.0
    renewals.due(30.0)
    assert lease.lost_because is not None


def test_released_lease_is_not_lost_by_a_late_answer() -> None:
    lease = make()
    renewals = holding(lease)
    [batch] = renewals.due(10.0)
    lease.ended = True
    renewals.discard(lease)
    renewals.renewed(batch, [False], started_s=10.0)
    assert lease.lost_because is None


def test_lease_whose_object_is_gone_is_forgotten() -> None:
    renewals = holding(make())
    gc.collect()
    assert renewals.held() == []
    assert renewals.due(10.0) == []


def test_check_after_the_local_deadline_loses_the_lease() -> None:
    lease = make()
    lease.check_at(29.9)
    with pytest.raises(LeaseLost):
        lease.check_at(30.0)


def test_renew_sends_pairs_of_token_and_ttl() -> None:
    first, second = make("a"), make("b", ttl_ms=5000)
    steps, result = play(renew([first, second]), 7.0, [1, 0])
    assert isinstance(steps[1], Call)
    assert list(steps[1].keys) == [b"ck:{lock:a}", b"ck:{lock:b}"]
    assert list(steps[1].args) == [b"t", 30_000, b"t", 5000]
    assert result == ([True, False], 7.0)
