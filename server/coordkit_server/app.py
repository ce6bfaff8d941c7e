"""Composition root: makes the services, wires them, and runs the event loop.

Map: ServerOptions -> Server (listeners, connections, control), Server.run.  The command line and the configuration
file are read in `__main__` and `configfile`, which stay interpreted.
"""

import gc
import os
import socket
from contextlib import suppress
from random import Random
from typing import Final

from coordkit_server.access.users import UserError, Users
from coordkit_server.clock import Clock
from coordkit_server.commands.accounts import greet, users_changed
from coordkit_server.commands.acl_files import load_file
from coordkit_server.commands.aof import load_files
from coordkit_server.commands.library_store import ScriptLibraries
from coordkit_server.commands.permissions import TableCatalog
from coordkit_server.commands.replication import serve_waiting
from coordkit_server.commands.table import build_table, renamed_table
from coordkit_server.config import Config, ConfigError
from coordkit_server.context import SAVE_ALWAYS, SAVE_AS_CONFIGURED, SAVE_NEVER, ServerControl, Services
from coordkit_server.cron import Cron
from coordkit_server.datatypes.limits import Limits
from coordkit_server.dispatch import Dispatcher
from coordkit_server.errors import DENIED, MAX_CLIENTS
from coordkit_server.keyspace.blocking import Blocking
from coordkit_server.keyspace.database import Database, KeyspaceState
from coordkit_server.keyspace.expire import ActiveExpiry
from coordkit_server.log import Log
from coordkit_server.networking.connection import (
    Connection,
    ConnectionOwner,
)
from coordkit_server.networking.eventloop import Barrier, EventLoop, Handler, TurnHooks
from coordkit_server.networking.forks import Forks
from coordkit_server.networking.listener import Acceptor, Listener, bind_addresses
from coordkit_server.networking.poller import best_poller
from coordkit_server.persistence.aof import OFF as AOF_OFF
from coordkit_server.persistence.aof import WAIT_BASE as AOF_WAIT_BASE
from coordkit_server.persistence.aof import AppendOnly, BaseWriter
from coordkit_server.persistence.aof_dump import CommandBase
from coordkit_server.persistence.files import FileSystem, RealFileSystem
from coordkit_server.persistence.log_files import SystemFiles
from coordkit_server.persistence.rdb import LoadStopped, Pulse, Silent
from coordkit_server.persistence.snapshot import Snapshots
from coordkit_server.persistence.syncer import ThreadSyncer
from coordkit_server.pubsub import PubSub
from coordkit_server.replication.primary import Primary, SnapshotWriter
from coordkit_server.settings import Settings
from coordkit_server.tracking import Tracking

# how long a server with an owner socket waits for its first owner
ACCEPT_TOLD_EVERY_US: Final = 1_000_000
FIRST_OWNER_WAIT_US: Final = 10_000_000
REBIND_FAILED: Final = {
    "port": "Unable to listen on this port. Check server logs.",
    "bind": "Failed to bind to specified addresses.",
}


class Wakeup(Handler):
    """The read end of the pipe into which signals are written, so that they interrupt the poller."""

    def __init__(self, read_fd: int, server: "Server") -> None:
        self._fd: Final = read_fd
        self._server: Final = server

    def on_readable(self) -> None:
        """A signal asked for the end."""
        names = os.read(self._fd, 64)
        name = _signal_name(names[0])
        self._server.log.warning(f"Received {name} scheduling shutdown...")
        if not self._server.end_by_signal(name):
            self._server.log.warning(f"{name} received but errors trying to shut down the server, check the logs")

    def on_writable(self) -> None:
        """Never called: the pipe is watched for reading."""


def _signal_name(number: int) -> str:
    """Return the name of the signals that end the server."""
    return {2: "SIGINT", 15: "SIGTERM"}.get(number, "signal %d" % number)


class Owner(Handler):
    """One connection to the owner socket: as long as it is open, somebody needs this server."""

    def __init__(self, sock: socket.socket, server: "Server") -> None:
        self._socket: Final = sock
        self._server: Final = server

    def on_readable(self) -> None:
        """The owner has gone (it never sends)."""
        try:
            if self._socket.recv(64):
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass  # reset by the peer: gone as well
        self._server.owner_left(self._socket.fileno())
        self._socket.close()

    def on_writable(self) -> None:
        """Never called: owners are watched for reading."""


class ReplicaSnapshot(SnapshotWriter):
    """Writes the data for replicas."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots: Final = snapshots

    def write_snapshot(self, path: str, *, functions_only: bool) -> None:
        """Write everything, or the libraries of functions only, to `path`.  Raises OSError."""
        self._snapshots.write_file(path + "-unfinished", path, Silent(), functions_only=functions_only)


class BaseOfLog(BaseWriter):
    """Writes the base of the append-only file: a snapshot, or commands if aof-use-rdb-preamble says so."""

    def __init__(self, snapshots: Snapshots, commands: CommandBase, config: Config) -> None:
        self._snapshots: Final = snapshots
        self._commands: Final = commands
        self._config: Final = config

    def writes_rdb(self) -> bool:
        """Return True for a snapshot, False for commands."""
        return self._config.flag("aof-use-rdb-preamble")

    def write_base(self, path: str) -> None:
        """Write the data to `path`.  Raises OSError."""
        if self.writes_rdb():
            self._snapshots.write_file(path + "-unfinished", path, Silent(), aof_base=True)
        else:
            self._commands.write_base(path)


class OwnerDoor(Acceptor):
    """Accepts owners; each is told by one byte that it counts."""

    def __init__(self, server: "Server") -> None:
        self._server: Final = server

    def accepted(self, sock: socket.socket) -> None:
        """Count `sock` as an owner."""
        try:
            sock.send(b"+")
        except OSError:
            sock.close()  # gone before it counted
            return
        self._server.owner_came(sock)

    def accept_failed(self, reason: str) -> None:
        """Write it to the log."""
        self._server.accept_failed(reason)


class ClientDoor(Acceptor):
    """Accepts clients."""

    def __init__(self, server: "Server") -> None:
        self._server: Final = server

    def accepted(self, sock: socket.socket) -> None:
        """Make `sock` a client connection."""
        self._server.client_came(sock)

    def accept_failed(self, reason: str) -> None:
        """Write it to the log."""
        self._server.accept_failed(reason)


class Server(ServerControl, TurnHooks, ConnectionOwner, Barrier, Pulse):
    """A running server.  `run` returns when it has been asked to stop."""

    def __init__(self, config: Config, clock: Clock, log: Log, random: Random, files: FileSystem | None = None) -> None:
        self.log: Final = log
        self._clock: Final = clock
        self.loop: Final = EventLoop(best_poller(), clock)
        self.pubsub: Final = PubSub()
        tracking = Tracking({})
        self.state: Final = KeyspaceState(self.pubsub, tracking)
        self.state.set_time(clock.now_us())
        self.state.random = random
        databases = [Database(i, self.state) for i in range(config.number("databases"))]
        limits = Limits()
        self.forks: Final = Forks(self.loop, log)
        libraries = ScriptLibraries()
        disk = files if files is not None else RealFileSystem()
        snapshots = Snapshots(config, clock, log, self.state, databases, limits, self.forks, libraries, disk)
        base = BaseOfLog(snapshots, CommandBase(databases, limits, libraries, config, clock, disk), config)
        aof = AppendOnly(config, clock, log, self.state, SystemFiles(), ThreadSyncer(), self.forks, base)
        table = build_table()
        primary = Primary(config, clock, random, log, self.state, self.forks, ReplicaSnapshot(snapshots))
        self.services: Final = Services(
            clock=clock,
            random=random,
            config=config,
            limits=limits,
            state=self.state,
            databases=databases,
            users=Users(TableCatalog(table)),
            pubsub=self.pubsub,
            tracking=tracking,
            blocking=Blocking(),
            expiry=ActiveExpiry(clock, random),
            control=self,
            primary=primary,
            children=self.forks,
            snapshots=snapshots,
            aof=aof,
            run_id=b"%040x" % random.getrandbits(160),
            log=log,
        )
        libraries.attach(self.services)
        self.services.all_commands = table
        self.services.commands = renamed_table(table, config.renames)
        self.dispatcher: Final = Dispatcher(self.services)
        self.services.runner = self.dispatcher
        self._cron: Final = Cron(self.services)
        self._listeners: Final[list[Listener]] = []
        self._connections: Final[dict[int, Connection]] = {}
        self._settings: Final = Settings(self.services, self.dispatcher, log)
        self._next_client: int = 1
        self._accept_told_us: int = -ACCEPT_TOLD_EVERY_US
        self._owners: int = 0
        self._owner_deadline_us: int = 0
        self._stopping: bool = False
        self._running: bool = False
        for name in config.values:
            self.apply_config(name)

    # -- life ----------------------------------------------------------------------------------------------------

    def listen(self, sock: socket.socket) -> None:
        """Accept clients on `sock`."""
        self._listen(sock, ClientDoor(self))

    def listen_for_owners(self, sock: socket.socket) -> None:
        """Accept owners on `sock`: the server stops when the last of them has gone."""
        self._owner_deadline_us = self._clock.monotonic_us() + FIRST_OWNER_WAIT_US
        self._listen(sock, OwnerDoor(self))

    def _listen(self, sock: socket.socket, acceptor: Acceptor) -> None:
        """Put a listening socket into the loop."""
        listener = Listener(sock, acceptor)
        self._listeners.append(listener)
        self.loop.add(sock.fileno(), listener)

    def listen_for_signals(self, read_fd: int) -> None:
        """Stop when a signal number arrives on the pipe `read_fd`."""
        self.loop.add(read_fd, Wakeup(read_fd, self))

    def run(self) -> None:
        """Serve until stopped.

        The collector's full passes would cost a tenth of the throughput, and what the server keeps has no cycles:
        what exists now is frozen, and collection runs from the cron."""
        self._running = True
        self._settings.running = True
        gc.freeze()
        gc.disable()
        self.loop.run(self)
        self.settle()
        for connection in list(self._connections.values()):
            connection.flush()
            connection.close_now()
        self._finish_files()
        self.log.warning("Redis is now ready to exit, bye bye...")

    def load_users(self) -> None:
        """Take over the users of the configuration and of its ACL file.  Raises UserError, OSError."""
        config = self.services.config
        definitions: list[list[bytes]] = []
        for words in config.users:
            definitions.append([word.encode("utf-8", "surrogateescape") for word in words])
        path = config.text("aclfile")
        if path and definitions:
            raise UserError(b"users stand in the configuration or in the aclfile, not in both")
        self.services.users.configure(definitions)
        if path:
            load_file(self.services)
        users_changed(self.services)

    def load(self) -> None:
        """Load what the disk holds, before anybody is served; begin to log if the configuration says so.

        Raises AppendOnlyError, LoadError, OSError."""
        gc.disable()  # what is loaded has no cycles
        aof = self.services.aof
        if self.services.config.flag("appendonly"):
            aof.read_manifest()
            aof.adopt_old_file()
            try:
                load_files(self.services)
            except LoadStopped:
                self.log.warning("Loading has been stopped")
                return
            aof.open_at_start()
            aof.remove_history()
        else:
            self._load_snapshot()
        self.services.snapshots.forget_changes()

    def _load_snapshot(self) -> None:
        """Load the snapshot file; whoever asks meanwhile is told so."""
        self.dispatcher.loading = True
        try:
            self.services.snapshots.load(self)
        except LoadStopped:
            self.log.warning("Loading has been stopped")
        finally:
            self.dispatcher.loading = False

    def set_loading(self, loading: bool) -> None:
        """Tell clients from now on that data are loaded, or answer them again."""
        self.dispatcher.loading = loading

    def serve_while_loading(self, loaded_bytes: int) -> None:
        """Serve those who ask while files are loaded.  Raises LoadStopped if the server is to end."""
        self.beat(loaded_bytes)

    def beat(self, loaded_bytes: int) -> None:
        """Serve those who ask while a file is loaded.  Raises LoadStopped if the server is to end."""
        self.services.snapshots.note_loaded(loaded_bytes)
        self.loop.glance()
        self.state.set_time(self._clock.now_us())
        if self._stopping:
            raise LoadStopped

    def _finish_files(self) -> None:
        """Let no child outlive the server, and finish the append-only file."""
        self.forks.kill_child()
        aof = self.services.aof
        if aof.state != AOF_OFF:
            self.log.notice("Calling fsync() on the AOF file.")
            aof.close()

    def settle(self) -> None:
        """Write what was executed to the append-only file: replies are about to be sent."""
        self.services.aof.appender.flush()
        if self.services.waiting_for_copies:
            serve_waiting(self.services)

    def before_wait(self) -> int:
        """Do what is due; return when the next thing is."""
        self.services.stats.cycles += 1
        due_us = self._cron.run_due()
        if self.state.ready:  # a key that somebody waits for has expired
            self.dispatcher.begin_batch()
            self.dispatcher.serve_ready()
        self.services.primary.flush_turn()
        deadline_us = self.services.blocking.next_deadline_us()
        if deadline_us:
            self.dispatcher.begin_batch()
            self.dispatcher.expire_waiters()
            deadline_us = self.services.blocking.next_deadline_us()
            if deadline_us and deadline_us < due_us:
                due_us = deadline_us
        if self.services.pause.kind:
            pause_end_us = self.services.pause.end_if_due()
            if 0 < pause_end_us < due_us:
                due_us = pause_end_us
        if self.state.tracking:
            self.services.tracking.broadcast()
        self.loop.barrier = self if self.services.aof.appender.is_open() else None
        self.settle()
        if self._owner_deadline_us and self._clock.monotonic_us() > self._owner_deadline_us:
            self.stop()
        return due_us

    def _close_listeners(self) -> None:
        """Refuse whoever wants to connect."""
        for listener in self._listeners:
            listener.close(self.loop)
        self._listeners.clear()

    def stop(self) -> None:
        """End the loop after this turn; from now on nobody can connect."""
        self._stopping = True
        self._close_listeners()
        self.loop.stop()

    def shutdown(self, save: int, force: bool) -> bool:
        """End the process cleanly (SHUTDOWN); return False if the data could not be saved and not `force`."""
        self.log.warning("User requested shutdown...")
        return self.end(save, force)

    def end_by_signal(self, name: str) -> bool:
        """End as shutdown-on-sigterm or shutdown-on-sigint says; return False if the data could not be saved."""
        words = self.services.config.text("shutdown-on-sigint" if name == "SIGINT" else "shutdown-on-sigterm").split()
        save = SAVE_ALWAYS if "save" in words else SAVE_NEVER if "nosave" in words else SAVE_AS_CONFIGURED
        return self.end(save, "force" in words)

    def end(self, save: int, force: bool) -> bool:
        """Save what is to be saved and stop; return False if that failed and not `force`."""
        snapshots = self.services.snapshots
        snapshots.cancel()
        if self.dispatcher.loading:
            self.stop()  # what is in memory is not everything
            return True
        aof = self.services.aof
        if aof.state == AOF_WAIT_BASE and aof.rewriting:
            self.log.warning("Writing initial AOF. Exit anyway." if force else "Writing initial AOF, can't exit.")
            if not force:
                return False
        if save == SAVE_ALWAYS or (save == SAVE_AS_CONFIGURED and snapshots.has_points()):
            self.log.notice("Saving the final RDB snapshot before exiting.")
            if not snapshots.save():
                self.log.warning("Error trying to save the DB, can't exit.")
                if not force:
                    return False
        self.stop()
        return True

    def serve_while_busy(self, refusal: bytes) -> None:
        """Answer other clients once while a script goes on; the script's time stands still."""
        now_ms = self.state.now_ms
        now_us = self.state.now_us
        self.dispatcher.script_busy = True
        self.dispatcher.busy_text = refusal
        self.loop.glance()
        self.state.now_ms = now_ms
        self.state.now_us = now_us

    def stopping(self) -> bool:
        """Return True once the server has been asked to end."""
        return self._stopping

    def busy_over(self) -> None:
        """Let commands run again."""
        self.dispatcher.script_busy = False

    def log_warning(self, text: str) -> None:
        """Write a line to the log."""
        self.log.warning(text)

    # -- clients and owners --------------------------------------------------------------------------------------

    def client_came(self, sock: socket.socket) -> None:
        """Serve a new client, or refuse it when there are too many."""
        stats = self.services.stats
        if self.log.shows_verbose():
            self._tell_of_client(sock)
        refusal = self._refusal(sock)
        if refusal:
            stats.rejected_connections += 1
            with suppress(OSError):  # the client has gone: nobody to tell
                sock.send(b"-" + refusal + b"\r\n")
            sock.close()
            return
        stats.connections_received += 1
        ident = self._next_client
        self._next_client += 1
        connection = Connection(sock, ident, self.loop, self.dispatcher, self.services, self)
        connection.limit_normal = self._settings.limit_normal
        connection.limit_pubsub = self._settings.limit_pubsub
        connection.limit_replica = self._settings.limit_replica
        session = connection.session
        session.address = _address(sock, True)
        session.local_address = _address(sock, False)
        session.unix_socket = sock.family == socket.AF_UNIX
        session.fd = sock.fileno()
        greet(self.services, session)
        self._connections[session.id] = connection
        self.services.sessions[session.id] = session
        self.loop.add(sock.fileno(), connection)

    def _tell_of_client(self, sock: socket.socket) -> None:
        """Say who has connected."""
        if sock.family == socket.AF_UNIX:
            self.log.verbose("Accepted connection to %s" % self.services.config.text("unixsocket"))
        else:
            self.log.verbose("Accepted %s" % _address(sock, True).decode("ascii", "replace"))

    def accept_failed(self, reason: str) -> None:
        """Say that a connection cannot be had, once a second: the loop tries again all the time."""
        now_us = self._clock.monotonic_us()
        if now_us >= self._accept_told_us + ACCEPT_TOLD_EVERY_US:
            self._accept_told_us = now_us
            self.log.warning(f"Accepting client connection: accept: {reason}")

    def _refusal(self, sock: socket.socket) -> bytes:
        """Return why a new client cannot be served, empty if it can."""
        config = self.services.config
        if len(self._connections) >= config.number("maxclients"):
            return MAX_CLIENTS
        guarded = config.flag("protected-mode") and self.services.users.default.needs_no_password
        if guarded and sock.family != socket.AF_UNIX and not is_local(_address(sock, True)):
            return DENIED
        return b""

    def connection_closed(self, connection: Connection) -> None:
        """Drop everything kept for a client that has gone."""
        session = connection.session
        self._connections.pop(session.id, None)
        self.services.sessions.pop(session.id, None)
        session.leave(self.pubsub)
        self.services.monitors.remove(session)
        if session.tracking:
            self.services.tracking.disable(session)
        self.services.primary.forget(session)
        waiter = session.waiter
        if waiter is not None:
            self.services.blocking.remove(waiter, session.db)
            session.waiter = None
        session.reset_transaction()
        session.detach()

    def owner_came(self, sock: socket.socket) -> None:
        """Count an owner."""
        self._owners += 1
        self._owner_deadline_us = 0
        self.loop.add(sock.fileno(), Owner(sock, self))

    def owner_left(self, fd: int) -> None:
        """Count an owner off; the last one ends the server."""
        self.loop.remove(fd)
        self._owners -= 1
        if self._owners == 0:
            self.log.notice("The last owner has gone, shutting down")
            self.end(SAVE_AS_CONFIGURED, True)

    def _rebind(self, reason: str) -> None:
        """Listen on the TCP addresses that the configuration names now; raises ConfigError with `reason`."""
        config = self.services.config
        old = [listener for listener in self._listeners if listener.socket.family != socket.AF_UNIX]
        wanted = {word.lstrip("-") for word in config.text("bind").split()} if config.number("port") else set()
        wanted_names = {(address, config.number("port")) for address in wanted}
        if wanted_names and wanted_names == {listener.socket.getsockname()[:2] for listener in old}:
            return
        try:
            fresh = bind_addresses(config.text("bind"), config.number("port"), config.number("tcp-backlog"))
        except OSError as error:
            self.log.warning(f"Could not listen on {error.filename}:{config.number('port')}: {error.strerror}")
            raise ConfigError(reason) from error
        for listener in old:
            self._listeners.remove(listener)
            listener.close(self.loop)
        for sock in fresh:
            self.listen(sock)

    # -- configuration -------------------------------------------------------------------------------------------

    def apply_config(self, name: str) -> None:
        """Take over a parameter that has been set.  Raises ConfigError."""
        if name not in ("port", "bind"):
            self._settings.apply(name)
        elif self._running:
            self._rebind(REBIND_FAILED[name])


def is_local(address: bytes) -> bool:
    """Return True for the loopback address of a TCP client on this machine."""
    return address.startswith((b"127.", b"[::1]:", b"[::ffff:127."))


def _address(sock: socket.socket, of_peer: bool) -> bytes:
    """Return `ip:port` of a TCP peer or of our end; `path:0` for a unix socket."""
    try:
        name: object = sock.getpeername() if of_peer else sock.getsockname()
        if sock.family == socket.AF_UNIX:
            name = sock.getsockname()
    except OSError:
        return b"?:0"
    if isinstance(name, str):
        return name.encode("utf-8", "surrogateescape") + b":0"
    if isinstance(name, tuple):
        host = str(name[0])
        return f"[{host}]:{name[1]}".encode() if ":" in host else f"{host}:{name[1]}".encode()
    return b"?:0"
