"""What data take in memory: bytes a key or element, as the server's resident memory grows, and as INFO tells of it.

Memory that was used once stays with a process, so each kind of data goes to servers that were started for it.  A ratio
is to the `used_memory` of the reference: what Redis itself counts for its data, without what its allocator wastes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from tests.benchmarks import servers

BATCH: Final = 1000
FIELDS: Final = 10
QUICK_SHARE: Final = 10

WORTH_STRINGS: Final = 2.0
WORTH_SMALL: Final = 4.0

Fill = Callable[["redis.Redis", range], None]


def strings(client: "redis.Redis", numbers: range) -> None:
    """Keys of 16 bytes, values of 10."""
    client.mset({f"key:{number:012}": f"v{number:09}" for number in numbers})


def hashes(client: "redis.Redis", numbers: range) -> None:
    """Hashes with the same ten names of fields, as records have them."""
    with client.pipeline(transaction=False) as pipe:
        for number in numbers:
            pipe.hset(f"h:{number:014}", mapping={f"field{place}": f"value{place:05}" for place in range(FIELDS)})
        pipe.execute()


def own_hashes(client: "redis.Redis", numbers: range) -> None:
    """Hashes whose ten fields have names that no other hash has."""
    with client.pipeline(transaction=False) as pipe:
        for number in numbers:
            first = number * FIELDS
            pipe.hset(
                f"h:{number:014}", mapping={f"f{first + place:07}": f"value{place:05}" for place in range(FIELDS)}
            )
        pipe.execute()


def lists(client: "redis.Redis", numbers: range) -> None:
    """Lists of ten elements of ten bytes."""
    with client.pipeline(transaction=False) as pipe:
        for number in numbers:
            pipe.rpush(f"l:{number:014}", *(f"value{number + place:05}" for place in range(FIELDS)))
        pipe.execute()


def sets(client: "redis.Redis", numbers: range) -> None:
    """Sets of ten members of ten bytes."""
    with client.pipeline(transaction=False) as pipe:
        for number in numbers:
            pipe.sadd(f"s:{number:014}", *(f"member{number + place:04}" for place in range(FIELDS)))
        pipe.execute()


def zsets(client: "redis.Redis", numbers: range) -> None:
    """Sorted sets of ten members of ten bytes."""
    with client.pipeline(transaction=False) as pipe:
        for number in numbers:
            pipe.zadd(f"z:{number:014}", {f"member{number + place:04}": place for place in range(FIELDS)})
        pipe.execute()


def large_set(client: "redis.Redis", numbers: range) -> None:
    """Members of 16 bytes of one set."""
    client.sadd("set", *(f"member{number:010}" for number in numbers))


def large_zset(client: "redis.Redis", numbers: range) -> None:
    """Members of 16 bytes of one sorted set."""
    client.zadd("zset", {f"member{number:010}": number for number in numbers})


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of data: so many keys or elements of it, and how some of them get into a server."""

    name: str
    unit: str
    count: int
    fill: Fill
    target: float | None = None


KINDS: Final = (
    Kind("strings of 10 bytes", "key", 1_000_000, strings, WORTH_STRINGS),
    Kind("hashes of 10 fields", "key", 100_000, hashes, WORTH_SMALL),
    Kind("the same, names of their own", "key", 100_000, own_hashes, WORTH_SMALL),
    Kind("lists of 10 elements", "key", 100_000, lists, WORTH_SMALL),
    Kind("sets of 10 members", "key", 100_000, sets, WORTH_SMALL),
    Kind("sorted sets of 10 members", "key", 100_000, zsets, WORTH_SMALL),
    Kind("one large set", "member", 1_000_000, large_set),
    Kind("one large sorted set", "member", 1_000_000, large_zset),
)


@dataclass(frozen=True, slots=True)
class Growth:
    """By how much one server has grown."""

    server: str
    resident_bytes: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class Row:
    """Bytes a key or element on one server, beside the reference."""

    kind: str
    unit: str
    server: str
    resident_bytes: float
    used_bytes: float
    ratio: float
    target: float | None


def measure(directory: Path, *, quick: bool, only: str | None) -> Iterator[list[Row]]:
    """For each kind a row for every server that can be started, the reference first."""
    for number, kind in enumerate(KINDS):
        if only is not None and only.lower() not in kind.name:
            continue
        count = kind.count // (QUICK_SHARE if quick else 1)
        with servers.running(directory / f"memory-{number}") as (running, _missing):
            yield rows(kind, count, [growth(server, kind, count) for server in running])


def growth(server: servers.Server, kind: Kind, count: int) -> Growth:
    """Fill the server with `count` of a kind."""
    before = _taken(server)
    for start in range(0, count, BATCH):
        kind.fill(server.client, range(start, min(start + BATCH, count)))
    after = _taken(server)
    return Growth(server.name, after[0] - before[0], after[1] - before[1])


def _taken(server: servers.Server) -> tuple[int, int]:
    """Resident memory of the process and `used_memory`, in bytes."""
    info = server.client.info("memory")
    assert isinstance(info, dict)
    return int(server.process.memory_info().rss), int(info["used_memory"])


def rows(kind: Kind, count: int, growths: list[Growth]) -> list[Row]:
    """The growths a key or element; the first is that of the reference."""
    return [
        Row(
            kind=kind.name,
            unit=kind.unit,
            server=grown.server,
            resident_bytes=grown.resident_bytes / count,
            used_bytes=grown.used_bytes / count,
            ratio=grown.resident_bytes / max(growths[0].used_bytes, 1),
            target=kind.target if grown.server == "bundled" else None,
        )
        for grown in growths
    ]
