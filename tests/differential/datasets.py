"""Keys of every type and size class, as the commands that make them, and the whole content of a key for comparing."""

from collections.abc import Sequence
from typing import Final

from tests.differential.case import CommandLine
from tests.differential.client import RawClient, Reply

LONG: Final = "abc" * 2000
INTEGERS: Final = (0, 1, -1, 127, 128, -128, -129, 4095, 4096, -4096, -4097, 32767, 32768, -32768, -32769)
WIDE: Final = (8388607, 8388608, -8388609, 2147483647, 2147483648, -2147483649, 2**63 - 1, -(2**63))
SIZES: Final = (1, 62, 63, 64, 65, 125, 126, 127, 128, 254, 255, 256, 4094, 4095, 4096, 4097, 16380, 16383, 16384)
TEXTS: Final = ("", "a", "12", "-0", "007", "1.5", "+1", "-", "x" * 20, "x" * 21, "x" * 300, "\x00\xff", " 1", LONG)


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not compress; the same for the same arguments."""
    out = bytearray()
    state = seed
    while len(out) < size:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out += (state >> 32).to_bytes(4, "little")
    return bytes(out[:size])


def _strings() -> dict[str, list[CommandLine]]:
    made: dict[str, list[CommandLine]] = {}
    for at, text in enumerate(TEXTS):
        made[f"string-{at}"] = [["SET", "k", text]]
    for number in INTEGERS + WIDE + (10**10, 10**11, 99999999999):
        made[f"string-int{number}"] = [["SET", "k", number]]
    for size in (*SIZES, 100000):
        made[f"string-noise{size}"] = [["SET", "k", noise(size)]]
        made[f"string-zeros{size}"] = [["SET", "k", b"0" * size]]
        made[f"string-mixed{size}"] = [["SET", "k", (noise(37) + b"repeated " * 9 + noise(5000))[:size]]]
    made["string-appended"] = [["SET", "k", "a"], ["APPEND", "k", "b" * 50]]
    made["hyperloglog"] = [["PFADD", "k", *range(50)]]
    return made


def _lists() -> dict[str, list[CommandLine]]:
    made: dict[str, list[CommandLine]] = {
        "list-one": [["RPUSH", "k", "a"]],
        "list-integers": [["RPUSH", "k", *INTEGERS, *WIDE]],
        "list-texts": [["RPUSH", "k", *TEXTS]],
        "list-sizes": [["RPUSH", "k", *(noise(size) for size in SIZES)]],
        "list-many-short": [["RPUSH", "k", *range(start, start + 500)] for start in range(0, 5000, 500)],
        "list-many-long": [["RPUSH", "k", *(f"{i}{LONG[:900]}" for i in range(60))]],
        "list-huge-element": [["RPUSH", "k", "a", noise(200000), "b", b"z" * 100000]],
    }
    return made


def _sets() -> dict[str, list[CommandLine]]:
    return {
        "set-int16": [["SADD", "k", 5, 1, -3, 32767, -32768]],
        "set-int32": [["SADD", "k", 5, 1, -3, 32768]],
        "set-int64": [["SADD", "k", 5, 1, -3, *WIDE]],
        "set-intset-full": [["SADD", "k", *range(512)]],
        "set-many-integers": [["SADD", "k", *range(600)]],
        "set-one": [["SADD", "k", "a"]],
        "set-few": [["SADD", "k", *TEXTS[:10], 1, 2]],
        "set-long-member": [["SADD", "k", "a", "x" * 65]],
        "set-129": [["SADD", "k", *(f"m{i}" for i in range(129))]],
        "set-many": [["SADD", "k", *(f"member:{i}" for i in range(3000))]],
    }


def _hashes() -> dict[str, list[CommandLine]]:
    return {
        "hash-one": [["HSET", "k", "f", "v"]],
        "hash-texts": [["HSET", "k", *(word for text in TEXTS[:10] for word in (f"f{text}", text))]],
        "hash-integers": [["HSET", "k", *(word for n in INTEGERS + WIDE for word in (n, n))]],
        "hash-changed": [["HSET", "k", "a", 1, "b", 2, "c", 3], ["HSET", "k", "a", "new"], ["HDEL", "k", "b"]],
        "hash-512": [["HSET", "k", *(word for n in range(512) for word in (f"f{n}", n))]],
        "hash-513": [["HSET", "k", *(word for n in range(513) for word in (f"f{n}", n))]],
        "hash-long-value": [["HSET", "k", "f", "v" * 65, "g", LONG]],
    }


def _zsets() -> dict[str, list[CommandLine]]:
    scores = (0, -0.0, 1, -1, 1.5, 0.1, 1e300, -1e-300, 3.141592653589793, 2**53, 1e17, 123456789012345680000.0)
    some = [word for at, score in enumerate(scores) for word in (score, f"m{at}")]
    return {
        "zset-one": [["ZADD", "k", 1, "a"]],
        "zset-scores": [["ZADD", "k", *some, "inf", "top", "-inf", "bottom"]],
        "zset-128": [["ZADD", "k", *(word for n in range(128) for word in (n / 2, f"m{n}"))]],
        "zset-129": [["ZADD", "k", *(word for n in range(129) for word in (n / 2, f"m{n}")), "inf", "x", "-inf", "y"]],
        "zset-long-member": [["ZADD", "k", *some, 1, "m" * 65]],
        "zset-many": [["ZADD", "k", *(word for n in range(2000) for word in (n % 7, f"member:{n}"))]],
    }


def _streams() -> dict[str, list[CommandLine]]:
    few: list[CommandLine] = [["XADD", "k", f"{n}-{n % 3 + 1}", "field", f"value{n}"] for n in range(1, 8)]
    many: list[CommandLine] = [["XADD", "k", f"5-{n}", "a", n, "b", f"x{n}"] for n in range(1, 260)]
    read: list[CommandLine] = [
        ["XGROUP", "CREATE", "k", "g", 0],
        ["XGROUP", "CREATE", "k", "other", "3-1"],
        ["XREADGROUP", "GROUP", "g", "ann", "COUNT", 3, "STREAMS", "k", ">"],
        ["XREADGROUP", "GROUP", "g", "bob", "COUNT", 2, "STREAMS", "k", ">"],
        ["XACK", "k", "g", "2-3"],
        ["XGROUP", "CREATECONSUMER", "k", "g", "idle"],
    ]
    return {
        "stream-one": [["XADD", "k", "1-1", "f", "v"]],
        "stream-few": few,
        "stream-fields": [*few, ["XADD", "k", "9-1", "field", 1, "more", "words"], ["XADD", "k", "10-0", "f", LONG]],
        "stream-far-ids": [
            ["XADD", "k", "1-18446744073709551615", "f", 1],
            ["XADD", "k", "18446744073709551615-5", "f", 2],
        ],
        "stream-many": many,
        "stream-groups": [*few, *read],
        "stream-many-groups": [*many, *read],
        "stream-emptied": [*few, *read, ["XTRIM", "k", "MAXLEN", 0]],
        "stream-removed": [*few, *read, ["XDEL", "k", "2-3", "7-2"], ["XTRIM", "k", "MAXLEN", 4]],
        "stream-new": [["XGROUP", "CREATE", "k", "g", "$", "MKSTREAM"]],
        "stream-set-id": [*few, ["XSETID", "k", "100-0", "ENTRIESADDED", 50, "MAXDELETEDID", "90-0"]],
    }


DATASETS: Final[dict[str, list[CommandLine]]] = {
    **_strings(),
    **_lists(),
    **_sets(),
    **_hashes(),
    **_zsets(),
    **_streams(),
}
# their bytes depend on the order in which a hashtable is walked, on the digits of doubles, or on the time
UNORDERED: Final = (
    "zset-scores",
    "set-long",
    "set-129",
    "set-many",
    "set-one",
    "set-few",
    "hash-513",
    "hash-long",
    "stream-many-groups",
    "stream-groups",
    "stream-emptied",
    "stream-removed",
    "stream-far",
)

_READS: Final[dict[bytes, Sequence[CommandLine]]] = {
    b"string": [["GET"]],
    b"list": [["LRANGE", 0, -1]],
    b"set": [["SMEMBERS"]],
    b"hash": [["HGETALL"]],
    b"zset": [["ZRANGE", 0, -1, "WITHSCORES"]],
    b"stream": [["XRANGE", "-", "+"], ["XINFO", "STREAM", "FULL", "COUNT", 0]],
    b"none": [],
}


# the same in 7.0 and since
_STREAM_FACTS: Final = (
    b"length",
    b"last-generated-id",
    b"max-deleted-entry-id",
    b"entries-added",
    b"recorded-first-entry-id",
)
_GROUP_FACTS: Final = (b"name", b"last-delivered-id", b"entries-read", b"pel-count", b"pel")
_CONSUMER_FACTS: Final = (b"name", b"seen-time", b"pel-count", b"pel")


def _chosen(reply: object, names: Sequence[bytes]) -> dict[bytes, object]:
    """The fields `names` of a map that came as a flat array."""
    assert isinstance(reply, tuple)
    return {name[1]: value[1] for name, value in zip(reply[::2], reply[1::2], strict=True) if name[1] in names}


def _stream_facts(reply: object) -> object:
    """What XINFO STREAM FULL tells, without what depends on the version."""
    groups = _chosen(reply, [b"groups"])[b"groups"]
    assert isinstance(groups, tuple)
    found: list[object] = [_chosen(reply, _STREAM_FACTS)]
    for _, group in groups:
        found.append(_chosen(group, _GROUP_FACTS))
        consumers = _chosen(group, [b"consumers"])[b"consumers"]
        assert isinstance(consumers, tuple)
        found.extend(_chosen(consumer, _CONSUMER_FACTS) for _, consumer in consumers)
    return found


def content(client: RawClient, key: str | bytes) -> list[Reply]:
    """Everything that `key` holds, comparable between servers."""
    kind = client.call("TYPE", key)
    assert isinstance(kind[1], bytes)
    found = [kind]
    for name, *rest in _READS[kind[1]]:
        command = [name, rest[0], key, *rest[1:]] if name == "XINFO" else [name, key, *rest]
        reply, value = client.call(*command)
        if name == "SMEMBERS" and isinstance(value, tuple):
            value = tuple(sorted(value, key=repr))
        if name == "HGETALL" and isinstance(value, tuple):
            value = tuple(sorted(zip(value[::2], value[1::2], strict=True), key=repr))
        if name == "ZRANGE" and isinstance(value, tuple):  # 7.0 prints doubles with more digits than 7.2
            value = tuple(float(item[1]) if at & 1 else item for at, item in enumerate(value))
        if name == "XINFO":
            value = _stream_facts(value)
        found.append((reply, value))
    return found
