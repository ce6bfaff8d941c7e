"""Replies to what Lua takes, and what Lua returns to replies.  The grammar of the border is written in lua/host.lua.

Map: reply_to_lua and its `_Flattener`; lua_to_reply and its `_Unflattener`.

A value is one Lua value, or a tuple `(payload, kind, parts...)`: lupa hands a tuple's items to Lua one by one, which
costs a tenth of a table built from here.
"""

from typing import Final

from coordkit_server.numeric import INT64_MIN, format_float, format_plain
from coordkit_server.resp.reply import (
    OK,
    AttributeReply,
    BigNumber,
    ErrorReply,
    MapReply,
    NamedReply,
    PairsReply,
    PlainDouble,
    PushReply,
    SetReply,
    Simple,
    VerbatimReply,
    WireReply,
)

STATUS: Final = 1
ERROR: Final = 2
ARRAY: Final = 3
SHAPED: Final = 4
STAGED: Final = 5
# parts in one call; a Lua C function may hold 8000 values
LOT: Final = 4000

_OK: Final[tuple[object, ...]] = (b"OK", STATUS)


class Staged:
    """Values on their way over the border in more than one call."""

    def __init__(self) -> None:
        self._outgoing: list[object] = []
        self._next: int = 0
        self._incoming: list[object] = []

    def put(self, values: list[object]) -> None:
        """Offer `values` to `take`."""
        self._outgoing = values
        self._next = 0

    def take(self) -> tuple[object, ...]:
        """Return the next LOT of the values that were put."""
        start = self._next
        end = start + LOT
        self._next = end
        lot = tuple(self._outgoing[start:end])
        if end >= len(self._outgoing):
            self._outgoing = []
        return lot

    def give(self, values: tuple[object, ...]) -> None:
        """Add all of `values` but the first, which is True if they start anew."""
        if values[0] is True:
            self._incoming = []
        self._incoming.extend(values[1:])

    def given(self) -> list[object]:
        """Return everything that was given, once."""
        values = self._incoming
        self._incoming = []
        return values


# -- server to script --------------------------------------------------------------------------------------------------


def reply_to_lua(reply: object, resp3: bool, staged: Staged) -> object:
    """Return `reply` as a script sees it; `resp3` after `redis.setresp(3)`."""
    if isinstance(reply, bytes):
        return reply
    if isinstance(reply, bool):
        if resp3:
            return reply
        return 1 if reply else 0
    if isinstance(reply, int):
        return reply
    if reply is None:
        return None if resp3 else False
    if reply is OK:
        return _OK
    if isinstance(reply, Simple):
        return (reply.text, STATUS)
    if isinstance(reply, list):
        return _array_to_lua(reply, resp3, staged)
    if isinstance(reply, ErrorReply):
        return (error_text(reply.text), ERROR, True)
    return _shaped_to_lua(reply, resp3, staged)


def error_text(text: bytes) -> bytes:
    """Return an error reply's text with a code in front: a text of one word has none."""
    return text if b" " in text else b"ERR " + text


def _array_to_lua(items: list[object], resp3: bool, staged: Staged) -> object:
    """Return an array; the usual one holds strings, integers and nulls only."""
    size = len(items)
    if size > LOT:
        return _shaped_to_lua(items, resp3, staged)
    out: list[object] = [None, ARRAY]
    for i in range(size):
        item = items[i]
        if isinstance(item, bytes):
            out.append(item)
        elif isinstance(item, int) and not isinstance(item, bool):
            out.append(item)
        elif item is None and not resp3:
            out.append(False)
        else:
            return _shaped_to_lua(items, resp3, staged)
    return tuple(out)


def _shaped_to_lua(reply: object, resp3: bool, staged: Staged) -> object:
    """Return any reply as shape and parts."""
    flattener = _Flattener(resp3)
    flattener.add(reply)
    count = len(flattener.parts)
    if count > LOT:
        staged.put(flattener.parts)
        return (bytes(flattener.shape), STAGED, count)
    return (bytes(flattener.shape), SHAPED, *flattener.parts)


class _Flattener:
    """Spells a reply as tokens and parts."""

    def __init__(self, resp3: bool) -> None:
        self._resp3: Final = resp3
        self.shape: Final = bytearray()
        self.parts: Final[list[object]] = []

    def add(self, reply: object) -> None:
        """Append `reply`."""
        if isinstance(reply, bytes):
            self._put(b".", reply)
        elif isinstance(reply, list):
            self._nest(b"[", reply, b"]")
        elif isinstance(reply, bool):
            self._put_bool(reply)
        elif isinstance(reply, int):
            self._put(b".", reply)
        elif isinstance(reply, Simple):
            self._put(b"+", reply.text)
        elif isinstance(reply, ErrorReply):
            self._put(b"-", error_text(reply.text))
        elif isinstance(reply, bytearray):
            self._put(b".", bytes(reply))
        elif isinstance(reply, float):
            self._add_double(reply)
        elif isinstance(reply, AttributeReply):
            self.add(reply.reply)
        elif not self._add_typed(reply):
            self._put(b".", None if self._resp3 else False)

    def _put_bool(self, value: bool) -> None:
        """Append a boolean (compiled, `x if y else int(x)` would make an integer of it)."""
        if self._resp3:
            self._put(b".", value)
        else:
            self._put(b".", 1 if value else 0)

    def _add_double(self, value: float) -> None:
        """Append a double."""
        if self._resp3:
            self._put(b",", value)
        else:
            self._put(b".", format_float(value))

    def _add_typed(self, reply: object) -> bool:
        """Append a type that has a form of its own in RESP3; return False if it is none."""
        if isinstance(reply, MapReply):
            self._nest(b"{" if self._resp3 else b"[", reply.items, b"}" if self._resp3 else b"]")
        elif isinstance(reply, SetReply):
            self._nest(b"<" if self._resp3 else b"[", reply.items, b">" if self._resp3 else b"]")
        elif isinstance(reply, PushReply):
            self._nest(b"[", reply.items, b"]")
        elif isinstance(reply, PairsReply):
            self._add_pairs(reply.items, self._resp3)
        elif isinstance(reply, NamedReply):
            if self._resp3:
                self._nest(b"{", reply.items, b"}")
            else:
                self._add_pairs(reply.items, True)
        elif isinstance(reply, WireReply):
            self.add(reply.decoded())
        elif isinstance(reply, VerbatimReply):
            self._add_verbatim(reply)
        elif isinstance(reply, BigNumber):
            self._put(b"(" if self._resp3 else b".", reply.digits)
        elif isinstance(reply, PlainDouble):
            if self._resp3:
                self._put(b",", reply.value)
            else:
                self._put(b".", format_plain(reply.value))
        else:
            return False
        return True

    def _add_pairs(self, items: list[object], nested: bool) -> None:
        """Append pairs, each as an array of its own if `nested`."""
        if not nested:
            self._nest(b"[", items, b"]")
            return
        self.shape.extend(b"[")
        for i in range(0, len(items), 2):
            self._nest(b"[", items[i : i + 2], b"]")
        self.shape.extend(b"]")

    def _add_verbatim(self, reply: VerbatimReply) -> None:
        """Append a verbatim string."""
        if self._resp3:
            self._put(b"=", reply.fmt)
            self.parts.append(reply.text)
        else:
            self._put(b".", reply.text)

    def _put(self, token: bytes, part: object) -> None:
        """Append a token with its part."""
        self.shape.extend(token)
        self.parts.append(part)

    def _nest(self, opening: bytes, items: list[object], closing: bytes) -> None:
        """Append a collection."""
        self.shape.extend(opening)
        for item in items:
            self.add(item)
        self.shape.extend(closing)


def passed_through(reply: object) -> object:
    """Return what becomes of `reply` on its way through a script that returns it: RESP2's types only."""
    if isinstance(reply, bytes):
        return reply
    if isinstance(reply, bool):
        return int(reply)
    if isinstance(reply, (int, Simple)) or reply is None:
        return reply
    if isinstance(reply, list):
        return _all_passed(reply)
    if isinstance(reply, float):
        return format_float(reply)
    if isinstance(reply, (MapReply, SetReply, PairsReply, PushReply)):
        return _all_passed(reply.items)
    if isinstance(reply, WireReply):
        return reply.decoded()
    if isinstance(reply, NamedReply):
        return [_all_passed(reply.items[i : i + 2]) for i in range(0, len(reply.items), 2)]
    if isinstance(reply, VerbatimReply):
        return reply.text
    if isinstance(reply, BigNumber):
        return reply.digits
    if isinstance(reply, PlainDouble):
        return format_plain(reply.value)
    if isinstance(reply, bytearray):
        return bytes(reply)
    if isinstance(reply, AttributeReply):
        return passed_through(reply.reply)
    return None


def _all_passed(items: list[object]) -> list[object]:
    """Return the elements of an array as a script passes them through."""
    out: list[object] = []
    for item in items:
        out.append(item if isinstance(item, bytes) else passed_through(item))
    return out


class CountedError(ErrorReply):
    """The error of a command that redis.pcall caught and the script returns: the statistics know it already."""


# -- script to server --------------------------------------------------------------------------------------------------


def lua_to_reply(result: tuple[object, ...], resp3: bool, staged: Staged) -> object:
    """Return the reply for what a script yielded at its end, `True, ...`; `resp3` after `redis.setresp(3)`."""
    if len(result) == 2:
        return _scalar(result[1], resp3)
    payload = result[1]
    kind = result[2]
    if kind == ARRAY:
        out: list[object] = []
        for i in range(3, len(result)):
            part = result[i]
            out.append(part if isinstance(part, bytes) else _scalar(part, resp3))
        return out
    if not isinstance(payload, bytes):
        return None
    if kind == STATUS:
        return _status(payload)
    parts = staged.given() if kind == STAGED else list(result[3:])
    return _Unflattener(payload, parts, resp3).value()


def _scalar(value: object, resp3: bool) -> object:
    """Return the reply for one Lua value that is no table: numbers lose their fraction."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        if resp3:
            return value
        return 1 if value else None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return _truncated(value)
    return None


def _truncated(value: float) -> int:
    """Return `value` without its fraction; what does not fit into 64 bits becomes the least integer, as in C."""
    if -9.2233720368547758e18 <= value < 9.2233720368547758e18:
        return int(value)
    return INT64_MIN


def _status(text: bytes) -> Simple:
    """Return a status reply: one line, cut at a zero byte."""
    if text == b"OK":
        return OK
    return Simple(one_line(text))


def one_line(text: bytes) -> bytes:
    """Return `text` without line ends, cut at a zero byte as C strings are."""
    end = text.find(b"\x00")
    if end >= 0:
        text = text[:end]
    return text.replace(b"\r", b" ").replace(b"\n", b" ")


class _Unflattener:
    """Builds a reply from its shape and parts."""

    def __init__(self, shape: bytes, parts: list[object], resp3: bool) -> None:
        self._shape: Final = shape
        self._parts: Final = parts
        self._resp3: Final = resp3
        self._at: int = 0
        self._used: int = 0

    def value(self) -> object:
        """Return the next value."""
        token = self._shape[self._at]
        self._at += 1
        if token == 46:  # .
            return _scalar(self._part(), self._resp3)
        if token == 91:  # [
            return self._items(93)
        if token == 43:  # +
            return _status(self._bytes())
        if token == 45:  # -
            return ErrorReply(one_line(self._bytes()))
        if token == 33:  # !
            return CountedError(one_line(self._bytes()))
        if token == 123:  # {
            return MapReply(self._items(125))
        if token == 60:  # <
            return SetReply(self._items(62))
        return self._rare(token)

    def _rare(self, token: int) -> object:
        """Return a double, a big number or a verbatim string."""
        if token == 44:  # ,
            part = self._part()
            return float(part) if isinstance(part, (int, float)) else None
        if token == 40:  # (
            return BigNumber(one_line(self._bytes()))
        fmt = self._bytes()
        return VerbatimReply((fmt + b"\x00\x00\x00")[:3], self._bytes())

    def _items(self, closing: int) -> list[object]:
        """Return the values up to `closing`."""
        items: list[object] = []
        while self._shape[self._at] != closing:
            items.append(self.value())
        self._at += 1
        return items

    def _part(self) -> object:
        """Return the next part."""
        self._used += 1
        return self._parts[self._used - 1]

    def _bytes(self) -> bytes:
        """Return the next part, a string."""
        part = self._part()
        return part if isinstance(part, bytes) else b""
