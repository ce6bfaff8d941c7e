"""The rate limit scripts against exact models, on every server, with a clock that the test sets."""

from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from coordkit import Client
from coordkit.errors import OutcomeForgotten
from coordkit.ratelimit.base import LONGEST_S, Algorithm
from coordkit.ratelimit.gcra import GCRA
from coordkit.ratelimit.sliding_window import SlidingWindow
from tests.conformance.scripted_clock import Subject

ON_A_SERVER = settings(
    max_examples=100,
    deadline=None,  # a busy machine answers late
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # every example has a key of its own
)
DAY_US = 86_400_000_000
LIMITS = st.one_of(st.integers(1, 5), st.integers(1, 10**6))
PERIODS_S = st.one_of(st.integers(1, 3_000_000).map(lambda us: us / 1_000_000), st.sampled_from([1, 60, 3600, 86400]))
# Eighths of the time the algorithm counts in, where hits meet exactly at an edge, and some microseconds beside.
SPANS = st.tuples(st.integers(-3, 12), st.one_of(st.just(0), st.integers(-2, 2), st.integers(0, 10**6)))
COSTS = st.one_of(st.integers(0, 3), st.integers(0, 10**6))
STEPS = st.lists(st.tuples(SPANS, COSTS), min_size=1, max_size=40)
Steps = list[tuple[tuple[int, int], int]]


@pytest.fixture
def ck(server_url: str) -> Iterator[Client]:
    with Client.from_url(server_url) as client:
        yield client


@st.composite
def exact_gcras(draw: st.DrawFn) -> GCRA:
    """Limits whose units are exact: the others are only careful."""
    limit, per, burst = draw(LIMITS), draw(PERIODS_S), draw(LIMITS)
    assume(burst * per <= limit * LONGEST_S)
    gcra = GCRA(limit, per, burst=burst)
    assume(Fraction(gcra.token, gcra.drain) * limit == round(per * 1_000_000))
    return gcra


class BucketModel:
    """A token bucket in exact fractions."""

    def __init__(self, gcra: GCRA) -> None:
        assert isinstance(gcra.per, int | float)
        self.per_us = Fraction(gcra.limit, round(gcra.per * 1_000_000))
        self._moment_us = 0
        self._level = Fraction(0)

    def level(self, now_us: int) -> Fraction:
        """What is in the bucket.  A clock that was set back takes nothing, and goes on from where it is."""
        self._moment_us = min(self._moment_us, now_us)
        return max(Fraction(0), self._level - (now_us - self._moment_us) * self.per_us)

    def add(self, cost: int, now_us: int) -> None:
        if cost:
            self._level, self._moment_us = self.level(now_us) + cost, now_us


@given(gcra=exact_gcras(), steps=STEPS)
@ON_A_SERVER
def test_gcra_decides_as_an_exact_token_bucket(ck: Client, gcra: GCRA, steps: Steps) -> None:
    subject = Subject(ck, gcra)
    model = BucketModel(gcra)
    for (eighths, beside_us), cost in steps:
        cost = min(cost, gcra.burst)
        subject.advance_us(eighths * round(gcra.window_s * 125_000) + beside_us)
        wait_us = max(Fraction(0), (model.level(subject.now_us) + cost - gcra.burst) / model.per_us)
        decision = subject.check(cost)
        assert decision.allowed == (wait_us == 0)
        if decision.allowed:
            model.add(cost, subject.now_us)
        level = model.level(subject.now_us)
        assert decision.remaining == (gcra.burst - level) // 1
        assert 0 <= round(decision.retry_after * 1_000_000) - wait_us < 1
        assert 0 <= round(decision.reset_after * 1_000_000) - level / model.per_us < 1


class LogModel:
    """The hits of a window, one by one."""

    def __init__(self, window_us: int) -> None:
        self._window_us = window_us
        self._hits: list[tuple[int, int]] = []

    def held(self, clock_us: int) -> list[tuple[int, int]]:
        """The hits that count.

        A clock that was set back stands still until it has caught up; if that would take longer than a window, all
        hits count as having come now.
        """
        newest_us = self._hits[-1][0] if self._hits else 0
        edge_us = max(clock_us, newest_us) - self._window_us
        held = [hit for hit in self._hits if hit[0] > edge_us]
        if newest_us - clock_us > self._window_us:
            held = self._hits = [(clock_us, sum(cost for _, cost in held))]
        return held

    def used(self, clock_us: int) -> int:
        return sum(cost for _, cost in self.held(clock_us))

    def add(self, cost: int, clock_us: int) -> None:
        if cost:
            newest_us = max([clock_us, *(moment_us for moment_us, _ in self.held(clock_us))])
            self._hits = [*self.held(clock_us), (newest_us, cost)]

    def left_us(self, must_leave: int, clock_us: int) -> int:
        """How long until so much has left the window."""
        left = 0
        held = self.held(clock_us)
        leaving_us = next((moment_us for moment_us, cost in held if (left := left + cost) >= must_leave), None)
        return 0 if leaving_us is None else leaving_us + self._window_us - clock_us


@given(limit=LIMITS, per=PERIODS_S, steps=STEPS)
@ON_A_SERVER
def test_sliding_window_decides_as_an_exact_log(ck: Client, limit: int, per: float, steps: Steps) -> None:
    window = SlidingWindow(limit, per)
    subject, model = Subject(ck, window), LogModel(window.window_us)
    for (eighths, beside_us), cost in steps:
        cost = min(cost, limit)
        subject.advance_us(eighths * (window.window_us // 8) + beside_us)
        now_us = subject.now_us
        used = model.used(now_us)
        decision = subject.check(cost)
        assert decision.allowed == (used + cost <= limit)
        if decision.allowed:
            model.add(cost, now_us)
        else:
            assert round(decision.retry_after * 1_000_000) == model.left_us(used + cost - limit, now_us)
        assert decision.remaining == limit - model.used(now_us)
        assert round(decision.reset_after * 1_000_000) == model.left_us(model.used(now_us), now_us)


@given(algorithm=st.sampled_from([GCRA(7, 0.001, burst=9), SlidingWindow(9, 0.001)]), steps=STEPS)
@ON_A_SERVER
def test_waiting_retry_after_and_no_less_gets_the_hit_admitted(ck: Client, algorithm: Algorithm, steps: Steps) -> None:
    subject = Subject(ck, algorithm)
    for (_, beside_us), cost in steps:
        cost = min(cost, 9)
        subject.advance_us(abs(beside_us) % 400)
        decision = subject.check(cost)
        if not decision.allowed:
            subject.advance_us(round(decision.retry_after * 1_000_000) - 1)
            assert not subject.check(cost).allowed
            subject.advance_us(1)
            assert subject.check(cost).allowed


ANY = pytest.mark.parametrize(
    "algorithm", [GCRA(10, 60.0), SlidingWindow(10, 60.0)], ids=lambda algorithm: algorithm.kind
)


@ANY
def test_refused_check_and_peek_change_nothing(ck: Client, algorithm: Algorithm) -> None:
    subject = Subject(ck, algorithm)
    for _ in range(4):
        subject.check(2)
        subject.advance_us(1_000_000)
    before = subject.stored()
    assert before
    assert not subject.check(7).allowed
    assert not subject.check(7, consume=False).allowed
    assert subject.check(1, consume=False).allowed
    assert subject.check(0).allowed
    assert subject.stored() == before


@ANY
def test_peek_of_unknown_subject_leaves_no_key(ck: Client, algorithm: Algorithm) -> None:
    subject = Subject(ck, algorithm)
    assert subject.check(10, consume=False).allowed
    assert subject.check(0).remaining == 10
    assert not subject.stored()


@ANY
@pytest.mark.parametrize("back_us", [1, 1_000_000, 59_000_000, DAY_US, 400 * DAY_US])
def test_clock_set_back_neither_locks_out_nor_admits_more(ck: Client, algorithm: Algorithm, back_us: int) -> None:
    subject = Subject(ck, algorithm)
    assert subject.check(10).allowed
    subject.advance_us(-back_us)
    refused = subject.check(10)
    assert not refused.allowed
    assert refused.retry_after <= 120  # at most a period for the step and one for the window
    subject.advance_us(round(refused.retry_after * 1_000_000))
    assert subject.check(10).allowed
    assert not subject.check(1).allowed


def test_gcra_fraction_of_a_token_is_kept_between_checks(ck: Client) -> None:
    subject = Subject(ck, GCRA(90, 60.0, burst=9))
    admitted = 0
    for _ in range(24 * 4):
        admitted += subject.check().allowed
        subject.advance_us(250_000)
    assert admitted == 9 + 35  # 35.6 have drained when the last one asks


def test_gcra_of_a_million_a_second_counts_single_microseconds(ck: Client) -> None:
    subject = Subject(ck, GCRA(1_000_000, 1.0, burst=1))
    for _ in range(50):
        assert subject.check().allowed
        assert not subject.check().allowed
        subject.advance_us(1)


def test_gcra_faster_than_the_clock_admits_its_rate(ck: Client) -> None:
    subject = Subject(ck, GCRA(3_000_000, 1.0, burst=3))
    admitted = 0
    for _ in range(100):
        while subject.check().allowed:
            admitted += 1
        subject.advance_us(1)
    assert admitted == 300


@pytest.mark.parametrize("algorithm", [GCRA(1, 86400), SlidingWindow(1, 86400)], ids=lambda algorithm: algorithm.kind)
def test_one_a_day_is_one_a_day(ck: Client, algorithm: Algorithm) -> None:
    subject = Subject(ck, algorithm)
    for _ in range(5):
        assert subject.check().allowed
        subject.advance_us(DAY_US - 1)
        refused = subject.check()
        assert not refused.allowed
        assert refused.retry_after == pytest.approx(0.000001)
        subject.advance_us(1)


def test_gcra_beyond_exact_units_never_admits_more_than_the_rate(ck: Client) -> None:
    gcra = GCRA(999_983, 86400, burst=900_001)  # a full bucket of exact units would not fit into a double
    subject, admitted, hours = Subject(ck, gcra), 0, 30
    for _ in range(hours):
        cost = 30_000
        while cost:
            if subject.check(cost).allowed:
                admitted += cost
            else:
                cost //= 2
        subject.advance_us(DAY_US // 24)
    ideal = 900_001 + 999_983 * (hours - 1) // 24
    assert ideal - 10 <= admitted <= ideal


def test_gcra_limit_raised_at_run_time_keeps_what_was_taken(ck: Client) -> None:
    subject = Subject(ck, GCRA(10, 60.0))
    assert subject.check(8).remaining == 2
    subject.algorithm = GCRA(100, 1.0)
    assert subject.check(0).remaining == 92
    assert subject.check(92).allowed


def test_gcra_limit_lowered_at_run_time_takes_effect_and_locks_nobody_out(ck: Client) -> None:
    subject = Subject(ck, GCRA(1000, 86400))
    assert subject.check(1000).allowed
    subject.algorithm = GCRA(5, 1.0)
    refused = subject.check()
    assert not refused.allowed
    assert refused.retry_after == pytest.approx(0.2)


def test_sliding_limit_lowered_at_run_time_counts_what_was_taken(ck: Client) -> None:
    subject = Subject(ck, SlidingWindow(10, 60.0))
    for _ in range(10):
        assert subject.check().allowed
        subject.advance_us(1_000_000)
    subject.algorithm = SlidingWindow(5, 60.0)
    refused = subject.check()
    assert not refused.allowed
    assert refused.remaining == 0
    assert refused.retry_after == 55.0  # the sixth hit, 5 s ago, has to leave
    subject.algorithm = SlidingWindow(11, 60.0)
    assert subject.check().allowed


def test_sliding_window_with_many_hits_finds_its_edge(ck: Client) -> None:
    subject = Subject(ck, SlidingWindow(3000, 1.0))
    for _ in range(3000):
        assert subject.check().allowed
        subject.advance_us(100)
    refused = subject.check(2000)
    assert not refused.allowed
    assert refused.retry_after == pytest.approx(1.0 - 0.3 + 0.1999)
    subject.advance_us(700_000 + 1234 * 100)
    assert subject.check(0).remaining == 1235
    assert subject.check(1235).allowed
    assert not subject.check().allowed


@ANY
@pytest.mark.parametrize("age_us", [0, 1])
def test_hit_that_is_sent_again_is_counted_once(ck: Client, algorithm: Algorithm, age_us: int) -> None:
    subject = Subject(ck, algorithm)
    assert subject.check(1, request="a.11").allowed
    assert subject.check(1, request="aa.1").allowed
    subject.advance_us(5)
    for _ in range(3):
        assert subject.check(3, request="a.1", age_us=age_us).allowed
    assert subject.check(0).remaining == 5


@ANY
def test_hit_that_is_sent_again_and_was_not_run_is_counted(ck: Client, algorithm: Algorithm) -> None:
    subject = Subject(ck, algorithm)
    for number in range(6):
        subject.check(1, request=f"b.{number}")
        subject.advance_us(10)
    assert subject.check(1, request="a.1", age_us=5).allowed
    assert subject.check(0).remaining == 3


@ANY
def test_refused_hit_that_is_sent_again_takes_nothing(ck: Client, algorithm: Algorithm) -> None:
    subject = Subject(ck, algorithm)
    subject.check(8)
    subject.advance_us(5)
    for _ in range(3):
        assert not subject.check(3, request="a.1", age_us=1).allowed
    assert subject.check(2).allowed


def test_gcra_hit_after_which_others_came_is_known_again(ck: Client) -> None:
    subject = Subject(ck, GCRA(100, 1e7))
    for number in range(20):
        subject.check(1, request=f"a.{number}")
        subject.advance_us(10)
    for number in (0, 1, 10, 18, 19):
        assert subject.check(1, request=f"a.{number}", age_us=300).allowed
    assert subject.check(0).remaining == 80


def test_gcra_hit_that_was_not_run_is_counted_though_others_came(ck: Client) -> None:
    subject = Subject(ck, GCRA(100, 1e7))
    for number in range(10, 20):
        subject.check(1, request=f"a.{number}")
        subject.advance_us(10)
    assert subject.check(1, request="a.1", age_us=300).allowed  # part of names that are there
    assert subject.check(0).remaining == 89


def test_gcra_hit_that_may_be_among_the_forgotten_is_not_counted_again(ck: Client) -> None:
    subject = Subject(ck, GCRA(1000, 1e7))
    for number in range(100):
        subject.check(1, request=f"a.{number}")
        subject.advance_us(10)
    for name in ("a.1", "z.1"):
        with pytest.raises(OutcomeForgotten, match="whose reply is forgotten"):
            subject.check(1, request=name, age_us=1_000_000)
    assert subject.check(0, consume=False, request="").remaining == 900
    assert len(bytes(subject.stored())) < 500  # type: ignore[call-overload]  # a string


def test_gcra_forgets_names_when_a_second_was_quiet(ck: Client) -> None:
    subject = Subject(ck, GCRA(1000, 1e7))
    for number in range(5):
        subject.check(1, request=f"a.{number}")
    subject.advance_us(1_000_001)
    subject.check(1, request="b.1")
    assert b"a." not in bytes(subject.stored())  # type: ignore[call-overload]  # a string
    assert subject.check(1, request="b.2", age_us=1000).allowed
    with pytest.raises(OutcomeForgotten):
        subject.check(1, request="a.3", age_us=2_000_000)
    assert subject.check(0).remaining == 993


def test_gcra_look_that_is_repeated_is_answered(ck: Client) -> None:
    limiter = ck.limiter("api", GCRA(10, 1e7))
    limiter.check("u")
    script, keys, args = limiter._plans.peek("u", 1)
    reply = ck.backend.transport.call(script, keys, (*args, 1_000_000))
    assert limiter.algorithm.decision(reply, 1).remaining == 9


def test_sliding_window_knows_a_hit_again_among_hundreds(ck: Client) -> None:
    subject = Subject(ck, SlidingWindow(1000, 10.0))
    for number in range(400):
        subject.check(1, request=f"a.{number}")
        subject.advance_us(1)
    assert subject.check(1, request="a.3", age_us=1000).allowed
    assert subject.check(0).remaining == 600
    with pytest.raises(OutcomeForgotten, match="more than a window ago"):
        subject.check(1, request="z.1", age_us=10_000_000)
