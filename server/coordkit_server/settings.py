"""What takes effect when a parameter is set: at the start for every one, later by CONFIG SET.

Map: Settings.apply, then one method for each parameter or group of them.  A parameter that stands in no table is read
from the configuration where it is used.
"""

import os
from collections.abc import Callable
from typing import Final

from coordkit_server.commands.accounts import users_changed
from coordkit_server.config import ConfigError
from coordkit_server.context import Services
from coordkit_server.cron import limit_memory
from coordkit_server.dispatch import Dispatcher
from coordkit_server.keyspace.notify import parse_flags
from coordkit_server.log import Log
from coordkit_server.networking.connection import OutputLimit
from coordkit_server.persistence.aof import OFF as AOF_OFF


class Settings:
    """Hands parameters to the parts that they are for."""

    def __init__(self, services: Services, dispatcher: Dispatcher, log: Log) -> None:
        self._services: Final = services
        self._config: Final = services.config
        self._dispatcher: Final = dispatcher
        self._log: Final = log
        self.running: bool = False  # before that, the start itself opens the log
        self.limit_normal: Final = OutputLimit()
        self.limit_pubsub: Final = OutputLimit()
        self.limit_replica: Final = OutputLimit()
        self._appliers: Final[dict[str, Callable[[str], None]]] = {
            "acl-pubsub-default": self._channels,
            "acllog-max-len": self._refusals,
            "aof-disable-auto-gc": self._aof,
            "aof-timestamp-enabled": self._aof,
            "no-appendfsync-on-rewrite": self._aof,
            "appendfsync": self._aof,
            "appendonly": self._appendonly,
            "client-output-buffer-limit": self._output_limits,
            "dir": self._directory,
            "latency-monitor-threshold": self._durations,
            "latency-tracking": self._durations,
            "lazyfree-lazy-eviction": self._lazyfree,
            "lazyfree-lazy-expire": self._lazyfree,
            "lazyfree-lazy-server-del": self._lazyfree,
            "lfu-decay-time": self._eviction,
            "lfu-log-factor": self._eviction,
            "loglevel": self._loglevel,
            "maxmemory": self._memory,
            "maxmemory-clients": self._client_memory,
            "maxmemory-eviction-tenacity": self._eviction,
            "maxmemory-policy": self._policy,
            "maxmemory-samples": self._eviction,
            "min-replicas-max-lag": self._replicas,
            "min-replicas-to-write": self._replicas,
            "notify-keyspace-events": self._notifications,
            "requirepass": self._password,
            "save": self._snapshots,
            "slowlog-log-slower-than": self._durations,
            "slowlog-max-len": self._durations,
            "stop-writes-on-bgsave-error": self._snapshots,
            "tracking-table-max-keys": self._tracking,
        }

    def apply(self, name: str) -> None:
        """Take over the parameter `name`, which has been set.  Raises ConfigError."""
        attribute = name.replace("-", "_")
        applier = self._appliers.get(name)
        if applier is not None:
            applier(name)
        elif hasattr(self._services.limits, attribute):
            setattr(self._services.limits, attribute, self._config.number(name))

    def _notifications(self, name: str) -> None:
        """Take over which events are published."""
        self._services.state.notify_flags = parse_flags(self._config.text(name)) or 0

    def _durations(self, _name: str) -> None:
        """Take over which durations are kept: slow log, latency monitor, histograms."""
        services = self._services
        services.slowlog.threshold_us = self._config.number("slowlog-log-slower-than")
        services.slowlog.max_length = self._config.number("slowlog-max-len")
        services.slowlog.trim()
        services.latency.threshold_ms = self._config.number("latency-monitor-threshold")
        self._dispatcher.times_commands = self._config.flag("latency-tracking")
        self._dispatcher.watch_durations()

    def _tracking(self, name: str) -> None:
        """Take over how many keys may be tracked."""
        self._services.tracking.max_keys = self._config.number(name)

    def _loglevel(self, name: str) -> None:
        """Take over what is logged."""
        self._log.set_level(self._config.text(name))

    def _directory(self, name: str) -> None:
        """Work in the directory from now on."""
        os.chdir(self._config.text(name))

    def _replicas(self, _name: str) -> None:
        """Take over how many replicas have to follow."""
        self._services.primary.check_replicas()

    # -- users ---------------------------------------------------------------------------------------------------

    def _password(self, name: str) -> None:
        """Take over the password of the default user."""
        self._services.users.set_password(self._config.text(name).encode("utf-8", "surrogateescape"))
        users_changed(self._services)

    def _channels(self, name: str) -> None:
        """Take over whether new users may use all channels."""
        self._services.users.all_channels = self._config.text(name) == "allchannels"

    def _refusals(self, name: str) -> None:
        """Take over how many refusals are kept."""
        self._services.refusals.trim(self._config.number(name))

    # -- persistence ---------------------------------------------------------------------------------------------

    def _aof(self, _name: str) -> None:
        """Take over how the append-only file is written."""
        self._services.aof.apply_config()

    def _appendonly(self, name: str) -> None:
        """Begin or stop to log, once the server runs.  Raises ConfigError."""
        aof = self._services.aof
        wanted = self._config.flag(name)
        if not self.running or wanted == (aof.state != AOF_OFF):
            return
        if not wanted:
            aof.turn_off()
        elif not aof.turn_on():
            raise ConfigError("Unable to turn on AOF. Check server logs.")

    def _snapshots(self, name: str) -> None:
        """Take over when snapshots are made, and whether writes go on without them."""
        if name == "save":
            self._services.snapshots.set_points(self._config.text(name))
        else:
            self._services.snapshots.check_refusal()

    def _lazyfree(self, _name: str) -> None:
        """Take over how removals are propagated."""
        propagation = self._services.state.propagation
        propagation.lazy_expire = self._config.flag("lazyfree-lazy-expire")
        propagation.lazy_eviction = self._config.flag("lazyfree-lazy-eviction")
        propagation.lazy_server_del = self._config.flag("lazyfree-lazy-server-del")

    # -- memory --------------------------------------------------------------------------------------------------

    def _memory(self, _name: str) -> None:
        """Take over how much memory may be in use."""
        limit_memory(self._services)

    def _client_memory(self, name: str) -> None:
        """Refuse a limit for all clients together."""
        if self._config.text(name) != "0":
            raise ConfigError("this server does not evict clients; limit each with client-output-buffer-limit")

    def _policy(self, name: str) -> None:
        """Take over which keys are evicted; keys know either when or how often they were used."""
        services = self._services
        policy = self._config.text(name)
        services.eviction.policy = policy
        counts_use = policy.endswith("-lfu")
        if counts_use != services.state.counts_use:
            services.state.counts_use = counts_use
            services.state.hold_touches(False)
            for database in services.databases:
                database.convert_accesses()

    def _eviction(self, _name: str) -> None:
        """Take over how keys are chosen for eviction."""
        services = self._services
        services.eviction.samples = self._config.number("maxmemory-samples")
        services.eviction.tenacity = self._config.number("maxmemory-eviction-tenacity")
        services.state.decay_minutes = self._config.number("lfu-decay-time")
        services.state.log_factor = self._config.number("lfu-log-factor")

    def _output_limits(self, name: str) -> None:
        """Take over the output limits of the classes that this server has."""
        limits = {"normal": self.limit_normal, "pubsub": self.limit_pubsub, "slave": self.limit_replica}
        words = self._config.text(name).split()
        for i in range(0, len(words), 4):
            limit = limits.get(words[i])
            if limit is not None:
                limit.hard = int(words[i + 1])
                limit.soft = int(words[i + 2])
                limit.soft_us = int(words[i + 3]) * 1_000_000
