"""INFO (group "server"): sections of `field:value` lines, with measured values only.

Map: one function a section, SECTIONS (order and which are default), `info`.
"""

import os
import resource
import sys
from collections.abc import Callable
from typing import Final

from coordkit_server import REDIS_LEVEL, __version__
from coordkit_server.commands.info_memory import memory_fields
from coordkit_server.commands.info_stats import (
    commandstats_fields,
    errorstats_fields,
    latencystats_fields,
    stats_fields,
)
from coordkit_server.context import LOADING, STALE, Command, Context
from coordkit_server.persistence.aof import OFF as AOF_OFF
from coordkit_server.replication.replica import STATE_NAMES
from coordkit_server.resp.reply import VerbatimReply

Fields = list[tuple[str, object]]


def _server(cx: Context) -> Fields:
    """Return who this server is."""
    services = cx.services
    uptime_s = (services.clock.now_us() - services.started_us) // 1_000_000
    system = os.uname()
    return [
        ("redis_version", REDIS_LEVEL),
        ("redis_git_sha1", "00000000"),
        ("redis_git_dirty", 0),
        ("redis_mode", "standalone"),
        ("server_name", "coordkit"),
        ("coordkit_version", __version__),
        ("os", f"{system.sysname} {system.release} {system.machine}"),
        ("arch_bits", 64 if sys.maxsize > 2**32 else 32),
        ("monotonic_clock", "POSIX clock_gettime"),
        ("multiplexing_api", "epoll" if sys.platform == "linux" else "selectors"),
        ("process_id", os.getpid()),
        ("process_supervised", services.config.text("supervised")),
        ("run_id", services.run_id.decode("ascii")),
        ("tcp_port", services.config.number("port")),
        ("server_time_usec", services.clock.now_us()),
        ("uptime_in_seconds", uptime_s),
        ("uptime_in_days", uptime_s // 86400),
        ("hz", services.config.number("hz")),
        ("configured_hz", services.config.number("hz")),
        ("lru_clock", services.clock.now_us() // 1_000_000 & 0xFFFFFF),
        ("executable", sys.executable),
        ("config_file", services.config.path),
        ("io_threads_active", 0),
    ]


def _clients(cx: Context) -> Fields:
    """Return how many clients there are, by kind."""
    sessions = cx.services.sessions.values()
    subscribers = 0
    watching = 0
    for session in sessions:
        if session.subscription_count() or session.shard_channels:
            subscribers += 1
        if session.watched:
            watching += 1
    return [
        ("connected_clients", len(cx.services.sessions) - len(cx.services.primary.replicas)),
        ("cluster_connections", 0),
        ("maxclients", cx.services.config.number("maxclients")),
        ("blocked_clients", cx.services.blocking.count),
        ("tracking_clients", cx.services.tracking.client_count),
        ("pubsub_clients", subscribers),
        ("watching_clients", watching),
        ("clients_in_timeout_table", cx.services.blocking.timed_count()),
        ("total_blocking_keys", _blocking_keys(cx)),
        ("total_blocking_keys_on_nokey", _blocking_keys_on_missing(cx)),
    ]


def _blocking_keys_on_missing(cx: Context) -> int:
    """Return the number of keys whose removal wakes clients that are blocked on them."""
    total = 0
    if cx.services.blocking.missing_count:
        for database in cx.services.databases:
            for queue in database.waiting.values():
                for waiter in queue:
                    if waiter.wakes_on_missing:
                        total += 1
                        break
    return total


def _blocking_keys(cx: Context) -> int:
    """Return the number of keys that clients are blocked on."""
    total = 0
    for database in cx.services.databases:
        total += len(database.waiting)
    return total


def _loading(cx: Context) -> Fields:
    """Return how far loading is, nothing if everything is loaded."""
    snapshots = cx.services.snapshots
    if not snapshots.loading_since_s:
        return []
    loaded, total = snapshots.loaded_bytes, snapshots.loading_bytes
    elapsed_s = max(cx.services.clock.now_us() // 1_000_000 - snapshots.loading_since_s, 0)
    return [
        ("loading_start_time", snapshots.loading_since_s),
        ("loading_total_bytes", total),
        ("loading_rdb_used_mem", 0),
        ("loading_loaded_bytes", loaded),
        ("loading_loaded_perc", f"{100 * loaded / max(total, 1):.2f}"),
        ("loading_eta_seconds", elapsed_s * (total - loaded) // max(loaded, 1)),
    ]


def _persistence(cx: Context) -> Fields:
    """Return the state of persistence: snapshots and the append-only file."""
    snapshots = cx.services.snapshots
    running = snapshots.running()
    saved = snapshots.keys_saved()
    total = snapshots.keys_to_save if running else 0
    copied = snapshots.copied_bytes()
    return [
        ("loading", 1 if snapshots.loading_since_s else 0),
        *_loading(cx),
        ("async_loading", 0),
        ("current_cow_peak", copied),
        ("current_cow_size", copied),
        ("current_cow_size_age", 0),
        ("current_fork_perc", f"{100 * saved / total if total else 0:.2f}"),
        ("current_save_keys_processed", saved),
        ("current_save_keys_total", total),
        ("rdb_changes_since_last_save", snapshots.changes()),
        ("rdb_bgsave_in_progress", 1 if running else 0),
        ("rdb_last_save_time", snapshots.last_save_s),
        ("rdb_last_bgsave_status", "ok" if snapshots.last_ok else "err"),
        ("rdb_last_bgsave_time_sec", snapshots.last_duration_s),
        ("rdb_current_bgsave_time_sec", snapshots.seconds_running()),
        ("rdb_saves", snapshots.saves),
        ("rdb_last_cow_size", snapshots.last_copied_bytes),
        ("rdb_last_load_keys_expired", snapshots.loaded_expired),
        ("rdb_last_load_keys_loaded", snapshots.loaded_keys),
        *_aof_fields(cx),
    ]


def _aof_fields(cx: Context) -> Fields:
    """Return the state of the append-only file."""
    aof = cx.services.aof
    appender = aof.appender
    fields: Fields = [
        ("aof_enabled", 0 if aof.state == AOF_OFF else 1),
        ("aof_rewrite_in_progress", 1 if aof.rewriting else 0),
        ("aof_rewrite_scheduled", 1 if aof.scheduled else 0),
        ("aof_last_rewrite_time_sec", aof.last_rewrite_s),
        ("aof_current_rewrite_time_sec", aof.rewriting_for_s()),
        ("aof_last_bgrewrite_status", "err" if aof.last_rewrite_failed else "ok"),
        ("aof_rewrites", aof.rewrites),
        ("aof_rewrites_consecutive_failures", aof.failures),
        ("aof_last_write_status", "err" if appender.failed else "ok"),
        ("aof_last_cow_size", 0),
    ]
    if aof.state != AOF_OFF:
        fields.extend(
            [
                ("aof_current_size", aof.current_size()),
                ("aof_base_size", aof.base_size),
                ("aof_pending_rewrite", 0),
                ("aof_buffer_length", appender.buffered_bytes()),
                ("aof_pending_bio_fsync", 1 if appender.syncing() else 0),
                ("aof_delayed_fsync", appender.delayed_fsyncs),
            ]
        )
    return fields


def _replication(cx: Context) -> Fields:
    """Return the replication state: who follows this primary, and how far they are."""
    primary = cx.services.primary
    backlog = primary.backlog
    now_us = cx.services.clock.monotonic_us()
    fields: Fields = [("role", "master"), ("connected_slaves", len(primary.replicas))]
    for number, replica in enumerate(primary.replicas.values()):
        lag_s = max(now_us - replica.ack_us, 0) // 1_000_000 if replica.partial_resync else 0
        value = (
            f"ip={replica.host().decode('utf-8', 'replace')},port={replica.port()},state={STATE_NAMES[replica.state]}"
        )
        fields.append((f"slave{number}", f"{value},offset={replica.acked},lag={lag_s}"))
    return [
        *fields,
        ("master_failover_state", "no-failover"),
        ("master_replid", primary.replid.decode("ascii")),
        ("master_replid2", "0" * 40),
        ("master_repl_offset", primary.offset),
        ("second_repl_offset", -1),
        ("repl_backlog_active", 0 if backlog is None else 1),
        ("repl_backlog_size", cx.services.config.number("repl-backlog-size")),
        ("repl_backlog_first_byte_offset", 0 if backlog is None else backlog.first),
        ("repl_backlog_histlen", 0 if backlog is None else backlog.length()),
    ]


def _cpu(cx: Context) -> Fields:
    """Return the processor time this process has used, in seconds."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return [
        ("used_cpu_sys", f"{own.ru_stime:.6f}"),
        ("used_cpu_user", f"{own.ru_utime:.6f}"),
        ("used_cpu_sys_children", f"{children.ru_stime:.6f}"),
        ("used_cpu_user_children", f"{children.ru_utime:.6f}"),
    ]


def _modules(cx: Context) -> Fields:
    """Return the loaded modules: there are none."""
    return []


def _cluster(cx: Context) -> Fields:
    """Return the cluster state: this server has none."""
    return [("cluster_enabled", 0)]


def _keyspace(cx: Context) -> Fields:
    """Return the number of keys of each database that has any."""
    fields: Fields = []
    for database in cx.services.databases:
        if len(database):
            fields.append((f"db{database.index}", _keyspace_line(len(database), database.volatile_count())))
    return fields


def _keyspace_line(keys: int, expires: int) -> str:
    """Return the line of one database; the average time to live is not sampled and says 0, as on an idle server."""
    return f"keys={keys},expires={expires},avg_ttl=0"


class Section:
    """A section of INFO."""

    def __init__(self, title: str, read: Callable[[Context], Fields], default: bool) -> None:
        self.title: Final = title
        self.read: Final = read
        self.default: Final = default


def sections() -> list[Section]:
    """Return all sections in the order INFO prints them."""
    return [
        Section("Server", _server, True),
        Section("Clients", _clients, True),
        Section("Memory", memory_fields, True),
        Section("Persistence", _persistence, True),
        Section("Stats", stats_fields, True),
        Section("Replication", _replication, True),
        Section("CPU", _cpu, True),
        Section("Modules", _modules, True),
        Section("Commandstats", commandstats_fields, False),
        Section("Errorstats", errorstats_fields, True),
        Section("Latencystats", latencystats_fields, False),
        Section("Cluster", _cluster, True),
        Section("Keyspace", _keyspace, True),
    ]


def info(cx: Context) -> object:
    """INFO [section [section ...]] -> text; `default`, `all` and `everything` stand for several sections."""
    wanted = [word.decode("utf-8", "replace").lower() for word in cx.argv[1:]] or ["default"]
    everything = "all" in wanted or "everything" in wanted
    default = "default" in wanted
    parts: list[str] = []
    for section in sections():
        if everything or (default and section.default) or section.title.lower() in wanted:
            lines = [f"# {section.title}"]
            for name, value in section.read(cx):
                lines.append(f"{name}:{value}")
            parts.append("\r\n".join(lines) + "\r\n")
    return VerbatimReply(b"txt", "\r\n".join(parts).encode("utf-8", "replace"))


def commands() -> list[Command]:
    """Return the row of INFO."""
    return [Command(b"INFO", -1, LOADING | STALE, info, summary=b"Tells about the server in sections of text.")]
