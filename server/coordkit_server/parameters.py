"""The table of configuration parameters: name, kind, default, limits; all of Redis 7.2 and a few of our own.

Those that have no counterpart here (defragmentation, threads, cluster, syslog) are kept as values, so that
configuration files and tools work; `docs/compatibility.md` names them.
"""

from typing import Final

from coordkit_server.numeric import INT64_MAX

BOOL: Final = "bool"
INT: Final = "int"
MEMORY: Final = "memory"
PERCENT: Final = "percent"  # a memory size, or a share of maxmemory such as 50%
OCTAL: Final = "octal"
ENUM: Final = "enum"
FLAGS: Final = "flags"  # several of the choices, the first one standing for none
TEXT: Final = "text"
NOTIFY: Final = "notify"
SAVE: Final = "save"
OUTPUT_LIMITS: Final = "output-limits"
OOM_SCORES: Final = "oom-scores"
PERCENTILES: Final = "percentiles"

INT32_MAX: Final = 2147483647
UINT32_MAX: Final = 4294967295
UINT64_MAX: Final = 18446744073709551615


class Parameter:
    """One parameter.

    `fixed`: only at start.  `protected`: CONFIG SET needs enable-protected-configs.  `hidden`: CONFIG GET shows it
    only by its exact name.  `alias`: another name for it (empty if none)."""

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
        protected: bool = False,
        hidden: bool = False,
        alias: str = "",
    ) -> None:
        self.name: Final = name
        self.kind: Final = kind
        self.default: Final = default
        self.low: Final = low
        self.high: Final = high
        self.choices: Final = choices if choices is not None else []
        self.fixed: Final = fixed
        self.protected: Final = protected
        self.hidden: Final = hidden
        self.alias: Final = alias


PARAMETERS: Final[list[Parameter]] = [
    Parameter("acl-pubsub-default", ENUM, "resetchannels", choices=["allchannels", "resetchannels"]),
    Parameter("aclfile", TEXT, "", fixed=True),
    Parameter("acllog-max-len", INT, "128"),
    Parameter("active-defrag-cycle-max", INT, "25", low=1, high=99),
    Parameter("active-defrag-cycle-min", INT, "1", low=1, high=99),
    Parameter("active-defrag-ignore-bytes", MEMORY, "104857600", low=1),
    Parameter("active-defrag-max-scan-fields", INT, "1000", low=1),
    Parameter("active-defrag-threshold-lower", INT, "10", high=1000),
    Parameter("active-defrag-threshold-upper", INT, "100", high=1000),
    Parameter("active-expire-effort", INT, "1", low=1, high=10),
    Parameter("activedefrag", BOOL, "no"),
    Parameter("activerehashing", BOOL, "yes"),
    Parameter("always-show-logo", BOOL, "no", fixed=True),
    Parameter("aof-disable-auto-gc", BOOL, "no", hidden=True),
    Parameter("aof-load-truncated", BOOL, "yes"),
    Parameter("aof-rewrite-incremental-fsync", BOOL, "yes"),
    Parameter("aof-timestamp-enabled", BOOL, "no"),
    Parameter("aof-use-rdb-preamble", BOOL, "yes"),
    Parameter("aof_rewrite_cpulist", TEXT, "", fixed=True),
    Parameter("appenddirname", TEXT, "appendonlydir", fixed=True),
    Parameter("appendfilename", TEXT, "appendonly.aof", fixed=True),
    Parameter("appendfsync", ENUM, "everysec", choices=["everysec", "always", "no"]),
    Parameter("appendonly", BOOL, "no"),
    Parameter("auto-aof-rewrite-min-size", MEMORY, "67108864"),
    Parameter("auto-aof-rewrite-percentage", INT, "100", high=INT32_MAX),
    Parameter("bgsave_cpulist", TEXT, "", fixed=True),
    Parameter("bind", TEXT, "127.0.0.1 -::1"),
    Parameter("bind-source-addr", TEXT, ""),
    Parameter("bio_cpulist", TEXT, "", fixed=True),
    Parameter("busy-reply-threshold", INT, "5000", alias="lua-time-limit"),
    Parameter(
        "client-output-buffer-limit",
        OUTPUT_LIMITS,
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    ),
    Parameter("client-query-buffer-limit", MEMORY, "1073741824", low=1048576),
    Parameter("cluster-allow-pubsubshard-when-down", BOOL, "yes"),
    Parameter("cluster-allow-reads-when-down", BOOL, "no"),
    Parameter("cluster-allow-replica-migration", BOOL, "yes"),
    Parameter("cluster-announce-bus-port", INT, "0", high=65535),
    Parameter("cluster-announce-hostname", TEXT, ""),
    Parameter("cluster-announce-human-nodename", TEXT, ""),
    Parameter("cluster-announce-ip", TEXT, ""),
    Parameter("cluster-announce-port", INT, "0", high=65535),
    Parameter("cluster-announce-tls-port", INT, "0", high=65535),
    Parameter("cluster-config-file", TEXT, "nodes.conf", fixed=True),
    Parameter("cluster-enabled", BOOL, "no", fixed=True),
    Parameter("cluster-link-sendbuf-limit", MEMORY, "0", high=UINT64_MAX),
    Parameter("cluster-migration-barrier", INT, "1", high=INT32_MAX),
    Parameter("cluster-node-timeout", INT, "15000"),
    Parameter("cluster-ping-interval", INT, "0", hidden=True),
    Parameter("cluster-port", INT, "0", high=65535, fixed=True),
    Parameter("cluster-preferred-endpoint-type", ENUM, "ip", choices=["ip", "hostname", "unknown-endpoint"]),
    Parameter("cluster-replica-no-failover", BOOL, "no", alias="cluster-slave-no-failover"),
    Parameter("cluster-replica-validity-factor", INT, "10", high=INT32_MAX, alias="cluster-slave-validity-factor"),
    Parameter("cluster-require-full-coverage", BOOL, "yes"),
    Parameter("crash-log-enabled", BOOL, "yes"),
    Parameter("crash-memcheck-enabled", BOOL, "yes"),
    Parameter("daemonize", BOOL, "no", fixed=True),
    Parameter("databases", INT, "16", low=1, high=INT32_MAX, fixed=True),
    Parameter("dbfilename", TEXT, "dump.rdb", protected=True),
    Parameter("dir", TEXT, ".", protected=True),
    Parameter("disable-thp", BOOL, "yes", fixed=True),
    Parameter("dynamic-hz", BOOL, "yes"),
    Parameter("enable-debug-command", ENUM, "no", choices=["no", "yes", "local"], fixed=True),
    Parameter("enable-module-command", ENUM, "no", choices=["no", "yes", "local"], fixed=True),
    Parameter("enable-protected-configs", ENUM, "no", choices=["no", "yes", "local"], fixed=True),
    Parameter("hash-max-listpack-entries", INT, "512", alias="hash-max-ziplist-entries"),
    Parameter("hash-max-listpack-value", MEMORY, "64", alias="hash-max-ziplist-value"),
    Parameter("hll-sparse-max-bytes", MEMORY, "3000"),
    Parameter("hz", INT, "10"),
    Parameter("ignore-warnings", TEXT, ""),
    Parameter("io-threads", INT, "1", low=1, high=128, fixed=True),
    Parameter("io-threads-do-reads", BOOL, "no", fixed=True),
    Parameter("jemalloc-bg-thread", BOOL, "yes"),
    Parameter("key-load-delay", INT, "0", low=-INT32_MAX - 1, high=INT32_MAX, hidden=True),
    Parameter("latency-monitor-threshold", INT, "0"),
    Parameter("latency-tracking", BOOL, "yes"),
    Parameter("latency-tracking-info-percentiles", PERCENTILES, "50 99 99.9"),
    Parameter("lazyfree-lazy-eviction", BOOL, "no"),
    Parameter("lazyfree-lazy-expire", BOOL, "no"),
    Parameter("lazyfree-lazy-server-del", BOOL, "no"),
    Parameter("lazyfree-lazy-user-del", BOOL, "no"),
    Parameter("lazyfree-lazy-user-flush", BOOL, "no"),
    Parameter("lfu-decay-time", INT, "1", high=INT32_MAX),
    Parameter("lfu-log-factor", INT, "10", high=INT32_MAX),
    Parameter("list-compress-depth", INT, "0", high=INT32_MAX),
    Parameter("list-max-listpack-size", INT, "-2", low=-INT32_MAX - 1, high=INT32_MAX, alias="list-max-ziplist-size"),
    Parameter("loading-process-events-interval-bytes", INT, "2097152", low=1024, high=INT32_MAX, hidden=True),
    Parameter("locale-collate", TEXT, ""),
    Parameter("logfile", TEXT, "", fixed=True),
    Parameter("loglevel", ENUM, "notice", choices=["debug", "verbose", "notice", "warning", "nothing"]),
    Parameter("masterauth", TEXT, ""),
    Parameter("masteruser", TEXT, ""),
    Parameter("maxclients", INT, "10000", low=1, high=UINT32_MAX),
    Parameter("maxmemory", MEMORY, "0", high=UINT64_MAX),
    Parameter("maxmemory-clients", PERCENT, "0", low=-100),
    Parameter("maxmemory-eviction-tenacity", INT, "10", high=100),
    Parameter(
        "maxmemory-policy",
        ENUM,
        "noeviction",
        choices=[
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
        ],
    ),
    Parameter("maxmemory-samples", INT, "5", low=1, high=INT32_MAX),
    Parameter("min-replicas-max-lag", INT, "10", high=INT32_MAX, alias="min-slaves-max-lag"),
    Parameter("min-replicas-to-write", INT, "0", high=INT32_MAX, alias="min-slaves-to-write"),
    Parameter("no-appendfsync-on-rewrite", BOOL, "no"),
    Parameter("notify-keyspace-events", NOTIFY, ""),
    Parameter("oom-score-adj", ENUM, "no", choices=["no", "yes", "relative", "absolute"]),
    Parameter("oom-score-adj-values", OOM_SCORES, "0 200 800"),
    Parameter("owner-socket", TEXT, "", fixed=True, hidden=True),
    Parameter("pidfile", TEXT, "", fixed=True),
    Parameter("port", INT, "6379", high=65535),
    Parameter("proc-title-template", TEXT, "{title} {listen-addr} {server-mode}"),
    Parameter("propagation-error-behavior", ENUM, "ignore", choices=["ignore", "panic", "panic-on-replicas"]),
    Parameter("protected-mode", BOOL, "yes"),
    Parameter("proto-max-bulk-len", MEMORY, "536870912", low=1048576),
    Parameter("rdb-del-sync-files", BOOL, "no"),
    Parameter("rdb-key-save-delay", INT, "0", low=-INT32_MAX - 1, high=INT32_MAX, hidden=True),
    Parameter("rdb-save-incremental-fsync", BOOL, "yes"),
    Parameter("rdbchecksum", BOOL, "yes", fixed=True),
    Parameter("rdbcompression", BOOL, "yes"),
    Parameter("repl-backlog-size", MEMORY, "1048576", low=1),
    Parameter("repl-backlog-ttl", INT, "3600"),
    Parameter("repl-disable-tcp-nodelay", BOOL, "no"),
    Parameter("repl-diskless-load", ENUM, "disabled", choices=["disabled", "on-empty-db", "swapdb"]),
    Parameter("repl-diskless-sync", BOOL, "yes"),
    Parameter("repl-diskless-sync-delay", INT, "5", high=INT32_MAX),
    Parameter("repl-diskless-sync-max-replicas", INT, "0", high=INT32_MAX),
    Parameter("repl-ping-replica-period", INT, "10", low=1, high=INT32_MAX, alias="repl-ping-slave-period"),
    Parameter("repl-timeout", INT, "60", low=1, high=INT32_MAX),
    Parameter("replica-announce-ip", TEXT, "", alias="slave-announce-ip"),
    Parameter("replica-announce-port", INT, "0", high=65535, alias="slave-announce-port"),
    Parameter("replica-announced", BOOL, "yes"),
    Parameter("replica-ignore-disk-write-errors", BOOL, "no"),
    Parameter("replica-ignore-maxmemory", BOOL, "yes", alias="slave-ignore-maxmemory"),
    Parameter("replica-lazy-flush", BOOL, "no", alias="slave-lazy-flush"),
    Parameter("replica-priority", INT, "100", high=INT32_MAX, alias="slave-priority"),
    Parameter("replica-read-only", BOOL, "yes", alias="slave-read-only"),
    Parameter("replica-serve-stale-data", BOOL, "yes", alias="slave-serve-stale-data"),
    Parameter("replicaof", TEXT, "", fixed=True, alias="slaveof"),
    Parameter("requirepass", TEXT, ""),
    Parameter("sanitize-dump-payload", ENUM, "no", choices=["no", "yes", "clients"]),
    Parameter("save", SAVE, ""),
    Parameter("server_cpulist", TEXT, "", fixed=True),
    Parameter("set-max-intset-entries", INT, "512"),
    Parameter("set-max-listpack-entries", INT, "128"),
    Parameter("set-max-listpack-value", INT, "64"),
    Parameter("set-proc-title", BOOL, "yes", fixed=True),
    Parameter("shutdown-on-sigint", FLAGS, "default", choices=["default", "save", "nosave", "now", "force"]),
    Parameter("shutdown-on-sigterm", FLAGS, "default", choices=["default", "save", "nosave", "now", "force"]),
    Parameter("shutdown-timeout", INT, "10", high=INT32_MAX),
    Parameter("slowlog-log-slower-than", INT, "10000", low=-1),
    Parameter("slowlog-max-len", INT, "128"),
    Parameter("socket-mark-id", INT, "0", high=UINT32_MAX, fixed=True),
    Parameter("stop-writes-on-bgsave-error", BOOL, "yes"),
    Parameter("stream-node-max-bytes", MEMORY, "4096"),
    Parameter("stream-node-max-entries", INT, "100"),
    Parameter("supervised", ENUM, "no", choices=["upstart", "systemd", "auto", "no"], fixed=True),
    Parameter("syslog-enabled", BOOL, "no", fixed=True),
    Parameter(
        "syslog-facility",
        ENUM,
        "local0",
        choices=["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"],
        fixed=True,
    ),
    Parameter("syslog-ident", TEXT, "redis", fixed=True),
    Parameter("tcp-backlog", INT, "511", high=INT32_MAX, fixed=True),
    Parameter("tcp-keepalive", INT, "300", high=INT32_MAX),
    Parameter("timeout", INT, "0", high=INT32_MAX),
    Parameter("tls-auth-clients", ENUM, "yes", choices=["no", "yes", "optional"]),
    Parameter("tls-ca-cert-dir", TEXT, ""),
    Parameter("tls-ca-cert-file", TEXT, ""),
    Parameter("tls-cert-file", TEXT, ""),
    Parameter("tls-ciphers", TEXT, ""),
    Parameter("tls-ciphersuites", TEXT, ""),
    Parameter("tls-client-cert-file", TEXT, ""),
    Parameter("tls-client-key-file", TEXT, ""),
    Parameter("tls-client-key-file-pass", TEXT, ""),
    Parameter("tls-cluster", BOOL, "no"),
    Parameter("tls-dh-params-file", TEXT, ""),
    Parameter("tls-key-file", TEXT, ""),
    Parameter("tls-key-file-pass", TEXT, ""),
    Parameter("tls-port", INT, "0", high=65535),
    Parameter("tls-prefer-server-ciphers", BOOL, "no"),
    Parameter("tls-protocols", TEXT, ""),
    Parameter("tls-replication", BOOL, "no"),
    Parameter("tls-session-cache-size", INT, "20480", high=INT32_MAX),
    Parameter("tls-session-cache-timeout", INT, "300", high=INT32_MAX),
    Parameter("tls-session-caching", BOOL, "yes"),
    Parameter("tracking-table-max-keys", INT, "1000000"),
    Parameter("unixsocket", TEXT, "", fixed=True),
    Parameter("unixsocketperm", OCTAL, "0", high=511, fixed=True),
    Parameter("use-exit-on-panic", BOOL, "no", hidden=True),
    Parameter("watchdog-period", INT, "0", high=INT32_MAX, hidden=True),
    Parameter("zset-max-listpack-entries", INT, "128", alias="zset-max-ziplist-entries"),
    Parameter("zset-max-listpack-value", MEMORY, "64", alias="zset-max-ziplist-value"),
]
