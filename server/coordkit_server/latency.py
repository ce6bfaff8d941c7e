"""How long things take: a histogram for each command, and the latency monitor's samples of slow events.

Durations of commands are counted in microseconds, one by one below FINE and with two significant digits above it.
"""

from typing import Final

FINE: Final = 128
_DIGIT_BITS: Final = 7  # a duration keeps so many bits, as two decimal digits need
_LOWEST_NS_BITS: Final = 10  # LATENCY HISTOGRAM's first bucket ends at 1024 ns, each following one at the double
# samples that the monitor keeps of one event, one a second at most
SAMPLES: Final = 160


class Histogram:
    """Durations of one command."""

    def __init__(self) -> None:
        self._fine: Final[list[int]] = [0] * FINE
        self._coarse: Final[dict[int, int]] = {}
        self.count: int = 0

    def add(self, duration_us: int) -> None:
        """Count one call."""
        self.count += 1
        if 0 <= duration_us < FINE:
            self._fine[duration_us] += 1
        else:
            shift = max(duration_us.bit_length() - _DIGIT_BITS, 0)
            rounded = duration_us >> shift << shift
            self._coarse[rounded] = self._coarse.get(rounded, 0) + 1

    def counts(self) -> list[tuple[int, int]]:
        """Return (microseconds, calls) in ascending order; Redis counts nothing as shorter than a nanosecond."""
        found: list[tuple[int, int]] = []
        for duration_us in range(FINE):
            if self._fine[duration_us]:
                found.append((duration_us, self._fine[duration_us]))
        found.extend(sorted(self._coarse.items()))
        return found

    def cumulative(self) -> list[tuple[int, int]]:
        """Return (upper limit in us, calls up to it) of the buckets that add calls to those below."""
        found: list[tuple[int, int]] = []
        bits = _LOWEST_NS_BITS
        total = 0
        pending = 0
        for duration_us, calls in self.counts():
            while duration_us * 1000 > _bucket_end_ns(bits):
                if pending:
                    total += pending
                    pending = 0
                    found.append((_bucket_end_ns(bits) // 1000, total))
                bits += 1
            pending += calls
        if pending:
            found.append((_bucket_end_ns(bits) // 1000, total + pending))
        return found

    def percentile(self, percent: float) -> float:
        """Return the duration in us that `percent` of the calls do not exceed."""
        wanted = self.count * percent / 100
        seen = 0
        for duration_us, calls in self.counts():
            seen += calls
            if seen >= wanted:
                return max(float(duration_us), 0.001)
        return 0.0


def _bucket_end_ns(bits: int) -> int:
    """Return the largest duration that counts as 2 to the power of `bits` nanoseconds, with two digits kept."""
    return (1 << bits) + (1 << (bits - _DIGIT_BITS)) - 1


class Sample:
    """The slowest occurrence of an event within one second."""

    def __init__(self, time_s: int, latency_ms: int) -> None:
        self.time_s: Final = time_s
        self.latency_ms: int = latency_ms


class Event:
    """The samples of one kind of event, oldest first."""

    def __init__(self) -> None:
        self.samples: Final[list[Sample]] = []
        self.highest_ms: int = 0


class LatencyMonitor:
    """What took `threshold_ms` or longer (0: nothing is noted)."""

    def __init__(self) -> None:
        self.threshold_ms: int = 0
        self.events: Final[dict[bytes, Event]] = {}

    def note(self, name: bytes, now_us: int, duration_us: int) -> None:
        """Keep a sample of the event `name` if it took long enough."""
        latency_ms = duration_us // 1000
        if self.threshold_ms == 0 or latency_ms < self.threshold_ms:
            return
        event = self.events.get(name)
        if event is None:
            event = Event()
            self.events[name] = event
        event.highest_ms = max(event.highest_ms, latency_ms)
        time_s = now_us // 1_000_000
        samples = event.samples
        if samples and samples[-1].time_s == time_s:
            samples[-1].latency_ms = max(samples[-1].latency_ms, latency_ms)
            return
        samples.append(Sample(time_s, latency_ms))
        if len(samples) > SAMPLES:
            del samples[0]

    def forget(self, name: bytes) -> int:
        """Drop the samples of the event `name` (any case); return how many events that were."""
        for known in self.events:
            if known.lower() == name.lower():
                del self.events[known]
                return 1
        return 0
