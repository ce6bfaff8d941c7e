"""What is sent again, for how long, and what an outage costs a caller."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from coordkit.errors import ClientClosed, OutcomeUnknown, ServerError, ServerUnavailable
from coordkit.guard import AsyncGuard, Guard
from coordkit.health import BAD_OF_WINDOW
from coordkit.lock import RELEASE
from coordkit.scripts import Args, Keys, Script
from tests.unit.fakes import AsyncFakeTransport, FakeTransport

ONCE = Script("lock_release", RELEASE.keys, RELEASE.args, RELEASE.parse, idempotent=False)
DOWN = ServerUnavailable("down")
LOST = OutcomeUnknown("lost")


def guarded(*answers: object) -> tuple[Guard, FakeTransport]:
    """A guard whose server has answered before."""
    transport = FakeTransport(b"PONG", *answers)
    guard = Guard(transport, timeout_s=5.0)
    guard.execute(("PING",))
    return guard, transport


def test_guard_sends_again_what_was_certainly_not_run() -> None:
    guard, transport = guarded(DOWN, DOWN, 1)
    assert guard.call(ONCE, (), ()) == 1
    assert len(transport.slept) == 2


def test_guard_sends_an_idempotent_script_again_though_it_may_have_run() -> None:
    guard, _ = guarded(LOST, 1)
    assert guard.call(RELEASE, (), ()) == 1


def test_guard_never_sends_a_script_twice_that_may_have_run_and_is_not_idempotent() -> None:
    guard, transport = guarded(LOST, 1)
    with pytest.raises(OutcomeUnknown):
        guard.call(ONCE, (), ())
    assert len(transport.calls) == 2  # PING and one attempt


def test_guard_of_a_closed_client_says_so_each_time_and_at_once() -> None:
    closed = ClientClosed("the client is closed; make a new one")
    guard, transport = guarded(*[closed] * 3)
    for _ in range(3):
        with pytest.raises(ClientClosed, match="closed"):
            guard.call(RELEASE, (), ())
    assert transport.slept == []
    assert not guard.health.open


def test_async_guard_of_a_closed_client_says_so_each_time_and_at_once() -> None:
    async def main() -> None:
        transport = AsyncFakeTransport(b"PONG", *[ClientClosed("the client is closed; make a new one")] * 3)
        guard = AsyncGuard(transport, timeout_s=5.0)
        await guard.execute(("PING",))
        for _ in range(3):
            with pytest.raises(ClientClosed, match="closed"):
                await guard.call(RELEASE, (), ())
        assert transport.slept == []
        assert not guard.health.open

    asyncio.run(main())


def test_guard_never_publishes_twice() -> None:
    guard, transport = guarded(LOST, 1)
    with pytest.raises(OutcomeUnknown):
        guard.publish(b"c", b"p")
    assert len(transport.calls) == 2


def test_guard_passes_server_errors_on() -> None:
    guard, transport = guarded(ServerError("WRONGTYPE no"))
    with pytest.raises(ServerError):
        guard.call(RELEASE, (), ())
    assert len(transport.calls) == 2


def test_guard_of_a_server_that_never_answered_fails_at_once() -> None:
    transport = FakeTransport(DOWN)
    with pytest.raises(ServerUnavailable):
        Guard(transport).call(RELEASE, (), ())
    assert transport.slept == []


def test_guard_gives_up_within_its_deadline() -> None:
    guard, transport = guarded(*[DOWN] * 1000)
    with pytest.raises(ServerUnavailable):
        guard.call(RELEASE, (), ())
    assert transport.now_s <= 105.0
    assert len(transport.calls) < 50  # the pauses grow
    guard.close()


def soon(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


def test_guard_in_a_long_outage_fails_at_once_and_no_call_probes() -> None:
    guard, transport = guarded(*[DOWN] * 1000)
    with pytest.raises(ServerUnavailable):
        guard.call(RELEASE, (), ())
    made = len(transport.calls)
    for _ in range(20):
        with pytest.raises(ServerUnavailable, match=r"has been unavailable for .* probed in the background"):
            guard.call(RELEASE, (), ())
    assert len(transport.calls) == made
    soon(lambda: transport.probes > 2)
    assert len([thread for thread in threading.enumerate() if thread.name == "coordkit-probe"]) == 1
    assert guard.health.statistics().state == "open"
    assert guard.health.statistics().rejected == 20
    guard.close()


def test_guard_after_an_outage_is_back_when_the_probe_is_answered() -> None:
    guard, transport = guarded(*[DOWN] * 1000)
    with pytest.raises(ServerUnavailable):
        guard.call(RELEASE, (), ())
    transport.answers.clear()
    transport.answers.extend([1, 1])
    transport.back.set()
    soon(lambda: not guard.health.open)
    assert guard.call(RELEASE, (), ()) == 1
    assert guard.call(RELEASE, (), ()) == 1
    soon(lambda: not [thread for thread in threading.enumerate() if thread.name == "coordkit-probe"])


def test_guard_that_is_closed_ends_its_probe() -> None:
    guard, _ = guarded(*[DOWN] * 1000)
    with pytest.raises(ServerUnavailable):
        guard.call(RELEASE, (), ())
    guard.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "coordkit-probe"]


def answered_after(transport: FakeTransport, seconds: float) -> Callable[[], object]:
    """An answer that takes so long."""

    def answer() -> object:
        transport.now_s += seconds
        return 1

    return answer


def test_guard_of_a_server_that_answers_slowly_opens_after_some_of_its_answers() -> None:
    guard, transport = guarded()
    transport.answers.extend([answered_after(transport, 1.0)] * BAD_OF_WINDOW)
    for _ in range(BAD_OF_WINDOW):
        assert guard.call(RELEASE, (), ()) == 1
    assert guard.health.statistics().slow == BAD_OF_WINDOW
    with pytest.raises(ServerUnavailable, match="has been unavailable"):
        guard.call(RELEASE, (), ())
    guard.close()


def test_guard_of_a_server_that_is_slow_now_and_then_stays_closed() -> None:
    guard, transport = guarded()
    for _ in range(20):
        transport.answers.extend([answered_after(transport, 1.0), 1, 1, 1])
        assert [guard.call(RELEASE, (), ()) for _ in range(4)] == [1] * 4
    assert guard.health.statistics().openings == 0


def test_guard_opens_on_silence_though_nothing_may_be_sent_again() -> None:
    guard, transport = guarded()

    def silence() -> object:
        transport.now_s += 5.0
        raise LOST

    transport.answers.append(silence)
    with pytest.raises(OutcomeUnknown):
        guard.call(ONCE, (), ())
    assert guard.health.open
    guard.close()


def test_guard_gives_every_attempt_the_deadline_of_the_call() -> None:
    guard, transport = guarded(DOWN, DOWN, 1)
    seen: list[float | None] = []
    call = transport.call

    def remembering(script: Script[object], keys: Keys, args: Args, deadline_s: float | None = None) -> object:
        seen.append(deadline_s)
        return call(script, keys, args)

    transport.call = remembering  # type: ignore[method-assign]  # a fake of a fake
    guard.call(RELEASE, (), ())
    assert seen == [105.0] * 3


def test_guard_makes_up_when_the_server_is_back_and_again_until_it_succeeds() -> None:
    guard, transport = guarded(LOST, DOWN, ServerError("WRONGTYPE no lock"), 1, b"PONG")
    for owner in (b"one", b"two"):
        guard.when_back(RELEASE, (b"k",), (owner,), within_s=30)
    soon(lambda: transport.probes > 1)
    assert len(transport.calls) == 1  # PING
    transport.back.set()
    soon(lambda: len(transport.calls) == 5)
    assert sorted(args for _, args in transport.calls[-2:]) == [(b"one",), (b"two",)]
    soon(lambda: not guard._probes)
    guard.execute(("PING",))
    guard.close()


def test_guard_forgets_what_is_owed_for_too_long_or_in_a_forced_outage() -> None:
    guard, transport = guarded()
    transport.back.set()
    guard.when_back(RELEASE, (b"k",), (b"me",), within_s=0)
    soon(lambda: transport.probes > 0 and not guard._probes)
    guard.health.force(DOWN)
    guard.when_back(RELEASE, (b"k",), (b"me",), within_s=30)
    assert not guard._probes
    assert len(transport.calls) == 1
    guard.close()


async def test_async_guard_makes_up_when_the_server_is_back_and_again_until_it_succeeds() -> None:
    transport = AsyncFakeTransport(b"PONG", LOST, ServerError("WRONGTYPE no lock"), 1)
    guard = AsyncGuard(transport, timeout_s=5.0)
    await guard.execute(("PING",))
    for owner in (b"one", b"two"):
        guard.when_back(RELEASE, (b"k",), (owner,), within_s=1e6)
    guard.when_back(RELEASE, (b"k",), (b"late",), within_s=0)
    async with asyncio.timeout(20):
        while transport.probes < 2:
            await asyncio.sleep(0)
        assert len(transport.calls) == 1  # PING
        transport.back.set()
        while any(probe.running() for probe in guard._probes.values()):
            await asyncio.sleep(0)
    assert [args for _, args in transport.calls[1:]] == [(b"one",), (b"two",), (b"one",)]
    await guard.aclose()


def test_forced_outage_fails_every_call_without_trying_and_ends() -> None:
    guard, transport = guarded(1)
    guard.health.force(OutcomeUnknown("forced"))
    for _ in range(3):
        with pytest.raises(OutcomeUnknown, match="forced"):
            guard.call(RELEASE, (), ())
    assert guard.health.statistics().state == "forced"
    guard.health.force(None)
    assert guard.call(RELEASE, (), ()) == 1
    assert [name for name, _ in transport.calls] == ["PING", "lock_release"]
    assert guard.health.statistics().state == "closed"


async def async_guarded(*answers: object) -> tuple[AsyncGuard, AsyncFakeTransport]:
    """The same for asynchronous callers."""
    transport = AsyncFakeTransport(b"PONG", *answers)
    guard = AsyncGuard(transport, timeout_s=5.0)
    await guard.execute(("PING",))
    return guard, transport


ASYNC_CASES: dict[str, tuple[Script[object], list[object], type[Exception] | None, int]] = {
    "not run": (ONCE, [DOWN, DOWN, 1], None, 3),
    "idempotent": (RELEASE, [LOST, 1], None, 2),
    "not idempotent": (ONCE, [LOST, 1], OutcomeUnknown, 1),
    "server error": (RELEASE, [ServerError("ERR no")], ServerError, 1),
    "not run, then lost": (ONCE, [DOWN, LOST, 1], OutcomeUnknown, 2),
}


@pytest.mark.parametrize("script, answers, error, attempts", ASYNC_CASES.values(), ids=list(ASYNC_CASES))
async def test_async_guard_sends_again_what_may_be_sent_again(
    script: Script[object], answers: list[object], error: type[Exception] | None, attempts: int
) -> None:
    guard, transport = await async_guarded(*answers)
    if error is None:
        assert await guard.call(script, (), ()) == 1
    else:
        with pytest.raises(error):
            await guard.call(script, (), ())
    assert len(transport.calls) == 1 + attempts


async def soon_async(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


async def test_async_guard_in_a_long_outage_fails_at_once_and_one_probe_ends_it() -> None:
    guard, transport = await async_guarded(*[DOWN] * 1000)
    with pytest.raises(ServerUnavailable):
        await guard.call(RELEASE, (), ())
    assert transport.now_s <= 105.0
    made = len(transport.calls)
    for _ in range(20):
        with pytest.raises(ServerUnavailable, match="has been unavailable"):
            await guard.call(RELEASE, (), ())
    assert len(transport.calls) == made
    assert len(asyncio.all_tasks()) == 2  # this one and the probe
    transport.answers.clear()
    transport.answers.extend([1, 1])
    transport.back.set()
    await soon_async(lambda: not guard.health.open)
    assert await guard.call(RELEASE, (), ()) == 1
    await soon_async(lambda: len(asyncio.all_tasks()) == 1)


async def test_async_guard_lets_calls_under_way_wait_for_the_probe() -> None:
    guard, transport = await async_guarded(*[DOWN] * 1000)
    guard.health.heard_slow(5, 100.0)
    assert guard.health.open
    transport.answers.clear()
    transport.answers.append(1)
    transport.back.set()
    reply = await guard._guarded(  # what a call does whose first attempt failed before the breaker opened
        lambda deadline_s, _: transport.call(RELEASE, (), (), deadline_s),
        idempotent=True,
        failure=DOWN,
        started_s=100.0,
    )
    assert reply == 1
    assert transport.probes == 1


async def test_async_guard_that_is_closed_ends_its_probe() -> None:
    guard, _ = await async_guarded(*[DOWN] * 1000)
    with pytest.raises(ServerUnavailable):
        await guard.call(RELEASE, (), ())
    await guard.aclose()
    await soon_async(lambda: len(asyncio.all_tasks()) == 1)


def test_async_guard_probes_on_another_loop_when_the_first_one_is_gone() -> None:
    guard, transport = asyncio.run(async_guarded(*[DOWN] * 1000))

    async def fail() -> None:
        with pytest.raises(ServerUnavailable):
            await guard.call(RELEASE, (), ())

    async def recover() -> None:
        await fail()
        transport.back.set()
        await soon_async(lambda: not guard.health.open)

    asyncio.run(fail())  # the probe ends with its loop
    asyncio.run(recover())


async def test_watched_requests_that_wait_for_long_open_the_breaker() -> None:
    guard, transport = await async_guarded()
    assert transport.watcher is guard.health
    guard.health.heard_slow(BAD_OF_WINDOW, 100.0)
    with pytest.raises(ServerUnavailable, match="has been unavailable"):
        await guard.call(RELEASE, (), ())
    await guard.aclose()


def test_guard_passes_the_rest_through() -> None:
    transport = FakeTransport()
    guard = Guard(transport)
    signal: Callable[[], object] = guard.signal
    assert signal() is not None
    assert guard.monotonic() == 100.0
    guard.close()
    assert transport.closed


# -- several servers -----------------------------------------------------------------------------------------------


class TwoServers(FakeTransport):
    """Keys that start with b"a" are on a server that may be down, others on one that is well."""

    down = True
    moved = False

    def place_of(self, key: bytes | None) -> str | None:
        return "A" if key is not None and key.startswith(b"a") and not self.moved else "B"

    def call(self, script: Script[object], keys: Keys, args: Args, deadline_s: float | None = None) -> object:
        if self.down and self.place_of(keys[0]) == "A":
            raise DOWN
        return 1

    def probe(self, timeout_s: float, place: str | None = None) -> None:
        assert place == "A"
        if not self.back.wait(0):
            raise DOWN


def test_guard_of_several_servers_opens_the_breaker_of_the_one_that_is_down() -> None:
    transport = TwoServers()
    guard = Guard(transport, timeout_s=5.0)
    with pytest.raises(ServerUnavailable):
        guard.call(RELEASE, (b"a",), ())
    assert guard.health_at("A").open
    assert transport.slept
    with pytest.raises(ServerUnavailable, match="A has been unavailable"):
        guard.call(RELEASE, (b"a",), ())
    for _ in range(3):
        assert guard.call(RELEASE, (b"b",), ()) == 1
    statistics = guard.statistics()
    assert (statistics.state, statistics.unavailable, statistics.rejected, statistics.openings) == ("open", 1, 1, 1)
    transport.down = False
    transport.back.set()
    soon(lambda: not guard.health_at("A").open)
    assert guard.call(RELEASE, (b"a",), ()) == 1
    guard.close()


def test_guard_goes_to_the_server_that_has_the_key_now() -> None:
    transport = TwoServers()
    guard = Guard(transport, timeout_s=5.0)
    with pytest.raises(ServerUnavailable):
        guard.call(RELEASE, (b"a",), ())
    transport.moved = True
    assert guard.call(RELEASE, (b"a",), ()) == 1
    guard.close()


def test_outage_that_is_forced_holds_for_every_server() -> None:
    guard = Guard(TwoServers(), timeout_s=5.0)
    assert guard.call(RELEASE, (b"b",), ()) == 1
    guard.health.force(ServerUnavailable("forced"))
    with pytest.raises(ServerUnavailable, match="forced"):
        guard.call(RELEASE, (b"b",), ())
    assert guard.statistics().state == "forced"
    guard.health.force(None)
    assert guard.call(RELEASE, (b"b",), ()) == 1
