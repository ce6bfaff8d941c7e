"""The subscription connection of a blocking client: one thread reads and writes it, all other threads only
ask it to.

A channel is subscribed once however many listeners it has.  After a lost connection all channels are
subscribed again, and each listener is told that there was a gap.
"""

import contextlib
import logging
import random
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from coordkit.errors import CoordkitError, ServerUnavailable
from coordkit.transports.base import Listener
from coordkit.transports.subscriptions import LINGER_S, Subscriptions
from coordkit.wire import ProtocolError, Replies, Reply, pack

log = logging.getLogger("coordkit")

KEEPALIVE_S: Final = 15.0
RECONNECT_FIRST_S: Final = 0.05
RECONNECT_MAX_S: Final = 0.5
READ_SIZE: Final = 65536


class ThreadSignal:
    """A flag that a thread can wait for; set by any message or gap."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def on_message(self, channel: bytes, payload: bytes) -> None:  # noqa: ARG002 - that it came is all that counts
        """A message arrived."""
        self._event.set()

    def on_gap(self) -> None:
        """Messages may have been missed: the waiter has to look."""
        self._event.set()

    def on_close(self) -> None:
        """Nothing more will come: the waiter has to look, and will hear that from the client."""
        self._event.set()

    def wait(self, timeout_s: float | None) -> bool:
        """True if a message came since the last wait; False if `timeout_s` passed first."""
        raised = self._event.wait(timeout_s)
        self._event.clear()
        return raised


class SocketSubscriber:
    """All subscriptions of one blocking client."""

    def __init__(
        self,
        address: str,
        timeout_s: float,
        open_socket: Callable[[], socket.socket],
        on_deaf: Callable[[], None] | None = None,
    ) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._open_socket = open_socket
        self._on_deaf = on_deaf
        self._lock = threading.Lock()  # guards the book, the confirmations and the outbox
        self._book = Subscriptions()
        self._confirmations: dict[bytes, threading.Event] = {}
        self._outbox: list[bytes] = []
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._connected = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coordkit-subscriptions", daemon=True)
        self._thread.start()

    def subscribe(self, name: bytes, listener: Listener, topic: bytes | None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before.

        Raises ServerUnavailable if it is not confirmed within the timeout.
        """
        with self._lock:
            channel, new = self._book.add(name, listener, topic)
            if channel.confirmed:
                return False
            confirmation = self._confirmations.setdefault(name, threading.Event())
            if new and self._connected:
                self._outbox.append(pack(("SUBSCRIBE", name)))
        self._wake()
        try:
            confirmed = confirmation.wait(self._timeout_s)
        except BaseException:
            self.unsubscribe(name, listener, topic)
            raise
        if not confirmed:
            self.unsubscribe(name, listener, topic)
            raise ServerUnavailable(
                f"{self._address} did not confirm the subscription to {name!r} within {self._timeout_s:g} s"
            )
        return True

    def listen(self, name: bytes, listener: Listener, topic: bytes | None) -> bool:
        """Whether the channel is open already; then the listener is in."""
        with self._lock:
            return self._book.add_if_open(name, listener, topic)

    def hears(self, name: bytes) -> bool:
        """Whether the channel is open."""
        with self._lock:
            return self._book.is_open(name)

    def unsubscribe(self, name: bytes, listener: Listener, topic: bytes | None) -> None:
        """Stop listening.  A channel that waiters share is kept for a while, in case one comes back to it."""
        with self._lock:
            idle = self._book.remove(name, listener, topic, now_s=time.monotonic())
        if idle:
            self._wake()

    def close(self) -> None:
        """End the thread and its connection; listeners hear that, and nothing more."""
        self._closed.set()
        with self._lock:
            self._book.close()
        self._wake()
        if self._thread is not threading.current_thread():
            self._thread.join(self._timeout_s)
        self._wake_out.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # a full pipe wakes as well; a closed one has nobody to wake
            self._wake_out.send(b".")

    # -- the thread
    # ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause_s = RECONNECT_FIRST_S
        while not self._closed.is_set():
            if not self._wanted():
                self._rest(None)
                continue
            try:
                connection = self._open_socket()
            except CoordkitError as exc:
                log.warning("subscriptions wait for the server: %s", exc)
                self._rest(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, RECONNECT_MAX_S)
                continue
            pause_s = RECONNECT_FIRST_S
            try:
                self._serve(connection)
            except (OSError, ProtocolError) as exc:
                if not self._closed.is_set():
                    log.warning("the subscription connection to %s was lost: %s", self._address, exc)
            finally:
                connection.close()
                with self._lock:
                    self._connected = False
                    self._book.lost()
                if self._on_deaf is not None and self._wanted():
                    self._on_deaf()
        self._wake_in.close()

    def _wanted(self) -> bool:
        with self._lock:
            return bool(self._book.channels)

    def _rest(self, timeout_s: float | None) -> None:
        """Wait to be woken, at most `timeout_s`."""
        select.select([self._wake_in], [], [], timeout_s)
        self._drain_wakes()

    def _drain_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_in.recv(4096):
                pass

    def _serve(self, connection: socket.socket) -> None:
        """Read and write until the connection is lost (OSError, ProtocolError) or the client closed."""
        connection.setblocking(False)
        replies = Replies()
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        poll.register(self._wake_in, select.POLLIN)
        with self._lock:
            self._connected = True
            self._outbox = [pack(("SUBSCRIBE", *self._book.channels))] if self._book.channels else []
        heard_s, asked = time.monotonic(), False
        while not self._closed.is_set():
            self._write(connection)
            ready = poll.poll(LINGER_S * 1000)
            self._drain_wakes()
            now_s = time.monotonic()
            if any(number == connection.fileno() for number, _ in ready):
                heard_s, asked = now_s, False
                for data in _received(connection):
                    for reply in replies.feed(data):
                        self._on_reply(reply)
            elif now_s - heard_s > 2 * KEEPALIVE_S:
                raise OSError(f"silent for {2 * KEEPALIVE_S:g} s")
            elif now_s - heard_s > KEEPALIVE_S and not asked:
                asked = True
                self._queue(pack(("PING",)))
            self._drop_idle(now_s)

    def _queue(self, request: bytes) -> None:
        with self._lock:
            self._outbox.append(request)

    def _write(self, connection: socket.socket) -> None:
        with self._lock:
            data, self._outbox = b"".join(self._outbox), []
        if data:
            connection.setblocking(True)
            connection.settimeout(self._timeout_s)
            connection.sendall(data)
            connection.setblocking(False)

    def _on_reply(self, reply: Reply) -> None:
        if not isinstance(reply, list) or len(reply) < 3:
            return  # the answer to PING
        kind, name, payload = reply[0], reply[1], reply[2]
        with self._lock:
            if kind == b"message":
                self._book.dispatch(name, payload)
            elif kind == b"subscribe":
                self._book.confirm(name)
                if confirmation := self._confirmations.pop(name, None):
                    confirmation.set()

    def _drop_idle(self, now_s: float) -> None:
        with self._lock:
            idle = self._book.drop_idle(now_s=now_s)
            if idle:
                self._outbox.append(pack(("UNSUBSCRIBE", *idle)))


def _received(connection: socket.socket) -> Iterator[bytes]:
    """What can be read now, piece by piece.  Raises OSError when the server closed the connection."""
    while True:
        try:
            data = connection.recv(READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        if not data:
            raise ConnectionResetError("closed by the server")
        yield data
