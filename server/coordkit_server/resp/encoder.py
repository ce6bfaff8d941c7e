"""Reply values to RESP2 or RESP3 bytes, appended as chunks to an output list (joined once at the write)."""

from typing import Final, cast

from coordkit_server.numeric import format_float, format_plain
from coordkit_server.resp.reply import (
    NO_REPLY,
    NULL_ARRAY,
    AttributeReply,
    BigNumber,
    ErrorReply,
    JoinedReply,
    MapReply,
    Marker,
    NamedReply,
    PairsReply,
    PlainDouble,
    PushReply,
    SetReply,
    Simple,
    VerbatimReply,
    WireReply,
)

CRLF: Final = b"\r\n"
_SMALL: Final = 1024
_SEVERAL: Final = 4  # elements of an array from which a common length is worth a look
BULK_HEADS: Final[list[bytes]] = [b"$%d\r\n" % n for n in range(_SMALL)]
NEXT_HEADS: Final[list[bytes]] = [b"\r\n$%d\r\n" % n for n in range(_SMALL)]
INTEGERS: Final[list[bytes]] = [b":%d\r\n" % n for n in range(_SMALL)]
ARRAY_HEADS: Final[list[bytes]] = [b"*%d\r\n" % n for n in range(_SMALL)]
NULL2: Final = b"$-1\r\n"
NULL3: Final = b"_\r\n"
NULL_ARRAY2: Final = b"*-1\r\n"


def encode(out: list[bytes], reply: object, resp3: bool) -> None:
    """Append the wire form of `reply` to `out`."""
    if isinstance(reply, bytes):
        encode_bulk(out, reply)
    elif isinstance(reply, Simple):
        out.append(reply.wire)
    elif isinstance(reply, bool):
        out.append((b"#t\r\n" if reply else b"#f\r\n") if resp3 else INTEGERS[1 if reply else 0])
    elif isinstance(reply, int):
        out.append(INTEGERS[reply] if 0 <= reply < _SMALL else b":%d\r\n" % reply)
    elif reply is None:
        out.append(NULL3 if resp3 else NULL2)
    elif isinstance(reply, list):
        out.append(array_head(len(reply)))
        _encode_elements(out, reply, resp3)
    else:
        _encode_rare(out, reply, resp3)


def _encode_elements(out: list[bytes], items: list[object], resp3: bool) -> None:
    """Append the elements of an array; the end of a string and the head of the next one go as one chunk."""
    length = _common_length(items)
    if length >= 0:
        out.append(BULK_HEADS[length])
        out.append(NEXT_HEADS[length].join(cast("list[bytes]", items)))
        out.append(CRLF)
        return
    ended = True
    for item in items:
        if isinstance(item, bytes) and len(item) < _SMALL:
            out.append(BULK_HEADS[len(item)] if ended else NEXT_HEADS[len(item)])
            out.append(item)
            ended = False
        else:
            if not ended:
                out.append(CRLF)
                ended = True
            encode(out, item, resp3)
    if not ended:
        out.append(CRLF)


def _common_length(items: list[object]) -> int:
    """Return the length that all of several short strings have, -1 if they differ or are none."""
    if len(items) < _SEVERAL:
        return -1
    first = items[0]
    if not isinstance(first, bytes) or len(first) >= _SMALL:
        return -1
    length = len(first)
    for item in items:
        if not isinstance(item, bytes) or len(item) != length:
            return -1
    return length


def encode_bulk(out: list[bytes], value: bytes) -> None:
    """Append `value` as a bulk string."""
    size = len(value)
    out.append(BULK_HEADS[size] if size < _SMALL else b"$%d\r\n" % size)
    out.append(value)
    out.append(CRLF)


def array_head(size: int) -> bytes:
    """Return the head of an array of `size` elements."""
    return ARRAY_HEADS[size] if size < _SMALL else b"*%d\r\n" % size


def _encode_rare(out: list[bytes], reply: object, resp3: bool) -> None:
    """Append the types that few commands use."""
    if isinstance(reply, ErrorReply):
        out.append(b"-" + reply.text + CRLF)
    elif isinstance(reply, float):
        _encode_double(out, reply, resp3)
    elif isinstance(reply, MapReply):
        _encode_items(
            out,
            reply.items,
            b"%%%d\r\n" % (len(reply.items) // 2) if resp3 else b"",
            resp3,
        )
    elif isinstance(reply, SetReply):
        _encode_items(out, reply.items, b"~%d\r\n" % len(reply.items) if resp3 else b"", resp3)
    elif isinstance(reply, PushReply):
        _encode_items(out, reply.items, b">%d\r\n" % len(reply.items) if resp3 else b"", resp3)
    elif isinstance(reply, PairsReply):
        _encode_pairs(out, reply.items, resp3, nested=resp3)
    elif isinstance(reply, WireReply):
        out.extend(reply.parts)
    elif isinstance(reply, NamedReply):
        if resp3:
            _encode_items(out, reply.items, b"%%%d\r\n" % (len(reply.items) // 2), resp3)
        else:
            _encode_pairs(out, reply.items, resp3, nested=True)
    elif isinstance(reply, VerbatimReply):
        text = reply.fmt + b":" + reply.text if resp3 else reply.text
        out.append(b"%b%d\r\n%b\r\n" % (b"=" if resp3 else b"$", len(text), text))
    elif isinstance(reply, bytearray):
        encode_bulk(out, bytes(reply))
    elif isinstance(reply, BigNumber):
        out.append(b"(" + reply.digits + CRLF if resp3 else b"$%d\r\n%b\r\n" % (len(reply.digits), reply.digits))
    elif isinstance(reply, PlainDouble):
        if resp3:
            out.append(b"," + format_plain(reply.value) + CRLF)
        else:
            encode_bulk(out, format_plain(reply.value))
    elif isinstance(reply, AttributeReply):
        if resp3:
            _encode_items(out, reply.attributes, b"|%d\r\n" % (len(reply.attributes) // 2), resp3)
        encode(out, reply.reply, resp3)
    elif isinstance(reply, JoinedReply):
        for item in reply.items:
            encode(out, item, resp3)
    elif isinstance(reply, Marker) and reply is NULL_ARRAY:
        out.append(NULL3 if resp3 else NULL_ARRAY2)
    elif isinstance(reply, Marker) and reply is NO_REPLY:
        pass  # inside EXEC: the command has none (CLIENT REPLY)
    else:
        raise TypeError(f"a handler returned {reply!r}, which is no reply value")


def _encode_double(out: list[bytes], value: float, resp3: bool) -> None:
    """Append a double: RESP3 has a type for it."""
    text = format_float(value)
    if resp3:
        out.append(b"," + text + CRLF)
    else:
        encode_bulk(out, text)


def _encode_items(out: list[bytes], items: list[object], head: bytes, resp3: bool) -> None:
    """Append `head` (an array head if empty) and all items."""
    out.append(head or array_head(len(items)))
    _encode_elements(out, items, resp3)


def _encode_pairs(out: list[bytes], items: list[object], resp3: bool, *, nested: bool) -> None:
    """Append pairs, each as an array of its own if `nested`."""
    if not nested:
        _encode_items(out, items, b"", resp3)
        return
    out.append(array_head(len(items) // 2))
    for i in range(0, len(items), 2):
        out.append(ARRAY_HEADS[2])
        encode(out, items[i], resp3)
        encode(out, items[i + 1], resp3)
