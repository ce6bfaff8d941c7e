"""The bundled server beside the originals: requests a second and CPU time a request, as redis-benchmark loads them.

In every round all servers get the same load, one after the other, each with fresh data; a ratio is the median of the
rounds' ratios, so that what disturbs the machine for a while disturbs all of them.
"""

import csv
import io
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import redis

from tests.benchmarks.servers import Server

CONNECTIONS: Final = 50
KEYS: Final = 100_000
PIPELINES: Final = (1, 16)
REQUESTS: Final = {1: 80_000, 16: 400_000}
QUICK_SHARE: Final = 5

RANDOM: Final = "__rand_int__"

ONE_CALL: Final = "return redis.call('INCR', KEYS[1])"
NO_CALL: Final = "return 1"
TEN_CALLS: Final = "for _ = 1, 9 do redis.call('INCR', KEYS[1]) end return redis.call('INCR', KEYS[1])"
TWENTY_KEYS: Final = "return #KEYS + #ARGV"
THREE_CALLS: Final = (
    "local old = redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], ARGV[1]) "
    "redis.call('HSET', KEYS[2], KEYS[1], ARGV[1]) return old"
)

WORTH_UNPIPELINED: Final = 0.9
WORTH_PIPELINED: Final = 0.5
WORTH_SCRIPT: Final = 0.6
# unpipelined and pipelined, of commands that are not among the most used
WORTH_OF_OTHERS: Final = (0.85, 0.4)

FILL_STREAM: Final = "for _ = 1, 1000 do redis.call('XADD', KEYS[1], '*', 'field', 'value') end"


def no_data(_client: "redis.Redis", _requests: int) -> None:
    """Nothing before the start."""


def strings(client: "redis.Redis", _requests: int) -> None:
    """All the keys that GET asks for."""
    for start in range(0, KEYS, 1000):
        client.mset({f"key:{number:012}": "xxx" for number in range(start, start + 1000)})


def long_list(client: "redis.Redis", requests: int) -> None:
    """As many elements as will be popped."""
    elements = ["xxx"] * 1000
    for _ in range(0, requests, 1000):
        client.rpush("list", *elements)


def short_list(client: "redis.Redis", _requests: int) -> None:
    """A list as redis-benchmark makes it for its LRANGE."""
    client.lpush("list", *["xxx"] * 1000)


def large_zset(client: "redis.Redis", _requests: int) -> None:
    """Members with as many different scores."""
    for start in range(0, KEYS, 1000):
        client.zadd("zset", {f"element:{number:012}": number for number in range(start, start + 1000)})


def two_sets(client: "redis.Redis", _requests: int) -> None:
    """Two sets of 200 members, half of them in both."""
    client.sadd("first", *range(200))
    client.sadd("second", *range(100, 300))


def two_zsets(client: "redis.Redis", _requests: int) -> None:
    """Two sorted sets of 50 members, half of them in both."""
    client.zadd("first", {f"member:{number}": number for number in range(50)})
    client.zadd("second", {f"member:{number}": number for number in range(25, 75)})


def records(client: "redis.Redis", _requests: int) -> None:
    """Hashes of ten fields."""
    with client.pipeline(transaction=False) as pipe:
        for number in range(1000):
            pipe.hset(f"hash:{number:012}", mapping={f"field{place}": f"value{place:05}" for place in range(10)})
        pipe.execute()


def windows(client: "redis.Redis", _requests: int) -> None:
    """Sorted sets of ten members."""
    members = {f"member{number:04}": number for number in range(10)}
    with client.pipeline(transaction=False) as pipe:
        for number in range(1000):
            pipe.zadd(f"zset:{number:012}", members)
        pipe.execute()


def bitmap(client: "redis.Redis", _requests: int) -> None:
    """A bitmap of 4 KB."""
    client.set("bitmap", b"\x55" * 4096)


def places(client: "redis.Redis", _requests: int) -> None:
    """Places on a grid about 100 km wide."""
    for row in range(100):
        client.geoadd("geo", [part for column in range(100) for part in (column / 100, row / 100, f"{row}:{column}")])


def stream(client: "redis.Redis", _requests: int) -> None:
    """Some thousand entries."""
    for _ in range(10):
        client.eval(FILL_STREAM, 1, "stream")


def stream_for_group(client: "redis.Redis", requests: int) -> None:
    """As many entries as will be read by a group."""
    client.xgroup_create("stream", "group", id="0", mkstream=True)
    for _ in range(0, requests, 1000):
        client.eval(FILL_STREAM, 1, "stream")


@dataclass(frozen=True, slots=True)
class Case:
    """One command under load.  In its words, redis-benchmark puts a random number in place of __rand_int__.

    One that takes long gets one `load_share`-th of the requests."""

    name: str
    words: tuple[str, ...]
    prepare: Callable[["redis.Redis", int], None] = no_data
    script: str | None = None
    worth: tuple[float, float] = (WORTH_UNPIPELINED, WORTH_PIPELINED)
    load_share: int = 1
    random_below: int = KEYS

    def target(self, pipeline: int) -> float:
        """The share of the reference's requests that the bundled server shall reach."""
        worth = self.worth[0 if pipeline == 1 else 1]
        return worth if self.script is None else min(worth, WORTH_SCRIPT) if pipeline == 1 else WORTH_SCRIPT


CASES: Final = (
    Case("SET", ("SET", "key:__rand_int__", "xxx")),
    Case("GET", ("GET", "key:__rand_int__"), strings),
    Case("INCR", ("INCR", "counter:__rand_int__")),
    Case("LPUSH", ("LPUSH", "list", "xxx")),
    Case("RPOP", ("RPOP", "list"), long_list),
    Case("SADD", ("SADD", "set", "element:__rand_int__")),
    Case("HSET", ("HSET", "hash", "field:__rand_int__", "xxx")),
    Case("ZADD", ("ZADD", "zset", "__rand_int__", "element:__rand_int__")),
    *(
        Case(f"LRANGE, {count} elements", ("LRANGE", "list", "0", str(count - 1)), short_list, None, WORTH_OF_OTHERS, 4)
        for count in (100, 300, 500, 600)
    ),
    Case("MSET, 10 keys", ("MSET", *("key:__rand_int__", "xxx") * 10), worth=WORTH_OF_OTHERS),
    Case("HGETALL, 10 fields", ("HGETALL", "hash:__rand_int__"), records, None, WORTH_OF_OTHERS, 1, 1000),
    Case("HSET, of 10 fields", ("HSET", "hash:__rand_int__", "field5", "new"), records, None, WORTH_OF_OTHERS, 1, 1000),
    Case("SINTER, 100 of 200", ("SINTER", "first", "second"), two_sets, None, WORTH_OF_OTHERS, 10),
    Case("SUNIONSTORE, 300", ("SUNIONSTORE", "third", "first", "second"), two_sets, None, WORTH_OF_OTHERS, 10),
    Case(
        "ZADD, of 10 members",
        ("ZADD", "zset:__rand_int__", "__rand_int__", "member0005"),
        windows,
        None,
        WORTH_OF_OTHERS,
        1,
        1000,
    ),
    Case("ZSCORE", ("ZSCORE", "zset", "element:__rand_int__"), large_zset, None, WORTH_OF_OTHERS),
    Case("ZRANK", ("ZRANK", "zset", "element:__rand_int__"), large_zset, None, WORTH_OF_OTHERS),
    Case(
        "ZRANGE, 100 members",
        ("ZRANGE", "zset", "__rand_int__", "+inf", "BYSCORE", "LIMIT", "0", "100"),
        large_zset,
        None,
        WORTH_OF_OTHERS,
        4,
    ),
    Case(
        "ZINTERSTORE, 25 of 50", ("ZINTERSTORE", "third", "2", "first", "second"), two_zsets, None, WORTH_OF_OTHERS, 10
    ),
    Case("PFADD", ("PFADD", "hll", "element:__rand_int__"), worth=WORTH_OF_OTHERS),
    Case("SETBIT", ("SETBIT", "bitmap:__rand_int__", "1000", "1"), worth=WORTH_OF_OTHERS),
    Case("BITCOUNT, 4 KB", ("BITCOUNT", "bitmap"), bitmap, None, WORTH_OF_OTHERS),
    Case(
        "GEOADD", ("GEOADD", "geo", "13.__rand_int__", "38.__rand_int__", "place:__rand_int__"), worth=WORTH_OF_OTHERS
    ),
    Case(
        "GEOSEARCH, about 40 places",
        ("GEOSEARCH", "geo", "FROMLONLAT", "0.5", "0.5", "BYRADIUS", "4", "km"),
        places,
        None,
        WORTH_OF_OTHERS,
        10,
    ),
    Case("XADD", ("XADD", "stream", "*", "field", "value"), worth=WORTH_OF_OTHERS),
    Case("XRANGE, 100 entries", ("XRANGE", "stream", "-", "+", "COUNT", "100"), stream, worth=WORTH_OF_OTHERS),
    Case(
        "XREADGROUP",
        ("XREADGROUP", "GROUP", "group", "me", "COUNT", "1", "STREAMS", "stream", ">"),
        stream_for_group,
        worth=WORTH_OF_OTHERS,
    ),
    Case("EVALSHA, no call", ("0",), script=NO_CALL),
    Case("EVALSHA, 1 call", ("1", "counter:__rand_int__"), script=ONE_CALL),
    Case("EVALSHA, 3 calls", ("2", "key:__rand_int__", "hash", "xxx"), script=THREE_CALLS),
    Case("EVALSHA, 10 calls", ("1", "counter:__rand_int__"), script=TEN_CALLS),
    Case(
        "EVALSHA, 20 keys and arguments",
        ("20", *[f"key:{number}" for number in range(20)], *["xxx"] * 20),
        script=TWENTY_KEYS,
    ),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one server did in one round."""

    requests_per_s: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Row:
    """What one server did in all rounds of one case, beside the reference."""

    case: str
    pipeline: int
    server: str
    requests_per_s: float
    cpu_us: float
    ratio: float
    cpu_ratio: float
    target: float | None


def measure(
    servers: Sequence[Server], *, rounds: int, quick: bool, only: str | None, leave_out: Callable[[str], None]
) -> Iterator[list[Row]]:
    """For each case and pipeline a row for every server that can run it, the reference first.

    `leave_out` gets a line for each server that cannot run a case.
    """
    program = shutil.which("redis-benchmark")
    assert program is not None
    for case in CASES:
        if only is not None and only.lower() not in case.name.lower():
            continue
        able = []
        for server in servers:
            refusal = refused(server, case)
            if refusal is None:
                able.append(server)
            else:
                leave_out(refusal)
        for pipeline in PIPELINES:
            requests = REQUESTS[pipeline] // case.load_share // (QUICK_SHARE if quick else 1)
            samples: dict[str, list[Sample]] = {server.name: [] for server in able}
            for _ in range(rounds):
                for server in able:
                    samples[server.name].append(load(program, server, case, pipeline, requests))
            if able:
                yield [row(case, pipeline, name, samples[name], samples[able[0].name]) for name in samples]


def refused(server: Server, case: Case) -> str | None:
    """What the server says against the command, None if nothing: redis-benchmark would not look at the replies."""
    server.empty()
    try:
        case.prepare(server.client, 1)
        words = [word.replace(RANDOM, "1") for word in words_for(server, case)]
        server.client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py's
    except redis.ResponseError as exc:
        return f"{server.name} cannot run {case.name}: {exc}"
    return None


def words_for(server: Server, case: Case) -> tuple[str, ...]:
    """The command; that of a script has its hash, and the server knows the script."""
    if case.script is None:
        return case.words
    return ("EVALSHA", str(server.client.script_load(case.script)), *case.words)


def load(program: str, server: Server, case: Case, pipeline: int, requests: int) -> Sample:
    """One run of redis-benchmark."""
    server.empty()
    case.prepare(server.client, requests)
    words = words_for(server, case)
    counts = ("-c", str(CONNECTIONS), "-n", str(requests), "-P", str(pipeline), "-r", str(case.random_below))
    address = ("-h", server.peer.host, "-p", str(server.peer.port))
    before_s = server.cpu_s()
    done = subprocess.run(
        (program, *address, *counts, "--csv", *words), capture_output=True, text=True, check=True, timeout=300
    )
    cpu_s = server.cpu_s() - before_s
    (result,) = csv.DictReader(io.StringIO(done.stdout[done.stdout.index('"test"') :]))
    return Sample(float(result["rps"]), cpu_s / requests * 1_000_000)


def row(case: Case, pipeline: int, server: str, samples: list[Sample], reference: list[Sample]) -> Row:
    """Medians, and medians of the rounds' ratios."""
    pairs = list(zip(samples, reference, strict=True))
    return Row(
        case=case.name,
        pipeline=pipeline,
        server=server,
        requests_per_s=statistics.median(sample.requests_per_s for sample in samples),
        cpu_us=statistics.median(sample.cpu_us for sample in samples),
        ratio=statistics.median(sample.requests_per_s / other.requests_per_s for sample, other in pairs),
        cpu_ratio=statistics.median(sample.cpu_us / max(other.cpu_us, 0.001) for sample, other in pairs),
        target=case.target(pipeline) if server == "bundled" else None,
    )
