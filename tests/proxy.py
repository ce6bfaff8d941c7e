"""A TCP proxy that misbehaves on command, between a client and a server: cuts, silence, lost replies, slow drips."""

import contextlib
import socket
import struct
import threading
import time
from typing import Self

DRIP_S = 0.02


class FaultyProxy:
    """Forwards to one server on loopback until told otherwise.  Use as a context manager.

    `cut()` closes every connection, `reset()` with a RST, `half_close()` only towards the clients; `refuse` closes new
    ones at once; `deaf` drops what clients send; `mute` drops what the server answers; `blackhole` both, and lets new
    connections wait; `delay_s` holds every answer back, `late_s` every request; `drip` sends answers byte by byte;
    `truncate` cuts each connection in the middle of its next answer; `twice` sends every answer two times."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.refuse = False
        self.deaf = False
        self.mute = False
        self.blackhole = False
        self.delay_s = 0.0
        self.late_s = 0.0
        self.held: set[int] = set()
        """The threads that hold a request back."""
        self.drip = False
        self.truncate = False
        self.twice = False
        self.accepted = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self._closed = False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def heal(self) -> None:
        """Behave from now on.  Connections that lost bytes are cut, as their streams are of no use any more."""
        lossy = self.deaf or self.mute or self.blackhole or self.twice
        self.refuse = self.deaf = self.mute = self.blackhole = self.drip = self.truncate = self.twice = False
        self.delay_s = self.late_s = 0.0
        if lossy:
            self.cut()

    def cut(self) -> None:
        """Close every connection, as a failing network device does."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """End every connection with a RST."""
        pairs, self._pairs = self._pairs, []
        for client, server in pairs:
            with contextlib.suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            for end in (server, client):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RD)
                    end.close()

    def half_close(self) -> None:
        """Tell the clients that nothing more will come; what they send is still taken."""
        pairs, self._pairs = self._pairs, []
        for client, _ in pairs:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _spawn(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)  # type: ignore[arg-type]  # any callable
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.refuse or self._closed:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((client, server))
            self._spawn(self._pump, client, server, "deaf")
            self._spawn(self._pump, server, client, "mute")

    def _pump(self, source: socket.socket, sink: socket.socket, dropped_while: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.blackhole or getattr(self, dropped_while):
                    continue
                if dropped_while == "deaf":
                    self._request(sink, data)
                elif not self._answer(sink, data):
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()

    def _request(self, sink: socket.socket, data: bytes) -> None:
        """Pass a request on, however late, and whether or not anybody still waits for its answer."""
        if self.late_s:
            me = threading.get_ident()
            self.held.add(me)
            try:
                time.sleep(self.late_s)
                sink.sendall(data)
            finally:
                self.held.discard(me)
        else:
            sink.sendall(data)

    def _answer(self, sink: socket.socket, data: bytes) -> bool:
        """Pass an answer on, as well as it goes; False ends the connection."""
        if self.delay_s:
            time.sleep(self.delay_s)
        if self.truncate:
            sink.sendall(data[: len(data) // 2])
            return False
        if self.drip:
            for at in range(len(data)):
                sink.sendall(data[at : at + 1])
                if self.drip:
                    time.sleep(DRIP_S)
            return True
        sink.sendall(data + data if self.twice else data)
        return True
