"""LCS (group "string"): the longest common subsequence of two strings."""

from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.context import KEYS12, READONLY, Command, Context
from coordkit_server.datatypes.subsequence import CommonSubsequence, Match
from coordkit_server.errors import LCS_LENGTH_AND_INDEXES, LCS_MEMORY, NOT_STRINGS, CommandError, syntax_error
from coordkit_server.resp.reply import MapReply

_CELL_BYTES: Final = 4  # of the table that Redis fills, whose size it limits


class LcsOptions:
    """What the options of LCS ask for."""

    def __init__(self) -> None:
        self.length_only: bool = False
        self.indexes: bool = False
        self.with_length: bool = False
        self.minimum: int = 0


def _options(argv: list[bytes]) -> LcsOptions:
    """Return the options behind the two keys; raises for unknown or contradicting ones."""
    options = LcsOptions()
    at = 3
    while at < len(argv):
        word = argv[at].upper()
        if word == b"IDX":
            options.indexes = True
        elif word == b"LEN":
            options.length_only = True
        elif word == b"WITHMATCHLEN":
            options.with_length = True
        elif word == b"MINMATCHLEN" and at + 1 < len(argv):
            at += 1
            options.minimum = max(integer(argv[at]), 0)
        else:
            raise syntax_error()
        at += 1
    if options.length_only and options.indexes:
        raise CommandError(LCS_LENGTH_AND_INDEXES)
    return options


def lcs(cx: Context) -> object:
    """LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN] -> the subsequence, its length, or where it matches."""
    first = _operand(cx, cx.argv[1])
    second = _operand(cx, cx.argv[2])
    options = _options(cx.argv)
    cells = (len(first) + 1) * (len(second) + 1)
    if cells * _CELL_BYTES > cx.services.config.number("proto-max-bulk-len"):
        raise CommandError(LCS_MEMORY)
    common = CommonSubsequence(first, second)
    if options.length_only:
        return common.length()
    if not options.indexes:
        return common.text()
    return MapReply([b"matches", _ranges(common.matches(), options), b"len", common.length()])


def _operand(cx: Context, key: bytes) -> bytes:
    """Return the string at `key`, empty if absent; raises for another type."""
    entry = cx.db.lookup_read(key)
    if entry is None:
        return b""
    value = entry.value
    if not isinstance(value, (bytes, bytearray)):
        raise CommandError(NOT_STRINGS)
    return bytes(value)


def _ranges(matches: list[Match], options: LcsOptions) -> list[object]:
    """Return [[start, end] in the first, the same in the second, and the length if asked for] for each match."""
    found: list[object] = []
    for match in matches:
        if match.length < options.minimum:
            continue
        row: list[object] = [
            [match.first_at, match.first_at + match.length - 1],
            [match.second_at, match.second_at + match.length - 1],
        ]
        if options.with_length:
            row.append(match.length)
        found.append(row)
    return found


def commands() -> list[Command]:
    """Return the row of this part of the group."""
    return [Command(b"LCS", -3, READONLY, lcs, KEYS12, since=b"7.0.0", summary=b"Finds a longest common subsequence.")]
