"""Every script that changes something is safe to send twice: the same reply, the same effect.

A transport duplicates the request, drops the reply (the guard sends again), or delays the request until its repetition
has been answered.  What is left on the server must equal what an undisturbed call leaves.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import pytest

from coordkit import GCRA, AsyncClient, OutcomeUnknown, SlidingWindow
from coordkit.cli.demo.record import MARK, MERGE
from coordkit.lock import ACQUIRE, RELEASE, RENEW
from coordkit.queue.scripts import BEAT, CANCEL, DISCARD, ENQUEUE, REQUEUE, TURN
from coordkit.scripts import Arg, Args, Keys, Script
from coordkit.transports.address import parse_url
from coordkit.transports.asyncio_ import AsyncioTransport
from tests.peers import Peer
from tests.unit.test_scripts import SCRIPTS

MODES: Final = ("duplicate", "drop", "delay")
MOMENT: Final = re.compile(rb"\d{10} \d{1,6}\b|\d{12,}(\.\d+)?(e\+\d+)?|\d\.\d+e\+\d+")
READ_ONLY: Final = {"lock_info", "queue_dead", "queue_job", "queue_stats"}


class Meddler(AsyncioTransport):
    """Disturbs the one script that it is told, once."""

    mode: str | None = None
    disturbed: str | None = None
    _late: tuple[Script[object], Keys, Args] | None = None

    def begin(self, script: Script[object], keys: Keys, args: Args) -> None:
        """Nothing is sent past `call`."""

    async def call(self, script: Script[object], keys: Keys, args: Args, deadline_s: float | None = None) -> object:
        if script.name != self.disturbed:
            return await super().call(script, keys, args, deadline_s)
        if self._late is not None:
            reply = await super().call(script, keys, args, deadline_s)
            if self.mode == "delay":
                await super().call(*self._late, deadline_s)
            return reply
        self._late = script, keys, args
        if self.mode != "delay":
            reply = await super().call(script, keys, args, deadline_s)
            if self.mode == "duplicate":
                repeated = await super().call(script, keys, args, deadline_s)
                assert comparable(script, repeated) == comparable(script, reply)
                return repeated
        raise OutcomeUnknown("the reply was dropped")


def without_moments(value: object) -> object:
    """The value with a dot in place of every moment."""
    if isinstance(value, list):
        return [without_moments(part) for part in value]
    if isinstance(value, dict):
        return {name: without_moments(part) for name, part in value.items()}
    if isinstance(value, float):
        return without_moments(int(value))
    if isinstance(value, bytes | int):
        return MOMENT.sub(b".", value if isinstance(value, bytes) else b"%d" % value)
    return value


def comparable(script: Script[object], reply: object) -> object:
    """The part of the reply that says what was done, without what only depends on when it was asked."""
    if isinstance(reply, list) and script.name == "queue_turn":
        reply = reply[:2]
    elif isinstance(reply, list) and script.name == "ratelimit_sliding_window":
        reply = [reply[0], reply[2]]
    elif isinstance(reply, list) and script.name == "lock_acquire" and reply[0] == 0:
        reply = [reply[0], *reply[3:]]
    return without_moments(reply)


async def contents(ck: AsyncClient) -> dict[bytes, object]:
    """All that is on the server, without moments, and without what only counts script calls."""
    execute = ck.backend.execute
    found: dict[bytes, object] = {}
    readers: dict[object, Callable[[bytes], tuple[Arg, ...]]] = {
        b"string": lambda key: ("GET", key),
        b"list": lambda key: ("LRANGE", key, 0, -1),
        b"hash": lambda key: ("HGETALL", key),
        b"zset": lambda key: ("ZRANGE", key, 0, -1, "WITHSCORES"),
    }
    keys = await execute(("KEYS", "*"))
    assert isinstance(keys, list)
    for key in keys:
        kind = await execute(("TYPE", key))
        value = without_moments(await execute(readers[kind](key)))
        if isinstance(value, dict):
            value.pop(b"seq", None)  # numbers may be left out
        found[key] = value
    return found


@dataclass(frozen=True)
class Case:
    """A call, and what goes before it."""

    script: Script[object]
    keys: Callable[[AsyncClient], Keys]
    args: Args
    before: Callable[[AsyncClient], Awaitable[object]] | None = None


def lock_keys(ck: AsyncClient) -> Keys:
    return ck.keys.lock("l")


def queue_keys(ck: AsyncClient) -> Keys:
    return ck.keys.queue("q")


def turn_keys(ck: AsyncClient) -> Keys:
    return (*ck.keys.queue("q"), ck.keys.queue("q").turn("w"))


def pair_keys(place: str) -> Callable[[AsyncClient], Keys]:
    return lambda ck: (ck.keys.queue("q").jobs, getattr(ck.keys.queue("q"), place))


JOBS: Final = (
    *("j1", "payload", 0, 3, 1000, 2000, 0, ""),
    *("j2", "payload", 0, 3, 1000, 2000, 0, "unique"),
    *("j3", "payload", 0, 3, 1000, 2000, 60_000, ""),
)


async def locked(ck: AsyncClient) -> object:
    return await ck.backend.call(ACQUIRE, lock_keys(ck), ("me", 60_000, 0, "inbox"))


async def queued(ck: AsyncClient) -> object:
    return await ck.backend.call(ENQUEUE, queue_keys(ck), JOBS)


async def turn(ck: AsyncClient, number: int, wanted: int, *settled: Arg) -> list[tuple[str, int]]:
    words = (number, "inbox", wanted, 60_000, 60_000, 100, *settled)
    return [(job.id, job.fence) for job in TURN.parse(await ck.backend.call(TURN, turn_keys(ck), words)).leases]


async def buried(ck: AsyncClient) -> None:
    await queued(ck)
    for number, (job_id, fence) in enumerate(await turn(ck, 1, 2), 2):
        await turn(ck, number, 0, job_id, fence, "rejected", "broken", "")


def bucket(kind: str) -> Callable[[AsyncClient], Keys]:
    return lambda ck: (ck.keys.limit("api", kind) + b"user",)


GCRA_ARGS: Final[Args] = (*GCRA(10, 10_000_000).arguments(3), "1", "r.1")
WINDOW_ARGS: Final[Args] = (*SlidingWindow(10, 10_000_000).arguments(3), "1", "r.1")

CASES: Final = {
    "demo_mark": Case(MARK, lambda ck: (ck.keys.demo("m"), ck.keys.demo("written")), ("started", "r.1")),
    "demo_merge": Case(MERGE, lambda ck: (ck.keys.demo("r"), ck.keys.demo("merged")), (7, "j1", 1, 2, 3)),
    "lock_acquire": Case(ACQUIRE, lock_keys, ("me", 60_000, 0, "inbox")),
    "lock_acquire, waiting": Case(ACQUIRE, lock_keys, ("you", 60_000, 60_000, "inbox"), locked),
    "lock_release": Case(RELEASE, lock_keys, ("me",), locked),
    "lock_renew": Case(RENEW, lambda ck: lock_keys(ck)[:1], ("me", 60_000), locked),
    "queue_beat": Case(BEAT, pair_keys("leased"), (60_000, "j1", "0"), queued),
    "queue_cancel": Case(CANCEL, queue_keys, ("j1", "j2", "nobody"), queued),
    "queue_discard": Case(DISCARD, pair_keys("dead"), ("j1", "j2"), buried),
    "queue_enqueue": Case(ENQUEUE, queue_keys, JOBS),
    "queue_requeue": Case(REQUEUE, queue_keys, ("j1", "j2"), buried),
    "queue_turn": Case(TURN, turn_keys, (2, "inbox", 1, 60_000, 60_000, 100), queued),
    "queue_turn, idle": Case(TURN, turn_keys, (2, "inbox", 1, 60_000, 60_000, 100)),
    "ratelimit_gcra": Case(GCRA.check_script, bucket("gcra"), GCRA_ARGS),
    "ratelimit_sliding_window": Case(SlidingWindow.check_script, bucket("sliding_window"), WINDOW_ARGS),
}


async def outcome(server: Peer, case: Case, mode: str | None) -> tuple[object, dict[bytes, object]]:
    """What the call replied, and what is on the server then."""
    server.command("FLUSHALL")
    transport = Meddler(parse_url(server.url))
    async with AsyncClient(transport) as ck:
        await ck.ping()
        if case.before is not None:
            await case.before(ck)
        transport.mode, transport.disturbed = mode, case.script.name if mode else None
        reply = await ck.backend.call(case.script, case.keys(ck), case.args)
        transport.disturbed = None
        assert mode is None or transport._late is not None
        return comparable(case.script, reply), await contents(ck)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
async def test_script_sent_twice_replies_and_counts_as_once(server: Peer, case: Case, mode: str) -> None:
    assert case.script.idempotent
    undisturbed = await outcome(server, case, None)
    assert await outcome(server, case, mode) == undisturbed


def test_every_script_that_changes_something_is_among_the_cases() -> None:
    assert {case.script.name for case in CASES.values()} | READ_ONLY == {script.name for script in SCRIPTS}
