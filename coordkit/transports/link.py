"""One open connection on an event loop: requests are pipelined without being asked to.

A request goes out at once when nothing is in flight; otherwise it is joined to the others of the same turn of
the loop and they leave in one write.  Nobody ever waits for an earlier batch.  Replies are parsed and handed
over inside `data_received`, with no task in between.  A caller that is cancelled leaves its slot in the
order, and nothing else changes.  Deadlines cost nothing per request: a timer looks at how many requests were
sent before which moment, fifty times a second while any is in flight.
"""

import asyncio
import socket
from collections import deque
from typing import Final

from coordkit.errors import CoordkitError, OutcomeUnknown, ServerUnavailable
from coordkit.transports import loops
from coordkit.transports.address import Address, keep_alive
from coordkit.transports.base import SlownessWatcher
from coordkit.transports.loops import Future, Handle, Loop
from coordkit.wire import Pipeline, ProtocolError, Reply

MAX_IN_FLIGHT: Final = 4096
"""Requests that may wait for replies; a further caller waits for room first."""

WRITE_AT: Final = 16
"""Requests that are written without waiting for the end of the turn: the server works on them while the others of
the turn are still being made.  With 50 lock pairs in flight 16 gave 51,000 pairs/s, 8 gave 49,000, no limit 29,000."""

CLOSE_WITHIN_S: Final = 1.0

CHECK_S: Final = 0.02
"""How often deadlines are checked: a call fails at most two of these late."""


class Link(asyncio.Protocol):
    """An open connection.  `submit` is the hot path; everything else happens once in a while."""

    def __init__(
        self,
        loop: Loop,
        address: Address,
        timeout_s: float,
        watcher: SlownessWatcher | None = None,
    ) -> None:
        self.loop = loop
        self.here, self.home = loops.whereabouts(loop)
        self._make_future = loops.future_type(loop)
        self.closed = False
        self.crowded = False
        """Set while a caller should `await room()` before it submits."""
        self._address = address
        self._timeout_s = timeout_s
        self._pipeline: Pipeline[Future[Reply]] = Pipeline()
        self._slots = self._pipeline.slots
        self._outbox: list[bytes] = []
        self._flush_scheduled = False
        self._several = False  # the last read answered several requests: their callers will send together again
        self.answered = 0
        """Requests answered so far."""
        self._watcher = watcher
        self._marks: deque[tuple[float, int, int]] = deque()  # (time, requests sent by then, answered by then)
        self._young: deque[tuple[float, int]] = deque()  # the same, (time, sent), of those not yet slow
        self._told = 0  # requests up to this one have been told as slow, or were answered in time
        self._retiring = False
        self._timer: Handle | None = None
        self._room: deque[Future[None]] = deque()
        self._paused = False
        self._socket: asyncio.Transport | None = None
        self._ended: Future[None] = loop.create_future()

    # -- callers
    # -------------------------------------------------------------------------------------------------

    def submit(self, request: bytes) -> Future[Reply]:
        """The future reply to one packed command; a server error is its result, a lost connection its
        exception.

        Raises ServerUnavailable if the connection is closed.
        """
        if self.closed:
            raise ServerUnavailable(f"the connection to {self._address} is closed")
        future: Future[Reply] = self._make_future(loop=self.loop)
        slots = self._slots
        if slots or self._several:
            self._outbox.append(request)
            if len(self._outbox) >= WRITE_AT:
                self._write_outbox()
            if not self._flush_scheduled:
                self._flush_scheduled = True
                self.loop.call_soon(self._flush)
        else:
            self._socket.write(request)  # type: ignore[union-attr]  # set since connection_made
        slots.append(future)
        if self._timer is None:
            self._timer = self.loop.call_later(CHECK_S, self._check)
        if len(slots) >= MAX_IN_FLIGHT:
            self.crowded = True
        return future

    async def room(self, timeout_s: float) -> None:
        """Comes back when the connection takes requests again, or is closed.  Raises ServerUnavailable."""
        waiter: Future[None] = self.loop.create_future()
        timer = self.loop.call_later(timeout_s, self._no_room, waiter)
        self._room.append(waiter)
        try:
            await waiter
        finally:
            timer.cancel()

    def retire(self) -> None:
        """Close the connection as soon as nothing is in flight."""
        self._retiring = True
        if not self._slots and self._socket is not None:
            self._flush()
            self._socket.close()

    def give_up(self, reason: str) -> None:
        """Close the connection now: it is of no use any more."""
        self._fail(ServerUnavailable(reason))

    @property
    def in_flight(self) -> int:
        """Requests that wait for their reply."""
        return len(self._slots)

    async def close(self) -> None:
        """Close the connection; unanswered requests fail with OutcomeUnknown."""
        if self._socket is not None:
            self._flush()
            self._socket.close()
            if not self._slots:
                await loops.wait({self._ended}, CLOSE_WITHIN_S)
            self._socket.abort()  # also what a TLS peer does not confirm in time
            await loops.wait({self._ended})

    # -- what asyncio calls
    # ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._socket = transport  # type: ignore[assignment]  # uvloop's is no subclass of asyncio.Transport
        stream = transport.get_extra_info("socket")
        if stream is not None and stream.family in {socket.AF_INET, socket.AF_INET6}:
            keep_alive(stream)

    def data_received(self, data: bytes) -> None:
        """Replies arrived: wake their callers."""
        damage: ProtocolError | None = None
        try:
            answered = self._pipeline.receive(data)
        except ProtocolError as exc:
            damage, answered = exc, exc.answered  # type: ignore[assignment]  # the slots are ours
        self.answered += len(answered)
        self._several = len(answered) > 1
        for future, reply in answered:
            if not future.done():  # a cancelled caller leaves its slot behind
                future.set_result(reply)
        if damage is not None:
            self._fail(damage)
        if self.crowded:
            self._make_room()
        if self._retiring:
            self.retire()

    def pause_writing(self) -> None:
        """The socket's buffer is full."""
        self._paused = self.crowded = True

    def resume_writing(self) -> None:
        """The socket's buffer has drained."""
        self._paused = False
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed; nothing more will be answered."""
        self._end(f"was lost ({exc})" if exc else "was closed by the server")

    # -- inside
    # ----------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._flush_scheduled = False
        self._several = False
        self._write_outbox()

    def _write_outbox(self) -> None:
        if self._outbox and self._socket is not None and not self.closed:
            self._socket.write(b"".join(self._outbox))
            self._outbox.clear()

    def _make_room(self) -> None:
        if self._paused or len(self._slots) > MAX_IN_FLIGHT // 2:
            return
        self.crowded = False
        while self._room:
            waiter = self._room.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _no_room(self, waiter: Future[None]) -> None:
        if not waiter.done():
            waiter.set_exception(
                ServerUnavailable(f"{len(self._slots)} requests wait for {self._address}: no room for another in time")
            )

    def _tell_slow(self, now_s: float) -> None:
        """Tell the watcher of requests that have been waiting for long.  A loop that stood still is not taken for a
        slow server: it reads what has arrived before it looks at its timers.
        """
        watcher = self._watcher
        if watcher is None:
            return
        sent = 0
        while self._young and self._young[0][0] <= now_s - watcher.slow_s:
            _, sent = self._young.popleft()
        slow = sent - max(self.answered, self._told)
        if slow > 0:
            self._told = sent
            watcher.heard_slow(slow, now_s)

    def _check(self) -> None:
        """Fail the requests that are older than the timeout; give up a connection that answered nothing
        meanwhile.
        """
        self._timer = None
        if not self._slots:
            self._marks.clear()
            self._young.clear()
            return
        now_s = self.loop.time()
        sent = self.answered + len(self._slots)
        self._marks.append((now_s, sent, self.answered))
        self._young.append((now_s, sent))
        self._tell_slow(now_s)
        sent, answered = 0, -1
        while self._marks and self._marks[0][0] <= now_s - self._timeout_s:
            _, sent, answered = self._marks.popleft()
        silent = f"{self._address} did not answer within {self._timeout_s:g} s"
        for index in range(min(sent - self.answered, len(self._slots))):
            if not self._slots[index].done():
                self._slots[index].set_exception(OutcomeUnknown(f"{silent}; the command may have run"))
        if answered == self.answered:
            self._fail(ServerUnavailable(silent))
            return
        self._timer = self.loop.call_later(CHECK_S, self._check)

    def _fail(self, exc: CoordkitError) -> None:
        """Close the connection because of `exc`."""
        if self._socket is not None:
            self._socket.abort()
        self._end(f"was given up: {exc}")

    def _end(self, reason: str) -> None:
        if self.closed:
            return
        self.closed = True
        unsent = len(self._outbox)
        slots = self._pipeline.abandon()
        for index, future in enumerate(slots):
            if future.done():
                continue
            if index < len(slots) - unsent:
                future.set_exception(
                    OutcomeUnknown(f"the connection to {self._address} {reason}; a command was sent and may have run")
                )
            else:
                future.set_exception(ServerUnavailable(f"the connection to {self._address} {reason}"))
        self._outbox.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._paused = False
        self._make_room()  # callers that waited here look for another connection
        if not self._ended.done():
            self._ended.set_result(None)
