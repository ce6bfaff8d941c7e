"""A small sorted set in one byte string: a record for each member, in order of (score, member).

A record is the length of the member (one byte), the member, and the score (a double of eight bytes).  Everything walks
from the front, as in a listpack: with some dozens of records that takes less time than following pointers would, and a
member takes nine bytes more than itself, where objects for member, score and places take a hundred and fifty.

A record is named by its offset; functions that change something return the new byte string.
"""

from typing import Final

from librt.strings import BytesWriter, read_f64_le, write_f64_le
from mypy_extensions import i64

LONGEST_MEMBER: Final = 255
MOST_RECORDS: Final = 128
MOST_BYTES: Final = 4096
_OVERHEAD: Final = 9  # of a record: length and score


def fits(records: bytes, count: int, member: bytes) -> bool:
    """Return True if there is room for `member` beside the `count` records."""
    size = len(member)
    return count < MOST_RECORDS and size <= LONGEST_MEMBER and len(records) + size + _OVERHEAD <= MOST_BYTES


def find(records: bytes, member: bytes) -> int:
    """Return the offset of the record of `member`, -1 if there is none."""
    size: i64 = len(member)
    end: i64 = len(records)
    at: i64 = 0
    last: i64 = i64(member[size - 1]) if size > 0 else 0
    while at < end:
        length: i64 = i64(records[at])
        # the last byte tells most members of one length apart; that of an empty one is its length
        if length == size and i64(records[at + length]) == last and records[at + 1 : at + 1 + length] == member:
            return at
        at += length + _OVERHEAD
    return -1


def score_at(records: bytes, at: int) -> float:
    """Return the score of the record at an offset."""
    start: i64 = at
    return read_f64_le(records, start + 1 + i64(records[start]))


def inserted(records: bytes, score: float, member: bytes) -> bytes:
    """Return the records with one for `member`, which has none yet."""
    end: i64 = len(records)
    at: i64 = 0
    while at < end:
        length: i64 = i64(records[at])
        other = read_f64_le(records, at + 1 + length)
        if other > score or (other == score and records[at + 1 : at + 1 + length] > member):
            break
        at += length + _OVERHEAD
    writer = BytesWriter()
    if at > 0:
        writer.write(records[:at])
    writer.append(len(member))
    writer.write(member)
    write_f64_le(writer, score)
    if at < end:
        writer.write(records[at:])
    return writer.getvalue()


def removed(records: bytes, at: int) -> bytes:
    """Return the records without the one at an offset."""
    return records[:at] + records[at + records[at] + _OVERHEAD :]


def offset(records: bytes, rank: int) -> int:
    """Return the offset of the record at `rank` (0 <= rank <= number of records)."""
    at: i64 = 0
    left: i64 = rank
    while left > 0:
        at += i64(records[at]) + _OVERHEAD
        left -= 1
    return at


def cut(records: bytes, start: int, stop: int) -> bytes:
    """Return the records without those from rank `start` up to `stop`, exclusive."""
    first = offset(records, start)
    return records[:first] + records[first + offset(records[first:], stop - start) :]


def rank(records: bytes, at: int) -> int:
    """Return how many records stand before an offset."""
    count: i64 = 0
    end: i64 = at
    place: i64 = 0
    while place < end:
        place += i64(records[place]) + _OVERHEAD
        count += 1
    return count


def count_below(records: bytes, score: float, inclusive: bool) -> int:
    """Return how many records have a score below `score`, or up to it if `inclusive`."""
    count: i64 = 0
    end: i64 = len(records)
    at: i64 = 0
    while at < end:
        length: i64 = i64(records[at])
        other = read_f64_le(records, at + 1 + length)
        if other > score or (other == score and not inclusive):
            break
        at += length + _OVERHEAD
        count += 1
    return count


def count_before(records: bytes, member: bytes, inclusive: bool) -> int:
    """Return how many members stand before `member` in byte order, it included if `inclusive`.

    Scores are ignored: the members are taken to be in byte order, as they are when all scores are equal."""
    count = 0
    for other in listed(records, 0, -1)[1]:
        if other > member or (other == member and not inclusive):
            break
        count += 1
    return count


def even(records: bytes) -> bool:
    """Return True if all scores are equal."""
    end: i64 = len(records)
    if end == 0:
        return True
    return read_f64_le(records, i64(records[0]) + 1) == read_f64_le(records, end - 8)


def listed(records: bytes, start: int, stop: int) -> tuple[list[float], list[bytes]]:
    """Return the scores and members from rank `start` up to `stop`, exclusive; up to the end for a negative `stop`."""
    scores: list[float] = []
    members: list[bytes] = []
    at: i64 = offset(records, start)
    end: i64 = len(records)
    left: i64 = stop - start if stop >= 0 else MOST_RECORDS
    while left > 0 and at < end:
        length: i64 = i64(records[at])
        members.append(records[at + 1 : at + 1 + length])
        scores.append(read_f64_le(records, at + 1 + length))
        at += length + _OVERHEAD
        left -= 1
    return scores, members
