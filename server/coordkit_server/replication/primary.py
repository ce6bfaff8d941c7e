"""The primary's side of replication: full and partial resynchronization, the stream, acknowledgements.

Map: SnapshotWriter, FullSync (the child), Primary: attaching replicas, the data, the stream, acknowledgements,
periodic work.

A replica that is new gets the data as a forked child sees them, then the stream from the moment of the fork on.  One
that was away for a short time gets the stream from its offset on, as long as the backlog reaches back so far.  What a
turn of the event loop yields is sent as one chunk.
"""

import os
from contextlib import suppress
from random import Random
from typing import Final

from mypy_extensions import trait

from coordkit_server.children import ChildRunner, ChildTask
from coordkit_server.clock import Clock
from coordkit_server.config import Config
from coordkit_server.keyspace.database import KeyspaceState
from coordkit_server.keyspace.propagation import StreamSink, select_bytes
from coordkit_server.log import Log
from coordkit_server.replication.backlog import Backlog
from coordkit_server.replication.replica import ONLINE, WAIT_END, WAIT_START, Replica
from coordkit_server.session import Session

_NOT_SELECTED: Final = -1
_PING: Final = b"*1\r\n$4\r\nPING\r\n"
_GETACK: Final = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n"


@trait
class SnapshotWriter:
    """Writes the data to a file."""

    def write_snapshot(self, path: str, *, functions_only: bool) -> None:
        """Write everything (or the libraries of functions) to `path`.  Raises OSError."""
        raise NotImplementedError


class FullSync(ChildTask):
    """The child that writes the data for replicas."""

    def __init__(self, primary: "Primary", writer: SnapshotWriter, path: str, *, functions_only: bool) -> None:
        self._primary: Final = primary
        self._writer: Final = writer
        self.path: Final = path
        self.functions_only: Final = functions_only

    def purpose(self) -> str:
        """Return what the child is for."""
        return "save"

    def run_in_child(self) -> None:
        """Write the file."""
        self._writer.write_snapshot(self.path, functions_only=self.functions_only)

    def child_ended(self, succeeded: bool) -> None:
        """Send the file to those who wait for it."""
        self._primary.snapshot_ready(self.path, succeeded)


class Primary(StreamSink):
    """The replicas of this server."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        random: Random,
        log: Log,
        state: KeyspaceState,
        children: ChildRunner,
        writer: SnapshotWriter,
    ) -> None:
        self._config: Final = config
        self._clock: Final = clock
        self._random: Final = random
        self._log: Final = log
        self._state: Final = state
        self._propagation: Final = state.propagation
        self._children: Final = children
        self._writer: Final = writer
        self.replid: bytes = b"%040x" % random.getrandbits(160)
        self.offset: int = 0
        self.backlog: Backlog | None = None
        self.replicas: dict[int, Replica] = {}  # by client: those that follow
        self.preparing: dict[int, Replica] = {}  # by client: those that sent REPLCONF only
        self.full_syncs: int = 0
        self.partial_syncs: int = 0
        self.refused_syncs: int = 0
        self._turn: list[bytes] = []  # the stream of this turn
        self._selected: int = _NOT_SELECTED
        self._ack_wanted: bool = False
        self._alone_since_us: int = 0
        self._pinged_us: int = 0

    # -- attaching -----------------------------------------------------------------------------------------------

    def prepared(self, session: Session) -> Replica:
        """Return what is known of the session as a replica, made if it is new."""
        replica = self.replicas.get(session.id) or self.preparing.get(session.id)
        if replica is None:
            replica = Replica(session, self._clock.monotonic_us())
            self.preparing[session.id] = replica
        return replica

    def forget(self, session: Session) -> None:
        """Drop what is kept for a client that has gone."""
        self.preparing.pop(session.id, None)
        replica = self.replicas.pop(session.id, None)
        if replica is not None:
            replica.close()
            self._log.notice("Connection with replica %s lost." % _name(replica))
            self.check_replicas()
            if not self.replicas:
                self._alone_since_us = self._clock.monotonic_us()

    def change_id(self) -> None:
        """Begin a new history: replicas that knew the old one synchronise in full."""
        self.replid = b"%040x" % self._random.getrandbits(160)

    def resynchronize(self, session: Session, replid: bytes, offset: int) -> None:
        """Attach a replica that has followed `replid` up to `offset` (PSYNC)."""
        replica = self.prepared(session)
        replica.partial_resync = True
        self.flush_turn()
        backlog = self.backlog
        if backlog is not None and replid == self.replid and backlog.holds(offset):
            self._adopt(replica)
            replica.state = ONLINE
            session.out.append(b"+CONTINUE %b\r\n" % self.replid if replica.knows_replid else b"+CONTINUE\r\n")
            session.out.extend(backlog.since(offset))
            session.sink.wake()
            self.partial_syncs += 1
            self._log.notice(
                "Partial resynchronization request from %s accepted. "
                "Sending %d bytes of backlog starting from offset %d." % (_name(replica), backlog.end - offset, offset)
            )
            return
        if replid != b"?":
            self.refused_syncs += 1
        self.attach(session)

    def attach(self, session: Session) -> None:
        """Attach a replica that needs all data (SYNC, or PSYNC that cannot be partial)."""
        replica = self.prepared(session)
        self._adopt(replica)
        self.full_syncs += 1
        replica.state = WAIT_START
        self._log.notice("Full resync requested by replica %s" % _name(replica))
        self.start_waiting()

    def _adopt(self, replica: Replica) -> None:
        """Count the session among the replicas."""
        session = replica.session
        self.preparing.pop(session.id, None)
        session.is_replica = True
        replica.ack_us = self._clock.monotonic_us()
        if not self.replicas:
            self._pinged_us = replica.ack_us
        self.replicas[session.id] = replica
        if self.backlog is None:
            self.replid = b"%040x" % self._random.getrandbits(160)
            self.backlog = Backlog(self.offset + 1, self._config.number("repl-backlog-size"))
        self._propagation.listen_replicas(self)
        self._propagation.replica_position = self.offset

    # -- the data ------------------------------------------------------------------------------------------------

    def start_waiting(self) -> None:
        """Fork a child for the replicas that wait for one, unless another child is at work."""
        waiting = [replica for replica in self.replicas.values() if replica.state == WAIT_START]
        if not waiting or self._children.child_running():
            return
        self.flush_turn()
        functions_only = waiting[0].functions_only
        path = "temp-repl-%d.rdb" % os.getpid()
        self._log.notice("Starting BGSAVE for SYNC with target: disk")
        if not self._children.start_child(FullSync(self, self._writer, path, functions_only=functions_only)):
            for replica in waiting:
                replica.session.sink.close_now()
            return
        self._selected = _NOT_SELECTED  # the new replicas have selected nothing
        for replica in waiting:
            if replica.functions_only == functions_only:
                replica.state = WAIT_END
                if replica.partial_resync:
                    replica.session.out.append(b"+FULLRESYNC %b %d\r\n" % (self.replid, self.offset))
                    replica.session.sink.wake()

    def snapshot_ready(self, path: str, succeeded: bool) -> None:
        """Send the file at `path` to those who wait for it."""
        for replica in list(self.replicas.values()):
            if replica.state != WAIT_END:
                continue
            if succeeded:
                replica.send_file(path)
            else:
                self._log.warning("SYNC failed. BGSAVE child returned an error")
                replica.session.sink.close_now()
        with suppress(OSError):  # a child that failed may have left nothing
            os.unlink(path)
        self.start_waiting()

    # -- the stream ----------------------------------------------------------------------------------------------

    def feed(self, db_index: int, wire: bytes) -> int:
        """Append the command `wire` for database `db_index` (-1: any); return the offset after it."""
        if db_index >= 0 and db_index != self._selected:
            self._selected = db_index
            select = select_bytes(db_index)
            self._turn.append(select)
            self.offset += len(select)
        self._turn.append(wire)
        self.offset += len(wire)
        return self.offset

    def flush_turn(self) -> None:
        """Hand what this turn has brought to the replicas and the backlog; ask for acknowledgements if wanted."""
        if self._ack_wanted:
            self._ack_wanted = False
            if self.replicas:
                self.feed(_NOT_SELECTED, _GETACK)
        if not self._turn:
            return
        chunk = self._turn[0] if len(self._turn) == 1 else b"".join(self._turn)
        self._turn = []
        if self.backlog is not None:
            self.backlog.append(chunk)
        for replica in self.replicas.values():
            replica.feed(chunk)

    # -- acknowledgements ----------------------------------------------------------------------------------------

    def acknowledged(self, session: Session, offset: int, fsync_offset: int) -> None:
        """Note how far a replica has got (REPLCONF ACK); `fsync_offset` -1: it does not say."""
        replica = self.replicas.get(session.id)
        if replica is not None:
            replica.acked = max(replica.acked, offset)
            replica.acked_fsync = max(replica.acked_fsync, fsync_offset)
            replica.ack_us = self._clock.monotonic_us()

    def want_acknowledgements(self) -> None:
        """Ask all replicas at the end of this turn how far they are."""
        self._ack_wanted = True

    def count_acknowledged(self, offset: int) -> int:
        """Return how many replicas have the stream up to `offset`."""
        count = 0
        for replica in self.replicas.values():
            if replica.state == ONLINE and replica.acked >= offset:
                count += 1
        return count

    def count_fsynced(self, offset: int) -> int:
        """Return how many replicas have the stream up to `offset` on disk."""
        count = 0
        for replica in self.replicas.values():
            if replica.state == ONLINE and replica.acked_fsync >= offset:
                count += 1
        return count

    # -- periodic work -------------------------------------------------------------------------------------------

    def run_cron(self) -> None:
        """Ping the replicas, close those that are silent, forget the backlog that nobody comes back for."""
        self.check_replicas()
        if self.backlog is None:
            return
        now_us = self._clock.monotonic_us()
        if not self.replicas:
            ttl_us = self._config.number("repl-backlog-ttl") * 1_000_000
            if ttl_us and now_us - self._alone_since_us > ttl_us:
                self.backlog = None
                self._propagation.listen_replicas(None)
            return
        self.backlog.limit_bytes = self._config.number("repl-backlog-size")
        self.backlog.trim()
        if now_us - self._pinged_us >= self._config.number("repl-ping-replica-period") * 1_000_000:
            self._pinged_us = now_us
            self._ping()
        self._close_silent(now_us - self._config.number("repl-timeout") * 1_000_000)
        self.start_waiting()

    def check_replicas(self) -> None:
        """Refuse writes while fewer than min-replicas-to-write follow with an acceptable lag."""
        wanted = self._config.number("min-replicas-to-write")
        lag_us = self._config.number("min-replicas-max-lag") * 1_000_000
        missing = False
        if wanted and lag_us:
            oldest_us = self._clock.monotonic_us() - lag_us
            good = 0
            for replica in self.replicas.values():
                if replica.state == ONLINE and replica.ack_us >= oldest_us:
                    good += 1
            missing = good < wanted
        if missing != self._state.replicas_missing:
            self._state.note_replicas(missing)

    def _ping(self) -> None:
        """Show the replicas that the primary lives."""
        self.feed(_NOT_SELECTED, _PING)
        for replica in self.replicas.values():
            if replica.state == WAIT_START or (replica.state == WAIT_END and replica.partial_resync):
                replica.session.out.append(b"\n")
                replica.session.sink.wake()

    def _close_silent(self, oldest_us: int) -> None:
        """Close replicas that acknowledge, but have not done so since `oldest_us`."""
        for replica in list(self.replicas.values()):
            if replica.state == ONLINE and replica.partial_resync and replica.ack_us < oldest_us:
                self._log.warning("Disconnecting timedout replica (streaming sync): %s" % _name(replica))
                replica.session.sink.close_now()


def _name(replica: Replica) -> str:
    """Return the replica's address for the log."""
    return "%s:%d" % (replica.host().decode("utf-8", "replace"), replica.port())
