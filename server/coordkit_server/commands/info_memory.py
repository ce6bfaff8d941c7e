"""INFO memory: what is measured of the process, and estimated of the data while maxmemory is set."""

import os

from coordkit_server.commands.script_host import ScriptHost
from coordkit_server.context import Context
from coordkit_server.process import peak_bytes, resident_bytes

Fields = list[tuple[str, object]]


def memory_fields(cx: Context) -> Fields:
    """Return the fields of the section.

    `used_memory` is the resident memory, or the estimate that maxmemory is compared with: Python does not tell what
    its data takes."""
    services = cx.services
    resident = resident_bytes()
    used = services.used_bytes()
    peak = max(peak_bytes(), used)
    limit = services.config.number("maxmemory")
    startup = services.startup_bytes
    dataset = max(used - startup, 0)
    system = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    output = 0
    for session in services.sessions.values():
        output += session.sink.output_bytes() + session.sink.input_bytes()
    return [
        ("used_memory", used),
        ("used_memory_human", human_bytes(used)),
        ("used_memory_rss", resident),
        ("used_memory_rss_human", human_bytes(resident)),
        ("used_memory_peak", peak),
        ("used_memory_peak_human", human_bytes(peak)),
        ("used_memory_peak_perc", f"{100 * used / peak:.2f}%"),
        ("used_memory_overhead", used - dataset),
        ("used_memory_startup", startup),
        ("used_memory_dataset", dataset),
        ("used_memory_dataset_perc", f"{100 * dataset / used:.2f}%"),
        ("total_system_memory", system),
        ("total_system_memory_human", human_bytes(system)),
        *_script_counts(cx),
        ("maxmemory", limit),
        ("maxmemory_human", human_bytes(limit)),
        ("maxmemory_policy", services.config.text("maxmemory-policy")),
        ("mem_fragmentation_ratio", f"{resident / used:.2f}"),
        ("mem_fragmentation_bytes", resident - used),
        ("mem_not_counted_for_evict", 0),
        ("mem_replication_backlog", services.config.number("repl-backlog-size") if services.primary.backlog else 0),
        ("mem_clients_normal", output),
        ("mem_cluster_links", 0),
        ("mem_allocator", "python"),
        ("active_defrag_running", 0),
        ("lazyfree_pending_objects", 0),
        ("lazyfreed_objects", cx.state.lazyfreed),
    ]


def _script_counts(cx: Context) -> Fields:
    """Return how many scripts and functions are loaded."""
    host = cx.services.scripts
    scripts = libraries = functions = 0
    if isinstance(host, ScriptHost):
        scripts = host.script_count()
        if host.has_functions():
            libraries = len(host.functions().libraries)
            functions = len(host.functions().by_name)
    return [
        ("number_of_cached_scripts", scripts),
        ("number_of_functions", functions),
        ("number_of_libraries", libraries),
    ]


def human_bytes(size: int) -> str:
    """Return `size` as `1.50M`."""
    if size < 1024:
        return f"{size}B"
    value = float(size)
    for unit in "KMGTPE":
        value /= 1024
        if value < 1024:
            return f"{value:.2f}{unit}"
    return f"{size}B"
