"""A pipelined connection with no I/O: requests become bytes, bytes become replies in the order of the
requests.

Rules of the room: no sockets, no clock, no event loop.  A slot is whatever the caller wants to find again
beside the reply; a caller that lost interest leaves its slot in place, so replies can never reach a wrong
caller. Pushes (RESP3) stand outside the order and come out apart.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from coordkit import resp
from coordkit.errors import CoordkitError, ServerError

try:
    import hiredis
except ImportError:
    hiredis = None  # type: ignore[assignment]  # the same in plain Python is in `resp`

S = TypeVar("S")

Reply = object
"""bytes, int, None, list of replies, ServerError; on RESP3 connections also float, bool and dict."""

MORE: Final = object()

FAST: Final = hiredis is not None
"""Whether hiredis packs and parses."""

PushNotification: Final[type] = hiredis.PushNotification if FAST else resp.PushNotification
DAMAGE: Final = (resp.ProtocolError, hiredis.ProtocolError) if FAST else (resp.ProtocolError,)


class ProtocolError(CoordkitError):
    """The bytes are not RESP, or answer nothing: the other side is no such server, or the stream is damaged.

    `replies` are those that came whole before the damage, for `Pipeline.receive` with their slots in `answered`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.replies: list[Reply] = []
        self.answered: list[tuple[object, Reply]] = []


pack_command: Final[Callable[[tuple[bytes | str | int | float, ...]], bytes]] = (
    hiredis.pack_command if FAST else resp.pack_command  # type: ignore[assignment]  # hiredis declares a one-element tuple
)
"""One command, a tuple, as RESP bytes."""


def pack(argv: Sequence[bytes | str | int | float]) -> bytes:
    """One command as RESP bytes."""
    return pack_command(tuple(argv))


class Replies:
    """Bytes -> replies and pushes, in order.  Server errors come out as ServerError values, not raised."""

    __slots__ = ("_reader",)

    def __init__(self, *, fast: bool = FAST) -> None:
        make = hiredis.Reader if fast else resp.Reader
        self._reader: resp.Reader = make(replyError=ServerError, notEnoughData=MORE)  # type: ignore[assignment]  # alike

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that `data` completes.  Raises ProtocolError."""
        reader = self._reader
        replies: list[Reply] = []
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not MORE:
                replies.append(reply)
        except DAMAGE as exc:
            damage = ProtocolError(f"the server sent what is not RESP: {exc}")
            damage.replies = replies
            raise damage from exc
        return replies


def is_push(reply: Reply) -> bool:
    """Whether the reply is a RESP3 push, which answers no request."""
    return reply.__class__ is PushNotification


class Pipeline(Generic[S]):
    """Requests in flight on one connection, oldest first, and their replies."""

    __slots__ = ("_replies", "pushes", "slots")

    def __init__(self) -> None:
        self._replies = Replies()
        self.slots: deque[S] = deque()
        """The requests that wait for their reply, oldest first.  Append one for each request written."""
        self.pushes: list[Reply] = []
        """Pushes received; whoever handles them empties the list."""

    def receive(self, data: bytes) -> list[tuple[S, Reply]]:
        """The slots that `data` answers, each with its reply.

        Raises ProtocolError for bytes that are not RESP and for a reply nobody asked for.
        """
        answered: list[tuple[S, Reply]] = []
        damage: ProtocolError | None = None
        try:
            replies = self._replies.feed(data)
        except ProtocolError as exc:
            damage, replies = exc, exc.replies
        popleft = self.slots.popleft
        for reply in replies:
            if reply.__class__ is PushNotification:
                self.pushes.append(reply)
                continue
            try:
                answered.append((popleft(), reply))
            except IndexError:
                damage = ProtocolError(f"the server sent a reply to no request: {reply!r}")
                break
        if damage is not None:
            damage.answered = list(answered)
            raise damage
        return answered

    def abandon(self) -> list[S]:
        """The slots that will never be answered, oldest first: the connection is gone."""
        left = list(self.slots)
        self.slots.clear()
        return left
