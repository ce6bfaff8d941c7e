"""What is sent again, for how long, and what an outage costs a caller."""

from collections.abc import Callable

import pytest

from coordkit.errors import OutcomeUnknown, ServerError, ServerUnavailable
from coordkit.guard import PROBE_EVERY_S, AsyncGuard, Guard
from coordkit.lock import RELEASE
from coordkit.scripts import Script
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
    assert len(transport.calls) < 30  # the pauses grow


def test_guard_in_a_long_outage_fails_at_once_but_for_a_probe() -> None:
    guard, transport = guarded(*[DOWN] * 1000)
    with pytest.raises(ServerUnavailable):
        guard.call(RELEASE, (), ())
    transport.now_s += 1.0
    with pytest.raises(ServerUnavailable):
        guard.call(RELEASE, (), ())  # the probe
    made = len(transport.calls)
    with pytest.raises(ServerUnavailable, match=r"has been unavailable for .* tried again in"):
        guard.call(RELEASE, (), ())
    assert len(transport.calls) == made


def test_guard_after_an_outage_is_back_with_the_first_answer() -> None:
    guard, transport = guarded(*[DOWN] * 1000)
    with pytest.raises(ServerUnavailable):
        guard.call(RELEASE, (), ())
    transport.answers.clear()
    transport.answers.extend([1, 1])
    transport.now_s += 1.0 + PROBE_EVERY_S
    assert guard.call(RELEASE, (), ()) == 1
    assert guard.call(RELEASE, (), ()) == 1


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


async def test_async_guard_in_a_long_outage_fails_at_once_but_for_a_probe() -> None:
    guard, transport = await async_guarded(*[DOWN] * 1000)
    with pytest.raises(ServerUnavailable):
        await guard.call(RELEASE, (), ())
    assert transport.now_s <= 105.0
    transport.now_s += 1.0
    with pytest.raises(ServerUnavailable):
        await guard.call(RELEASE, (), ())  # the probe
    made = len(transport.calls)
    with pytest.raises(ServerUnavailable, match="has been unavailable"):
        await guard.call(RELEASE, (), ())
    assert len(transport.calls) == made


def test_guard_passes_the_rest_through() -> None:
    transport = FakeTransport()
    guard = Guard(transport)
    signal: Callable[[], object] = guard.signal
    assert signal() is not None
    assert guard.monotonic() == 100.0
    guard.close()
    assert transport.closed
