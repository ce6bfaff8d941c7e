"""A socket that one thread at a time writes and reads, by a deadline.

Each system call lets the other threads of the process run, and a thread that made one has to wait for its turn again.
With many threads that wait is most of a call; Python's own timeouts make two system calls of each.  So on Linux a plain
socket is written without waiting, and read by one call that the kernel ends in time: with 16 threads of one process
that is two to three times as many calls a second.
"""

import _socket
import select
import socket
import ssl
import struct
import sys
import threading
import time
from typing import Final, Protocol

READ_SIZE: Final = 65536
LEAST_WAIT_S: Final = 0.001
SLACK_S: Final = 0.02
"""How much later than asked the kernel may end a wait: its timeout is set anew only when it is further off."""

PLAIN: Final[type] = _socket.socket
"""A socket of the interpreter's own.  What stands in for it where threads are not the system's (gevent) is none."""

ESTABLISHED: Final = b"\x01"
"""The state at the head of what the kernel tells of a TCP connection."""

LONGEST_POLL_S: Final = 2_000_000.0
"""Its milliseconds must fit into a C int."""


class Stream(Protocol):
    """Bytes out and in.  A deadline that passes is a TimeoutError, and a lost connection another OSError."""

    def send(self, data: bytes, deadline_s: float) -> None:
        """Write all of it."""

    def receive(self, deadline_s: float) -> bytes:
        """What came; nothing when the other side closed."""

    def quiet(self) -> bool:
        """Whether the connection is open and nothing is there to be read.  Never waits."""


class TimedStream:
    """Any socket, also TLS."""

    __slots__ = ("_poll", "_socket")

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._poll = readable(connection)

    def send(self, data: bytes, deadline_s: float) -> None:
        """Write all of it."""
        self._socket.settimeout(max(deadline_s - time.monotonic(), LEAST_WAIT_S))
        self._socket.sendall(data)

    def receive(self, deadline_s: float) -> bytes:
        """What came; nothing when the other side closed."""
        self._socket.settimeout(max(deadline_s - time.monotonic(), LEAST_WAIT_S))
        return self._socket.recv(READ_SIZE)

    def quiet(self) -> bool:
        """Whether the connection is open and nothing is there to be read."""
        return self._socket.fileno() >= 0 and not self._poll.poll(0)


class KernelTimedStream:
    """A plain socket on Linux."""

    __slots__ = ("_kernel_wait_s", "_poll", "_recv", "_send", "_socket", "_tcp")

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        self._socket = connection
        self._tcp = connection.family != socket.AF_UNIX
        self._send = connection.send
        self._recv = connection.recv
        self._poll = readable(connection)
        self._kernel_wait_s = 0.0

    def send(self, data: bytes, deadline_s: float) -> None:
        """Write all of it."""
        try:
            sent = self._send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:], deadline_s)

    def receive(self, deadline_s: float) -> bytes:
        """What came; nothing when the other side closed."""
        wait_s = max(deadline_s - time.monotonic(), LEAST_WAIT_S)
        if threading.get_ident() == threading.main_thread().ident:
            return self._receive_between_signals(wait_s)
        if not wait_s <= self._kernel_wait_s <= wait_s + SLACK_S:
            self._kernel_wait_s = wait_s + SLACK_S / 2
            micros = int(self._kernel_wait_s * 1e6)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", *divmod(micros, 10**6)))
        try:
            return self._recv(READ_SIZE)
        except BlockingIOError as exc:
            raise TimeoutError("timed out") from exc

    def quiet(self) -> bool:
        """Whether the connection is open and nothing is there to be read."""
        if self._socket.fileno() < 0:
            return False
        if self._tcp:  # this call alone does not let other threads run; a reply nobody waits for does not exist
            return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == ESTABLISHED
        return not self._poll.poll(0)

    def _receive_between_signals(self, wait_s: float) -> bytes:
        """The same in the main thread, which signals interrupt: the kernel's wait would then begin anew."""
        if not self._poll.poll(min(wait_s, LONGEST_POLL_S) * 1000):
            raise TimeoutError("timed out")
        return self._recv(READ_SIZE)

    def _send_rest(self, data: memoryview, deadline_s: float) -> None:
        try:
            self._socket.settimeout(max(deadline_s - time.monotonic(), LEAST_WAIT_S))
            self._socket.sendall(data)
        finally:
            self._socket.settimeout(None)


def readable(connection: socket.socket) -> select.poll:
    """What tells whether there is anything to read."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return poll


def stream_of(connection: socket.socket) -> Stream:
    """The quickest there is for the socket."""
    plain = isinstance(connection, PLAIN) and not isinstance(connection, ssl.SSLSocket)
    if plain and sys.platform == "linux" and sys.maxsize > 2**32:  # elsewhere the kernel's timeval may look otherwise
        return KernelTimedStream(connection)
    return TimedStream(connection)
