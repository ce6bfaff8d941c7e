"""Configuration parameters: their types, defaults, limits, and the text forms of redis.conf and CONFIG GET/SET.

Map: kinds and `Parameter`, PARAMETERS (the table), `Config` (the values).  Who needs to act on a change is told by
the composition root (`ServerControl.apply_config`).
"""

from typing import Final

from coordkit_server.glob import match
from coordkit_server.keyspace.notify import format_flags, parse_flags
from coordkit_server.numeric import INT64_MAX

BOOL: Final = "bool"
INT: Final = "int"
MEMORY: Final = "memory"
ENUM: Final = "enum"
TEXT: Final = "text"
NOTIFY: Final = "notify"
SAVE: Final = "save"
OUTPUT_LIMITS: Final = "output-limits"

_UNITS: Final[list[tuple[str, int]]] = [
    ("kb", 1024),
    ("mb", 1024 * 1024),
    ("gb", 1024 * 1024 * 1024),
    ("k", 1000),
    ("m", 1000 * 1000),
    ("g", 1000 * 1000 * 1000),
    ("b", 1),
]


class Parameter:
    """One parameter.  `fixed`: only at start.  `alias`: another name for it (empty if none)."""

    def __init__(
        self,
        name: str,
        kind: str,
        default: str,
        *,
        low: int = 0,
        high: int = INT64_MAX,
        choices: list[str] | None = None,
        fixed: bool = False,
        alias: str = "",
    ) -> None:
        self.name: Final = name
        self.kind: Final = kind
        self.default: Final = default
        self.low: Final = low
        self.high: Final = high
        self.choices: Final = choices if choices is not None else []
        self.fixed: Final = fixed
        self.alias: Final = alias


def _yes_no(name: str, default: str, *, fixed: bool = False, alias: str = "") -> Parameter:
    return Parameter(name, BOOL, default, fixed=fixed, alias=alias)


PARAMETERS: Final[list[Parameter]] = [
    _yes_no("active-expire-enabled", "yes"),
    _yes_no("activerehashing", "yes"),
    Parameter("active-expire-effort", INT, "1", low=1, high=10),
    _yes_no("aof-load-truncated", "yes"),
    _yes_no("aof-timestamp-enabled", "no"),
    _yes_no("aof-use-rdb-preamble", "yes"),
    Parameter("appenddirname", TEXT, "appendonlydir", fixed=True),
    Parameter("appendfilename", TEXT, "appendonly.aof", fixed=True),
    Parameter("appendfsync", ENUM, "everysec", choices=["everysec", "always", "no"]),
    _yes_no("appendonly", "no"),
    Parameter("auto-aof-rewrite-min-size", MEMORY, "64mb"),
    Parameter("auto-aof-rewrite-percentage", INT, "100"),
    Parameter("bind", TEXT, "127.0.0.1 -::1", fixed=True),
    Parameter("busy-reply-threshold", INT, "5000", alias="lua-time-limit"),
    Parameter(
        "client-output-buffer-limit",
        OUTPUT_LIMITS,
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    ),
    Parameter("client-query-buffer-limit", MEMORY, "1gb", low=1024 * 1024),
    Parameter("databases", INT, "16", low=1, high=65536, fixed=True),
    _yes_no("daemonize", "no", fixed=True),
    Parameter("dbfilename", TEXT, "dump.rdb"),
    Parameter("dir", TEXT, "."),
    Parameter("enable-debug-command", ENUM, "no", choices=["no", "yes", "local"], fixed=True),
    Parameter("hash-max-listpack-entries", INT, "512", alias="hash-max-ziplist-entries"),
    Parameter("hash-max-listpack-value", MEMORY, "64", alias="hash-max-ziplist-value"),
    Parameter("hll-sparse-max-bytes", MEMORY, "3000"),
    Parameter("hz", INT, "10", low=1, high=500),
    Parameter("latency-monitor-threshold", INT, "0"),
    _yes_no("latency-tracking", "yes"),
    _yes_no("lazyfree-lazy-eviction", "no"),
    _yes_no("lazyfree-lazy-expire", "no"),
    _yes_no("lazyfree-lazy-server-del", "no"),
    _yes_no("lazyfree-lazy-user-del", "no"),
    _yes_no("lazyfree-lazy-user-flush", "no"),
    Parameter("list-compress-depth", INT, "0"),
    Parameter("list-max-listpack-size", INT, "-2", low=-(2**31), high=2**31 - 1, alias="list-max-ziplist-size"),
    Parameter("logfile", TEXT, "", fixed=True),
    Parameter(
        "loglevel",
        ENUM,
        "notice",
        choices=["debug", "verbose", "notice", "warning", "nothing"],
    ),
    Parameter("maxclients", INT, "10000", low=1, high=65535),
    Parameter("maxmemory", MEMORY, "0"),
    Parameter("maxmemory-policy", ENUM, "noeviction", choices=["noeviction"]),
    Parameter("maxmemory-samples", INT, "5", low=1),
    Parameter("min-replicas-max-lag", INT, "10", alias="min-slaves-max-lag"),
    Parameter("min-replicas-to-write", INT, "0", alias="min-slaves-to-write"),
    Parameter("notify-keyspace-events", NOTIFY, ""),
    Parameter("owner-socket", TEXT, "", fixed=True),
    Parameter("pidfile", TEXT, "", fixed=True),
    Parameter("port", INT, "6379", high=65535, fixed=True),
    Parameter(
        "propagation-error-behavior",
        ENUM,
        "ignore",
        choices=["ignore", "panic", "panic-on-replicas"],
    ),
    _yes_no("protected-mode", "yes"),
    Parameter("proto-max-bulk-len", MEMORY, "512mb", low=1024 * 1024),
    Parameter("rdb-key-save-delay", INT, "0", low=-(2**31), high=2**31 - 1),
    _yes_no("rdbchecksum", "yes", fixed=True),
    _yes_no("rdbcompression", "yes"),
    Parameter("repl-backlog-size", MEMORY, "1mb", low=1),
    Parameter("repl-backlog-ttl", INT, "3600"),
    _yes_no("repl-diskless-sync", "yes"),
    Parameter("repl-diskless-sync-delay", INT, "5"),
    Parameter("repl-ping-replica-period", INT, "10", low=1, alias="repl-ping-slave-period"),
    Parameter("repl-timeout", INT, "60", low=1),
    _yes_no("replica-read-only", "yes", alias="slave-read-only"),
    _yes_no("replica-serve-stale-data", "yes", alias="slave-serve-stale-data"),
    Parameter("requirepass", TEXT, ""),
    Parameter("sanitize-dump-payload", ENUM, "no", choices=["no", "yes", "clients"]),
    Parameter("save", SAVE, ""),
    Parameter("set-max-intset-entries", INT, "512"),
    Parameter("set-max-listpack-entries", INT, "128"),
    Parameter("set-max-listpack-value", MEMORY, "64"),
    Parameter("slowlog-log-slower-than", INT, "10000", low=-1),
    Parameter("slowlog-max-len", INT, "128"),
    _yes_no("stop-writes-on-bgsave-error", "yes"),
    Parameter("stream-node-max-bytes", MEMORY, "4096"),
    Parameter("stream-node-max-entries", INT, "100"),
    Parameter(
        "supervised",
        ENUM,
        "no",
        choices=["no", "auto", "upstart", "systemd"],
        fixed=True,
    ),
    Parameter("tcp-backlog", INT, "511", fixed=True),
    Parameter("tcp-keepalive", INT, "300"),
    Parameter("timeout", INT, "0"),
    Parameter("tracking-table-max-keys", INT, "1000000"),
    Parameter("unixsocket", TEXT, "", fixed=True),
    Parameter("unixsocketperm", TEXT, "0", fixed=True),
    Parameter("zset-max-listpack-entries", INT, "128", alias="zset-max-ziplist-entries"),
    Parameter("zset-max-listpack-value", MEMORY, "64", alias="zset-max-ziplist-value"),
]


class ConfigError(Exception):
    """A value that a parameter refuses; the text is Redis's reason."""


class Config:
    """The values of all parameters, kept in canonical text form."""

    def __init__(self) -> None:
        self.parameters: Final[dict[str, Parameter]] = {}
        self.values: Final[dict[str, str]] = {}
        for row in PARAMETERS:
            self.parameters[row.name] = row
            if row.alias:
                self.parameters[row.alias] = row
            self.values[row.name] = self.canonical(row, row.default)

    def find(self, name: str) -> Parameter | None:
        """Return the parameter with this name or alias (any case), None if there is none."""
        return self.parameters.get(name.lower())

    def text(self, name: str) -> str:
        """Return the value of `name` as CONFIG GET shows it."""
        return self.values[name]

    def number(self, name: str) -> int:
        """Return the value of an integer or memory parameter."""
        return int(self.values[name])

    def flag(self, name: str) -> bool:
        """Return the value of a yes/no parameter."""
        return self.values[name] == "yes"

    def set(self, name: str, value: str) -> None:
        """Store `value`; raises ConfigError with the reason if the parameter refuses it."""
        row = self.parameters[name.lower()]
        self.values[row.name] = self.canonical(row, value)

    def matching(self, patterns: list[bytes]) -> list[tuple[str, str]]:
        """Return (name, value) of the parameters whose name or alias matches one of the glob `patterns`."""
        found: dict[str, str] = {}
        lowered = [pattern.lower() for pattern in patterns]
        for name, row in self.parameters.items():
            for pattern in lowered:
                if match(pattern, name.encode("ascii")):
                    found[name] = self.values[row.name]
        return list(found.items())

    def canonical(self, row: Parameter, value: str) -> str:
        """Return `value` in the form CONFIG GET shows; raises ConfigError."""
        if row.kind == BOOL:
            return _canonical_bool(value)
        if row.kind == INT or row.kind == MEMORY:
            return _canonical_number(row, value)
        if row.kind == ENUM:
            if value.lower() not in row.choices:
                raise ConfigError("argument(s) must be one of the following: " + ", ".join(row.choices))
            return value.lower()
        if row.kind == NOTIFY:
            flags = parse_flags(value)
            if flags is None:
                raise ConfigError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
            return format_flags(flags)
        if row.kind == SAVE:
            return _canonical_save(value)
        if row.kind == OUTPUT_LIMITS:
            return _canonical_output_limits(value, self.values.get(row.name, row.default))
        return value


def _canonical_bool(value: str) -> str:
    """Return `yes` or `no`."""
    if value.lower() not in ("yes", "no"):
        raise ConfigError("argument must be 'yes' or 'no'")
    return value.lower()


def _canonical_number(row: Parameter, value: str) -> str:
    """Return the digits of an integer or memory size within its limits."""
    number = _parse_memory(value) if row.kind == MEMORY else _parse_integer(value)
    if number is None:
        if row.kind == MEMORY:
            raise ConfigError("argument must be a memory value")
        raise ConfigError("argument couldn't be parsed into an integer")
    if not row.low <= number <= row.high:
        raise ConfigError(f"argument must be between {row.low} and {row.high} inclusive")
    return str(number)


def _parse_integer(value: str) -> int | None:
    """Return the integer `value` spells, None if it is none."""
    digits = value[1:] if value[:1] == "-" else value
    return int(value) if digits.isascii() and digits.isdigit() else None


def _parse_memory(value: str) -> int | None:
    """Return the bytes that `value` (digits and an optional unit) stands for, None if malformed."""
    lower = value.lower()
    for unit, factor in _UNITS:
        if lower.endswith(unit):
            number = _parse_integer(lower[: -len(unit)])
            return None if number is None or number < 0 else number * factor
    number = _parse_integer(lower)
    return None if number is None or number < 0 else number


def _canonical_save(value: str) -> str:
    """Return save points as `seconds changes seconds changes`; empty for none."""
    words = value.split()
    if len(words) % 2:
        raise ConfigError("Invalid save parameters")
    for i in range(0, len(words), 2):
        seconds = _parse_integer(words[i])
        changes = _parse_integer(words[i + 1])
        if seconds is None or changes is None or seconds < 1 or changes < 0:
            raise ConfigError("Invalid save parameters")
    return " ".join(words)


def _canonical_output_limits(value: str, current: str) -> str:
    """Return the limits of all three classes, those named in `value` replaced."""
    words = value.split()
    if not words or len(words) % 4:
        raise ConfigError("Wrong number of arguments in buffer limit configuration.")
    limits = {}
    known = current.split()
    for i in range(0, len(known), 4):
        limits[known[i]] = known[i + 1 : i + 4]
    for i in range(0, len(words), 4):
        name = "slave" if words[i] == "replica" else words[i]
        hard = _parse_memory(words[i + 1])
        soft = _parse_memory(words[i + 2])
        seconds = _parse_integer(words[i + 3])
        if name not in ("normal", "slave", "pubsub"):
            raise ConfigError("Invalid client class specified in buffer limit configuration.")
        if hard is None or soft is None or seconds is None or seconds < 0:
            raise ConfigError("Error in hard, soft or soft_seconds setting in buffer limit configuration.")
        limits[name] = [str(hard), str(soft), str(seconds)]
    return " ".join(f"{name} {' '.join(parts)}" for name, parts in limits.items())
