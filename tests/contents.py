"""Everything that a server holds, read through commands, so that two servers can be compared."""

import time

from tests.differential.client import RawClient, Reply

Value = tuple[bytes, object, int]
EPHEMERAL_MS = 60_000
FOR_EVER = -1
_READERS = {
    b"string": ("GET",),
    b"list": ("LRANGE", 0, -1),
    b"hash": ("HGETALL",),
    b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", 0, -1, "WITHSCORES"),
    b"stream": ("XRANGE", "-", "+"),
}


def contents(client: RawClient, databases: int = 16) -> dict[tuple[int, bytes], Value]:
    """(database, key) -> type, value and time of expiry (ms since the epoch; -1 for none); keys about to expire are
    left out."""
    found: dict[tuple[int, bytes], Value] = {}
    for index in range(databases):
        client.call("SELECT", index)
        _, keys = client.call("KEYS", "*")
        assert isinstance(keys, tuple)
        for _, key in keys:
            _, kind = client.call("TYPE", key)
            assert isinstance(kind, bytes)
            if kind == b"none":
                continue  # it expired meanwhile
            name, *rest = _READERS[kind]
            value = client.call(str(name), key, *rest)
            _, expiry = client.call("PEXPIRETIME", key)
            assert isinstance(expiry, bytes)
            if int(expiry) == FOR_EVER or int(expiry) > time.time() * 1000 + EPHEMERAL_MS:
                found[(index, key)] = (kind, _ordered(kind, value), int(expiry))
    client.call("SELECT", 0)
    return found


def _ordered(kind: bytes, reply: Reply) -> object:
    """The value in a form that does not depend on the order of an unordered type."""
    _, items = reply
    if kind in (b"hash", b"set"):
        assert isinstance(items, tuple)
        flat = [value for _, value in items]
        return sorted(zip(flat[::2], flat[1::2], strict=True)) if kind == b"hash" else sorted(flat)
    if kind == b"zset":
        assert isinstance(items, tuple)
        flat = [value for _, value in items]
        return [(member, float(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]
    return items
