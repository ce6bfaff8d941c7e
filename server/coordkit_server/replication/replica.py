"""One replica, or a client that prepares to be one: what it said about itself, and how far it has got.

WAIT_START   asked for the data; no child writes them yet
WAIT_END     a child writes them; the stream from that moment on is kept in `kept`
SENDING      the file of the data is being sent
ONLINE       the stream is sent as it comes
"""

import os
from typing import Final

from coordkit_server.session import Feeder, Session

WAIT_START: Final = 0
WAIT_END: Final = 1
SENDING: Final = 2
ONLINE: Final = 3
STATE_NAMES: Final = ["wait_bgsave", "wait_bgsave", "send_bulk", "online"]

SEND_SIZE: Final = 256 * 1024
_NO_FILE: Final = -1


class Replica(Feeder):
    """A session that follows the stream of changes."""

    def __init__(self, session: Session, now_us: int) -> None:
        self.session: Final = session
        self.state: int = WAIT_START
        self.listening_port: int = 0
        self.address: bytes = b""
        self.partial_resync: bool = False  # it sent PSYNC: it acknowledges what it has
        self.knows_replid: bool = False  # capability psync2: +CONTINUE names the replication ID
        self.data_only: bool = False  # rdb-only: it wants the data and no stream
        self.functions_only: bool = False  # rdb-filter-only functions
        self.acked: int = 0
        self.acked_fsync: int = 0
        self.ack_us: int = now_us
        self.kept: list[bytes] = []
        self.kept_bytes: int = 0
        self._file: int = _NO_FILE

    # -- the data ------------------------------------------------------------------------------------------------

    def send_file(self, path: str) -> None:
        """Start sending the file at `path`, whose name may go away at once."""
        self._file = os.open(path, os.O_RDONLY)
        self.state = SENDING
        self.session.out.append(b"$%d\r\n" % os.fstat(self._file).st_size)
        self.session.feeder = self
        self.session.sink.wake()

    def next_chunk(self) -> bytes:
        """Return more of the file, empty at its end; then what was kept of the stream follows."""
        if self._file == _NO_FILE:
            return b""
        chunk = os.read(self._file, SEND_SIZE)
        if not chunk:
            self.close()
            self.session.feeder = None
            self._go_online()
        return chunk

    def _go_online(self) -> None:
        """Send what was kept of the stream; from now on it is sent as it comes."""
        self.state = ONLINE
        if not self.data_only:
            self.session.out.extend(self.kept)
        self.kept = []
        self.kept_bytes = 0

    def close(self) -> None:
        """Give the file back."""
        if self._file != _NO_FILE:
            os.close(self._file)
            self._file = _NO_FILE

    # -- the stream ----------------------------------------------------------------------------------------------

    def feed(self, chunk: bytes) -> None:
        """Send or keep a part of the stream."""
        if self.state == ONLINE:
            if not self.data_only:
                self.session.out.append(chunk)
                self.session.sink.wake()
        elif self.state != WAIT_START and not self.data_only:
            self.kept.append(chunk)
            self.kept_bytes += len(chunk)

    def port(self) -> int:
        """Return the port that it listens on, as far as it told."""
        return self.listening_port

    def host(self) -> bytes:
        """Return its address: the one it told, else the one it connects from."""
        return self.address or self.session.address.rsplit(b":", 1)[0]
