"""What XADD and XTRIM have in common: their options, and trimming."""

from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.commands.stream_ids import part_of_id, strict_id
from coordkit_server.context import Context
from coordkit_server.datatypes.stream import StreamValue
from coordkit_server.datatypes.stream_entry import ID_SEQ_BITS
from coordkit_server.errors import (
    STREAM_ID,
    TRIM_LIMIT_ALONE,
    TRIM_LIMIT_EXACT,
    TRIM_LIMIT_NEGATIVE,
    TRIM_MAXLEN_NEGATIVE,
    TRIM_NO_STRATEGY,
    TRIM_TWO_STRATEGIES,
    CommandError,
    syntax_error,
)

NO_TRIM: Final = 0
MAXLEN: Final = 1
MINID: Final = 2
# what approximate trimming may remove without LIMIT: so many full nodes, a default if nodes have no limit, a bound
_NODES: Final = 100
_DEFAULT_LIMIT: Final = 10000
_GREATEST_LIMIT: Final = 1000000
_LONGEST_ID: Final = 127


class StreamOptions:
    """The options of XADD or XTRIM; for XADD also where the id stands and what it says."""

    def __init__(self, cx: Context, *, adds: bool) -> None:
        self.no_create: bool = False
        self.id_at: int = 2
        self.ident: int = -1  # -1 for `*`
        self.seq_given: bool = False
        self.strategy: int = NO_TRIM
        self.threshold: int = 0  # length for MAXLEN, id for MINID
        self.threshold_at: int = 0
        self.approximately: bool = False
        self.limit: int = 0
        self._limit_given: bool = False
        self._read(cx.argv, adds)
        if cx.session.obeyed:  # LIMIT was honoured where this command comes from
            self._limit_given = False
        self._settle_limit(cx.services.limits.stream_node_max_entries, adds)
        if cx.session.obeyed:
            self.limit = 0

    def _read(self, argv: list[bytes], adds: bool) -> None:
        """Read options up to the id, or up to the end for XTRIM."""
        at = 2
        while at < len(argv):
            text = argv[at]
            if adds and text == b"*":
                break
            word = text.upper()
            more = at + 1 < len(argv)
            if more and (word == b"MAXLEN" or word == b"MINID"):
                at = self._read_strategy(argv, at, MAXLEN if word == b"MAXLEN" else MINID)
            elif more and word == b"LIMIT":
                at += 1
                self.limit = integer(argv[at])
                if self.limit < 0:
                    raise CommandError(TRIM_LIMIT_NEGATIVE)
                self._limit_given = True
            elif adds and word == b"NOMKSTREAM":
                self.no_create = True
            elif adds:
                self._read_id(text)
                break
            else:
                raise syntax_error()
            at += 1
        self.id_at = at

    def _read_strategy(self, argv: list[bytes], at: int, strategy: int) -> int:
        """Read MAXLEN or MINID at `at`; return the place of its threshold."""
        if self.strategy != NO_TRIM:
            raise CommandError(TRIM_TWO_STRATEGIES)
        at += 1
        self.approximately = False
        if at + 1 < len(argv) and argv[at] in (b"~", b"="):
            self.approximately = argv[at] == b"~"
            at += 1
        if strategy == MAXLEN:
            self.threshold = integer(argv[at])
            if self.threshold < 0:
                raise CommandError(TRIM_MAXLEN_NEGATIVE)
        else:
            self.threshold = strict_id(argv[at])
        self.strategy = strategy
        self.threshold_at = at
        return at

    def _read_id(self, text: bytes) -> None:
        """Read the id of a new entry, whose sequence may be `*`."""
        if text[-2:] == b"-*" and len(text) <= _LONGEST_ID:
            ms = part_of_id(text[:-2])
            if ms < 0:
                raise CommandError(STREAM_ID)
            self.ident = ms << ID_SEQ_BITS
        else:
            self.ident = strict_id(text)
            self.seq_given = True

    def _settle_limit(self, node_entries: int, adds: bool) -> None:
        """Check LIMIT against the strategy, and choose the default."""
        if self.strategy == NO_TRIM:
            if self.limit:
                raise CommandError(TRIM_LIMIT_ALONE)
            if not adds:
                raise CommandError(TRIM_NO_STRATEGY)
        if self._limit_given:
            if not self.approximately:
                raise CommandError(TRIM_LIMIT_EXACT)
        elif self.approximately:
            self.limit = min(_NODES * node_entries, _GREATEST_LIMIT) or _DEFAULT_LIMIT

    def trim(self, stream: StreamValue) -> int:
        """Trim `stream` as these options say; return how many entries went."""
        if self.strategy == MAXLEN:
            return stream.trim_to_length(self.threshold, approximately=self.approximately, limit=self.limit)
        if self.strategy == MINID:
            return stream.trim_below(self.threshold, approximately=self.approximately, limit=self.limit)
        return 0
