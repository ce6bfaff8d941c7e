"""BITFIELD and BITFIELD_RO (group "bitmap"): integers of any width inside a string.

Map: reading the subcommands, running them, rows.
"""

from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.commands.bitmaps import bit_offset, writable_bits
from coordkit_server.commands.strings import readable
from coordkit_server.context import DENYOOM, FAST, KEY1, READONLY, WRITE, Command, Context
from coordkit_server.datatypes import bits
from coordkit_server.errors import (
    BITFIELD_OVERFLOW,
    BITFIELD_READ_ONLY,
    BITFIELD_TYPE,
    CommandError,
    syntax_error,
)
from coordkit_server.keyspace.notify import STRING
from coordkit_server.numeric import INT64_MAX, parse_int

_GET: Final = 0
_SET: Final = 1
_INCRBY: Final = 2
_SIGNED: Final = 105  # i
_UNSIGNED: Final = 117  # u
_MAX_SIGNED: Final = 64
_MAX_UNSIGNED: Final = 63

_OPERATIONS: Final = {b"GET": _GET, b"SET": _SET, b"INCRBY": _INCRBY}
_ARGUMENTS: Final[list[int]] = [2, 3, 3]  # by operation
_OVERFLOWS: Final = {b"WRAP": bits.WRAP, b"SAT": bits.SATURATE, b"FAIL": bits.FAIL}


class FieldOperation:
    """A subcommand: what is done to which field."""

    def __init__(self, operation: int, overflow: int) -> None:
        self.operation: Final = operation
        self.overflow: Final = overflow
        self.signed: bool = False
        self.width: int = 0
        self.offset: int = 0
        self.amount: int = 0

    def read_type(self, text: bytes) -> None:
        """Take over a type such as i16 or u8."""
        width = parse_int(text[1:])
        self.signed = len(text) > 0 and text[0] == _SIGNED
        if (
            width is None
            or not (self.signed or text[0] == _UNSIGNED)
            or not 1 <= width <= (_MAX_SIGNED if self.signed else _MAX_UNSIGNED)
        ):
            raise CommandError(BITFIELD_TYPE)
        self.width = width

    def _as_redis_compares(self, wanted: int) -> int:
        """Return `wanted`; of a SET so low that its distance to the highest value overflows 64 bits, one too high."""
        high = (1 << (self.width - 1)) - 1
        if self.operation == _SET and self.signed and self.overflow == bits.SATURATE and self.width < _MAX_SIGNED:
            return high + 1 if wanted < high - INT64_MAX else wanted
        return wanted

    def apply(self, data: bytearray) -> tuple[object, bool]:
        """Change the field in `data`; return (the reply: new value, old for SET, null if refused; it changed)."""
        old = bits.get_field(data, self.offset, self.width, self.signed)
        if self.operation == _INCRBY:
            wanted = old + self.amount
        else:
            wanted = self.amount if self.signed else bits.as_unsigned(self.amount)
        new = bits.fit_field(self._as_redis_compares(wanted), self.width, self.signed, self.overflow)
        if new is None:
            return None, False
        bits.set_field(data, self.offset, self.width, new)
        return old if self.operation == _SET else new, new != old


def _operations(cx: Context) -> list[FieldOperation]:
    """Return the subcommands in the arguments; raises for malformed ones."""
    argv = cx.argv
    found: list[FieldOperation] = []
    overflow = bits.WRAP
    at = 2
    while at < len(argv):
        word = argv[at].upper()
        left = len(argv) - at - 1
        if word == b"OVERFLOW" and left >= 1:
            overflow = _OVERFLOWS.get(argv[at + 1].upper(), -1)
            if overflow < 0:
                raise CommandError(BITFIELD_OVERFLOW)
            at += 2
            continue
        kind = _OPERATIONS.get(word, -1)
        if kind < 0 or left < _ARGUMENTS[kind]:
            raise syntax_error()
        operation = FieldOperation(kind, overflow)
        operation.read_type(argv[at + 1])
        operation.offset = bit_offset(cx, argv[at + 2], operation.width)
        if kind != _GET:
            operation.amount = integer(argv[at + 3])
        found.append(operation)
        at += 1 + _ARGUMENTS[kind]
    return found


def bitfield(cx: Context) -> object:
    """BITFIELD key [GET type offset|[OVERFLOW WRAP|SAT|FAIL] SET|INCRBY type offset value ...] -> a reply for each."""
    operations = _operations(cx)
    return _write(cx, operations) if _last_written(operations) >= 0 else _read(cx, operations)


def bitfield_ro(cx: Context) -> object:
    """BITFIELD_RO key [GET type offset ...] -> the values."""
    operations = _operations(cx)
    if _last_written(operations) >= 0:
        raise CommandError(BITFIELD_READ_ONLY)
    return _read(cx, operations)


def _last_written(operations: list[FieldOperation]) -> int:
    """Return the last bit that is written, -1 if all operations read."""
    last = -1
    for operation in operations:
        if operation.operation != _GET:
            last = max(last, operation.offset + operation.width - 1)
    return last


def _read(cx: Context, operations: list[FieldOperation]) -> object:
    """Return the values of the fields."""
    entry = cx.db.lookup_read(cx.argv[1])
    data = b"" if entry is None else readable(entry)
    replies: list[object] = []
    for operation in operations:
        replies.append(bits.get_field(data, operation.offset, operation.width, operation.signed))
    return replies


def _write(cx: Context, operations: list[FieldOperation]) -> object:
    """Run the operations in order, on a string that is made long enough first."""
    key = cx.argv[1]
    data, grown = writable_bits(cx, key, _last_written(operations))
    replies: list[object] = []
    changes = 0
    for operation in operations:
        if operation.operation == _GET:
            replies.append(bits.get_field(data, operation.offset, operation.width, operation.signed))
            continue
        reply, changed = operation.apply(data)
        replies.append(reply)
        if changed or (grown and reply is not None):
            changes += 1
    if changes:
        cx.db.modified(key)
        cx.state.dirty += changes - 1
        cx.db.notify(STRING, b"setbit", key)
    return replies


def commands() -> list[Command]:
    """Return the rows of this part of the group."""
    return [
        Command(
            b"BITFIELD", -2, WRITE | DENYOOM, bitfield, KEY1, since=b"3.2.0", summary=b"Reads and changes bit fields."
        ),
        Command(b"BITFIELD_RO", -2, READONLY | FAST, bitfield_ro, KEY1, since=b"6.0.0", summary=b"Reads bit fields."),
    ]
