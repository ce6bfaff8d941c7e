"""What a handler gets (`Context`), what a row of the command table is (`Command`), what they share (`Services`)."""

from collections.abc import Callable
from random import Random
from typing import Final

from mypy_extensions import trait

from coordkit_server.access.refusals import RefusalLog
from coordkit_server.access.users import Users
from coordkit_server.children import ChildRunner
from coordkit_server.clock import Clock
from coordkit_server.config import Config
from coordkit_server.datatypes.limits import Limits
from coordkit_server.errors import NO_SUCH_KEY, CommandError
from coordkit_server.keyspace.blocking import Blocking
from coordkit_server.keyspace.database import Database, KeyspaceState
from coordkit_server.keyspace.evict import Eviction
from coordkit_server.keyspace.expire import ActiveExpiry
from coordkit_server.keyspace.notify import GENERIC
from coordkit_server.keyspace.propagation import TO_ALL
from coordkit_server.keyspace.table import Entry
from coordkit_server.keyspace.waiter import Waiter
from coordkit_server.latency import Histogram, LatencyMonitor
from coordkit_server.log import Log
from coordkit_server.monitor import Monitors
from coordkit_server.pause import Pause
from coordkit_server.persistence.aof import ON, AppendOnly
from coordkit_server.persistence.lzf import Compressor
from coordkit_server.persistence.snapshot import Snapshots
from coordkit_server.process import resident_bytes
from coordkit_server.pubsub import PubSub
from coordkit_server.replication.primary import Primary
from coordkit_server.resp.reply import BLOCKED
from coordkit_server.resp.request import RequestParser
from coordkit_server.session import Session
from coordkit_server.slowlog import SlowLog
from coordkit_server.tracking import Tracking

# command flags, named as COMMAND INFO names them
WRITE: Final = 1
READONLY: Final = 2
DENYOOM: Final = 4
ADMIN: Final = 8
PUBSUB: Final = 16
NOSCRIPT: Final = 32
BLOCKING: Final = 64
LOADING: Final = 128
STALE: Final = 256
SKIP_MONITOR: Final = 512
SKIP_SLOWLOG: Final = 1024
ASKING: Final = 2048
FAST: Final = 4096
NO_AUTH: Final = 8192
MAY_REPLICATE: Final = 16384  # not shown by COMMAND INFO
NO_MULTI: Final = 32768
ALLOW_BUSY: Final = 65536
MOVABLE_KEYS: Final = 131072
NO_ASYNC_LOADING: Final = 262144
NO_MANDATORY_KEYS: Final = 524288
SORTED_REPLY: Final = 1048576  # not a Redis flag: reply order of an unordered type is unspecified

FLAG_NAMES: Final[list[tuple[int, bytes]]] = [
    (WRITE, b"write"),
    (READONLY, b"readonly"),
    (DENYOOM, b"denyoom"),
    (ADMIN, b"admin"),
    (PUBSUB, b"pubsub"),
    (NOSCRIPT, b"noscript"),
    (BLOCKING, b"blocking"),
    (LOADING, b"loading"),
    (STALE, b"stale"),
    (SKIP_MONITOR, b"skip_monitor"),
    (SKIP_SLOWLOG, b"skip_slowlog"),
    (ASKING, b"asking"),
    (FAST, b"fast"),
    (NO_AUTH, b"no_auth"),
    (NO_MANDATORY_KEYS, b"no_mandatory_keys"),
    (NO_ASYNC_LOADING, b"no_async_loading"),
    (NO_MULTI, b"no_multi"),
    (MOVABLE_KEYS, b"movablekeys"),
    (ALLOW_BUSY, b"allow_busy"),
]


class KeySpec:
    """Where the keys of a command stand: first, last (negative: from the end), step; or a finder for movable keys.

    `finder(argv)` returns the positions of the keys, None if argv is malformed."""

    def __init__(
        self,
        first: int,
        last: int,
        step: int,
        finder: Callable[[list[bytes]], list[int] | None] | None = None,
    ) -> None:
        self.first: Final = first
        self.last: Final = last
        self.step: Final = step
        self.finder: Final = finder

    def positions(self, argv: list[bytes]) -> list[int] | None:
        """Return the indexes of the keys in `argv`, None if they cannot be found."""
        if self.finder is not None:
            return self.finder(argv)
        if self.first == 0:
            return []
        last = self.last if self.last >= 0 else len(argv) + self.last
        return list(range(self.first, min(last, len(argv) - 1) + 1, self.step))


def numkeys_positions(argv: list[bytes], at: int) -> list[int] | None:
    """Return the key positions of a command whose argument `at` counts the keys that follow it."""
    if at >= len(argv) or not argv[at].isdigit():
        return None
    count = int(argv[at])
    if count <= 0 or at + count >= len(argv):
        return None
    return list(range(at + 1, at + 1 + count))


def _numkeys1(argv: list[bytes]) -> list[int] | None:
    return numkeys_positions(argv, 1)


def _numkeys2(argv: list[bytes]) -> list[int] | None:
    return numkeys_positions(argv, 2)


def _store_numkeys2(argv: list[bytes]) -> list[int] | None:
    sources = numkeys_positions(argv, 2)
    return None if sources is None else [1, *sources]


NO_KEYS: Final = KeySpec(0, 0, 0)
KEY1: Final = KeySpec(1, 1, 1)
KEY2: Final = KeySpec(2, 2, 1)  # OBJECT ENCODING key and other subcommands
KEYS12: Final = KeySpec(1, 2, 1)  # RENAME, LMOVE
ALL_KEYS: Final = KeySpec(1, -1, 1)
KEYS_FROM2: Final = KeySpec(2, -1, 1)  # BITOP
KEY_VALUES: Final = KeySpec(1, -1, 2)  # MSET
KEYS_TIMEOUT: Final = KeySpec(1, -2, 1)  # BLPOP
NUMKEYS1: Final = KeySpec(0, 0, 0, _numkeys1)  # ZUNION numkeys key...
NUMKEYS2: Final = KeySpec(0, 0, 0, _numkeys2)  # EVAL script numkeys key..., BLMPOP timeout numkeys key...
STORE_NUMKEYS2: Final = KeySpec(1, 1, 1, _store_numkeys2)  # ZUNIONSTORE destination numkeys key...


# whether to make a snapshot at the end
SAVE_AS_CONFIGURED: Final = 0  # if there are save points
SAVE_ALWAYS: Final = 1
SAVE_NEVER: Final = 2


class Context:
    """One session's view of the server while a command runs: `argv` is that command's."""

    def __init__(self, session: Session, services: "Services", parser: RequestParser | None = None) -> None:
        self.session: Final = session
        self.services: Final = services
        self.parser: Final = parser  # of the connection whose requests run here
        self.state: Final[KeyspaceState] = services.state
        self.db: Database = session.db
        self.argv: list[bytes] = []
        self.command: Command | None = None
        self.rewritten: list[bytes] | None = None  # what is propagated instead of argv; an empty list for nothing
        self.forced: int = 0  # who gets the command even if it changed nothing
        self.targets: int = TO_ALL  # who may get the commands of this session (redis.set_repl)

    def propagates(self) -> bool:
        """Return True if somebody follows the changes; ask before building arguments for `rewrite` or `propagate`."""
        return self.state.propagation.active

    def forget_rewriting(self) -> None:
        """Propagate the next command as it comes."""
        self.rewritten = None
        self.forced = 0

    def rewrite(self, argv: list[bytes]) -> None:
        """Propagate `argv` instead of the command as the client sent it, should it change something.

        The append-only file and replicas must come to the same result at another time: relative times become
        absolute, random choices and generated IDs their outcome, blocking commands plain ones.  The last call counts:
        `SPOP key` calls `cx.rewrite([b"SREM", key, member])`, EXPIRE `cx.rewrite([b"PEXPIREAT", key, time])`."""
        self.rewritten = argv

    def propagate(self, argv: list[bytes]) -> None:
        """Propagate `argv` as well, in front of the command itself, which follows if it changed something.

        A command that is repeated by several others calls this for each, then `prevent_propagation`."""
        propagation = self.state.propagation
        if propagation.active and self.targets:
            propagation.add(self.db.index, argv, self.targets)

    def prevent_propagation(self) -> None:
        """Do not propagate the command itself, whatever it changed."""
        self.rewritten = []

    def force_propagation(self, targets: int = TO_ALL) -> None:
        """Propagate the command to `targets` even if it changed nothing (FLUSHALL, PUBLISH)."""
        self.forced = targets

    def require(self, key: bytes) -> Entry:
        """Return the live entry at `key` for a change; raises `no such key`."""
        entry = self.db.lookup_write(key)
        if entry is None:
            raise CommandError(NO_SUCH_KEY)
        return entry

    def delete_if_empty(self, entry: Entry, length: int) -> None:
        """Remove `entry` once its collection has no element left, with event `del`."""
        if length == 0:
            self.db.remove(entry)
            self.db.notify(GENERIC, b"del", entry.key)

    def block(
        self,
        kind: bytes,
        keys: list[bytes],
        timeout_us: int,
        timeout_reply: object,
        *,
        wakes_on_missing: bool = False,
    ) -> object:
        """Block the client until a key in `keys` holds a value of TYPE `kind`; return what the handler returns.

        `timeout_us` 0 waits for ever; `wakes_on_missing` wakes also when a key is removed or gets another type.  When
        a key is ready the same command runs again: a handler tries first and blocks if it finds nothing.  Inside MULTI
        or a script the reply is `timeout_reply` at once."""
        session = self.session
        if session.deny_blocking:
            return timeout_reply
        if session.waiter is None:
            deadline_us = self.services.clock.monotonic_us() + timeout_us if timeout_us > 0 else 0
            waiter = Waiter(
                session,
                kind,
                list(dict.fromkeys(keys)),
                deadline_us,
                timeout_reply,
                wakes_on_missing=wakes_on_missing,
            )
            session.waiter = waiter
            session.waiting_row = self.command
            session.waiting_argv = self.argv
            self.services.blocking.add(waiter, self.db)
        return BLOCKED


Handler = Callable[[Context], object]
RATE_SAMPLES: Final = 16


class Command:
    """A row of the command table, with its statistics."""

    def __init__(
        self,
        name: bytes,
        arity: int,
        flags: int,
        handler: Handler,
        keys: KeySpec = NO_KEYS,
        *,
        since: bytes = b"1.0.0",
        summary: bytes = b"",
        subcommands: "list[Command] | None" = None,
    ) -> None:
        self.name: Final = name  # upper case; a subcommand's own name, such as GETNAME
        self.arity: Final = arity  # with the name (and container); negative: at least
        self.flags: Final = flags
        self.handler: Final = handler
        self.keys: Final = keys
        self.since: Final = since
        self.summary: Final = summary
        self.group: bytes = b""
        self.full_name: bytes = name.lower()  # `client|getname` for a subcommand
        self.subcommands: dict[bytes, Command] | None = None
        if subcommands is not None:
            self.subcommands = {}
            for row in subcommands:
                row.full_name = self.full_name + b"|" + row.full_name
                self.subcommands[row.name] = row
        self.calls: int = 0
        self.usec: int = 0
        self.rejected_calls: int = 0
        self.failed_calls: int = 0
        self.histogram: Histogram | None = None  # how long its calls took

    def reset_statistics(self) -> None:
        """Start counting again, subcommands included."""
        self.calls = 0
        self.usec = 0
        self.rejected_calls = 0
        self.failed_calls = 0
        self.histogram = None
        if self.subcommands is not None:
            for row in self.subcommands.values():
                row.reset_statistics()


@trait
class CommandRunner:
    """Dispatch, as handlers see it (EXEC, scripts)."""

    def call(self, cx: Context, row: Command) -> object:
        """Run `row` on `cx` (its argv set): handler, statistics, dirty count."""
        raise NotImplementedError

    def release(self, session: Session, reply: object) -> None:
        """End the wait of a blocked session that was not served (timeout, CLIENT UNBLOCK) with `reply`."""
        raise NotImplementedError

    def refusal(self, argv: list[bytes]) -> bytes | None:
        """Return the error text if `argv` names no command or has a wrong number of arguments, else None."""
        raise NotImplementedError

    def find(self, argv: list[bytes]) -> Command | None:
        """Return the row for `argv`, the subcommand's row for a container; None if there is none."""
        raise NotImplementedError


@trait
class ServerControl:
    """What commands may ask of the process."""

    def shutdown(self, save: int, force: bool) -> bool:
        """End the event loop after the current turn; return False if the data could not be saved and not `force`.

        `save`: SAVE_AS_CONFIGURED, SAVE_ALWAYS, SAVE_NEVER."""
        raise NotImplementedError

    def serve_while_busy(self, refusal: bytes) -> None:
        """Answer others once, with `refusal` (BUSY), while a script runs for longer than busy-reply-threshold."""
        raise NotImplementedError

    def set_loading(self, loading: bool) -> None:
        """Tell clients from now on that data are loaded, or answer them again."""
        raise NotImplementedError

    def serve_while_loading(self, loaded_bytes: int) -> None:
        """Serve those who ask while files are loaded.  Raises LoadStopped if the server is to end."""
        raise NotImplementedError

    def stopping(self) -> bool:
        """Return True once the server has been asked to end."""
        raise NotImplementedError

    def busy_over(self) -> None:
        """Note that no script runs for too long any more."""
        raise NotImplementedError

    def log_warning(self, text: str) -> None:
        """Write a line to the log."""
        raise NotImplementedError

    def apply_config(self, name: str) -> None:
        """Take over a parameter that has just been changed."""
        raise NotImplementedError


class Rates:
    """How fast counters grow, on average over the last samples."""

    def __init__(self) -> None:
        self._samples: Final[list[tuple[int, list[int]]]] = []

    def sample(self, now_us: int, counters: list[int]) -> None:
        """Note the counters at this time; SAMPLES of them are kept."""
        self._samples.append((now_us, counters))
        if len(self._samples) > RATE_SAMPLES:
            del self._samples[0]

    def per_second(self, which: int) -> int:
        """Return the growth of one counter a second."""
        if len(self._samples) < 2:
            return 0
        first_us, first = self._samples[0]
        last_us, last = self._samples[-1]
        return max(last[which] - first[which], 0) * 1_000_000 // max(last_us - first_us, 1)


class Stats:
    """Counters behind INFO."""

    def __init__(self) -> None:
        self.commands_processed: int = 0
        self.connections_received: int = 0
        self.rejected_connections: int = 0
        self.net_input_bytes: int = 0
        self.net_output_bytes: int = 0
        self.error_replies: int = 0
        self.unexpected_errors: int = 0
        self.errors: dict[bytes, int] = {}  # error code -> count
        self.reads: int = 0
        self.writes: int = 0
        self.cycles: int = 0  # of the event loop
        self.denied_logins: int = 0
        self.denied_commands: int = 0
        self.denied_keys: int = 0
        self.denied_channels: int = 0
        self.rates: Final = Rates()

    def sample(self, now_us: int) -> None:
        """Note the counters whose rates INFO tells; the cron calls it."""
        counters = [self.commands_processed, self.net_input_bytes, self.net_output_bytes, self.cycles]
        self.rates.sample(now_us, counters)

    def reset(self) -> None:
        """Start counting again (CONFIG RESETSTAT)."""
        self.commands_processed = 0
        self.connections_received = 0
        self.rejected_connections = 0
        self.net_input_bytes = 0
        self.net_output_bytes = 0
        self.error_replies = 0
        self.unexpected_errors = 0
        self.errors = {}
        self.reads = 0
        self.writes = 0
        self.denied_logins = 0
        self.denied_commands = 0
        self.denied_keys = 0
        self.denied_channels = 0

    def count_error(self, text: bytes) -> None:
        """Count an error reply by its code."""
        self.error_replies += 1
        code = text.split(b" ", 1)[0]
        if len(self.errors) < 128 or code in self.errors:
            self.errors[code] = self.errors.get(code, 0) + 1


class Services:
    """Everything that commands share; made once by the composition root."""

    def __init__(
        self,
        *,
        clock: Clock,
        random: Random,
        config: Config,
        limits: Limits,
        state: KeyspaceState,
        databases: list[Database],
        users: Users,
        pubsub: PubSub,
        tracking: Tracking,
        blocking: Blocking,
        expiry: ActiveExpiry,
        control: ServerControl,
        primary: Primary,
        aof: AppendOnly,
        children: ChildRunner,
        snapshots: Snapshots,
        run_id: bytes,
        log: Log,
    ) -> None:
        self.clock: Final = clock
        self.random: Final = random
        self.config: Final = config
        self.limits: Final = limits
        self.state: Final = state
        self.databases: Final = databases
        self.users: Final = users
        self.refusals: Final = RefusalLog()
        self.pubsub: Final = pubsub
        self.tracking: Final = tracking
        self.blocking: Final = blocking
        self.pause: Final = Pause(clock, blocking, state)
        self.expiry: Final = expiry
        self.control: Final = control
        self.primary: Final = primary
        self.aof: Final = aof
        self.children: Final = children
        self.snapshots: Final = snapshots
        self.run_id: Final = run_id
        self.log: Final = log
        self.started_us: Final = clock.now_us()
        self.startup_bytes: Final = resident_bytes()
        self.other_bytes: int = 0  # what is no data, as it was when maxmemory was set
        self.eviction: Final = Eviction(clock, random, state, databases)
        self.stats: Final = Stats()
        self.slowlog: Final = SlowLog()
        self.latency: Final = LatencyMonitor()
        self.monitors: Final = Monitors()
        self.cron_paused: bool = False  # DEBUG PAUSE-CRON
        self.sessions: Final[dict[int, Session]] = tracking.sessions
        self.commands: dict[bytes, Command] = {}  # by the names they are called by
        self.all_commands: dict[bytes, Command] = {}  # by their own names, whatever rename-command has done
        self.compressor: Final = Compressor()  # for DUMP
        self.skip_checksums: bool = False  # DEBUG SET-SKIP-CHECKSUM-VALIDATION
        self.runner: CommandRunner | None = None
        self.waiting_for_copies: Final[dict[int, object]] = {}  # by client: what WAIT and WAITAOF wait for
        self.scripts: object = None  # the ScriptHost, once a command has asked for it

    def aof_synced(self, position: int) -> bool:
        """Return True if the append-only file is on disk up to `position`."""
        aof = self.aof
        return aof.state == ON and aof.appender.synced_position >= position

    def used_bytes(self) -> int:
        """Return the memory in use: resident, or estimated while maxmemory needs an exact account."""
        if self.state.accounts:
            return self.other_bytes + self.state.data_bytes
        return resident_bytes()

    def require_runner(self) -> CommandRunner:
        """Return dispatch, which the composition root sets before the first command."""
        runner = self.runner
        if runner is None:
            raise RuntimeError("dispatch is not wired yet")
        return runner
