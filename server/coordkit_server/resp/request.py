"""Bytes to argument vectors: RESP arrays of bulk strings, and inline commands.  No I/O.

    parser.feed(data)            as often as bytes arrive, split anywhere
    parser.next_request()        an argv, or None when more bytes are needed
    parser.read_ahead(n)         a look at up to n requests that follow, which next_request returns all the same
    parser.wire_of(argv)         the bytes that the request came as, for those who repeat it elsewhere

States: between requests (`_missing == 0`) or inside an array (`_missing` arguments to come; `_bulk` is the length of
the one that is being read, -1 before its header).  Bytes of a value that is still coming are kept as chunks and
joined once, so a value of 512 MB costs one copy.  Limits and texts are Redis's (networking.c as documented by its
protocol suite): they raise ProtocolError.
"""

from typing import Final

from coordkit_server.errors import ProtocolError

INLINE_MAX: Final = 64 * 1024
MULTIBULK_MAX: Final = 2147483647
UNAUTH_MULTIBULK_MAX: Final = 10
UNAUTH_BULK_MAX: Final = 16384
_STAR: Final = 42
_DOLLAR: Final = 36
_CR: Final = 13
_LF: Final = 10
_ZERO: Final = 48
_NINE: Final = 57
_INCOMPLETE: Final = -2
_INVALID: Final = -3


class RequestParser:
    """Incremental request parser of one connection."""

    def __init__(self, max_bulk: int) -> None:
        self.max_bulk: int = max_bulk
        self.authenticated: bool = True
        self._data: bytes = b""
        self._pos: int = 0
        self._chunks: list[bytes] = []
        self._chunked: int = 0  # bytes in _data[_pos:] and _chunks
        self._wanted: int = 0  # no progress is possible before so many bytes are there
        self._argv: list[bytes] = []
        self._missing: int = 0
        self._bulk: int = -1
        self._starved: bool = True  # the last next_request returned None and nothing has arrived since
        self._ahead: list[list[bytes]] = []  # what read_ahead parsed and next_request has not returned yet, last first
        self._starts: list[int] = []  # where in `_data` each of these begins
        self._ahead_end: int = 0  # where the last of them ends
        self._begin: int = -1  # where in `_data` the request that is being read begins, -1 if in what came before it
        self._current: list[bytes] = []  # what next_request returned last: `_data[_current_start:_current_end]`
        self._current_start: int = -1
        self._current_end: int = 0
        self._plain: bool = True  # all of `_data` that was read is as anybody else would send it

    def feed(self, data: bytes) -> None:
        """Take in bytes as they arrived."""
        self._starved = False
        self._begin = -1
        self._current_start = -1
        self._plain = True
        if self._pos == len(self._data) and not self._chunks:
            self._data = data
            self._pos = 0
            return
        if not self._chunks:
            self._chunks.append(self._data[self._pos :])
            self._chunked = len(self._data) - self._pos
        self._chunks.append(data)
        self._chunked += len(data)
        if self._chunked >= self._wanted:
            self._data = b"".join(self._chunks)
            self._pos = 0
            self._chunks = []

    def buffered(self) -> int:
        """Return how many bytes wait unparsed."""
        return self._chunked if self._chunks else len(self._data) - self._pos

    def unparsed(self) -> bytes:
        """Return the bytes that wait unparsed."""
        return b"".join(self._chunks) if self._chunks else self._data[self._pos :]

    def received(self) -> int:
        """Return how many bytes are kept, those of the requests that were already returned included."""
        return self._chunked if self._chunks else len(self._data)

    def missing(self) -> int:
        """Return how many bytes must come at least before `next_request` can get on."""
        return max(self._wanted - self.buffered(), 0)

    def forget_parsed(self) -> None:
        """Drop the bytes that were parsed and are kept only because nothing has come since."""
        if self._pos == len(self._data) and not self._chunks:
            self._data = b""
            self._pos = 0
            self._current = []
            self._current_start = -1

    def has_more(self) -> bool:
        """Return True if `next_request` was not yet asked to the end of what has arrived."""
        return not self._starved

    def next_request(self) -> list[bytes] | None:
        """Return the next argv, an empty list for an empty request, None if more bytes are needed.

        Raises ProtocolError."""
        if self._ahead:
            argv = self._ahead.pop()
            self._current = argv
            self._current_start = self._starts.pop()
            self._current_end = self._starts[-1] if self._starts else self._ahead_end
            return argv
        following = self._parse()
        if following is not None:
            self._current = following
            self._current_start = self._begin
            self._current_end = self._pos
        return following

    def wire_of(self, argv: list[bytes]) -> bytes | None:
        """Return the bytes that the last request came as if that is `argv`, None if they cannot be used as they are."""
        start = self._current_start
        if argv is not self._current or start < 0 or not self._plain or self._data[start] != _STAR:
            return None
        return self._data[start : self._current_end]

    def may_read_ahead(self) -> bool:
        """Return True between requests, if more bytes are there and none of them has been looked at."""
        return self._pos < len(self._data) and self._missing == 0 and not self._ahead

    def read_ahead(self, most: int) -> list[list[bytes]]:
        """Return up to `most` requests that are complete, the last one first.  Only when `may_read_ahead`.

        An error of the protocol is kept for when its turn comes."""
        ahead: list[list[bytes]] = []
        starts: list[int] = []
        while len(ahead) < most:
            start = self._pos
            try:
                argv = self._parse()
            except ProtocolError:
                self._return_to(start)
                break
            if argv is None:
                break
            ahead.append(argv)
            starts.append(start)
            self._ahead_end = self._pos
        self._starved = self._starved and not ahead
        ahead.reverse()
        starts.reverse()
        self._ahead = ahead
        self._starts = starts
        return ahead

    def put_back(self) -> None:
        """Forget what was read ahead and not returned: it is parsed again.  Before the next `feed`."""
        if self._ahead:
            self._return_to(self._starts[-1])
            self._ahead = []
            self._starts = []

    def _return_to(self, start: int) -> None:
        """Stand at `start`, where a request begins."""
        self._pos = start
        self._wanted = 0
        self._argv = []
        self._missing = 0
        self._bulk = -1

    def _parse(self) -> list[bytes] | None:
        """Do what `next_request` does, with nothing read ahead."""
        if self._chunks:
            return self._need(self._wanted)
        if self._missing == 0:
            self._begin = self._pos
            if self._pos >= len(self._data):
                return self._need(1)
            if self._data[self._pos] != _STAR:
                return self._inline()
            count = self._header(b"too big mbulk count string")
            if count == _INCOMPLETE:
                return self._need(1)
            self._check_count(count)
            if count <= 0:
                return []
            self._missing = count
            self._argv = []
        return self._arguments()

    def _arguments(self) -> list[bytes] | None:
        """Read arguments until the array is whole (then return it) or bytes run out."""
        argv = self._argv
        while self._missing > 0:
            size = self._bulk
            if size < 0:
                if self._pos >= len(self._data):
                    return self._need(1)
                if self._data[self._pos] != _DOLLAR:
                    got = self._data[self._pos : self._pos + 1]
                    raise ProtocolError(b"expected '$', got '" + got + b"'", "expected $ but got something else")
                size = self._header(b"too big bulk count string")
                if size == _INCOMPLETE:
                    return self._need(1)
                self._check_bulk(size)
                self._bulk = size
            end = self._pos + size
            if end + 2 > len(self._data):
                return self._need(size + 2)
            argv.append(self._data[self._pos : end])
            if self._data[end] != _CR or self._data[end + 1] != _LF:
                self._plain = False  # these two bytes may be anything
            self._pos = end + 2
            self._bulk = -1
            self._missing -= 1
        return argv

    def _need(self, size: int) -> list[bytes] | None:
        """Remember that `size` bytes are needed from here on; return None."""
        self._wanted = size
        self._starved = True
        return None

    def _header(self, too_big: bytes) -> int:
        """Return the number of the header line at the position and step past it.

        _INCOMPLETE if its end is not there yet, _INVALID if it is no number."""
        data = self._data
        pos = self._pos + 1
        size = len(data)
        value = 0
        start = pos
        while pos < size:
            char = data[pos]
            if char < _ZERO or char > _NINE:
                break
            value = value * 10 + char - _ZERO
            pos += 1
        if pos + 1 < size and data[pos] == _CR and data[pos + 1] == _LF and start < pos <= start + 18:
            self._pos = pos + 2
            return value
        return self._slow_header(too_big)

    def _slow_header(self, too_big: bytes) -> int:
        """Do what `_header` does for negative, broken and incomplete lines."""
        data = self._data
        end = data.find(b"\r", self._pos)
        if end < 0 or end + 2 > len(data):
            if end < 0 and len(data) - self._pos > INLINE_MAX:
                raise ProtocolError(too_big)
            return _INCOMPLETE
        text = data[self._pos + 1 : end]
        self._pos = end + 2
        self._plain = False
        digits = text[1:] if text[:1] == b"-" else text
        if not digits.isdigit() or len(digits) > 19:
            return _INVALID
        value = int(text)
        return value if value >= -1 else -1

    def _check_count(self, count: int) -> None:
        """Refuse an array length that is no number, too large, or large before AUTH."""
        if count == _INVALID or count > MULTIBULK_MAX:
            self._return_to_line()
            raise ProtocolError(b"invalid multibulk length", "invalid mbulk count")
        if count > UNAUTH_MULTIBULK_MAX and not self.authenticated:
            self._return_to_line()
            raise ProtocolError(b"unauthenticated multibulk length", "unauth mbulk count")

    def _check_bulk(self, size: int) -> None:
        """Refuse a bulk length that is no number, negative, too large, or large before AUTH."""
        if size < 0 or size > self.max_bulk:
            self._return_to_line()
            raise ProtocolError(b"invalid bulk length")
        if size > UNAUTH_BULK_MAX and not self.authenticated:
            self._return_to_line()
            raise ProtocolError(b"unauthenticated bulk length", "unauth bulk length")

    def _return_to_line(self) -> None:
        """Stand at the start of the line that has just been read: an error is shown from there."""
        self._pos = self._data.rfind(b"\n", 0, self._pos - 1) + 1

    def _inline(self) -> list[bytes] | None:
        """Return the arguments of the line at the position, None if its end is missing."""
        end = self._data.find(b"\n", self._pos)
        if end < 0:
            if len(self._data) - self._pos > INLINE_MAX:
                raise ProtocolError(b"too big inline request")
            return self._need(1)
        line = self._data[self._pos : end]
        self._pos = end + 1
        argv = split_args(line[:-1] if line.endswith(b"\r") else line)
        if argv is None:
            self._return_to_line()
            raise ProtocolError(b"unbalanced quotes in request", "unbalanced quotes in inline request")
        return argv


_ESCAPES: Final = {110: 10, 114: 13, 116: 9, 98: 8, 97: 7}
_SPACES: Final = b" \n\r\t\v\f\0"
_HEX: Final = b"0123456789abcdefABCDEF"


def split_args(line: bytes) -> list[bytes] | None:
    """Return the words of an inline command or configuration line, quotes and escapes resolved; None if unbalanced.

    `"..."` knows \\n \\r \\t \\b \\a \\xHH and \\c; `'...'` knows \\' only; a closing quote must end its word."""
    words: list[bytes] = []
    pos = 0
    size = len(line)
    while True:
        while pos < size and line[pos] in _SPACES:
            pos += 1
        if pos >= size:
            return words
        word = bytearray()
        pos = _read_word(line, pos, word)
        if pos < 0:
            return None
        words.append(bytes(word))


def _read_word(line: bytes, pos: int, word: bytearray) -> int:
    """Append one word to `word`; return the position after it, -1 if a quote is unbalanced."""
    size = len(line)
    while pos < size:
        char = line[pos]
        if char in _SPACES:
            return pos
        if char == 34 or char == 39:
            pos = _read_quoted(line, pos + 1, char, word)
            if pos < 0 or (pos < size and line[pos] not in _SPACES):
                return -1
            return pos
        word.append(char)
        pos += 1
    return pos


def _read_quoted(line: bytes, pos: int, quote: int, word: bytearray) -> int:
    """Append the quoted text that starts at `pos`; return the position after its closing quote, -1 if it has none."""
    size = len(line)
    while pos < size:
        char = line[pos]
        if char == quote:
            return pos + 1
        if char == 92 and pos + 1 < size:
            following = line[pos + 1]
            if quote == 39:
                if following == 39:
                    char = 39
                    pos += 1
            elif following == 120 and pos + 3 < size and line[pos + 2] in _HEX and line[pos + 3] in _HEX:
                char = int(line[pos + 2 : pos + 4], 16)
                pos += 3
            else:
                char = _ESCAPES.get(following, following)
                pos += 1
        word.append(char)
        pos += 1
    return -1


_QUOTED_ESCAPES: Final[dict[int, bytes]] = {
    7: b"\\a",
    8: b"\\b",
    9: b"\\t",
    10: b"\\n",
    13: b"\\r",
    34: b'\\"',
    92: b"\\\\",
}


def quoted(word: bytes) -> bytes:
    """Return `word` in double quotes, with escapes for what cannot be printed."""
    parts: list[bytes] = []
    for char in word:
        escape = _QUOTED_ESCAPES.get(char)
        if escape is not None:
            parts.append(escape)
        else:
            parts.append(b"%c" % char if 32 <= char < 127 else b"\\x%02x" % char)
    return b'"' + b"".join(parts) + b'"'
