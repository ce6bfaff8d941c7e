"""INFO stats, commandstats, latencystats and errorstats: counters since start or CONFIG RESETSTAT."""

from coordkit_server.context import Command, Context

Fields = list[tuple[str, object]]


def stats_fields(cx: Context) -> Fields:
    """Return the counters of the server as a whole."""
    stats = cx.services.stats
    pubsub = cx.services.pubsub
    primary = cx.services.primary
    tracking = cx.services.tracking
    return [
        ("total_connections_received", stats.connections_received),
        ("total_commands_processed", stats.commands_processed),
        ("instantaneous_ops_per_sec", stats.rates.per_second(0)),
        ("total_net_input_bytes", stats.net_input_bytes),
        ("total_net_output_bytes", stats.net_output_bytes),
        ("instantaneous_input_kbps", f"{stats.rates.per_second(1) / 1024:.2f}"),
        ("instantaneous_output_kbps", f"{stats.rates.per_second(2) / 1024:.2f}"),
        ("rejected_connections", stats.rejected_connections),
        ("sync_full", primary.full_syncs),
        ("sync_partial_ok", primary.partial_syncs),
        ("sync_partial_err", primary.refused_syncs),
        ("expired_keys", cx.state.expired_keys),
        ("evicted_keys", cx.services.eviction.evicted_keys),
        ("evicted_clients", 0),
        ("keyspace_hits", cx.state.hits),
        ("keyspace_misses", cx.state.misses),
        ("pubsub_channels", len(pubsub.channels)),
        ("pubsub_patterns", len(pubsub.patterns)),
        ("pubsubshard_channels", len(pubsub.shard_channels)),
        ("latest_fork_usec", cx.services.children.last_fork_us()),
        ("total_forks", cx.services.children.fork_count()),
        ("migrate_cached_sockets", 0),  # MIGRATE is not there
        ("active_defrag_hits", 0),
        ("active_defrag_misses", 0),
        ("active_defrag_key_hits", 0),
        ("active_defrag_key_misses", 0),
        ("tracking_total_keys", len(tracking.keys)),
        ("tracking_total_items", tracking.item_count),
        ("tracking_total_prefixes", len(tracking.prefixes)),
        ("unexpected_error_replies", stats.unexpected_errors),
        ("total_error_replies", stats.error_replies),
        ("total_reads_processed", stats.reads),
        ("total_writes_processed", stats.writes),
        ("eventloop_cycles", stats.cycles),
        ("eventloop_duration_cmd_sum", sum([row.usec for row in called_rows(cx)])),
        ("instantaneous_eventloop_cycles_per_sec", stats.rates.per_second(3)),
        ("acl_access_denied_auth", stats.denied_logins),
        ("acl_access_denied_cmd", stats.denied_commands),
        ("acl_access_denied_key", stats.denied_keys),
        ("acl_access_denied_channel", stats.denied_channels),
    ]


def latencystats_fields(cx: Context) -> Fields:
    """Return the percentiles of each command's durations."""
    percentiles = cx.services.config.text("latency-tracking-info-percentiles").split()
    fields: Fields = []
    for row in called_rows(cx):
        histogram = row.histogram
        if histogram is not None:
            values = [f"p{percent}={histogram.percentile(float(percent)):.3f}" for percent in percentiles]
            fields.append((f"latency_percentiles_usec_{row.full_name.decode('ascii')}", ",".join(values)))
    return fields


def commandstats_fields(cx: Context) -> Fields:
    """Return calls and time of each command that was called."""
    fields: Fields = []
    for row in called_rows(cx):
        per_call = row.usec / row.calls if row.calls else 0.0
        value = f"calls={row.calls},usec={row.usec},usec_per_call={per_call:.2f}"
        value += f",rejected_calls={row.rejected_calls},failed_calls={row.failed_calls}"
        fields.append((f"cmdstat_{row.full_name.decode('ascii')}", value))
    return fields


def called_rows(cx: Context) -> list[Command]:
    """Return the rows, subcommands included, that were called or refused since the last reset."""
    rows: list[Command] = []
    for row in cx.services.commands.values():
        rows.append(row)
        if row.subcommands is not None:
            rows.extend(row.subcommands.values())
    return [row for row in rows if row.calls or row.rejected_calls or row.failed_calls]


def errorstats_fields(cx: Context) -> Fields:
    """Return how often each error code was replied."""
    return [
        (f"errorstat_{code.decode('utf-8', 'replace')}", f"count={count}")
        for code, count in cx.services.stats.errors.items()
    ]
