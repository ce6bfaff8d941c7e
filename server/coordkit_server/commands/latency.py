"""LATENCY (group "server"): what took long, and how long commands take.

Map: HISTOGRAM, the monitor's events, the graph, the report, rows.
"""

from typing import Final

from coordkit_server.commands.help import help_reply
from coordkit_server.commands.server import container
from coordkit_server.context import ADMIN, LOADING, NOSCRIPT, STALE, Command, Context
from coordkit_server.errors import CommandError
from coordkit_server.latency import Event, Histogram
from coordkit_server.resp.reply import MapReply, VerbatimReply

GRAPH_COLUMNS: Final = 80
_GRAPH_ROWS: Final = 4
_GRAPH_SHADES: Final = "_o#"


def latency_histogram(cx: Context) -> object:
    """LATENCY HISTOGRAM [command ...] -> for each command its calls and how many of them took how long."""
    items: list[object] = []
    if len(cx.argv) == 2:
        for row in cx.services.commands.values():
            _add_histograms(items, row)
    else:
        for name in cx.argv[2:]:
            named = cx.services.require_runner().find(name.split(b"|", 1))
            if named is not None:
                _add_histograms(items, named)
    return MapReply(items)


def _add_histograms(items: list[object], row: Command) -> None:
    """Append the histograms of `row` and its subcommands, as far as they were called."""
    if row.histogram is not None:
        items.append(row.full_name)
        items.append(_histogram_reply(row.histogram))
    if row.subcommands is not None:
        for sub in row.subcommands.values():
            if sub.histogram is not None:
                items.append(sub.full_name)
                items.append(_histogram_reply(sub.histogram))


def _histogram_reply(histogram: Histogram) -> object:
    """Return the calls and the buckets of one command."""
    buckets: list[object] = []
    for limit_us, calls in histogram.cumulative():
        buckets.append(limit_us)
        buckets.append(calls)
    return MapReply([b"calls", histogram.count, b"histogram_usec", MapReply(buckets)])


def latency_history(cx: Context) -> object:
    """LATENCY HISTORY event -> [time, ms] of its samples, oldest first."""
    event = cx.services.latency.events.get(cx.argv[2])
    if event is None:
        return []
    return [[sample.time_s, sample.latency_ms] for sample in event.samples]


def latency_latest(cx: Context) -> object:
    """LATENCY LATEST -> for each event its name, and time, ms of the last sample, highest ms."""
    latest: list[object] = []
    for name, event in cx.services.latency.events.items():
        last = event.samples[-1]
        latest.append([name, last.time_s, last.latency_ms, event.highest_ms])
    return latest


def latency_reset(cx: Context) -> object:
    """LATENCY RESET [event ...] -> number of events whose samples are dropped; all if none is named."""
    latency = cx.services.latency
    names = cx.argv[2:] if len(cx.argv) > 2 else list(latency.events)
    forgotten = 0
    for name in names:
        forgotten += latency.forget(name)
    return forgotten


def latency_graph(cx: Context) -> object:
    """LATENCY GRAPH event -> its samples drawn in text."""
    name = cx.argv[2]
    event = cx.services.latency.events.get(name)
    if event is None:
        raise CommandError(b"ERR No samples available for event '" + name + b"'")
    values = [sample.latency_ms for sample in event.samples]
    title = "%s - high %d ms, low %d ms (all time high %d ms)" % (
        name.decode("utf-8", "replace"),
        max(values),
        min(values),
        event.highest_ms,
    )
    now_s = cx.services.clock.now_us() // 1_000_000
    labels = [_age(now_s - sample.time_s) for sample in event.samples]
    lines = [title, "-" * GRAPH_COLUMNS]
    for start in range(0, len(values), GRAPH_COLUMNS):
        if start:
            lines.append("")
        chunk = slice(start, start + GRAPH_COLUMNS)
        lines.extend(_bars(values[chunk], min(values), max(values)))
        lines.append("")
        lines.extend(_vertical(labels[chunk]))
    return VerbatimReply(b"txt", ("\n".join(lines) + "\n").encode())


def _age(seconds: int) -> str:
    """Return how long ago something was, in its largest unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _bars(values: list[int], low: int, high: int) -> list[str]:
    """Return the rows of a bar chart, one column a value."""
    shades = len(_GRAPH_SHADES)
    steps = shades * _GRAPH_ROWS
    span = max(high - low, 1)
    heights = [min((value - low) * steps // span, steps - 1) for value in values]
    rows: list[str] = []
    for level in range(_GRAPH_ROWS - 1, -1, -1):
        row = ""
        for height in heights:
            above = height - level * shades
            if above < 0:
                row += " "
            else:
                row += "|" if above >= shades else _GRAPH_SHADES[above]
        rows.append(row)
    return rows


def _vertical(labels: list[str]) -> list[str]:
    """Return the rows of `labels` written from top to bottom."""
    depth = max(len(label) for label in labels)
    return ["".join([label[i] if i < len(label) else " " for label in labels]) for i in range(depth)]


def latency_doctor(cx: Context) -> object:
    """LATENCY DOCTOR -> what the samples tell, in words."""
    latency = cx.services.latency
    if latency.threshold_ms == 0:
        text = (
            "The latency monitor is off, so there is nothing to tell. Switch it on with "
            "`CONFIG SET latency-monitor-threshold <milliseconds>`.\n"
        )
    elif not latency.events:
        text = f"Nothing has taken {latency.threshold_ms} ms or longer since the samples were reset.\n"
    else:
        lines = [f"These kinds of events took {latency.threshold_ms} ms or longer:", ""]
        for number, (name, event) in enumerate(latency.events.items(), 1):
            lines.append(f"{number}. {_described(name, event)}")
        text = "\n".join(lines) + "\n"
    return VerbatimReply(b"txt", text.encode())


_ADVICE: Final[dict[bytes, str]] = {
    b"command": "look at SLOWLOG GET for the commands, and prefer steps (SCAN, ranges) to whole collections",
    b"fast-command": "commands of constant time were slow: look for a busy processor or swapping",
    b"expire-cycle": "many keys or large ones expire at once: spread their times to live",
    b"eviction-cycle": "many keys are evicted at once: raise maxmemory or write less",
}


def _described(name: bytes, event: Event) -> str:
    """Return a sentence about one event."""
    total = 0
    for sample in event.samples:
        total += sample.latency_ms
    count = len(event.samples)
    advice = _ADVICE.get(name, "look at what ran at those times")
    return (
        f"{name.decode('utf-8', 'replace')}: {count} samples, {total // count} ms on average, "
        f"{event.highest_ms} ms at worst; {advice}."
    )


def latency_help(cx: Context) -> object:
    """LATENCY HELP -> lines of help."""
    return help_reply(b"LATENCY", _HELP)


_HELP: Final[list[bytes]] = [
    b"DOCTOR",
    b"    Tell in words what the samples say.",
    b"GRAPH <event>",
    b"    Draw the samples of an event.",
    b"HISTOGRAM [<command> ...]",
    b"    Tell how long commands took, as cumulative counts.",
    b"HISTORY <event>",
    b"    List the samples of an event.",
    b"LATEST",
    b"    List the last sample of every event.",
    b"RESET [<event> ...]",
    b"    Drop the samples of these events, or of all.",
]


def commands() -> list[Command]:
    """Return the row of LATENCY."""
    admin = ADMIN | NOSCRIPT | LOADING | STALE
    return [
        Command(
            b"LATENCY",
            -2,
            0,
            container,
            since=b"2.8.13",
            summary=b"Tells what took long.",
            subcommands=[
                Command(b"DOCTOR", 2, admin, latency_doctor, since=b"2.8.13"),
                Command(b"GRAPH", 3, admin, latency_graph, since=b"2.8.13"),
                Command(b"HELP", 2, LOADING | STALE, latency_help, since=b"2.8.13"),
                Command(b"HISTOGRAM", -2, admin, latency_histogram, since=b"7.0.0"),
                Command(b"HISTORY", 3, admin, latency_history, since=b"2.8.13"),
                Command(b"LATEST", 2, admin, latency_latest, since=b"2.8.13"),
                Command(b"RESET", -2, admin, latency_reset, since=b"2.8.13"),
            ],
        )
    ]
