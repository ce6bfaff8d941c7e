"""A hash of a stored value that is equal for equal contents, whatever the order of an unordered type."""

from hashlib import sha1

from coordkit_server.datatypes.hash import HashValue
from coordkit_server.datatypes.list import ListValue
from coordkit_server.datatypes.set import SetValue
from coordkit_server.datatypes.stream import StreamValue
from coordkit_server.datatypes.stream_entry import id_text
from coordkit_server.datatypes.zset import ZSetValue
from coordkit_server.numeric import format_float


def value_digest(value: object) -> int:
    """Return 160 bits that depend on type and contents only."""
    if isinstance(value, (bytes, bytearray)):
        return _hash([b"string", bytes(value)])
    if isinstance(value, ListValue):
        return _hash([b"list", *value.range(0, value.length())])
    if isinstance(value, StreamValue):
        return _hash([b"stream", *_stream_parts(value)])
    total = 0
    if isinstance(value, HashValue):
        for field, content in value.fields.items():
            total ^= _hash([b"hash", field, content])
    elif isinstance(value, SetValue):
        for member in value.members:
            total ^= _hash([b"set", member])
    elif isinstance(value, ZSetValue):
        scores, members = value.range(0, value.length())
        for place in range(len(members)):
            total ^= _hash([b"zset", members[place], format_float(scores[place])])
    else:
        raise TypeError(f"no digest for {value!r}")
    return total


def _stream_parts(stream: StreamValue) -> list[bytes]:
    """Return ids, fields and values in order."""
    parts: list[bytes] = []
    for node in stream.nodes:
        for ident, words in node.entries():
            parts.append(id_text(ident))
            parts.extend(words)
    return parts


def _hash(parts: list[bytes]) -> int:
    """Return the SHA-1 of parts, each with its length in front."""
    state = sha1()
    for part in parts:
        state.update(b"%d:" % len(part))
        state.update(part)
    return int(state.hexdigest(), 16)
