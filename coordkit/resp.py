"""RESP in plain Python, for where hiredis is not installed: the same names, some ten times slower.

A reply that is not complete yet is a generator that waits for more bytes, so nothing is read twice.
"""

from collections.abc import Callable, Generator
from typing import Final, NoReturn

Parsing = Generator[None, None, object]


class ProtocolError(Exception):
    """The bytes are not RESP."""


class PushNotification(list[object]):
    """A RESP3 push, which answers no request."""


def pack_command(argv: tuple[bytes | str | int | float, ...]) -> bytes:
    """One command, a tuple, as RESP bytes."""
    parts = [b"*%d\r\n" % len(argv)]
    for word in argv:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class Reader:
    """Bytes -> replies.  `gets` gives `notEnoughData` until a reply is complete."""

    def __init__(self, *, replyError: Callable[[str], object], notEnoughData: object) -> None:  # noqa: N803 - hiredis's names
        self._error = replyError
        self._nothing = notEnoughData
        self._buffer = bytearray()
        self._at = 0
        self._parsing: Parsing | None = None

    def feed(self, data: bytes) -> None:
        """More bytes."""
        self._buffer += data

    def gets(self) -> object:
        """The next reply.  Raises ProtocolError."""
        if self._parsing is None:
            if self._at == len(self._buffer):
                return self._nothing
            self._parsing = self._reply()
        try:
            next(self._parsing)
        except StopIteration as stop:
            self._parsing = None
            if self._at == len(self._buffer) or self._at > 65536:
                del self._buffer[: self._at]
                self._at = 0
            return stop.value
        return self._nothing

    def _line(self) -> Generator[None, None, bytes]:
        searched = self._at
        while (end := self._buffer.find(b"\r\n", searched)) < 0:
            searched = max(self._at, len(self._buffer) - 1)
            yield
        line = bytes(self._buffer[self._at : end])
        self._at = end + 2
        return line

    def _bulk(self, line: bytes) -> Generator[None, None, bytes | None]:
        size = _number(line, "bulk string length")
        if size < -1:
            _wrong("bulk string length", line)
        if size == -1:
            return None
        while len(self._buffer) < self._at + size + 2:
            yield
        data = bytes(self._buffer[self._at : self._at + size])
        self._at += size + 2
        return data

    def _list(self, line: bytes) -> Generator[None, None, list[object] | None]:
        size = _number(line, "multi-bulk length")
        if size < -1:
            _wrong("multi-bulk length", line)
        if size == -1:
            return None
        items = []
        for _ in range(size):
            items.append((yield from self._reply()))  # noqa: PERF401 - a comprehension cannot yield
        return items

    def _reply(self) -> Parsing:
        line = yield from self._line()
        kind, rest = line[:1], line[1:]
        scalar = SCALARS.get(kind)
        if scalar is not None:
            return scalar(rest)
        match kind:
            case b"$":
                return (yield from self._bulk(rest))
            case b"=":
                text = yield from self._bulk(rest)
                return None if text is None else text[4:]
            case b"*" | b"~":
                return (yield from self._list(rest))
            case b">":
                return PushNotification((yield from self._list(rest)) or ())
            case b"%":
                items = (yield from self._list(b"%d" % (2 * _number(rest, "map length")))) or []
                return dict(zip(items[::2], items[1::2], strict=True))
            case b"-":
                return self._error(rest.decode(errors="replace"))
            case b"!":
                text = yield from self._bulk(rest)
                return self._error((text or b"").decode(errors="replace"))
        raise ProtocolError(f"got {kind!r} as the type of a reply")


def _wrong(what: str, text: bytes) -> NoReturn:
    raise ProtocolError(f"bad {what}: {text[:40]!r}")


def _number(text: bytes, what: str = "integer value") -> int:
    if not text.removeprefix(b"-").isdigit():
        _wrong(what, text)
    return int(text)


def _double(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        _wrong("double value", text)


def _bool(text: bytes) -> bool:
    if text not in {b"t", b"f"}:
        _wrong("bool value", text)
    return text == b"t"


def _null(text: bytes) -> None:
    if text:
        _wrong("nil value", text)


SCALARS: Final[dict[bytes, Callable[[bytes], object]]] = {
    b"+": bytes,
    b":": _number,
    b"(": bytes,
    b",": _double,
    b"#": _bool,
    b"_": _null,
}
