"""What a sidecar counts, in Prometheus' terms.  Labels are names of limits, so their number is bounded."""

from collections.abc import Iterable
from typing import Final

from coordkit.errors import ConfigurationError
from coordkit.ratelimit.decision import Decision

try:
    from prometheus_client import CollectorRegistry, Counter, Histogram
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
except ImportError as exc:
    raise ConfigurationError("the sidecar needs prometheus-client: pip install 'coordkit[sidecar]'") from exc

BUCKETS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


class Metrics:
    """The counters of one sidecar."""

    def __init__(self, limits: Iterable[str]) -> None:
        self._registry = CollectorRegistry()
        self._checks = Counter(
            "coordkit_checks", "Checks by their outcome.", ("limiter", "outcome"), registry=self._registry
        )
        self._degraded = Counter(
            "coordkit_checks_degraded",
            "Checks that the outage policy decided, the server gave no answer.",
            ("limiter",),
            registry=self._registry,
        )
        self._bad_requests = Counter("coordkit_bad_requests", "Requests that meant nothing.", registry=self._registry)
        self._seconds = Histogram(
            "coordkit_check_seconds",
            "Time until the decision.",
            ("limiter",),
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        for name in limits:  # so that every series is there from the start, with 0
            self._degraded.labels(name)
            for outcome in ("allowed", "refused"):
                self._checks.labels(name, outcome)

    def decided(self, limit: str, decision: Decision, seconds: float) -> None:
        """Count a decision."""
        self._checks.labels(limit, "allowed" if decision.allowed else "refused").inc()
        self._seconds.labels(limit).observe(seconds)
        if decision.degraded:
            self._degraded.labels(limit).inc()

    def bad_request(self) -> None:
        """Count a request that meant nothing."""
        self._bad_requests.inc()

    def exposition(self) -> bytes:
        """All counters in Prometheus' text format."""
        return generate_latest(self._registry)
