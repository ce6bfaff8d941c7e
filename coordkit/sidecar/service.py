"""What the sidecar decides.  Rule of the room: no protocol is known here; front ends bring requests, take answers."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from coordkit.errors import ConfigurationError, CoordkitError
from coordkit.ratelimit.base import Algorithm
from coordkit.ratelimit.decision import Decision
from coordkit.ratelimit.limiter import AsyncLimiter, OnOutage
from coordkit.sidecar.config import Rule
from coordkit.sidecar.metrics import Metrics

KNOWN: Final = frozenset({"limiter", "key", "cost"})
LONGEST_KEY: Final = 1024


class Source(Protocol):
    """Where limiters come from: an AsyncClient."""

    def limiter(self, name: str, algorithm: Algorithm, *, on_outage: OnOutage) -> AsyncLimiter:
        """The rate limit `name`."""
        ...

    async def ping(self) -> None:
        """Comes back if the server answers."""
        ...


class BadRequest(ValueError):
    """A request that means nothing; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and the limit it comes from."""

    rule: Rule
    decision: Decision


class RateLimitService:
    """Decides by the rules, and counts what it decided."""

    def __init__(self, rules: Mapping[str, Rule], source: Source) -> None:
        self.metrics = Metrics(rules)
        self._source = source
        self._limits: dict[object, tuple[Rule, AsyncLimiter]] = {
            name: (rule, source.limiter(name, rule.algorithm, on_outage=rule.on_outage)) for name, rule in rules.items()
        }

    async def check(self, request: object) -> Verdict:
        """The verdict on `{"limiter": name, "key": who, "cost": number}`; without a cost it is 1.

        Raises BadRequest.
        """
        try:
            rule, limiter, key, cost = self._understood(request)
            started_s = time.monotonic()
            decision = await limiter.check(key, cost)
        except ConfigurationError as exc:  # a cost that can never be admitted, for one
            self.metrics.bad_request()
            raise BadRequest(str(exc)) from exc
        except BadRequest:
            self.metrics.bad_request()
            raise
        self.metrics.decided(rule.name, decision, time.monotonic() - started_s)
        return Verdict(rule, decision)

    async def store_problem(self) -> str | None:
        """Why the server cannot be asked now, None if it can."""
        try:
            await self._source.ping()
        except CoordkitError as exc:
            return str(exc)
        return None

    def _understood(self, request: object) -> tuple[Rule, AsyncLimiter, str, int]:
        if not isinstance(request, Mapping):
            raise BadRequest(f"the request must be an object with limiter, key and cost, not {request!r:.100}")
        if unknown := sorted(str(name) for name in request.keys() - KNOWN):
            raise BadRequest(f"unknown members {', '.join(unknown)}; known are limiter, key and cost")
        name, key, cost = request.get("limiter"), request.get("key"), request.get("cost", 1)
        if not isinstance(name, str) or name not in self._limits:
            raise BadRequest(f"there is no limiter {name!r:.100}; there are {', '.join(map(str, self._limits))}")
        if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY:
            raise BadRequest(f"key must be a text of 1 to {LONGEST_KEY} characters, not {key!r:.100}")
        if isinstance(cost, bool) or not isinstance(cost, int):
            raise BadRequest(f"cost must be a whole number, not {cost!r:.100}")
        rule, limiter = self._limits[name]
        return rule, limiter, key, cost
