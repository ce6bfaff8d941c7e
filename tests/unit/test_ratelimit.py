"""Rate limits with no server: what is refused as a setting, what replies mean, what an outage does."""

import logging
from datetime import timedelta
from fractions import Fraction

import pytest

from coordkit.errors import ConfigurationError, LimitTimeout, OutcomeUnknown, ServerError, ServerUnavailable
from coordkit.keys import Keys
from coordkit.plan import Call, Now, Plan, Sleep, Step
from coordkit.ratelimit.algorithms import ALGORITHMS
from coordkit.ratelimit.decision import Decision
from coordkit.ratelimit.gcra import GCRA
from coordkit.ratelimit.limiter import Limiter, LimiterPlans, OnOutage
from coordkit.ratelimit.local import MAX_KEYS, LocalLimits
from coordkit.ratelimit.sliding_window import SlidingWindow
from coordkit.scripts import Args, Script
from coordkit.scripts import Keys as ScriptKeys

KEYS = Keys.of("ck")


def drive(plan: Plan[Decision], *results: object) -> tuple[list[Step], Decision]:
    """The steps of a plan that gets `results` for them (exceptions are raised in it), and what it returns."""
    steps = [next(plan)]
    try:
        for result in results:
            if isinstance(result, BaseException):
                steps.append(plan.throw(result))
            else:
                steps.append(plan.send(result))
    except StopIteration as stop:
        decision: Decision = stop.value
        return steps, decision
    raise AssertionError(f"the plan goes on: {steps[-1]}")


def plans(on_outage: OnOutage = "raise") -> LimiterPlans:
    return LimiterPlans("api", GCRA(10, 1.0, burst=20), on_outage=on_outage, keys=KEYS)


class FakeServer:
    """A backend that gives one result after the other, or raises it."""

    def __init__(self, results: tuple[object, ...]) -> None:
        self.calls: list[tuple[Script[object], ScriptKeys, Args]] = []
        self._results = list(results)

    def call(self, script: Script[object], keys: ScriptKeys, args: Args) -> object:
        self.calls.append((script, keys, args))
        result = self._results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def monotonic(self) -> float:
        return 7.0


def blocking(on_outage: OnOutage, *results: object) -> tuple[Limiter, FakeServer]:
    """A limiter whose server gives these results."""
    server = FakeServer(results)
    return Limiter(plans(on_outage), backend=server), server  # type: ignore[arg-type]  # a check needs no more of it


@pytest.mark.parametrize("limit, per", [(0, 1), (-1, 1), (1.5, 1), (True, 1), ("1", 1), (1, 0), (1, -1), (2**60, 1)])
@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=list(ALGORITHMS))
def test_algorithm_with_a_limit_that_cannot_work_raises(algorithm: type, limit: int, per: float) -> None:
    with pytest.raises(ConfigurationError, match=r"limit must be a whole number|per must be"):
        algorithm(limit, per)


def test_gcra_with_a_burst_that_cannot_work_raises() -> None:
    with pytest.raises(ConfigurationError, match="burst must be a whole number from 1 "):
        GCRA(10, 1.0, burst=0)
    with pytest.raises(ConfigurationError, match="a burst of 1000000 at 1 per 86400 would take over 50 years"):
        GCRA(1, 86400, burst=1_000_000)


def test_algorithm_takes_timedeltas_and_compares_by_value() -> None:
    assert GCRA(10, timedelta(minutes=1)).window_s == 60
    assert SlidingWindow(10, timedelta(minutes=1)).window_s == 60
    assert GCRA(10, 1.0) == GCRA(10, 1.0, burst=10)
    assert repr(GCRA(limit=10, per=1.0, burst=20)) == "GCRA(limit=10, per=1.0, burst=20)"


@pytest.mark.parametrize(
    "limit, per, burst, token, drain",
    [
        (10, 1.0, 20, 100_000, 1),
        (90, 60.0, 9, 2_000_000, 3),
        (1_000_000, 1.0, 1, 1, 1),
        (3_000_000, 1.0, 1, 1, 3),
        (1, 86400, 1, 86_400_000_000, 1),
    ],
)
def test_gcra_counts_in_whole_units(limit: int, per: float, burst: int, token: int, drain: int) -> None:
    gcra = GCRA(limit, per, burst=burst)
    assert (gcra.token, gcra.drain) == (token, drain)


@pytest.mark.parametrize("limit, per, burst", [(999_983, 86400, 900_001), (7, 86399, 10**5), (10**12, 1.0, 10**15)])
def test_gcra_beyond_exact_units_stays_within_a_double_and_is_never_too_fast(
    limit: int, per: float, burst: int
) -> None:
    gcra = GCRA(limit, per, burst=burst)
    asked = Fraction(round(per * 1_000_000), limit)
    assert asked <= Fraction(gcra.token, gcra.drain) < asked * (1 + Fraction(burst, 2**50))
    assert 2 * gcra.burst * gcra.token < 2**53


def test_gcra_reply_as_decision_rounds_to_the_careful_side() -> None:
    gcra = GCRA(3, 0.00001, burst=4)  # a token is 10 units, 3 drain in a microsecond
    assert gcra.decision(11, 1) == Decision(True, 4, 2, 0.0, 0.000004)
    assert gcra.decision(-1 - 31, 1) == Decision(False, 4, 0, 0.000001, 0.000011)


def test_sliding_window_reply_as_decision() -> None:
    window = SlidingWindow(10, 60.0)
    assert window.decision([4, 1_500_000, 0], 1) == Decision(True, 10, 6, 0.0, 1.5)
    assert window.decision([-1 - 12, 60_000_000, 500_000], 1) == Decision(False, 10, 0, 0.5, 60.0)


def test_check_and_peek_are_one_call_each() -> None:
    limiter, server = blocking("raise", 300_000, 300_000)
    assert limiter.check("user:42", 3) == Decision(True, 20, 17, 0.0, 0.3)
    assert limiter.peek("user:42", 3) == Decision(True, 20, 17, 0.0, 0.3)
    gcra, keys = limiter.algorithm, (b"ck:limit:api:gcra:user:42",)
    (script, check_keys, check_args), peeked = server.calls
    assert (script, check_keys, check_args[:5]) == (gcra.check_script, keys, (100_000, 1, 2_000_000, 3, b"1"))
    assert isinstance(check_args[5], int)
    assert len(check_args) == 6
    assert peeked == (gcra.check_script, keys, (100_000, 1, 2_000_000, 3, b"0", b""))


def test_check_of_one_sends_what_any_other_would() -> None:
    limiter, server = blocking("raise", 100_000)
    assert limiter.check("user:42") == Decision(True, 20, 19, 0.0, 0.1)
    assert [int(argument) for argument in server.calls[0][2][:5]] == [100_000, 1, 2_000_000, 1, 1]


def test_every_check_has_a_name_of_its_own() -> None:
    limiter, server = blocking("raise", *[100_000] * 3)
    for cost in (1, 1, 2):
        limiter.check("user:42", cost)
    assert len({args[5] for _, _, args in server.calls}) == 3


def test_check_that_is_sent_again_says_how_long_ago_it_was_first_sent() -> None:
    for algorithm in (GCRA(1, 1.0), SlidingWindow(1, 1.0)):
        again = algorithm.check_script.again
        assert again is not None
        assert again((1, 2, b"name"), 20) == (1, 2, b"name", 20_000)


def test_acquire_sleeps_for_retry_after_and_asks_again() -> None:
    steps, decision = drive(plans().acquire("user:42", 1, None), 7.0, -1 - 2_000_000, None, 2_000_000)
    assert isinstance(steps[0], Now)
    assert isinstance(steps[1], Call)
    assert steps[2] == Sleep(0.1)
    assert isinstance(steps[3], Call)
    assert decision.allowed


def test_acquire_that_cannot_come_in_time_raises_without_sleeping() -> None:
    plan = plans().acquire("user:42", 5, 1.0)
    with pytest.raises(
        LimitTimeout, match=r"no room for 5 of 'user:42' within 1 s: not before 0.500 s from now, and 0.4"
    ):
        drive(plan, 7.0, -1 - 2_000_000, 7.6)


@pytest.mark.parametrize(
    "failure", [ServerUnavailable("gone"), OutcomeUnknown("lost"), ServerError("OOM command not allowed")], ids=repr
)
def test_limiter_in_an_outage_does_what_was_declared(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(type(failure)):
        blocking("raise", failure)[0].check("user:42")
    allowed = blocking("allow", failure)[0].check("user:42")
    assert allowed == Decision(True, 20, 0, 0.0, 0.0, degraded=True)
    denied = blocking("deny", failure)[0].peek("user:42")
    assert denied == Decision(False, 20, 0, 1.0, 0.0, degraded=True)
    assert len(caplog.records) == 2


def test_acquire_in_an_outage_does_what_was_declared() -> None:
    failure = ServerUnavailable("gone")
    _, decision = drive(plans("allow").acquire("user:42", 1, None), 7.0, failure)
    assert decision.allowed
    assert decision.degraded
    steps, decision = drive(plans("deny").acquire("user:42", 1, None), 7.0, failure, None, 100_000)
    assert steps[2] == Sleep(1.0)
    assert decision == Decision(True, 20, 19, 0.0, 0.1)


def test_outage_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "coordkit")
    limiter, _ = blocking("allow", *[ServerUnavailable("gone")] * 3, *[100_000] * 3)
    assert [limiter.check("user:42").degraded for _ in range(6)] == [True] * 3 + [False] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_limiter_with_an_unknown_outage_policy_raises() -> None:
    with pytest.raises(ConfigurationError, match="on_outage must be one of raise, allow, deny, local, not 'open'"):
        plans("open")  # type: ignore[arg-type]  # what a configuration file may hold


@pytest.mark.parametrize("algorithm", [GCRA(1, 1.0), SlidingWindow(1, 1.0)], ids=lambda algorithm: algorithm.kind)
def test_reply_of_another_shape_raises(algorithm: GCRA | SlidingWindow) -> None:
    with pytest.raises(TypeError, match=f"ratelimit_{algorithm.kind} replied b'OK'"):
        algorithm.decision(b"OK", 1)


def test_local_limits_never_admit_more_than_the_share_in_any_window() -> None:
    limits, admitted = LocalLimits(12, 1.0, instances=4), []
    for tick in range(400):
        now_s = 50.0 + tick * 0.01
        if limits.decide(b"k", 1, now_s, consume=True).allowed:
            admitted.append(now_s)
    for start in admitted:
        assert len([moment for moment in admitted if start <= moment < start + 1.0]) <= 3
    assert len(admitted) >= 3 * 3


def test_local_limits_say_when_there_is_room_again() -> None:
    limits = LocalLimits(2, 1.0, instances=1)
    assert [limits.decide(b"k", 1, 7.0, consume=True).remaining for _ in range(2)] == [1, 0]
    refused = limits.decide(b"k", 1, 7.0, consume=True)
    assert (refused.allowed, refused.degraded) == (False, True)
    assert 1.0 <= refused.retry_after <= 1.0 + 2 / 16
    assert limits.decide(b"k", 1, 7.0 + refused.retry_after, consume=True).allowed
    assert limits.decide(b"other", 2, 7.0, consume=False).allowed
    assert limits.decide(b"other", 2, 7.0, consume=True).allowed


def test_local_limits_remember_a_bounded_number_of_keys() -> None:
    limits = LocalLimits(1, 60.0, instances=1)
    for number in range(MAX_KEYS + 5):
        limits.decide(b"%d" % number, 1, 7.0, consume=True)
    assert len(limits._hits) == MAX_KEYS
    assert limits.decide(b"0", 1, 7.0, consume=True).allowed  # was forgotten
    assert not limits.decide(b"%d" % MAX_KEYS, 1, 7.0, consume=True).allowed


def test_limiter_with_local_policy_counts_here_until_the_server_is_back() -> None:
    failures = [ServerUnavailable("gone")] * 4
    limiter, _ = blocking("local", *failures, 100_000)
    decisions = [limiter.check("user:42", 10) for _ in range(3)]
    assert [(decision.allowed, decision.degraded) for decision in decisions] == [
        (True, True),
        (True, True),
        (False, True),
    ]
    assert limiter.check("user:43", 20).allowed
    assert not limiter.check("user:42").degraded


@pytest.mark.parametrize("cost", [1, 2])
@pytest.mark.parametrize("key", ["\ud800", 5, b"user"])
def test_check_of_a_key_that_is_no_text_is_refused(key: str, cost: int) -> None:
    limiter = LimiterPlans("api", GCRA(10, 1), on_outage="raise", keys=Keys.of("ck"))
    with pytest.raises(ConfigurationError, match="the key of limiter 'api' must be a string that UTF-8 can hold"):
        limiter.check(key, cost)
