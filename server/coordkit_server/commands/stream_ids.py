"""Stream ids as clients write them: `ms-seq`, `ms`, `-`, `+`, `(ms-seq`, and the streams that commands look up."""

import re
from typing import Final

from mypy_extensions import i64

from coordkit_server.datatypes.stream import StreamValue
from coordkit_server.datatypes.stream_entry import ID_MAX, ID_SEQ_BITS, ID_SEQ_MAX
from coordkit_server.errors import STREAM_END, STREAM_ID, STREAM_START, CommandError, wrong_type
from coordkit_server.keyspace.table import Entry
from coordkit_server.numeric import UINT64_MAX, parse_int

INVALID: Final = -1
_ZERO: Final = 48
_NINE: Final = 57
_DASH: Final = 45
_WORD_DIGITS: Final = 18  # so many always fit into 64 bits
_LONGEST: Final = 127
# what strtoull reads beyond canonical digits
_LOOSE: Final = re.compile(rb"[ \t\n\v\f\r]*([+-]?)([0-9]+)")


def as_stream(entry: Entry | None) -> StreamValue | None:
    """Return the stream of `entry`, None if absent; raises WRONGTYPE."""
    return None if entry is None else stream_of(entry)


def stream_of(entry: Entry) -> StreamValue:
    """Return the stream of `entry`; raises WRONGTYPE."""
    value = entry.value
    if not isinstance(value, StreamValue):
        raise wrong_type()
    return value


def part_of_id(text: bytes) -> int:
    """Return the unsigned 64-bit integer `text`, read as C does, else INVALID."""
    value = parse_int(text)
    if value is not None:
        return value if value >= 0 else INVALID
    match = _LOOSE.fullmatch(text)
    if match is None:
        return INVALID
    value = int(match[2])
    if value > UINT64_MAX:
        return INVALID
    return (UINT64_MAX + 1 - value) & UINT64_MAX if match[1] == b"-" else value


def try_id(text: bytes, missing_seq: int = 0) -> int:
    """Return the id `ms-seq` or `ms` (its sequence is `missing_seq`), else INVALID."""
    size: i64 = len(text)
    dash: i64 = -1
    number: i64 = 0
    first: i64 = 0
    at: i64 = 0
    while at < size and at - dash <= _WORD_DIGITS:
        char: i64 = text[at]
        if _ZERO <= char <= _NINE:
            number = number * 10 + char - _ZERO
        elif char == _DASH and dash < 0 < at:
            dash = at
            first = number
            number = 0
        else:
            break
        at += 1
    if at < size or dash == size - 1:
        if size > 0 and text[0] > _NINE:  # an option
            return INVALID
        return _unusual_id(text, missing_seq)
    if dash < 0:
        return (int(number) << ID_SEQ_BITS) | missing_seq
    return (int(first) << ID_SEQ_BITS) | int(number)


def _unusual_id(text: bytes, missing_seq: int) -> int:
    """Return an id with long numbers, or written as only C reads it, else INVALID."""
    if len(text) > _LONGEST:
        return INVALID
    if b"\0" in text:
        text = text[: text.index(b"\0")]
    dash = text.find(b"-")
    if dash < 0:
        ms = part_of_id(text)
        seq = missing_seq
    else:
        ms = part_of_id(text[:dash])
        seq = part_of_id(text[dash + 1 :])
    return (ms << ID_SEQ_BITS) | seq if ms >= 0 and seq >= 0 else INVALID


def strict_id(text: bytes, missing_seq: int = 0) -> int:
    """Return the id `ms-seq` or `ms`; raises the invalid id error, also for `-` and `+`."""
    ident = try_id(text, missing_seq)
    if ident < 0:
        raise CommandError(STREAM_ID)
    return ident


def any_id(text: bytes, missing_seq: int = 0) -> int:
    """Return an id, the least for `-` and the greatest for `+`; raises the invalid id error."""
    if text == b"-":
        return 0
    return ID_MAX if text == b"+" else strict_id(text, missing_seq)


def interval_start(text: bytes) -> int:
    """Return the first id of an interval that starts at `text`, behind it after a `(`."""
    if len(text) > 1 and text[:1] == b"(":
        start = strict_id(text[1:]) + 1
        if start > ID_MAX:
            raise CommandError(STREAM_START)
        return start
    return any_id(text)


def interval_end(text: bytes) -> int:
    """Return the last id of an interval that ends at `text`, before it after a `(`."""
    if len(text) > 1 and text[:1] == b"(":
        end = strict_id(text[1:], ID_SEQ_MAX) - 1
        if end < 0:
            raise CommandError(STREAM_END)
        return end
    return any_id(text, ID_SEQ_MAX)
