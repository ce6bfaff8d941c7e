"""Periodic work, `hz` times a second: the clock of idle databases, active expiry, idle clients, garbage."""

import gc
from typing import Final

from coordkit_server.context import Services
from coordkit_server.process import resident_bytes

# share of each period that active expiry may use, as Redis's default effort: 25 %
EXPIRY_SHARE: Final = 4
# runs of the cron between collections of the youngest generation; exceptions and tracebacks are the only cycles
COLLECT_EVERY: Final = 100
# clients whose buffers are looked at in one run, at least; each comes once a second
TRIMMED_AT_ONCE: Final = 5
SILENT_US: Final = 2_000_000


def limit_memory(services: Services) -> None:
    """Take over `maxmemory` (0: no limit).

    Freed memory does not leave a process at once, so its resident size cannot tell what an eviction has gained: while
    there is a limit the data is estimated key by key, and all the rest counts as it was when the limit was set."""
    state = services.state
    limit = services.config.number("maxmemory")
    if limit == 0:
        state.accounts = False
        state.over_limit = state.memory_exceeded = False
        for database in services.databases:
            database.stop_accounting()
        return
    if not state.accounts:
        state.accounts = True
        state.data_bytes = 0
        for database in services.databases:
            database.start_accounting()
        services.other_bytes = max(resident_bytes() - state.data_bytes, services.startup_bytes)
    state.data_limit = limit - services.other_bytes
    state.over_limit = state.exceeds_limit()
    if not state.over_limit:
        state.memory_exceeded = False


class Cron:
    """Runs what is due."""

    def __init__(self, services: Services) -> None:
        self._services: Final = services
        self._next_us: int = 0
        self._runs: int = 0
        self._untrimmed: list[int] = []  # clients whose turn is still to come

    def run_due(self) -> int:
        """Run the periodic work if its time has come; return when it comes next (monotonic us)."""
        services = self._services
        now_us = services.clock.monotonic_us()
        if now_us >= self._next_us and not services.cron_paused:
            period_us = 1_000_000 // services.config.number("hz")
            self._next_us = now_us + period_us
            services.state.set_time(services.clock.now_us())
            services.stats.sample(now_us)
            services.tracking.limit()
            services.state.tracking = services.tracking.is_needed()
            if not services.state.expiry_paused:
                services.expiry.cycle(services.databases, period_us // EXPIRY_SHARE)
                took_us = services.clock.monotonic_us() - now_us
                services.latency.note(b"expire-cycle", services.state.now_ms * 1000, took_us)
            services.snapshots.tick()
            self._evict(now_us + period_us // EXPIRY_SHARE)
            services.primary.run_cron()
            services.aof.run_cron()
            self._close_idle()
            self._trim_clients()
            self._runs += 1
            if self._runs % services.config.number("hz") == 0:
                self._check_outputs()
            if self._runs % COLLECT_EVERY == 0:
                gc.collect(0)
        return max(self._next_us, now_us + 1)

    def _evict(self, deadline_us: int) -> None:
        """Go on with an eviction that commands have left unfinished."""
        services = self._services
        while services.state.over_limit and services.clock.monotonic_us() < deadline_us:
            if not services.eviction.make_room():
                return
            services.state.over_limit = services.state.exceeds_limit()

    def _check_outputs(self) -> None:
        """Close clients that have not read their output for too long; once a second is exact enough."""
        for session in list(self._services.sessions.values()):
            session.sink.check_output()

    def _trim_clients(self) -> None:
        """Let some connections give back what they do not need for reading."""
        services = self._services
        sessions = services.sessions
        if not self._untrimmed:
            self._untrimmed = list(sessions)
        silent_us = services.clock.now_us() - SILENT_US
        for _ in range(max(len(sessions) // services.config.number("hz"), TRIMMED_AT_ONCE)):
            if not self._untrimmed:
                return
            session = sessions.get(self._untrimmed.pop())
            if session is not None:
                session.sink.trim_input(silent=session.active_us < silent_us)

    def _close_idle(self) -> None:
        """Close clients that have been silent for longer than `timeout` seconds."""
        timeout_s = self._services.config.number("timeout")
        if timeout_s == 0:
            return
        oldest_us = self._services.clock.now_us() - timeout_s * 1_000_000
        for session in list(self._services.sessions.values()):
            if session.active_us < oldest_us and session.waiter is None and session.client_type() == b"normal":
                self._services.log.verbose("Closing idle client")
                session.sink.close_now()
