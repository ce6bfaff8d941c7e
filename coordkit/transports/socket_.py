"""The blocking transport: a thread that calls gets a connection of its own for the time of the call.

Connections are kept for the next call.  One more connection, with one thread, serves all subscriptions
(`socket_subscriber`).  A forked child starts with none of its parent's connections.
"""

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Sequence

from coordkit.errors import CoordkitError, OutcomeUnknown, ServerError, ServerUnavailable
from coordkit.scripts import Args, Keys, Script
from coordkit.transports.address import Address, Endpoint, opening, refused_login, unreachable
from coordkit.transports.base import DEFAULT_TIMEOUT_S, Listener, Signal, refusal
from coordkit.transports.socket_subscriber import SocketSubscriber, ThreadSignal
from coordkit.wire import Replies, Reply, pack

READ_SIZE = 65536


class Connection:
    """One open connection: one request at a time."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self.address = address
        self.socket = connect(address, timeout_s)
        self._timeout_s = timeout_s
        self._replies = Replies()
        self._poll = select.poll()
        self._poll.register(self.socket, select.POLLIN)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def exchange(self, request: bytes, *, timeout_s: float) -> Reply:
        """The reply to one packed command; a server error is a value.

        Raises ServerUnavailable if the request was certainly not run, OutcomeUnknown if it may have been; the
        connection is then closed.
        """
        try:
            self._send(request)
            return self._receive(1, timeout_s)[0]
        except BaseException:  # also an interrupt: the reply is still to come and must reach nobody else
            self.close()
            raise

    def usable(self) -> bool:
        """Whether an idle connection is still good: nothing to read means that it is not closed."""
        return self.socket.fileno() >= 0 and not self._poll.poll(0)

    def close(self) -> None:
        """Close it."""
        self.socket.close()

    def _send(self, request: bytes) -> None:
        try:
            self.socket.sendall(request)
        except OSError as exc:  # not all bytes left: the server cannot have run it
            raise ServerUnavailable(f"the connection to {self.address} broke: {exc}") from exc

    def _receive(self, count: int, timeout_s: float) -> list[Reply]:
        replies: list[Reply] = []
        self.socket.settimeout(timeout_s)
        while len(replies) < count:
            try:
                data = self.socket.recv(READ_SIZE)
            except TimeoutError as exc:
                raise OutcomeUnknown(
                    f"{self.address} did not answer within {timeout_s:g} s; the command may have run"
                ) from exc
            except OSError as exc:
                raise OutcomeUnknown(
                    f"the connection to {self.address} was lost ({exc}); a command was sent and may have run"
                ) from exc
            if not data:
                raise OutcomeUnknown(
                    f"the connection to {self.address} was closed by the server; a command was sent and may have run"
                )
            replies += self._replies.feed(data)
        return replies

    def _open(self) -> None:
        """Log in.  One round trip."""
        commands = opening(self.address, resp3=False)  # one request at a time has no use for pushes
        try:
            self._send(b"".join(pack(command.argv) for command in commands))
            replies = self._receive(len(commands), self._timeout_s)
        except OutcomeUnknown as exc:
            raise ServerUnavailable(str(exc)) from exc
        for command, reply in zip(commands, replies, strict=True):
            if command.required and isinstance(reply, ServerError):
                raise refused_login(self.address, command.argv[0], reply)


def connect(address: Address, timeout_s: float) -> socket.socket:
    """An open socket.  Raises ServerUnavailable."""
    try:
        if address.path is not None:
            local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                local.settimeout(timeout_s)
                local.connect(address.path)
            except BaseException:
                local.close()
                raise
            return local
        stream = socket.create_connection((address.host, address.port), timeout=timeout_s)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        context = address.tls_context()
        if context is None:
            return stream
        try:
            return context.wrap_socket(stream, server_hostname=address.host)
        except BaseException:
            stream.close()
            raise
    except OSError as exc:
        raise unreachable(address, exc, timeout_s) from exc


class SocketTransport:
    """Calls and subscriptions on one server, from any number of threads."""

    def __init__(self, endpoint: Endpoint, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._idle: list[Connection] = []
        self._subscriber: SocketSubscriber | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._closed = False

    # -- calls
    # ------------------------------------------------------------------------------------------------------

    def call(self, script: Script[object], keys: Keys, args: Args) -> object:
        """The reply of the script, in plain form.  A script the server does not know is sent in full: one
        more trip.
        """
        connection = self._take()
        tail = (len(keys), *keys, *args)
        reply = connection.exchange(pack(("EVALSHA", script.sha1, *tail)), timeout_s=self._timeout_s)
        if isinstance(reply, ServerError) and reply.code == "NOSCRIPT":
            reply = connection.exchange(pack(("EVAL", script.text, *tail)), timeout_s=self._timeout_s)
        self._give_back(connection)
        if isinstance(reply, ServerError):
            raise refusal(reply)
        return reply

    def execute(self, argv: Sequence[bytes | str | int | float]) -> object:
        """The reply of one command, in plain form."""
        connection = self._take()
        reply = connection.exchange(pack(argv), timeout_s=self._timeout_s)
        self._give_back(connection)
        if isinstance(reply, ServerError):
            raise refusal(reply)
        return reply

    def publish(self, channel: bytes, payload: bytes) -> int:
        """How many clients got the message."""
        receivers = self.execute(("PUBLISH", channel, payload))
        assert isinstance(receivers, int)
        return receivers

    # -- subscriptions
    # ------------------------------------------------------------------------------------------------

    def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before."""
        self._check_process()
        with self._lock:
            if self._subscriber is None:
                self._subscriber = SocketSubscriber(str(self._endpoint), self._timeout_s, lambda: self._open().socket)
            subscriber = self._subscriber
        return subscriber.subscribe(channel, listener, topic)

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Whether the channel is open already; then the listener is in.  Never waits."""
        self._check_process()
        return self._subscriber is not None and self._subscriber.listen(channel, listener, topic)

    def unsubscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> None:
        """Stop listening; never waits."""
        if self._subscriber is not None:
            self._subscriber.unsubscribe(channel, listener, topic)

    def signal(self) -> Signal:
        """A new signal, to be passed to `subscribe`."""
        return ThreadSignal()

    # -- time and life
    # ------------------------------------------------------------------------------------------------

    def sleep(self, seconds: float) -> None:
        """Block the thread for `seconds`."""
        time.sleep(seconds)

    def monotonic(self) -> float:
        """The system's monotonic time in seconds."""
        return time.monotonic()

    def close(self) -> None:
        """Close all connections; calls that are under way in other threads end first."""
        self._closed = True
        if self._subscriber is not None:
            self._subscriber.close()
        while self._idle:
            self._idle.pop().close()
        self._endpoint.close()

    def _open(self) -> Connection:
        return Connection(self._endpoint.resolve(), self._timeout_s)

    def _take(self) -> Connection:
        if self._closed:
            raise ServerUnavailable("the client is closed; make a new one")
        self._check_process()
        while True:
            try:
                connection = self._idle.pop()  # the one used last: the others may then be closed by the server
            except IndexError:
                return self._open()
            if connection.usable():
                return connection
            connection.close()

    def _give_back(self, connection: Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)

    def _check_process(self) -> None:
        """In a forked child, forget the parent's connections: two processes must not share a stream."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._lock = threading.Lock()
        inherited, self._idle = self._idle, []
        for connection in inherited:
            with contextlib.suppress(OSError, CoordkitError):
                connection.close()  # closes this process's copy only
        self._subscriber = None
