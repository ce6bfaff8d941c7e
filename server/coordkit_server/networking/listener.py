"""Listening sockets: TCP on each bound address, a unix socket, and the owner socket of an embedded server."""

import os
import socket
from typing import Final

from mypy_extensions import trait

from coordkit_server.networking.eventloop import EventLoop, Handler

ACCEPT_BATCH: Final = 1000


@trait
class Acceptor:
    """Takes new connections, and hears of those that cannot be had."""

    def accepted(self, sock: socket.socket) -> None:
        """Own the connected, non-blocking `sock`."""
        raise NotImplementedError

    def accept_failed(self, reason: str) -> None:
        """Tell that a connection cannot be had; called again and again while there is one that waits."""
        raise NotImplementedError


class Listener(Handler):
    """A listening socket in the event loop."""

    def __init__(self, sock: socket.socket, acceptor: Acceptor) -> None:
        self.socket: Final = sock
        self._acceptor: Final = acceptor

    def on_readable(self) -> None:
        """Accept what has connected."""
        for _ in range(ACCEPT_BATCH):
            try:
                sock, _address = self.socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # out of descriptors or aborted by the peer: the rest waits for the next turn
                self._acceptor.accept_failed(error.strerror or str(error))
                return
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._acceptor.accepted(sock)

    def on_writable(self) -> None:
        """Do nothing: listeners are watched for reading only."""

    def close(self, loop: EventLoop) -> None:
        """Leave the loop and close."""
        loop.remove(self.socket.fileno())
        self.socket.close()


def bind_tcp(address: str, port: int, backlog: int) -> socket.socket:
    """Return a listening TCP socket.  Raises OSError if the address cannot be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def bind_addresses(addresses: str, port: int, backlog: int) -> list[socket.socket]:
    """Return a listening TCP socket for each of the `addresses` (`*` for all, a leading `-`: it may be missing).

    Port 0: none.  Raises OSError with the address as `filename`; then none is listening."""
    sockets: list[socket.socket] = []
    for word in addresses.split() if port else []:
        address = word.lstrip("-").replace("*", "0.0.0.0")  # noqa: S104 - what `*` means in redis.conf
        try:
            sockets.append(bind_tcp(address, port, backlog))
        except OSError as error:
            if not word.startswith("-"):
                for sock in sockets:
                    sock.close()
                raise OSError(error.errno, error.strerror, address) from error
    return sockets


def bind_unix(path: str, permissions: int, backlog: int) -> socket.socket:
    """Return a listening unix socket at `path`, replacing a stale one.  Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.exists(path):
            os.unlink(path)
        sock.bind(path)
        if permissions:
            os.chmod(path, permissions)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
