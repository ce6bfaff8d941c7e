"""One guard a client: what is sent again and what is not, and how long a caller waits for a server that is
down.

- Every call has one deadline: connecting, waiting for room, repeating and the pauses between are all inside it.
- A request that was certainly not run is sent again.  One that may have run is sent again only if its script
  is idempotent; else the caller gets OutcomeUnknown and knows what that means.
- A server that has never answered fails at once: the URL is probably wrong.
- An outage that outlives one deadline, or slow answers in a row, open the breaker (`health.py`): calls fail at once.
  One probe in the background asks until the server answers; no caller pays for that.
- Of a cluster each node has a breaker of its own, and calls for the others go on.
- What could not be given back is given back after the outage, by who probes (`when_back`).
"""

import logging
import math
import os
import random
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import tenacity

from coordkit.errors import CoordkitError, OutcomeUnknown, ServerError, ServerUnavailable
from coordkit.health import Health, HealthStatistics, together
from coordkit.scripts import Arg, Args, Keys, Script
from coordkit.telemetry import telemetry
from coordkit.transports.base import (
    DEFAULT_TIMEOUT_S,
    AsyncPlacing,
    AsyncSignal,
    AsyncTransport,
    Background,
    Listener,
    Placing,
    Prompt,
    Signal,
    Transport,
)
from coordkit.transports.slots import key_of

PAUSE_FIRST_S: Final = 0.02
PAUSE_MAX_S: Final = 0.25
PROBE_FIRST_S: Final = 0.05
PROBE_MAX_S: Final = 0.2

FAILURES: Final = (ServerUnavailable, OutcomeUnknown)

T = TypeVar("T")

log = logging.getLogger("coordkit")


class _Owed(NamedTuple):
    """A call that is to be made when the server at `place` is back, until some moment."""

    place: str | None
    until_s: float
    script: Script[object]
    keys: Keys
    args: Args


class _GuardState:
    """What both guards hold: the health of the server, or of each, and the timeout of a call."""

    def __init__(self, transport: object, timeout_s: float) -> None:
        name = str(transport)
        self.health = Health(timeout_s, name=name)
        self._place_of = transport.place_of if isinstance(transport, Placing) else None
        self._healths: dict[str, Health] = {}
        self._timeout_s = timeout_s
        self._telemetry = telemetry(name)
        self._owed: deque[_Owed] = deque()
        self._owing = threading.Lock()  # loops in several threads may use one guard

    def statistics(self) -> HealthStatistics:
        """What was seen of the server, or of all of them."""
        return together([health.statistics() for health in (self.health, *list(self._healths.values()))])

    def health_at(self, place: str) -> Health:
        """The health of one of several servers."""
        health = self._healths.get(place)
        if health is None:
            health = self._healths.setdefault(place, Health(self._timeout_s, place=place))
        return health

    def _health_of(self, key: bytes | None) -> Health:
        """The health of the server that the key's commands go to."""
        if self._place_of is None or self.health.forced:
            return self.health
        place = self._place_of(key)
        return self.health if place is None else self.health_at(place)

    def _owe(self, owed: _Owed) -> None:
        with self._owing:
            self._owed.append(owed)

    def _owes(self, place: str | None) -> bool:
        """Whether anything is to be made up at the place."""
        with self._owing:
            return any(owed.place == place for owed in self._owed)

    def _next_owed(self, place: str | None, now_s: float) -> _Owed | None:
        """What is to be made up next at the place; what is too old is forgotten."""
        with self._owing:
            for _ in range(len(self._owed)):
                owed = self._owed.popleft()
                if owed.place != place:
                    self._owed.append(owed)
                elif now_s < owed.until_s:
                    return owed
        return None

    def _next_pause_s(
        self,
        health: Health,
        failure: ServerUnavailable | OutcomeUnknown,
        *,
        attempt: int,
        idempotent: bool,
        started_s: float,
        now_s: float,
    ) -> float | None:
        """How long to wait before the call is tried again; None: its caller gets the failure."""
        deadline_s = started_s + self._timeout_s
        if health.may_repeat(failure, idempotent=idempotent):
            pause = min(PAUSE_FIRST_S * 2.0 ** min(attempt, 8), PAUSE_MAX_S) * random.uniform(0.5, 1.0)
            if now_s + pause < deadline_s:
                health.retries += 1
                return pause
            now_s = deadline_s  # no time is left for another attempt
        health.gave_up(failure, started_s=started_s, now_s=now_s, deadline_s=deadline_s)
        return None


def _final(failure: ServerUnavailable | OutcomeUnknown, *, unknown: bool) -> ServerUnavailable | OutcomeUnknown:
    """What the caller gets: if any attempt may have been run, the outcome is unknown, however the last one ended."""
    if unknown and not isinstance(failure, OutcomeUnknown):
        return OutcomeUnknown(f"a command was sent and may have run; then {failure}")
    return failure


def _age_ms(age_s: float) -> int:
    return math.ceil(age_s * 1000) + 1


def repeated(script: Script[object], args: Args, age_ms: int) -> Args:
    """The arguments to send: those of the first time, unless an attempt `age_ms` ago may have been run."""
    return args if age_ms == 0 or script.again is None else script.again(args, age_ms)


def never(_script: Script[object], _keys: Keys, _args: Args) -> None:
    """None: what the transport has begun if it can only wait."""


class Guard(_GuardState):
    """A blocking backend that repeats what may be repeated."""

    def __init__(self, transport: Transport, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        super().__init__(transport, timeout_s)
        self.transport = transport
        self._monotonic = transport.monotonic
        self._probing = threading.Lock()
        self._probes: dict[str | None, threading.Thread] = {}
        self._probe_pid = 0
        self._closed = threading.Event()

    def call(self, script: Script[object], keys: Keys, args: Args) -> object:
        """The reply of the script, in plain form."""
        if self._telemetry is not None:
            with self._telemetry.call(script.name):
                return self._call(script, keys, args)
        health = self.health if self._place_of is None else self._health_of(keys[0] if keys else None)
        if health.troubled:
            return self._call(script, keys, args)
        started_s = self._monotonic()
        try:
            reply = self.transport.call(script, keys, args, started_s + self._timeout_s)
        except FAILURES as failure:
            return self._call(script, keys, args, failure=failure, started_s=started_s)
        now_s = self._monotonic()
        if now_s - started_s > health.slow_s or health.troubled:
            health.succeeded(started_s=started_s, now_s=now_s)
        return reply

    def _call(
        self,
        script: Script[object],
        keys: Keys,
        args: Args,
        *,
        failure: ServerUnavailable | OutcomeUnknown | None = None,
        started_s: float | None = None,
    ) -> object:
        """The same where something is to be looked at: health, or a first attempt that failed."""
        return self._guarded(
            lambda deadline_s, age_ms: self.transport.call(script, keys, repeated(script, args, age_ms), deadline_s),
            key=keys[0] if keys else None,
            idempotent=script.idempotent,
            failed=failure,
            started_s=started_s,
        )

    def execute(self, argv: Sequence[Arg], *, idempotent: bool = False) -> object:
        """The reply of one command, in plain form.  Say `idempotent` if it may be sent twice."""
        return self._guarded(
            lambda deadline_s, _: self.transport.execute(argv, deadline_s), key=key_of(argv), idempotent=idempotent
        )

    def publish(self, channel: bytes, payload: bytes) -> int:
        """How many clients got the message."""
        return self._guarded(
            lambda deadline_s, _: self.transport.publish(channel, payload, deadline_s), key=channel, idempotent=False
        )

    def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before."""
        self._admit(self._health_of(channel))
        return self.transport.subscribe(channel, listener, topic)

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Whether the channel is open already; then the listener is in.  Never waits."""
        return self.transport.listen(channel, listener, topic)

    def unsubscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> None:
        """Stop listening; never waits."""
        self.transport.unsubscribe(channel, listener, topic)

    def signal(self) -> Signal:
        """A new signal, to be passed to `subscribe`."""
        return self.transport.signal()

    def when_back(self, script: Script[object], keys: Keys, args: Args, *, within_s: float) -> None:
        """Make the call when the server answers again, if that is within `within_s`.  Never waits."""
        health = self._health_of(keys[0])
        if not health.forced:
            self._owe(_Owed(health.place, self._monotonic() + within_s, script, keys, args))
            self._ensure_probe(health)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.transport.sleep(seconds)

    def group_of(self, key: bytes) -> int:
        """Keys of one group may go into one script."""
        return self.transport.group_of(key)

    def monotonic(self) -> float:
        """The time in seconds, from some fixed moment."""
        return self.transport.monotonic()

    def close(self) -> None:
        """Close all connections."""
        self._closed.set()
        probes = list(self._probes.values()) if self._probe_pid == os.getpid() else []
        self.transport.close()
        for probe in probes:
            if probe is not threading.current_thread():
                probe.join(self._timeout_s)

    def _admit(self, health: Health) -> None:
        if health.troubled:
            if health.open:
                self._ensure_probe(health)
            health.admit(self._monotonic())

    def _guarded(
        self,
        send: Callable[[float, int], T],
        *,
        key: bytes | None,
        idempotent: bool,
        failed: ServerUnavailable | OutcomeUnknown | None = None,
        started_s: float | None = None,
    ) -> T:
        """The result of `send`, sent again as often as is right; `failed` is how a first attempt ended."""
        health = self._health_of(key)
        if failed is None:
            self._admit(health)
        if started_s is None:
            started_s = self._monotonic()
        attempt_s, attempt, unknown = started_s, 0, False
        while True:
            try:
                if failed is not None:
                    first, failed = failed, None
                    raise first
                reply = send(started_s + self._timeout_s, _age_ms(attempt_s - started_s) if unknown else 0)
            except FAILURES as failure:
                unknown = unknown or isinstance(failure, OutcomeUnknown)
                pause: float | None = None
                now_s = self._monotonic()
                while pause is None or health.open:  # whoever is under way waits for the probe, up to the deadline
                    pause = self._next_pause_s(
                        health, failure, attempt=attempt, idempotent=idempotent, started_s=started_s, now_s=now_s
                    )
                    if health.open:
                        self._ensure_probe(health)
                    if pause is None:
                        raise _final(failure, unknown=unknown) from failure
                    self.transport.sleep(pause)
                    attempt += 1
                    attempt_s = now_s = self._monotonic()
                    health = self._health_of(key)  # another node may have it now
            else:
                now_s = self._monotonic()
                if health.troubled or now_s - attempt_s > health.slow_s:
                    health.succeeded(started_s=attempt_s, now_s=now_s)
                return reply

    def _ensure_probe(self, health: Health) -> None:
        """One thread probes, in this process, until the server is back."""
        with self._probing:
            if self._closed.is_set():
                return
            if self._probe_pid != os.getpid():
                self._probe_pid, self._probes = os.getpid(), {}
            probe = self._probes.get(health.place)
            if probe is not None and probe.is_alive():
                return
            probe = threading.Thread(target=self._probe_until_back, args=(health,), name="coordkit-probe", daemon=True)
            self._probes[health.place] = probe
            probe.start()

    def _probe_until_back(self, health: Health) -> None:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(CoordkitError),
            wait=tenacity.wait_random_exponential(multiplier=PROBE_FIRST_S, max=PROBE_MAX_S),
            stop=tenacity.stop_when_event_set(self._closed),
            sleep=tenacity.sleep_using_event(self._closed),
            reraise=True,
        )
        while True:
            try:
                retrying(self.transport.probe, health.slow_s, health.place)
            except CoordkitError:
                return  # closed meanwhile
            health.back(self._monotonic())
            if not self._make_up(health.place):
                self._closed.wait(PROBE_MAX_S)
                continue
            with self._probing:
                if not health.open and not self._owes(health.place):
                    self._probes.pop(health.place, None)
                    return

    def _make_up(self, place: str | None) -> bool:
        """Make the calls that are owed to the server at the place; False if it is gone again."""
        while (owed := self._next_owed(place, self._monotonic())) is not None:
            try:
                self.transport.call(owed.script, owed.keys, owed.args, self._monotonic() + self._timeout_s)
            except FAILURES:
                self._owe(owed)
                return False
            except CoordkitError as exc:
                log.warning("%s was refused after an outage: %s", owed.script.name, exc)
        return True


class AsyncGuard(_GuardState):
    """An asynchronous backend that repeats what may be repeated."""

    def __init__(self, transport: AsyncTransport, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        super().__init__(transport, timeout_s)
        self.transport = transport
        self._monotonic = transport.monotonic
        self._transport_call = transport.call
        self._prompt: Prompt[Any] | None = transport if isinstance(transport, Prompt) else None
        self._begin = transport.begin if isinstance(transport, Prompt) else never
        self._probes: dict[str | None, Background] = {}
        if isinstance(transport, AsyncPlacing):
            transport.watch_places(self.health_at)
        else:
            transport.watch(self.health)

    async def call(self, script: Script[object], keys: Keys, args: Args) -> object:
        """The reply of the script, in plain form."""
        if self._telemetry is not None:
            with self._telemetry.call(script.name):
                return await self._call(script, keys, args)
        health = self.health if self._place_of is None else self._health_of(keys[0] if keys else None)
        if health.troubled:
            return await self._call(script, keys, args)
        started_s = self._monotonic()
        try:
            begun = self._begin(script, keys, args)
            if begun is None:
                return await self._transport_call(script, keys, args, started_s + self._timeout_s)
            reply = await begun[1]  # not in a coroutine of the transport: that is a fifth of a microsecond
            if reply.__class__ is not ServerError or self._prompt is None:
                return reply
            deadline_s = started_s + self._timeout_s  # the call's, also when the script has to be sent in full
            return await self._prompt.settled(begun[0], reply, script, keys, args, deadline_s=deadline_s)
        except FAILURES as failure:
            return await self._call(script, keys, args, failure=failure, started_s=started_s)

    async def _call(
        self,
        script: Script[object],
        keys: Keys,
        args: Args,
        *,
        failure: ServerUnavailable | OutcomeUnknown | None = None,
        started_s: float | None = None,
    ) -> object:
        """The same where something is to be looked at: health, or a first attempt that failed."""
        return await self._guarded(
            lambda deadline_s, age_ms: self.transport.call(script, keys, repeated(script, args, age_ms), deadline_s),
            key=keys[0] if keys else None,
            idempotent=script.idempotent,
            failure=failure,
            started_s=started_s,
        )

    async def execute(self, argv: Sequence[Arg], *, idempotent: bool = False) -> object:
        """The reply of one command, in plain form.  Say `idempotent` if it may be sent twice."""
        return await self._guarded(
            lambda deadline_s, _: self.transport.execute(argv, deadline_s), key=key_of(argv), idempotent=idempotent
        )

    async def publish(self, channel: bytes, payload: bytes) -> int:
        """How many clients got the message."""
        return await self._guarded(
            lambda deadline_s, _: self.transport.publish(channel, payload, deadline_s), key=channel, idempotent=False
        )

    async def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before."""
        self._admit(self._health_of(channel))
        return await self.transport.subscribe(channel, listener, topic)

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Whether the channel is open already; then the listener is in.  Never waits."""
        return self.transport.listen(channel, listener, topic)

    def unsubscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> None:
        """Stop listening; never waits."""
        self.transport.unsubscribe(channel, listener, topic)

    def signal(self) -> AsyncSignal:
        """A new signal, to be passed to `subscribe`."""
        return self.transport.signal()

    def when_back(self, script: Script[object], keys: Keys, args: Args, *, within_s: float) -> None:
        """Make the call when the server answers again, if that is within `within_s`.  Never waits."""
        health = self._health_of(keys[0])
        if not health.forced:
            self._owe(_Owed(health.place, self._monotonic() + within_s, script, keys, args))
            self._ensure_probe(health)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await self.transport.sleep(seconds)

    def group_of(self, key: bytes) -> int:
        """Keys of one group may go into one script."""
        return self.transport.group_of(key)

    def monotonic(self) -> float:
        """The time in seconds, from some fixed moment."""
        return self._monotonic()

    async def shielded(self, work: Coroutine[object, object, None], *, wait_s: float, timeout_s: float) -> None:
        """Run `work` though the caller is cancelled: wait for it `wait_s`, let it go on beside until
        `timeout_s`.
        """
        await self.transport.shielded(work, wait_s=wait_s, timeout_s=timeout_s)

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        for probe in list(self._probes.values()):
            probe.cancel()
        await self.transport.aclose()

    def _admit(self, health: Health) -> None:
        if health.troubled:
            if health.open:
                self._ensure_probe(health)
            health.admit(self._monotonic())

    async def _guarded(
        self,
        send: Callable[[float, int], Awaitable[T]],
        *,
        idempotent: bool,
        key: bytes | None = None,
        failure: ServerUnavailable | OutcomeUnknown | None = None,
        started_s: float | None = None,
    ) -> T:
        """The result of `send`, sent again as often as is right; `failure` is that of a first attempt."""
        health = self._health_of(key)
        if started_s is None:
            started_s = self._monotonic()
        if failure is None:
            self._admit(health)
        attempt, unknown = 0, False
        while True:
            if failure is not None:
                unknown = unknown or isinstance(failure, OutcomeUnknown)
                now_s = self._monotonic()
                pause = self._next_pause_s(
                    health, failure, attempt=attempt, idempotent=idempotent, started_s=started_s, now_s=now_s
                )
                if health.open:
                    self._ensure_probe(health)
                if pause is None:
                    raise _final(failure, unknown=unknown) from failure
                await self.transport.sleep(pause)
                attempt += 1
                health = self._health_of(key)  # another node may have it now
                if health.open:
                    continue  # whoever is under way waits for the probe, up to the deadline
            attempt_s = self._monotonic()
            try:
                reply = await send(started_s + self._timeout_s, _age_ms(attempt_s - started_s) if unknown else 0)
            except FAILURES as exc:
                failure = exc
            else:
                if health.troubled:
                    health.succeeded(started_s=attempt_s, now_s=self._monotonic())
                return reply

    def _ensure_probe(self, health: Health) -> None:
        """One task probes until the server is back: on whichever loop a call found the breaker open."""
        probe = self._probes.get(health.place)
        if probe is None or not probe.running():
            self._probes[health.place] = self.transport.spawn(lambda: self._probe_until_back(health))

    async def _probe_until_back(self, health: Health) -> None:
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(CoordkitError),
            wait=tenacity.wait_random_exponential(multiplier=PROBE_FIRST_S, max=PROBE_MAX_S),
            sleep=self.transport.sleep,
        )
        while True:
            await retrying(self.transport.probe, health.slow_s, health.place)
            health.back(self._monotonic())
            if not await self._make_up(health.place):
                await self.transport.sleep(PROBE_MAX_S)
            elif not health.open and not self._owes(health.place):
                return

    async def _make_up(self, place: str | None) -> bool:
        """Make the calls that are owed to the server at the place; False if it is gone again."""
        while (owed := self._next_owed(place, self._monotonic())) is not None:
            try:
                await self.transport.call(owed.script, owed.keys, owed.args, self._monotonic() + self._timeout_s)
            except FAILURES:
                self._owe(owed)
                return False
            except CoordkitError as exc:
                log.warning("%s was refused after an outage: %s", owed.script.name, exc)
        return True
