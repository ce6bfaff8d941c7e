"""The buffer of one subscription: all that a subscription does, with no I/O.

The transport puts messages in, on the event loop or on the subscription thread; the reader takes them out.  It holds
`size` messages at most.  What is missing leaves a Gap in its place; neighbouring gaps are one, so that there are never
more gaps than messages.
"""

import logging
import threading
from collections import deque
from typing import Final, Literal

from coordkit.codec import Codec
from coordkit.errors import ConfigurationError, SubscriptionOverflow
from coordkit.pubsub.message import Gap, Message, Statistics

log = logging.getLogger("coordkit")

Overflow = Literal["drop_oldest", "drop_newest", "error"]
OVERFLOWS: Final[tuple[Overflow, ...]] = ("drop_oldest", "drop_newest", "error")

DEFAULT_SIZE: Final = 1000


class Buffer:
    """Messages between the transport and the reader."""

    __slots__ = (
        "_channel",
        "_codec",
        "_dropped",
        "_gaps",
        "_items",
        "_lock",
        "_messages",
        "_overflow",
        "_overflowed",
        "_received",
        "_size",
        "_undecodable",
        "ended",
    )

    def __init__(self, channel: str, *, size: int, overflow: Overflow, codec: Codec) -> None:
        if size < 1:
            raise ConfigurationError(f"buffer must be 1 message or more, not {size!r}")
        if overflow not in OVERFLOWS:
            raise ConfigurationError(f"overflow must be one of {', '.join(OVERFLOWS)}, not {overflow!r}")
        self._channel = channel
        self._size = size
        self._overflow = overflow
        self._codec = codec
        self._lock = threading.Lock()
        self._items: deque[bytes | Gap] = deque()
        self._messages = 0  # how many of the items are no gaps
        self._received = self._dropped = self._gaps = self._undecodable = 0
        self._overflowed = False
        self.ended = False
        """Nothing more will be put in."""

    # -- the transport's side --------------------------------------------------------------------------------------

    def put(self, payload: bytes) -> None:
        """Add a message, or do what the policy says if there is no room."""
        with self._lock:
            if self.ended:
                return
            self._received += 1
            if self._messages < self._size:
                self._items.append(payload)
                self._messages += 1
                return
            self._dropped += 1
            match self._overflow:
                case "drop_oldest":
                    self._drop_oldest()
                    self._items.append(payload)
                case "drop_newest":
                    self._add_gap(1)
                case "error":
                    self._overflowed = self.ended = True

    def put_gap(self) -> None:
        """Note that messages may have been missed."""
        with self._lock:
            if not self.ended:
                self._gaps += 1
                self._add_gap(None)

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True

    def _add_gap(self, missed: int | None) -> None:
        last = self._items[-1] if self._items else None
        if isinstance(last, Gap):
            self._items[-1] = self._joined(last, missed)
        else:
            self._items.append(Gap(self._channel, missed))

    def _drop_oldest(self) -> None:
        """Turn the oldest message, and gaps beside it, into a gap."""
        gap = self._joined(self._pop_gap(), 1)
        self._items.popleft()
        after = self._pop_gap()
        self._items.appendleft(gap if after is None else self._joined(gap, after.missed))

    def _pop_gap(self) -> Gap | None:
        """The gap at the head, if there is one."""
        if self._items and isinstance(self._items[0], Gap):
            gap = self._items.popleft()
            assert isinstance(gap, Gap)
            return gap
        return None

    def _joined(self, gap: Gap | None, missed: int | None) -> Gap:
        if gap is None:
            return Gap(self._channel, missed)
        return Gap(self._channel, None if gap.missed is None or missed is None else gap.missed + missed)

    # -- the reader's side -----------------------------------------------------------------------------------------

    def take(self) -> Message | Gap | None:
        """The next message or gap, None if there is none now.

        Raises SubscriptionOverflow if messages were lost after the last one and the policy is `error`.
        """
        while True:
            with self._lock:
                if not self._items:
                    if self._overflowed:
                        raise SubscriptionOverflow(
                            f"messages on channel {self._channel!r} came faster than they were read: more than "
                            f"{self._size} were waiting; read faster, or subscribe with a larger buffer or a policy "
                            "that drops"
                        )
                    return None
                item = self._items.popleft()
                if isinstance(item, Gap):
                    return item
                self._messages -= 1
            try:
                return Message(self._channel, self._codec.decode(item))
            except ValueError as exc:
                self._note_undecodable(exc)

    def statistics(self) -> Statistics:
        """What was counted so far."""
        with self._lock:
            return Statistics(self._received, self._dropped, self._undecodable, self._gaps, self._messages)

    def _note_undecodable(self, exc: ValueError) -> None:
        self._undecodable += 1
        if self._undecodable == 1:  # whoever sends one sends more; the count goes on
            log.warning("channel %r: messages that the codec cannot read are left out: %s", self._channel, exc)
