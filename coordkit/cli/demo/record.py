"""What the demo's processes share on the server: the totals, and marks of what everybody did.

The marks are the referee's evidence.  They are written by plain list pushes with the server's time, by none of the
primitives that are being watched.
"""

from typing import Final, NamedTuple

from coordkit.client import AsyncClient
from coordkit.errors import CoordkitError
from coordkit.keys import Keys
from coordkit.scripts import Script

QUEUE: Final = "demo-words"
LOCK: Final = "demo-totals"
LIMITER: Final = "demo-files"
CHANNEL: Final = "demo-progress"

MARK_LISTS: Final = ("started", "admitted", "lock")


class Refused(CoordkitError):
    """The record has been written with a higher fence: this holder has lost the lock without knowing it."""


class Merge(NamedTuple):
    """verdict: 1 merged, 2 merged before, 0 refused; then the record's highest fence, its files and words."""

    verdict: int
    fence: int
    files: int
    words: int


class Mark(NamedTuple):
    """Something a worker did: when by the server's clock, and what."""

    time_us: int
    words: tuple[str, ...]


def parse_merge(reply: object) -> Merge:
    """What became of the counts."""
    match reply:
        case [int(verdict), int(fence), int(files), int(words)]:
            return Merge(verdict, fence, files, words)
    raise TypeError(f"demo_merge replied {reply!r}")


def parse_time(reply: object) -> int:
    """The server's time in microseconds."""
    assert isinstance(reply, int)
    return reply


MARK: Final = Script("demo_mark", ("marks", "written"), ("words", "request"), parse_time, idempotent=True)
MERGE: Final = Script(
    "demo_merge", ("record", "merged"), ("fence", "job", "lines", "words", "bytes"), parse_merge, idempotent=True
)


async def mark(client: AsyncClient, name: str, *words: object) -> int:
    """The server's time at which the mark was written to the list `name`."""
    keys = client.keys.demo(name), client.keys.demo("written")
    arguments = " ".join(map(str, words)), client.identity.request()
    return parse_time(await client.backend.call(MARK, keys, arguments))


async def merge(client: AsyncClient, fence: int, job_id: str, lines: int, words: int, size: int) -> Merge:
    """The record after the counts were added.  Raises Refused for a fence below the record's."""
    keys = client.keys.demo("record"), client.keys.demo("merged")
    result = parse_merge(await client.backend.call(MERGE, keys, (fence, job_id, lines, words, size)))
    if result.verdict == 0:
        raise Refused(f"fence {fence} is below {result.fence}: the lock {LOCK!r} has had another holder since")
    return result


async def read_marks(client: AsyncClient, name: str) -> list[Mark]:
    """All marks of the list, in the order in which they were written."""
    rows = await client.backend.execute(("LRANGE", client.keys.demo(name), 0, -1), idempotent=True)
    assert isinstance(rows, list)
    marks = []
    for row in rows:
        moment, *words = row.decode().split()
        marks.append(Mark(int(moment), tuple(words)))
    return marks


async def read_record(client: AsyncClient) -> dict[str, int]:
    """The totals, and how often a merge was refused or came twice."""
    reply = await client.backend.execute(("HMGET", client.keys.demo("record"), *RECORD_FIELDS), idempotent=True)
    assert isinstance(reply, list)
    return {name: int(value or 0) for name, value in zip(RECORD_FIELDS, reply, strict=True)}


RECORD_FIELDS: Final = ("files", "lines", "words", "bytes", "refused", "repeated")


async def server_time_us(client: AsyncClient) -> int:
    """The server's clock."""
    reply = await client.backend.execute(("TIME",), idempotent=True)
    assert isinstance(reply, list)
    return int(reply[0]) * 1_000_000 + int(reply[1])


async def remove_everything(client: AsyncClient, keys: Keys) -> int:
    """How many keys of the demo were removed: all that begin with its prefix."""
    cursor, removed = b"0", 0
    while True:
        reply = await client.backend.execute(("SCAN", cursor, "MATCH", keys.prefix + b":*", "COUNT", 500))
        assert isinstance(reply, list)
        cursor, found = reply
        if found:
            await client.backend.execute(("DEL", *found), idempotent=True)
            removed += len(found)
        if cursor == b"0":
            return removed
