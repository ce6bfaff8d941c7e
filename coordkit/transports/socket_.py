"""The blocking transport: a thread that calls gets a connection of its own for the time of the call.

Connections are kept for the next call.  One more connection, with one thread, serves all subscriptions
(`socket_subscriber`).  A forked child starts with none of its parent's connections.

One connection that all threads share was measured beside it, bare: 52,000 commands a second with 16 threads against
116,000, and 37,000 with 4 against 56,000.  Waking the thread that a reply belongs to costs more than the system calls
it saves; what costs a thread most is to wait for its turn to run Python after each of them (`stream`).
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence

from coordkit.errors import ClientClosed, CoordkitError, OutcomeUnknown, ServerError, ServerUnavailable
from coordkit.forks import forget_in_child
from coordkit.scripts import Args, Keys, Script
from coordkit.transports.address import Address, Endpoint, keep_alive, opening, refused_login, unreachable
from coordkit.transports.base import DEFAULT_TIMEOUT_S, Listener, Signal, refusal
from coordkit.transports.packing import ScriptCalls
from coordkit.transports.socket_subscriber import SocketSubscriber, ThreadSignal
from coordkit.transports.stream import stream_of
from coordkit.wire import ProtocolError, Replies, Reply, pack


class Connection:
    """One open connection: one request at a time."""

    def __init__(self, address: Address, deadline_s: float) -> None:
        self.address = address
        self.socket = connect(address, max(deadline_s - time.monotonic(), 0.001))
        self._replies = Replies()
        self._stream = stream_of(self.socket)
        try:
            self._open(deadline_s)
        except BaseException:
            self.close()
            raise

    def exchange(self, request: bytes, deadline_s: float) -> Reply:
        """The reply to one packed command; a server error is a value.

        Raises ServerUnavailable if the request was certainly not run, OutcomeUnknown if it may have been; the
        connection is then closed.
        """
        try:
            self._send(request, deadline_s)
            return self._receive(1, deadline_s)[0]
        except BaseException:  # also an interrupt: the reply is still to come and must reach nobody else
            self.close()
            raise

    def usable(self) -> bool:
        """Whether an idle connection is still good: nothing to read means that it is not closed."""
        return self._stream.quiet()

    def close(self) -> None:
        """Close it."""
        self.socket.close()

    def _send(self, request: bytes, deadline_s: float) -> None:
        try:
            self._stream.send(request, deadline_s)
        except OSError as exc:  # not all bytes left: the server cannot have run it
            raise ServerUnavailable(f"the connection to {self.address} broke: {exc}") from exc

    def _receive(self, count: int, deadline_s: float) -> list[Reply]:
        replies: list[Reply] = []
        timeout_s = max(deadline_s - time.monotonic(), 0.0)
        while len(replies) < count:
            try:
                data = self._stream.receive(deadline_s)
            except TimeoutError as exc:
                raise OutcomeUnknown(
                    f"{self.address} did not answer within {timeout_s:.3g} s; the command may have run"
                ) from exc
            except OSError as exc:
                raise OutcomeUnknown(
                    f"the connection to {self.address} was lost ({exc}); a command was sent and may have run"
                ) from exc
            if not data:
                raise OutcomeUnknown(
                    f"the connection to {self.address} was closed by the server; a command was sent and may have run"
                )
            try:
                replies += self._replies.feed(data)
            except ProtocolError as exc:
                raise OutcomeUnknown(f"{self.address} sent what is no reply; a command may have run: {exc}") from exc
        return replies

    def _open(self, deadline_s: float) -> None:
        """Log in.  One round trip."""
        commands = opening(self.address, resp3=False)  # one request at a time has no use for pushes
        try:
            self._send(b"".join(pack(command.argv) for command in commands), deadline_s)
            replies = self._receive(len(commands), deadline_s)
        except OutcomeUnknown as exc:
            raise ServerUnavailable(str(exc)) from exc
        if len(replies) > len(commands):  # whose answers these are cannot be told
            raise ServerUnavailable(f"{self.address} answered {len(commands)} commands {len(replies)} times")
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
        keep_alive(stream)
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
        self._closed = False
        self.on_deaf: Callable[[], None] | None = None
        """Called when a connection on which somebody listens is lost, by the thread that listens."""
        self._pack = ScriptCalls().pack
        forget_in_child(self._forget)

    def __str__(self) -> str:
        """Where the server is."""
        return str(self._endpoint)

    def group_of(self, key: bytes) -> int:  # noqa: ARG002 - one server holds all keys
        """Keys of one group may go into one script."""
        return 0

    # -- calls
    # ------------------------------------------------------------------------------------------------------

    def call(self, script: Script[object], keys: Keys, args: Args, deadline_s: float | None = None) -> object:
        """The reply of the script, in plain form.  A script the server does not know is sent in full: one
        more trip.
        """
        deadline_s = self._deadline_s(deadline_s)
        connection = self._take(deadline_s)
        reply = connection.exchange(self._pack(script, keys, args), deadline_s)
        if isinstance(reply, ServerError) and reply.code == "NOSCRIPT":
            reply = connection.exchange(pack((b"EVAL", script.text, len(keys), *keys, *args)), deadline_s)
        return self._given_back(connection, reply)

    def execute(self, argv: Sequence[bytes | str | int | float], deadline_s: float | None = None) -> object:
        """The reply of one command, in plain form."""
        deadline_s = self._deadline_s(deadline_s)
        connection = self._take(deadline_s)
        return self._given_back(connection, connection.exchange(pack(argv), deadline_s))

    def execute_asking(self, argv: Sequence[bytes | str | int | float], deadline_s: float | None = None) -> object:
        """The reply of one command of which the slot is on its way to this node."""
        deadline_s = self._deadline_s(deadline_s)
        connection = self._take(deadline_s)
        connection.exchange(pack(("ASKING",)), deadline_s)
        return self._given_back(connection, connection.exchange(pack(argv), deadline_s))

    def publish(self, channel: bytes, payload: bytes, deadline_s: float | None = None) -> int:
        """How many clients got the message."""
        receivers = self.execute(("PUBLISH", channel, payload), deadline_s)
        assert isinstance(receivers, int)
        return receivers

    def probe(self, timeout_s: float, place: str | None = None) -> None:  # noqa: ARG002 - there is one place only
        """Comes back if the server answers in time."""
        deadline_s = time.monotonic() + timeout_s
        connection = self._take(deadline_s)
        try:
            self._given_back(connection, connection.exchange(pack(("PING",)), deadline_s))
        except ServerError:
            return  # it answers, if not as one would like

    # -- subscriptions
    # ------------------------------------------------------------------------------------------------

    def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before."""
        with self._lock:
            if self._subscriber is None:
                self._subscriber = SocketSubscriber(
                    str(self._endpoint), self._timeout_s, self._open_socket, self.on_deaf
                )
            subscriber = self._subscriber
        return subscriber.subscribe(channel, listener, topic)

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Whether the channel is open already; then the listener is in.  Never waits."""
        return self._subscriber is not None and self._subscriber.listen(channel, listener, topic)

    def hears(self, channel: bytes) -> bool:
        """Whether the channel is open."""
        return self._subscriber is not None and self._subscriber.hears(channel)

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
        self._close_idle()
        self._endpoint.close()

    def _open_socket(self) -> socket.socket:
        return Connection(self._endpoint.resolve(), time.monotonic() + self._timeout_s).socket

    def _deadline_s(self, deadline_s: float | None) -> float:
        return time.monotonic() + self._timeout_s if deadline_s is None else deadline_s

    def _take(self, deadline_s: float) -> Connection:
        if self._closed:
            raise ClientClosed("the client is closed; make a new one")
        while True:
            try:
                connection = self._idle.pop()  # the one used last: the others may then be closed by the server
            except IndexError:
                return Connection(self._endpoint.resolve(), deadline_s)
            if connection.usable():
                return connection
            connection.close()

    def _given_back(self, connection: Connection, reply: Reply) -> Reply:
        """The reply; the connection serves the next caller.  Raises what an error reply stands for."""
        readonly = isinstance(reply, ServerError) and reply.code == "READONLY"
        if self._closed or readonly:  # of a server that became a replica nothing more is asked
            connection.close()
        else:
            self._idle.append(connection)
        if readonly:
            self._close_idle()
        if isinstance(reply, ServerError):
            raise refusal(reply)
        return reply

    def _close_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _forget(self) -> None:
        """In a forked child: two processes must not share a stream."""
        self._lock = threading.Lock()
        inherited, self._idle = self._idle, []
        for connection in inherited:
            with contextlib.suppress(OSError, CoordkitError):
                connection.close()  # closes this process's copy only
        self._subscriber = None
