"""Spans and metrics: there when an application has set OpenTelemetry up, absent otherwise."""

import subprocess
import sys

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, MetricsData
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from coordkit.errors import OutcomeUnknown
from coordkit.guard import AsyncGuard, Guard
from coordkit.lock import RELEASE
from coordkit.telemetry import Telemetry, telemetry
from tests.unit.fakes import AsyncFakeTransport, FakeTransport


class Providers:
    """What Telemetry asks OpenTelemetry for, with providers of the test's own."""

    SpanKind = SpanKind
    StatusCode = StatusCode

    def __init__(self) -> None:
        self.spans = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.get_tracer = tracers.get_tracer
        self.get_meter = MeterProvider([self.reader]).get_meter

    def counts(self) -> dict[str, int]:
        """How many measurements each instrument has had."""
        data = self.reader.get_metrics_data()
        assert isinstance(data, MetricsData)
        found: dict[str, int] = {}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics:
            for point in metric.data.data_points:
                number = point.count if isinstance(point, HistogramDataPoint) else int(getattr(point, "value", 0))
                found[metric.name] = found.get(metric.name, 0) + number
        return found


def test_calls_of_both_guards_are_spans_and_measurements() -> None:
    providers = Providers()
    guard = Guard(FakeTransport(1))
    guard._telemetry = Telemetry(providers, providers, "redis://h:1")
    assert guard.call(RELEASE, (), ()) == 1
    [span] = providers.spans.get_finished_spans()
    assert (span.name, span.kind) == ("coordkit lock_release", SpanKind.CLIENT)
    assert dict(span.attributes or {}) == {
        "db.system.name": "redis",
        "db.operation.name": "lock_release",
        "server.address": "redis://h:1",
    }
    assert providers.counts() == {"db.client.operation.duration": 1}


async def test_failed_call_is_a_failed_span_and_counted() -> None:
    providers = Providers()
    guard = AsyncGuard(AsyncFakeTransport(OutcomeUnknown("lost")))
    guard._telemetry = Telemetry(providers, providers, "redis://h:1")
    with pytest.raises(OutcomeUnknown):
        await guard.call(RELEASE, (), ())
    [span] = providers.spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert providers.counts() == {"db.client.operation.duration": 1, "coordkit.calls.failed": 1}


def test_without_providers_nothing_is_measured() -> None:
    assert telemetry("redis://h:1") is None


def test_coordkit_does_not_import_opentelemetry() -> None:
    program = "import sys, coordkit; coordkit.Client.from_url('redis://h'); sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
