"""Spans and metrics through OpenTelemetry, where its API is installed and an application has set it up.

Nothing is imported and no call is slower where it is not.  A client looks once, when it is made: set the providers up
before.  Names: spans `coordkit SCRIPT`, kind client, with db.system.name and db.operation.name; the histogram
db.client.operation.duration in seconds, and the counter coordkit.calls.failed, both with the operation and the error.
"""

import importlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from coordkit.errors import CoordkitError

NAME: Final = "coordkit"


class Telemetry:
    """One span and one measurement a call."""

    def __init__(self, tracing: Any, metrics: Any, server: str) -> None:
        self._kind = tracing.SpanKind.CLIENT
        self._failed = tracing.StatusCode.ERROR
        self._tracer = tracing.get_tracer(NAME)
        meter = metrics.get_meter(NAME)
        self._duration = meter.create_histogram("db.client.operation.duration", unit="s")
        self._failures = meter.create_counter("coordkit.calls.failed")
        self._server = server

    @contextmanager
    def call(self, operation: str) -> Iterator[None]:
        """Measures what is done inside."""
        attributes = {"db.system.name": "redis", "db.operation.name": operation, "server.address": self._server}
        started_s = time.perf_counter()
        with self._tracer.start_as_current_span(f"{NAME} {operation}", kind=self._kind, attributes=attributes) as span:
            try:
                yield
            except CoordkitError as exc:
                attributes["error.type"] = type(exc).__name__
                span.set_status(self._failed, str(exc))
                self._failures.add(1, attributes)
                raise
            finally:
                self._duration.record(time.perf_counter() - started_s, attributes)


def telemetry(server: str) -> Telemetry | None:
    """What measures the calls to `server`; None where OpenTelemetry is not in use."""
    if "opentelemetry.trace" not in sys.modules:
        return None  # nobody can have set up a provider
    tracing = importlib.import_module("opentelemetry.trace")
    metrics = importlib.import_module("opentelemetry.metrics")
    providers = type(tracing.get_tracer_provider()).__name__, type(metrics.get_meter_provider()).__name__
    if all(name.startswith(("Proxy", "_Proxy", "NoOp")) for name in providers):
        return None
    return Telemetry(tracing, metrics, server)
