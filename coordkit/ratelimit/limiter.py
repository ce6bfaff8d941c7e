"""Limiters: ask the server whether something may happen now.

Order: LimiterPlans (all logic, no I/O), the blocking class, the asynchronous class.  A check is a single step, so it is
carried out without a driver: that is a microsecond of nine.

- One round trip a check, whatever the answer.
- The server's clock counts, so clients whose clocks differ share one limit exactly.
- A refused check takes nothing.
- A check has a name by which the server knows it when it is sent again: it is counted once.
"""

import logging
from typing import Final, Literal

from coordkit.durations import Duration, to_seconds
from coordkit.errors import (
    ConfigurationError,
    CoordkitError,
    LimitTimeout,
    OutcomeUnknown,
    ServerError,
    ServerUnavailable,
)
from coordkit.guard import AsyncGuard, Guard
from coordkit.keys import Keys
from coordkit.lease import Identity
from coordkit.plan import Call, Plan, Sleep, now
from coordkit.ratelimit.base import Algorithm, whole
from coordkit.ratelimit.decision import Decision
from coordkit.ratelimit.local import LocalLimits
from coordkit.runner import run, run_async
from coordkit.scripts import Args, Script
from coordkit.scripts import Keys as ScriptKeys

log = logging.getLogger("coordkit")

OnOutage = Literal["raise", "allow", "deny", "local"]
ON_OUTAGE: Final[tuple[OnOutage, ...]] = ("raise", "allow", "deny", "local")

OUTAGE: Final = (ServerUnavailable, OutcomeUnknown, ServerError)
"""Server errors count too: a server that is loading, out of memory or a read-only replica decides nothing either."""

CONSUME: Final = b"1"
LOOK: Final = b"0"

OUTAGE_RETRY_S: Final = 1.0
"""When to ask again after a refusal because of an outage."""


class LimiterPlans:
    """What a limiter does, with no I/O."""

    __slots__ = (
        *("_check_script", "_degraded", "_identity", "_key_prefix", "_local", "_on_outage", "_one", "_request"),
        *("algorithm", "name"),
    )

    def __init__(
        self,
        name: str,
        algorithm: Algorithm,
        *,
        on_outage: OnOutage,
        keys: Keys,
        instances: int = 1,
        identity: Identity | None = None,
    ) -> None:
        if on_outage not in ON_OUTAGE:
            raise ConfigurationError(f"on_outage must be one of {', '.join(ON_OUTAGE)}, not {on_outage!r}")
        self.name = name
        self.algorithm = algorithm
        self._key_prefix = keys.limit(name, algorithm.kind)
        self._identity = identity or Identity(keys)
        self._check_script = algorithm.check_script
        # What nearly every check is called with, ready for the wire.
        self._one: Args = (*(b"%d" % number for number in algorithm.arguments(1)), CONSUME)
        self._request = self._identity.request
        self._on_outage = on_outage
        self._degraded = False
        instances = whole(instances, name="instances", least=1)
        self._local = LocalLimits(algorithm.capacity, algorithm.window_s, instances=instances)

    def hit(self, key: str, cost: int) -> tuple[Script[object], ScriptKeys, Args]:
        """Script, keys and arguments of the step that takes `cost` if there is room."""
        if cost == 1 and cost.__class__ is int and key:
            try:
                name = self._key_prefix + key.encode()
            except (AttributeError, UnicodeEncodeError):
                name = self.key(key)  # it says what is wrong
            return self._check_script, (name,), (*self._one, self._request())
        arguments = self.algorithm.arguments(self._cost(cost))
        return self._check_script, (self.key(key),), (*arguments, CONSUME, self._identity.request())

    def check(self, key: str, cost: int) -> Call:
        """The step that takes `cost` if there is room."""
        return Call(*self.hit(key, cost))

    def peek(self, key: str, cost: int) -> Call:
        """The step that looks whether there is room for `cost`."""
        arguments = self.algorithm.arguments(self._cost(cost))
        return Call(self._check_script, (self.key(key),), (*arguments, LOOK, b""))

    def decided(self, reply: object, cost: int) -> Decision:
        """What the reply to one of these steps means."""
        if self._degraded:
            self._degraded = False
            self._local.clear()
            log.info("limiter %r asks the server again", self.name)
        return self.algorithm.decision(reply, cost)

    def in_outage(self, failure: CoordkitError, key: str, cost: int, now_s: float, *, consume: bool) -> Decision:
        """What `on_outage` makes of a step that failed.  Raises `failure` if that is what it says."""
        if self._on_outage == "raise":
            raise failure
        if not self._degraded:
            self._degraded = True
            log.warning(
                "limiter %r decides without the server until it is back (on_outage=%r): %s",
                self.name,
                self._on_outage,
                failure,
                extra={"event": "limiter_degraded", "limiter": self.name, "on_outage": self._on_outage},
            )
        if self._on_outage == "local":
            return self._local.decide(self.key(key), cost, now_s, consume=consume)
        allowed = self._on_outage == "allow"
        retry_s = 0.0 if allowed else OUTAGE_RETRY_S
        return Decision(allowed, self.algorithm.capacity, 0, retry_s, 0.0, degraded=True)

    def acquire(self, key: str, cost: int, timeout_s: float | None) -> Plan[Decision]:
        """The admission of `cost`, as soon as there is room.  Raises LimitTimeout, as soon as that is certain."""
        started_s = yield from now()
        while True:
            try:
                decision = self.decided((yield self.check(key, cost)), cost)
            except OUTAGE as failure:
                moment_s = (yield from now()) if self._on_outage == "local" else started_s
                decision = self.in_outage(failure, key, cost, moment_s, consume=True)
            if decision.allowed:
                return decision
            if timeout_s is not None:
                left_s = started_s + timeout_s - (yield from now())
                if decision.retry_after > left_s:
                    raise LimitTimeout(
                        f"limiter {self.name!r} has no room for {cost} of {key!r} within {timeout_s:g} s: "
                        f"not before {decision.retry_after:.3f} s from now, and {max(left_s, 0):.3f} s are left"
                    )
            yield Sleep(decision.retry_after)

    def key(self, key: str) -> bytes:
        """The server's key for the user's `key`.  Raises ConfigurationError if it is empty, or no text."""
        if not key:
            raise ConfigurationError(f"limiter {self.name!r} needs a key, not {key!r}: who or what is to be limited?")
        try:
            return self._key_prefix + key.encode()
        except (AttributeError, UnicodeEncodeError) as exc:
            raise ConfigurationError(
                f"the key of limiter {self.name!r} must be a string that UTF-8 can hold, not {key!r}"
            ) from exc

    def _cost(self, cost: int) -> int:
        whole(cost, name="cost", least=0)
        if cost > self.algorithm.capacity:
            raise ConfigurationError(
                f"limiter {self.name!r} can never admit a cost of {cost}: {self.algorithm} admits "
                f"{self.algorithm.capacity} at once"
            )
        return cost


class Limiter:
    """A rate limit for blocking callers: `Client.limiter`."""

    __slots__ = ("_backend", "_plans")

    def __init__(self, plans: LimiterPlans, *, backend: Guard) -> None:
        self._plans = plans
        self._backend = backend

    @property
    def name(self) -> str:
        """The name of the limiter."""
        return self._plans.name

    @property
    def algorithm(self) -> Algorithm:
        """What it admits."""
        return self._plans.algorithm

    def check(self, key: str, cost: int = 1) -> Decision:
        """Whether `cost` may be taken now; then it is.  A cost of 0 takes nothing and is always allowed."""
        plans = self._plans
        try:
            reply = self._backend.call(*plans.hit(key, cost))
        except OUTAGE as failure:
            return plans.in_outage(failure, key, cost, self._backend.monotonic(), consume=True)
        return plans.decided(reply, cost)

    def peek(self, key: str, cost: int = 1) -> Decision:
        """Whether `cost` could be taken now.  Nothing is taken."""
        plans = self._plans
        try:
            reply = self._backend.call(*plans.peek(key, cost))
        except OUTAGE as failure:
            return plans.in_outage(failure, key, cost, self._backend.monotonic(), consume=False)
        return plans.decided(reply, cost)

    def acquire(self, key: str, cost: int = 1, *, timeout: Duration | None = None) -> Decision:
        """The admission of `cost`, as soon as there is room.

        Raises LimitTimeout if that takes longer than `timeout`, as soon as it is certain; None waits for ever.
        """
        timeout_s = None if timeout is None else to_seconds(timeout, name="timeout")
        return run(self._plans.acquire(key, cost, timeout_s), self._backend)

    def reset(self, key: str) -> bool:
        """Forget what `key` has taken.  False if there was nothing to forget."""
        return self._backend.execute(("DEL", self._plans.key(key)), idempotent=True) == 1


class AsyncLimiter:
    """A rate limit for asynchronous callers: `AsyncClient.limiter`."""

    __slots__ = ("_backend", "_plans")

    def __init__(self, plans: LimiterPlans, *, backend: AsyncGuard) -> None:
        self._plans = plans
        self._backend = backend

    @property
    def name(self) -> str:
        """The name of the limiter."""
        return self._plans.name

    @property
    def algorithm(self) -> Algorithm:
        """What it admits."""
        return self._plans.algorithm

    async def check(self, key: str, cost: int = 1) -> Decision:
        """Whether `cost` may be taken now; then it is.  A cost of 0 takes nothing and is always allowed."""
        plans = self._plans
        try:
            reply = await self._backend.call(*plans.hit(key, cost))
        except OUTAGE as failure:
            return plans.in_outage(failure, key, cost, self._backend.monotonic(), consume=True)
        return plans.decided(reply, cost)

    async def peek(self, key: str, cost: int = 1) -> Decision:
        """Whether `cost` could be taken now.  Nothing is taken."""
        plans = self._plans
        try:
            reply = await self._backend.call(*plans.peek(key, cost))
        except OUTAGE as failure:
            return plans.in_outage(failure, key, cost, self._backend.monotonic(), consume=False)
        return plans.decided(reply, cost)

    async def acquire(self, key: str, cost: int = 1, *, timeout: Duration | None = None) -> Decision:
        """The admission of `cost`, as soon as there is room.

        Raises LimitTimeout if that takes longer than `timeout`, as soon as it is certain; None waits for ever.
        """
        timeout_s = None if timeout is None else to_seconds(timeout, name="timeout")
        return await run_async(self._plans.acquire(key, cost, timeout_s), self._backend)

    async def reset(self, key: str) -> bool:
        """Forget what `key` has taken.  False if there was nothing to forget."""
        return await self._backend.execute(("DEL", self._plans.key(key)), idempotent=True) == 1
