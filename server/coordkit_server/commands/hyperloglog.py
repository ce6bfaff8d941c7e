"""HyperLogLog commands (group "hyperloglog"): PFADD, PFCOUNT, PFMERGE, and PFDEBUG and PFSELFTEST for test suites."""

from typing import Final

from coordkit_server.commands.strings import mutable, readable
from coordkit_server.context import (
    ADMIN,
    ALL_KEYS,
    DENYOOM,
    FAST,
    KEY1,
    KEY2,
    MAY_REPLICATE,
    READONLY,
    WRITE,
    Command,
    Context,
)
from coordkit_server.datatypes import hyperloglog as hll
from coordkit_server.errors import HLL_CORRUPT, HLL_INVALID, CommandError
from coordkit_server.keyspace.notify import STRING
from coordkit_server.keyspace.table import Entry
from coordkit_server.resp.reply import OK, Simple

_TESTED_ELEMENTS: Final = 100_000
_TESTED_EVERY: Final = 10_000
_STANDARD_ERROR: Final = 1.04 / 128  # over the root of the number of registers


def _check(entry: Entry) -> hll.Bits:
    """Return the string at `entry` as it is kept; raises WRONGTYPE unless it looks like a HyperLogLog."""
    data = readable(entry)
    if not hll.is_valid(data):
        raise CommandError(HLL_INVALID)
    return data


def _writable(entry: Entry) -> bytearray:
    """Return the HyperLogLog at `entry` for a change in place; raises WRONGTYPE."""
    _check(entry)
    return mutable(entry)


def pfadd(cx: Context) -> object:
    """PFADD key [element ...] -> 1 if the estimate may have changed or the key was made, else 0."""
    argv = cx.argv
    key = argv[1]
    changes = 0
    entry = cx.db.lookup_write(key)
    if entry is None:
        data = hll.empty()
        cx.db.add(key, data)
        changes = 1
    else:
        data = _writable(entry)
    limit = cx.services.limits.hll_sparse_max_bytes
    for i in range(2, len(argv)):
        outcome = hll.add(data, argv[i], limit)
        if outcome == hll.CORRUPT:
            raise CommandError(HLL_CORRUPT)
        changes += outcome
    if changes == 0:
        return 0
    hll.forget(data)
    cx.db.modified(key)
    cx.db.notify(STRING, b"pfadd", key)
    cx.state.dirty += changes - 1
    return 1


def pfcount(cx: Context) -> object:
    """PFCOUNT key [key ...] -> estimated number of different elements, of all keys together.

    For one key the estimate is kept in its string."""
    argv = cx.argv
    if len(argv) == 2:
        return _count_one(cx, argv[1])
    numbers = bytearray(hll.REGISTERS)
    for i in range(1, len(argv)):
        entry = cx.db.lookup_read(argv[i])
        if entry is not None and not hll.merge(numbers, _check(entry)):
            raise CommandError(HLL_CORRUPT)
    return hll.cardinality(numbers)


def _count_one(cx: Context, key: bytes) -> int:
    """Return the estimate for the elements of one key."""
    entry = cx.db.lookup_read(key)
    if entry is None:
        return 0
    known = hll.cached(_check(entry))
    if known >= 0:
        return known
    data = mutable(entry)
    numbers = hll.registers(data)
    if numbers is None:
        raise CommandError(HLL_CORRUPT)
    estimate = hll.cardinality(numbers)
    hll.remember(data, estimate)
    cx.db.modified(key)  # the string has changed, and GET shows it
    return estimate


def pfmerge(cx: Context) -> object:
    """PFMERGE destination [source ...] -> OK; destination then estimates the union of all, itself included."""
    argv = cx.argv
    numbers = bytearray(hll.REGISTERS)
    dense = False
    for i in range(1, len(argv)):
        source = cx.db.lookup_read(argv[i])
        if source is None:
            continue
        known = _check(source)
        dense = dense or not hll.is_sparse(known)
        if not hll.merge(numbers, known):
            raise CommandError(HLL_CORRUPT)
    key = argv[1]
    entry = cx.db.lookup_write(key)
    if entry is None:
        data = hll.empty()
        cx.db.add(key, data)
    else:
        data = _writable(entry)
    if dense and not hll.to_dense(data):
        raise CommandError(HLL_CORRUPT)
    hll.store(data, numbers, cx.services.limits.hll_sparse_max_bytes)
    cx.db.modified(key)
    cx.db.notify(STRING, b"pfadd", key)
    return OK


def pfdebug(cx: Context) -> object:
    """PFDEBUG GETREG|DECODE|ENCODING|TODENSE key -> registers, runs, `dense` or `sparse`, 1 if it was converted."""
    argv = cx.argv
    word = argv[1].lower()
    entry = cx.db.lookup_write(argv[2])
    if entry is None:
        raise CommandError(b"ERR The specified key does not exist")
    data = _writable(entry)
    if word not in (b"getreg", b"decode", b"encoding", b"todense"):
        raise CommandError(b"ERR Unknown PFDEBUG subcommand '" + argv[1] + b"'")
    sparse = hll.is_sparse(data)
    if word == b"encoding":
        return Simple(b"sparse" if sparse else b"dense")
    if word == b"decode":
        if not sparse:
            raise CommandError(b"ERR HLL encoding is not sparse")
        return hll.runs(data)
    if sparse:
        if not hll.to_dense(data):
            raise CommandError(HLL_CORRUPT)
        cx.state.dirty += 1
    if word == b"todense":
        return 1 if sparse else 0
    return _registers(data)


def _registers(data: bytearray) -> object:
    """Return the registers as a list of integers."""
    listed: list[object] = []
    listed.extend(hll.registers(data) or b"")
    return listed


def pfselftest(cx: Context) -> object:
    """PFSELFTEST -> OK if registers read back and estimates stay within the error that theory gives."""
    numbers = bytearray(cx.services.random.randbytes(hll.REGISTERS).translate(bytes(range(32)) * 8))
    for limit in (0, 1 << 30):
        data = hll.empty()
        hll.store(data, numbers, limit)
        if hll.registers(data) != numbers:
            raise CommandError(b"ERR TESTFAILED Registers differ from what was stored")
    data = hll.empty()
    seed = cx.services.random.getrandbits(64)
    for added in range(1, _TESTED_ELEMENTS + 1):
        hll.add(data, b"%d" % (seed ^ added), 0)
        if added % _TESTED_EVERY == 0:
            _check_estimate(data, added)
    return OK


def _check_estimate(data: bytearray, added: int) -> None:
    """Raise unless the estimate lies within six standard errors of `added`."""
    numbers = hll.registers(data)
    estimate = hll.cardinality(numbers) if numbers is not None else -1
    if abs(estimate - added) > 6 * _STANDARD_ERROR * added:
        raise CommandError(b"ERR TESTFAILED Too big error. card:%d abserr:%d" % (added, abs(estimate - added)))


def commands() -> list[Command]:
    """Return the rows of this group."""
    since = b"2.8.9"
    write = WRITE | DENYOOM
    return [
        Command(
            b"PFADD",
            -2,
            write | FAST,
            pfadd,
            KEY1,
            since=since,
            summary=b"Adds elements to an estimate of a set's size.",
        ),
        Command(
            b"PFCOUNT",
            -2,
            READONLY | MAY_REPLICATE,
            pfcount,
            ALL_KEYS,
            since=since,
            summary=b"Estimates how many different elements were added.",
        ),
        Command(b"PFDEBUG", 3, write | ADMIN, pfdebug, KEY2, since=since, summary=b"Looks inside an estimate."),
        Command(b"PFMERGE", -2, write, pfmerge, ALL_KEYS, since=since, summary=b"Joins estimates into one."),
        Command(b"PFSELFTEST", 1, ADMIN, pfselftest, since=since, summary=b"Tests the estimates."),
    ]
