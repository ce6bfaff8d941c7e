"""What a lock does, step by step, with scripted answers of the server."""

import pytest

from coordkit.errors import ClientClosed, CoordkitError, LockTimeout, OutcomeUnknown, ServerUnavailable
from coordkit.keys import Keys
from coordkit.lease import Identity
from coordkit.lock import ACQUIRE, RELEASE, Busy, LockPlans, parse_acquire
from coordkit.plan import Call, Now, Step, Subscribe, WaitSignal, WhenBack
from coordkit.renewal import Grant
from tests.unit.fakes import play

KEYS = Keys.of("ck")
BUSY = [0, 400, 400, 2, b"other:1"]


@pytest.fixture
def plans() -> LockPlans:
    return LockPlans("report", ttl_ms=30_000, renewed=True, keys=KEYS, identity=Identity(KEYS))


def owners(steps: list[Step]) -> set[object]:
    """The tokens the calls were made with."""
    return {step.args[0] for step in steps if isinstance(step, Call)}


def kinds(steps: list[Step]) -> list[object]:
    """The steps in short: scripts by name, others by class."""
    return [step.script.name if isinstance(step, Call) else type(step).__name__ for step in steps]


def test_lock_plans_acquire_of_free_lock_is_one_call(plans: LockPlans) -> None:
    steps, grant = play(plans.acquire(5.0), 10.0, [1, 77])
    assert kinds(steps) == ["Now", "lock_acquire"]
    assert isinstance(steps[1], Call)
    assert steps[1].args[1:3] == (30_000, 5000)
    assert isinstance(grant, Grant)
    assert (grant.fence, grant.started_s) == (77, 10.0)
    assert owners(steps) == {grant.token}


def test_lock_plans_acquire_listens_before_it_asks_again(plans: LockPlans) -> None:
    steps, grant = play(plans.acquire(5.0), 10.0, BUSY, True, 10.1, 10.1, BUSY, True, 10.2, 10.2, [1, 78])
    assert kinds(steps) == [
        *("Now", "lock_acquire", "Subscribe"),
        *("Now", "Now", "lock_acquire", "WaitSignal"),
        *("Now", "Now", "lock_acquire"),
    ]
    assert isinstance(grant, Grant)
    assert (grant.fence, grant.started_s) == (78, 10.2)
    assert len(owners(steps)) == 1


def test_lock_plans_acquire_after_contention_listens_first_and_asks_once_less() -> None:
    identity = Identity(KEYS)
    identity.contended = True
    plans = LockPlans("report", ttl_ms=30_000, renewed=True, keys=KEYS, identity=identity)
    steps, grant = play(plans.acquire(5.0), True, 10.0, BUSY, True, 10.1, 10.1, [1, 78])
    assert kinds(steps) == ["Listen", "Now", "lock_acquire", "WaitSignal", "Now", "Now", "lock_acquire"]
    assert isinstance(grant, Grant)
    assert identity.contended


def test_lock_plans_acquire_of_free_lock_with_closed_inbox_stops_trying_to_listen() -> None:
    identity = Identity(KEYS)
    identity.contended = True
    plans = LockPlans("report", ttl_ms=30_000, renewed=True, keys=KEYS, identity=identity)
    play(plans.acquire(5.0), False, 10.0, [1, 77])
    assert not identity.contended


def test_lock_plans_acquire_waits_no_longer_than_the_server_says_or_time_is_left(plans: LockPlans) -> None:
    steps, _ = play(
        plans.acquire(0.5), 10.0, BUSY, True, 10.0, 10.0, BUSY, False, 10.4, 10.4, BUSY, False, 10.5, 10.5, [1, 9]
    )
    waits = [step.timeout_s for step in steps if isinstance(step, WaitSignal)]
    assert waits == [0.4, pytest.approx(0.1)]


def test_lock_plans_acquire_out_of_time_gives_its_place_up_and_raises(plans: LockPlans) -> None:
    plan = plans.acquire(0.5)
    steps = [next(plan)]
    steps.extend(plan.send(result) for result in (10.0, BUSY, True, 10.6, 10.6, BUSY))
    assert isinstance(steps[-1], Call)
    assert steps[-1].script is RELEASE
    with pytest.raises(LockTimeout, match=r"'report' is held by other:1; its lease ends in 400 ms, 2 wait before us"):
        plan.send(0)


def test_lock_plans_acquire_that_may_have_been_granted_is_taken_back(plans: LockPlans) -> None:
    plan = plans.acquire(None)
    next(plan)
    asked = plan.send(10.0)
    undo = plan.throw(OutcomeUnknown("no answer"))
    assert isinstance(asked, Call)
    assert isinstance(undo, Call)
    assert (undo.script, undo.args) == (RELEASE, asked.args[:1])
    with pytest.raises(OutcomeUnknown):
        plan.send(0)


def test_lock_plans_acquire_that_was_not_run_has_nothing_to_take_back(plans: LockPlans) -> None:
    plan = plans.acquire(None)
    next(plan)
    plan.send(10.0)
    with pytest.raises(ServerUnavailable):
        plan.throw(ServerUnavailable("down"))


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), ServerUnavailable("down")], ids=["interrupt", "down"])
def test_lock_plans_acquire_interrupted_while_waiting_gives_its_place_up(
    plans: LockPlans, interruption: BaseException
) -> None:
    plan = plans.acquire(None)
    next(plan)
    for result in (10.0, BUSY, True, 10.0, 10.0, BUSY):
        step = plan.send(result)
    assert isinstance(step, WaitSignal)
    undo = plan.throw(interruption)
    assert isinstance(undo, Call)
    assert undo.script is RELEASE
    with pytest.raises(type(interruption)):
        plan.send(1)


def test_lock_plans_acquire_that_cannot_be_taken_back_raises_the_first_error(plans: LockPlans) -> None:
    plan = plans.acquire(None)
    next(plan)
    plan.send(10.0)
    attempt = plan.throw(OutcomeUnknown("no answer"))
    assert isinstance(attempt, Call)
    owed = plan.throw(ServerUnavailable("down"))
    assert owed == WhenBack(RELEASE, attempt.keys, attempt.args, plans.ttl_ms / 1000)
    with pytest.raises(OutcomeUnknown, match="no answer"):
        plan.send(None)


@pytest.mark.parametrize("failure", [ServerUnavailable("down"), OutcomeUnknown("no answer")])
def test_lock_plans_release_that_failed_is_owed_until_the_lease_has_ended(
    plans: LockPlans, failure: CoordkitError
) -> None:
    plan = plans.release(b"me")
    attempt = next(plan)
    assert isinstance(attempt, Call)
    assert plan.throw(failure) == WhenBack(RELEASE, attempt.keys, (b"me",), plans.ttl_ms / 1000)
    with pytest.raises(type(failure)):
        plan.send(None)


def test_lock_plans_release_by_a_closed_client_owes_nothing(plans: LockPlans) -> None:
    plan = plans.release(b"me")
    next(plan)
    with pytest.raises(ClientClosed):
        plan.throw(ClientClosed("the client is closed"))


def test_lock_plans_try_acquire_does_not_queue(plans: LockPlans) -> None:
    steps, grant = play(plans.try_acquire(), 10.0, BUSY)
    assert grant is None
    assert isinstance(steps[1], Call)
    assert steps[1].args[2] == 0


def test_lock_plans_every_attempt_has_a_token_of_its_own(plans: LockPlans) -> None:
    tokens = set()
    for _ in range(3):
        steps, _ = play(plans.try_acquire(), 10.0, [1, 5])
        tokens |= owners(steps)
    assert len(tokens) == 3


def test_lock_plans_cancelled_release_is_sent_again(plans: LockPlans) -> None:
    plan = plans.release(b"t")
    next(plan)
    again = plan.throw(KeyboardInterrupt())
    assert isinstance(again, Call)
    assert (again.script, again.args) == (RELEASE, (b"t",))
    with pytest.raises(KeyboardInterrupt):
        plan.send(1)


def test_lock_plans_closed_while_waiting_take_no_further_step(plans: LockPlans) -> None:
    plan = plans.acquire(None)
    next(plan)
    for result in (10.0, BUSY):
        step = plan.send(result)
    assert isinstance(step, Subscribe)
    plan.close()


def test_parse_acquire_tells_grant_from_refusal() -> None:
    assert parse_acquire([1, 5]) == 5
    assert parse_acquire(BUSY) == Busy(400, 400, 2, b"other:1")


def test_scripts_of_the_lock_may_all_be_sent_twice() -> None:
    assert ACQUIRE.idempotent
    assert RELEASE.idempotent


def test_now_is_asked_before_the_request(plans: LockPlans) -> None:
    steps, _ = play(plans.try_acquire(), 10.0, [1, 5])
    assert isinstance(steps[0], Now)
