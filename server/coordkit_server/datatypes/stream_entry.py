"""Ids of a stream's entries, and an entry packed into bytes.

An id is one integer, `ms << 64 | seq`, so that ids compare as integers do; its text is `ms-seq`.

An entry is packed as the array `[id, [field, value, ...]]` of RESP, which reads the same in both versions of it: a
range of entries is read as a slice of bytes, with nothing to be put together.
"""

from typing import Final

ID_SEQ_BITS: Final = 64
ID_SEQ_MAX: Final = 18446744073709551615
ID_MAX: Final = 340282366920938463463374607431768211455

_CRLF: Final = b"\r\n"
_KNOWN: Final = 256
_BULK: Final[list[bytes]] = [b"$%d\r\n" % n for n in range(_KNOWN)]
_FIELDS: Final[list[bytes]] = [b"\r\n*%d\r\n" % n for n in range(_KNOWN)]  # what stands between the id and the fields


def id_text(ident: int) -> bytes:
    """Return `ident` as clients see it: `ms-seq`."""
    return b"%d-%d" % (ident >> ID_SEQ_BITS, ident & ID_SEQ_MAX)


def pack(text: bytes, argv: list[bytes], at: int) -> bytes:
    """Return the entry with the id `text` and the fields and values from `argv[at]` on."""
    size = len(argv) - at
    parts = [b"*2\r\n", _BULK[len(text)], text, _FIELDS[size] if size < _KNOWN else b"\r\n*%d\r\n" % size]
    for i in range(at, len(argv)):
        word = argv[i]
        length = len(word)
        parts.append(_BULK[length] if length < _KNOWN else b"$%d\r\n" % length)
        parts.append(word)
        parts.append(_CRLF)
    return b"".join(parts)


def unpack(packed: bytes) -> list[bytes]:
    """Return the fields and values of a packed entry: field, value, field, value."""
    at = packed.index(_CRLF, 5)  # behind the length of the id
    at = packed.index(_CRLF, at + 2) + 3  # behind the id
    end = packed.index(_CRLF, at)
    words: list[bytes] = []
    for _ in range(int(packed[at:end])):
        start = packed.index(_CRLF, end + 3)
        size = int(packed[end + 3 : start])
        words.append(packed[start + 2 : start + 2 + size])
        end = start + 2 + size
    return words
