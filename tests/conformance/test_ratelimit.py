"""Limiters on every server, blocking and asynchronous, in real time."""

import asyncio
import functools
import operator
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import pytest

from coordkit import AsyncClient, Client, ConfigurationError, LimitTimeout
from coordkit.ratelimit.algorithms import ALGORITHMS
from coordkit.ratelimit.base import Algorithm
from coordkit.ratelimit.decision import Decision
from coordkit.ratelimit.gcra import GCRA
from coordkit.ratelimit.limiter import AsyncLimiter, Limiter
from coordkit.ratelimit.sliding_window import SlidingWindow
from tests.peers import Peer

Made = Callable[[str, Algorithm], "Calls"]

EXAMPLES: Final[dict[str, Callable[[int, float], Algorithm]]] = {"gcra": GCRA, "sliding_window": SlidingWindow}


class Calls:
    """A limiter of either kind, called from a test that is asynchronous."""

    def __init__(self, limiter: Limiter | AsyncLimiter) -> None:
        self._limiter = limiter

    async def check(self, key: str, cost: int = 1) -> Decision:
        decision = self._limiter.check(key, cost)
        return decision if isinstance(decision, Decision) else await decision

    async def peek(self, key: str, cost: int = 1) -> Decision:
        decision = self._limiter.peek(key, cost)
        return decision if isinstance(decision, Decision) else await decision

    async def acquire(self, key: str, cost: int = 1, *, timeout: float | None = None) -> Decision:
        decision = self._limiter.acquire(key, cost, timeout=timeout)
        return decision if isinstance(decision, Decision) else await decision

    async def reset(self, key: str) -> bool:
        done = self._limiter.reset(key)
        return done if isinstance(done, bool) else await done


@pytest.fixture(params=["blocking", "asynchronous"])
async def made(request: pytest.FixtureRequest, server_url: str) -> AsyncIterator[Made]:
    """Make a limiter: `made(name, algorithm)`."""
    async with AsyncClient.from_url(server_url) as asynchronous:
        with Client.from_url(server_url) as blocking:
            client = blocking if request.param == "blocking" else asynchronous
            yield lambda name, algorithm: Calls(client.limiter(name, algorithm))


@pytest.fixture(params=sorted(ALGORITHMS))
def ten_a_minute(request: pytest.FixtureRequest) -> Algorithm:
    return EXAMPLES[request.param](10, 60.0)


async def test_check_admits_the_limit_and_then_refuses(made: Made, ten_a_minute: Algorithm) -> None:
    api = made("api", ten_a_minute)
    for left in range(9, -1, -1):
        decision = await api.check("user:42")
        assert decision
        assert (decision.limit, decision.remaining, decision.retry_after) == (10, left, 0.0)
        assert 0 < decision.reset_after <= 60
    refused = await api.check("user:42")
    assert not refused
    assert refused.remaining == 0
    assert 0 < refused.retry_after <= refused.reset_after <= 60


async def test_refused_check_takes_nothing(made: Made, ten_a_minute: Algorithm) -> None:
    api = made("api", ten_a_minute)
    assert await api.check("user:42", cost=6)
    for _ in range(20):
        assert not await api.check("user:42", cost=5)
    assert (await api.peek("user:42")).remaining == 4
    assert await api.check("user:42", cost=4)


async def test_subjects_and_limiters_are_apart(made: Made) -> None:
    one = GCRA(1, 60.0)
    assert await made("api", one).check("a:b")
    assert await made("api:a", one).check("b")
    assert await made("api%3Aa", one).check("b")
    assert await made("api", one).check("a")
    assert await made("api", SlidingWindow(1, 60.0)).check("a:b")
    assert not await made("api", one).check("a:b")


async def test_peek_and_cost_zero_take_nothing(made: Made, ten_a_minute: Algorithm) -> None:
    api = made("api", ten_a_minute)
    assert (await api.peek("user:42", cost=10)).remaining == 10
    assert (await api.check("user:42", cost=0)).remaining == 10
    await api.check("user:42", cost=10)
    assert not await api.peek("user:42")
    assert (await api.peek("user:42")).retry_after > 0
    assert await api.check("user:42", cost=0)


async def test_reset_forgets_what_was_taken(made: Made, ten_a_minute: Algorithm) -> None:
    api = made("api", ten_a_minute)
    assert await api.reset("user:42") is False
    await api.check("user:42", cost=10)
    assert await api.reset("user:42") is True
    assert (await api.check("user:42")).remaining == 9


async def test_cost_above_the_most_there_can_be_raises(made: Made, ten_a_minute: Algorithm) -> None:
    api = made("api", ten_a_minute)
    with pytest.raises(ConfigurationError, match=r"'api' can never admit a cost of 11: .*limit=10.* admits 10 at once"):
        await api.check("user:42", cost=11)


@pytest.mark.parametrize("cost", [-1, 1.5, True, 2**60, "1", None])
async def test_cost_that_is_no_whole_number_raises(made: Made, cost: int) -> None:
    with pytest.raises(ConfigurationError, match="cost must be a whole number"):
        await made("api", GCRA(10, 60.0)).check("user:42", cost=cost)


async def test_missing_key_raises(made: Made) -> None:
    with pytest.raises(ConfigurationError, match="'api' needs a key"):
        await made("api", GCRA(10, 60.0)).check("")


async def test_acquire_waits_for_its_turn(made: Made) -> None:
    for algorithm in (GCRA(20, 1.0, burst=1), SlidingWindow(1, 0.05)):
        api = made("api", algorithm)
        started_s = time.monotonic()
        for _ in range(5):
            assert await api.acquire("user:42", timeout=10)
        assert 0.199 <= time.monotonic() - started_s < 5


async def test_acquire_that_cannot_come_in_time_raises_at_once_and_takes_nothing(
    made: Made, ten_a_minute: Algorithm
) -> None:
    api = made("api", ten_a_minute)
    await api.check("user:42", cost=9)
    started_s = time.monotonic()
    with pytest.raises(LimitTimeout, match=r"'api' has no room for 2 of 'user:42' within 1.5 s: not before \d"):
        await api.acquire("user:42", cost=2, timeout=1.5)
    assert time.monotonic() - started_s < 1.4
    assert (await api.peek("user:42")).remaining == 1


async def test_check_after_script_flush_goes_on(made: Made, server: Peer, ten_a_minute: Algorithm) -> None:
    api = made("api", ten_a_minute)
    assert (await api.check("user:42")).remaining == 9
    server.command("SCRIPT", "FLUSH")
    assert (await api.check("user:42")).remaining == 8


@pytest.mark.parametrize(
    "algorithm",
    [
        GCRA(10, 1.0, burst=1),
        GCRA(1000, 1.0, burst=100),
        GCRA(1_000_000, 1.0, burst=1),
        GCRA(1, 86400),
        SlidingWindow(1000, 0.001),
        SlidingWindow(1, 86400),
    ],
    ids=repr,
)
async def test_every_key_has_a_time_to_live_just_past_its_use(server_url: str, algorithm: Algorithm) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        await ck.limiter("api", algorithm).check("user:42")
        key = ck.keys.limit("api", algorithm.kind) + b"user:42"
        left_ms = await ck.backend.execute(("PTTL", key))
        assert isinstance(left_ms, int)
        assert left_ms == -2 or 0 <= left_ms <= algorithm.window_s * 1250 + 2
        if algorithm.window_s > 1:
            assert left_ms > algorithm.window_s * 1000 - 10_000


@pytest.mark.parametrize("limit, burst", [(10, 1), (1000, 100)])
async def test_gcra_whose_burst_refills_in_an_instant_still_limits(server_url: str, limit: int, burst: int) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        api = ck.limiter("api", GCRA(limit, 1.0, burst=burst))
        started_s = time.monotonic()
        decisions = [await api.check("user:42") for _ in range(burst * 3)]
        took_s = time.monotonic() - started_s
        assert burst <= sum(decision.allowed for decision in decisions) <= burst + took_s * limit + 1


async def test_sliding_window_outlives_each_of_its_hits(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        api = ck.limiter("api", SlidingWindow(1000, 0.2))
        for _ in range(40):
            started_s = time.monotonic()
            assert await api.check("user:42")
            left_ms = await ck.backend.execute(("PTTL", ck.keys.limit("api", "sliding_window") + b"user:42"))
            took_ms = (time.monotonic() - started_s) * 1000
            assert isinstance(left_ms, int)
            assert 199 - took_ms <= left_ms <= 252
            await asyncio.sleep(0.01)


async def test_clients_whose_clocks_differ_share_one_limit(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for algorithm in (GCRA(10, 60.0), SlidingWindow(10, 60.0)):
        with Client.from_url(server_url) as one, Client.from_url(server_url) as two:
            assert one.limiter("api", algorithm).check("user:42", cost=10)
            with monkeypatch.context() as patch:
                for name in ("time", "monotonic"):
                    patch.setattr(time, name, functools.partial(operator.add, getattr(time, name)(), 125))
                assert not two.limiter("api", algorithm).check("user:42")


async def test_weighted_hit_takes_one_entry(server_url: str) -> None:
    async with AsyncClient.from_url(server_url) as ck:
        for algorithm in (GCRA(1_000_000, 60.0), SlidingWindow(1_000_000, 60.0)):
            api = ck.limiter("api", algorithm)
            for _ in range(5):
                assert await api.check("user:42", cost=100_000)
            key = ck.keys.limit("api", algorithm.kind) + b"user:42"
            size = await ck.backend.execute(("STRLEN" if isinstance(algorithm, GCRA) else "LLEN", key))
            assert isinstance(size, int)
            assert 0 < size < 300


@pytest.mark.parametrize(
    "algorithm, most",
    [
        (GCRA(100, 1.0, burst=10), lambda took_s: 10 + 100 * took_s),
        (SlidingWindow(20, 0.1), lambda took_s: 20 * (took_s // 0.1 + 1)),
    ],
    ids=["gcra", "sliding_window"],
)
async def test_many_clients_together_stay_within_the_bound(
    server_url: str, algorithm: Algorithm, most: Callable[[float], float]
) -> None:
    asked = admitted = blocked = 0
    ends_s = time.monotonic() + 0.5

    async def hammer(limiter: AsyncLimiter) -> None:
        nonlocal asked, admitted
        while time.monotonic() < ends_s:
            asked += 1
            decision = await limiter.check("user:42")
            admitted += decision.allowed

    def hammer_blocking() -> None:
        nonlocal blocked
        with Client.from_url(server_url) as ck:
            limiter = ck.limiter("api", algorithm)
            while time.monotonic() < ends_s:
                blocked += limiter.check("user:42").allowed

    started_s = time.monotonic()
    thread = threading.Thread(target=hammer_blocking)
    thread.start()
    async with AsyncClient.from_url(server_url) as one, AsyncClient.from_url(server_url) as two:
        await asyncio.gather(*(hammer(ck.limiter("api", algorithm)) for ck in (one, two) * 5))
    await asyncio.to_thread(thread.join)
    took_s = time.monotonic() - started_s
    assert admitted + blocked <= most(took_s)
    assert admitted + blocked >= min(asked, most(took_s)) * 0.5
