"""Streams that an append-only file brings back: entries, groups and what is pending in them."""

from collections.abc import Callable

import pytest

from tests.conformance.test_replication import eventually, info
from tests.differential.case import CommandLine
from tests.differential.client import RawClient, Reply
from tests.peers import Peer

PeerFactory = Callable[..., Peer]

NACKS = (
    "local r = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 100) "
    "for _, nack in ipairs(r) do nack[3] = nack[3] > 50000 end return r"
)
# a group without `entries-read` and `lag`: XCLAIM, which stands for a read, does not carry them in 7.2
GROUPS = (
    "local out = {} for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do "
    "out[#out + 1] = {unpack(group, 1, 8)} end return out"
)
STATE: list[CommandLine] = [
    ["XRANGE", "x", "-", "+"],
    ["XINFO", "STREAM", "x"],
    ["EVAL", GROUPS, 1, "x"],
    ["EVAL", NACKS, 1, "x", "g"],
]
GROUP: list[CommandLine] = [
    ["XGROUP", "CREATE", "x", "g", "0"],
    ["XREADGROUP", "GROUP", "g", "a", "COUNT", 9, "STREAMS", "x", ">"],
]
CHANGES: dict[str, list[CommandLine]] = {
    "approximate-length": [["XADD", "x", "MAXLEN", "~", 25, "LIMIT", 10, "*", "f", "last"]],
    "approximate-id": [["XTRIM", "x", "MINID", "~", "25-0", "LIMIT", 0]],
    "exact": [["XADD", "x", "MAXLEN", 3, "90-*", "f", "last"], ["XTRIM", "x", "MINID", "30-0"]],
    "removed": [["XDEL", "x", "7-1", "9-1"], ["XSETID", "x", "99-9", "ENTRIESADDED", 70, "MAXDELETEDID", "40-1"]],
    "read": GROUP,
    "read-without-acknowledgement": [
        *GROUP,
        ["XREADGROUP", "GROUP", "g", "b", "COUNT", 5, "NOACK", "STREAMS", "x", ">"],
    ],
    "acknowledged": [*GROUP, ["XACK", "x", "g", "1-1", "3-1"]],
    "consumer-gone": [*GROUP, ["XGROUP", "DELCONSUMER", "x", "g", "a"]],
    "claimed": [*GROUP, ["XCLAIM", "x", "g", "b", 0, "2", "2-1", "IDLE", 100000, "RETRYCOUNT", 7, "LASTID", "20-0"]],
    "claimed-when-idle": [
        *GROUP,
        ["XDEL", "x", "2-1"],
        ["XAUTOCLAIM", "x", "g", "b", 0, "0", "COUNT", 4],
        ["XCLAIM", "x", "g", "b", 0, "30-1", "FORCE", "JUSTID"],
    ],
    "in-a-script": [["EVAL", "return redis.call('XADD', KEYS[1], '*', 'f', 'script')", 1, "x"]],
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_stream_from_the_append_only_file_is_as_it_was(changes: list[CommandLine], start_peer: PeerFactory) -> None:
    options = ("--appendonly", "yes", "--enable-debug-command", "yes", "--stream-node-max-entries", "10")
    peer = start_peer("bundled", *options)
    with RawClient(peer.host, peer.port, timeout_s=20) as client:
        for number in range(1, 41):
            client.call("XADD", "x", f"{number}-1", "f", number)
        for command in changes:
            assert client.call(*command)[0] != "-", command
        before: list[Reply] = [client.call(*command) for command in STATE]
        assert client.call("DEBUG", "LOADAOF") == ("+", b"OK")
        assert [client.call(*command) for command in STATE] == before


# everything but the nodes: they are built anew
ABOUT = (
    "local out = {} local info = redis.call('XINFO', 'STREAM', KEYS[1]) "
    "for i = 1, #info, 2 do if not info[i]:find('radix', 1, true) then out[#out + 1] = info[i + 1] end end return out"
)
CONTENTS: list[CommandLine] = [
    ["XRANGE", "x", "-", "+"],
    ["EVAL", ABOUT, 1, "x"],
    ["XINFO", "GROUPS", "x"],
    ["EVAL", NACKS, 1, "x", "g"],
]
KEPT: dict[str, list[CommandLine]] = {
    **CHANGES,
    "empty": [["XTRIM", "x", "MAXLEN", 0]],
    "empty-with-group": [*GROUP, ["XACK", "x", "g", *(f"{n}-1" for n in range(1, 10))], ["XTRIM", "x", "MAXLEN", 0]],
    "removed-while-pending": [*GROUP, ["XDEL", "x", "2-1", "3-1"]],
    "consumer-without-work": [*GROUP, ["XGROUP", "CREATECONSUMER", "x", "g", "idle"]],
}


@pytest.mark.parametrize("changes", KEPT.values(), ids=KEPT.keys())
def test_stream_from_a_base_of_commands_is_as_it_was(changes: list[CommandLine], start_peer: PeerFactory) -> None:
    options = ("--appendonly", "yes", "--aof-use-rdb-preamble", "no", "--enable-debug-command", "yes")
    peer = start_peer("bundled", *options)
    with RawClient(peer.host, peer.port, timeout_s=20) as client:
        for number in range(1, 41):
            client.call("XADD", "x", f"{number}-1", "f", number)
        for command in changes:
            assert client.call(*command)[0] != "-", command
        before: list[Reply] = [client.call(*command) for command in CONTENTS]
        client.call("BGREWRITEAOF")
        eventually(lambda: info(client, "persistence")[b"aof_rewrite_in_progress"] == b"0")
        assert client.call("DEBUG", "LOADAOF") == ("+", b"OK")
        assert [client.call(*command) for command in CONTENTS] == before
