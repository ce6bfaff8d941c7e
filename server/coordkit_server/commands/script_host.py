"""The server as scripts and functions see it: one session for all of them, the gates of `redis.call`, what is loaded.

Map: ScriptHost (scripts, functions, running, killing; what the engine calls), script_host.

The engines are made by the first command that needs one: a server whose clients send no script starts sooner.
"""

from typing import Final

from coordkit_server.access.selector import ALLOWED
from coordkit_server.commands.permissions import check, refusal_text, verdict_on
from coordkit_server.context import DENYOOM, MAY_REPLICATE, NOSCRIPT, WRITE, Command, CommandRunner, Context, Services
from coordkit_server.errors import (
    BUSY_FUNCTION,
    BUSY_SCRIPT,
    NO_REPLICAS,
    NOT_BUSY,
    OOM,
    SCRIPT_FORBIDDEN,
    SCRIPT_KILLED,
    SCRIPT_OOM,
    SCRIPT_READ_ONLY,
    SCRIPT_UNKNOWN_COMMAND,
    SCRIPT_WRITE_FLAG,
    SCRIPT_WRONG_ARITY,
    UNKILLABLE,
    CommandError,
)
from coordkit_server.keyspace.propagation import TO_ALL
from coordkit_server.resp.reply import ErrorReply
from coordkit_server.scripting.cache import (
    ALLOW_OOM,
    NO_SHEBANG,
    NO_WRITES,
    Script,
    ScriptError,
    parse_shebang,
    script_sha,
)
from coordkit_server.scripting.convert import CountedError, one_line
from coordkit_server.scripting.engine import Engine, Failure, ScriptServer
from coordkit_server.scripting.functions import Function, Functions
from coordkit_server.scripting.sites import Site
from coordkit_server.session import GATE_ACL, NullSink, Session

_GATED: Final = NOSCRIPT | WRITE | MAY_REPLICATE


class ScriptHost(ScriptServer):
    """Runs scripts and functions, and the commands that they call."""

    def __init__(self, services: Services) -> None:
        self._services: Final = services
        self._state: Final = services.state
        self._runner: Final[CommandRunner] = services.require_runner()
        self._session: Final = Session(0, services.databases[0], NullSink(), services.clock.now_us())
        self._session.in_script = True
        self._session.deny_blocking = True
        self._cx: Final = Context(self._session, services)
        self._engine: Engine | None = None
        self._scripts: Final[dict[bytes, Script]] = {}
        self._functions: Functions | None = None
        self.denies: bool = True  # commands that are not for scripts (DEBUG SET-DISABLE-DENY-SCRIPTS)
        # of what is running
        self._running: bool = False
        self.runs_function: bool = False
        self.running_name: bytes = b""
        self.running_argv: list[bytes] = []
        self._read_only: bool = False
        self._allow_oom: bool = False
        self._wrote: bool = False
        self._busy: bool = False
        self._killed: bool = False
        self._caller: Context | None = None  # whoever runs it, if its user may not do everything

    # -- scripts -------------------------------------------------------------------------------------------------

    def find(self, sha: bytes) -> Script | None:
        """Return the script with this SHA-1 (any case), None if it is not loaded."""
        script = self._scripts.get(sha)
        if script is None:
            script = self._scripts.get(sha.lower())
        return script

    def load(self, body: bytes) -> Script:
        """Return the script with this text, compiled now if it is new.  Raises CommandError."""
        sha = script_sha(body)
        script = self._scripts.get(sha)
        if script is None:
            try:
                flags, skip = parse_shebang(body)
            except ScriptError as error:
                raise CommandError(error.message) from error
            number = self._eval_engine().compile(body[skip:])
            if not isinstance(number, int):
                raise CommandError(b"ERR Error compiling script (new function): " + one_line(number))
            script = Script(sha, body, flags, number)
            self._scripts[sha] = script
        return script

    def _eval_engine(self) -> Engine:
        """Return the interpreter of EVAL."""
        engine = self._engine
        if engine is None:
            engine = Engine(self, runs_functions=False)
            self._engine = engine
        return engine

    def flush(self) -> None:
        """Forget all scripts, and the interpreter with what they left in it."""
        self._scripts.clear()
        self._engine = None

    def script_count(self) -> int:
        """Return how many scripts are loaded."""
        return len(self._scripts)

    def run(self, cx: Context, script: Script, key_count: int, read_only: bool) -> object:
        """Run `script` for `cx`, whose argv holds keys and arguments from the fourth on; return its reply."""
        if script.flags != NO_SHEBANG:
            self._check_flags(script.flags, read_only)
        self.runs_function = False
        self.running_name = script.sha
        return self._run(cx, self._eval_engine(), script.number, script.flags, key_count, read_only)

    # -- functions -----------------------------------------------------------------------------------------------

    def functions(self) -> Functions:
        """Return the libraries."""
        functions = self._functions
        if functions is None:
            functions = Functions(self)
            self._functions = functions
        return functions

    def has_functions(self) -> bool:
        """Return True if there is a library, without making the interpreter for it."""
        return self._functions is not None and len(self._functions.libraries) > 0

    def run_function(self, cx: Context, function: Function, key_count: int, read_only: bool) -> object:
        """Run `function` for `cx`, whose argv holds keys and arguments from the fourth on; return its reply."""
        self._check_flags(function.flags, read_only)
        self.runs_function = True
        self.running_name = function.name
        return self._run(cx, self.functions().engine, function.number, function.flags, key_count, read_only)

    # -- running -------------------------------------------------------------------------------------------------

    def _check_flags(self, flags: int, read_only: bool) -> None:
        """Raise if what declares `flags` may not run now."""
        if read_only and not flags & NO_WRITES:
            raise CommandError(SCRIPT_WRITE_FLAG)
        if self._state.memory_exceeded and not flags & (ALLOW_OOM | NO_WRITES):
            raise CommandError(SCRIPT_OOM)
        if self._state.writes_refused and not flags & NO_WRITES:
            raise CommandError(self._state.disk_error or NO_REPLICAS)

    def _run(self, cx: Context, engine: Engine, number: int, flags: int, key_count: int, read_only: bool) -> object:
        """Run a script or a function; return its reply."""
        session = self._session
        session.db = cx.db
        session.resp3 = False
        session.user = cx.session.user
        session.gates = cx.session.gates & GATE_ACL
        self._caller = cx if session.gates else None
        self._read_only = read_only or flags & NO_WRITES != 0
        self._allow_oom = flags & ALLOW_OOM != 0
        self._wrote = False
        self._killed = False
        self._running = True
        self._cx.targets = TO_ALL
        argv = cx.argv
        self.running_argv = argv
        reply = engine.run(number, key_count, argv, 3)
        self._running = False
        cx.prevent_propagation()  # what it called is repeated
        if self._busy:
            self._busy = False
            self._services.control.busy_over()
        if isinstance(reply, Failure):
            return self._failed(cx, reply)
        if isinstance(reply, ErrorReply):
            return _error(cx, reply.text, isinstance(reply, CountedError))
        return reply

    def _failed(self, cx: Context, failure: Failure) -> object:
        """Return the error reply of a script that raised."""
        text = failure.text
        if failure.source:
            text += b" script: %b, on %b:%d." % (self.running_name, failure.source, failure.line)
        return _error(cx, one_line(text), failure.counted)

    # -- killing -------------------------------------------------------------------------------------------------

    def is_running(self) -> bool:
        """Return True while a script or a function runs."""
        return self._running

    def running_ms(self) -> int:
        """Return for how long the command that runs has been running."""
        return (self._services.clock.now_us() - self._state.now_us) // 1000

    def kill(self, by_script_kill: bool) -> None:
        """End what runs.  Raises NOTBUSY if nothing does, UNKILLABLE once it has written, BUSY for the other kind."""
        if not self._running:
            raise CommandError(NOT_BUSY)
        if self._wrote:
            raise CommandError(UNKILLABLE)
        if by_script_kill and self.runs_function:
            raise CommandError(BUSY_FUNCTION)
        if not by_script_kill and not self.runs_function:
            raise CommandError(BUSY_SCRIPT)
        self._killed = True

    def tick(self) -> bytes | None:
        """Answer others once the script runs for too long; return the error that ends it if somebody asked for that."""
        services = self._services
        if not self._running:
            return None
        if not self._busy:
            threshold_ms = services.config.number("busy-reply-threshold")
            if threshold_ms == 0 or self.running_ms() < threshold_ms:
                return None
            self._busy = True
            services.log.warning(
                "Slow script detected: still in execution after %d milliseconds. You can try killing the script using "
                "the %s command. Script name is: %s."
                % (
                    self.running_ms(),
                    "FUNCTION KILL" if self.runs_function else "SCRIPT KILL",
                    self.running_name.decode("utf-8", "replace"),
                )
            )
        services.control.serve_while_busy(BUSY_FUNCTION if self.runs_function else BUSY_SCRIPT)
        return SCRIPT_KILLED if self._killed or services.control.stopping() else None

    def is_late(self, limit_ms: int) -> bool:
        """Return True once the command that runs has taken longer than `limit_ms`."""
        return self.running_ms() > limit_ms

    # -- what the engine calls -----------------------------------------------------------------------------------

    def call(self, argv: list[bytes]) -> object:
        """Run a command of the running script."""
        row = self._runner.find(argv)
        return self._unknown(argv) if row is None else self._call(row, argv)

    def call_site(self, site: Site, argv: list[bytes]) -> object:
        """Run a command of the running script, which has run at `site` before if its row is known there."""
        row = site.row
        if isinstance(row, Command):
            return self._call(row, argv)
        found = self._runner.find(argv)
        if found is None:
            return self._unknown(argv)
        if found.full_name == site.name.lower():
            site.row = found  # not for a container: its row depends on what follows
        return self._call(found, argv)

    def _call(self, row: Command, argv: list[bytes]) -> object:
        """Run `row` if it may run now."""
        size = len(argv)
        if not (size == row.arity or (row.arity < 0 and size >= -row.arity)):
            row.rejected_calls += 1
            return self._refuse(SCRIPT_WRONG_ARITY)
        flags = row.flags
        if self._caller is not None and not (flags & NOSCRIPT and self.denies):
            verdict = check(self._caller, row, argv, b"lua")
            if verdict is not None:
                row.rejected_calls += 1
                text = b"ERR ACL failure in script: " + refusal_text(self._session.user, row, verdict)
                return self._refuse(text)
        if flags & _GATED:
            if flags & NOSCRIPT and self.denies:
                row.rejected_calls += 1
                return self._refuse(SCRIPT_FORBIDDEN)
            if self._read_only:
                row.rejected_calls += 1
                return self._refuse(SCRIPT_READ_ONLY)
            if self._state.memory_exceeded and flags & DENYOOM and not (self._wrote or self._allow_oom):
                row.rejected_calls += 1
                return self._refuse(OOM)
            if flags & WRITE:
                if self._state.writes_refused and not self._wrote:
                    row.rejected_calls += 1
                    return self._refuse(self._state.disk_error or NO_REPLICAS)
                self._wrote = True
        cx = self._cx
        cx.argv = argv
        cx.db = self._session.db
        return self._runner.call(cx, row)

    def _unknown(self, argv: list[bytes]) -> object:
        """Return the error for what is no command; a container without a subcommand lacks an argument."""
        container = self._services.commands.get(argv[0].upper())
        if container is not None and len(argv) == 1:
            return self._refuse(SCRIPT_WRONG_ARITY)
        return self._refuse(SCRIPT_UNKNOWN_COMMAND)

    def _refuse(self, text: bytes) -> object:
        """Return an error that was found before the command ran."""
        self._services.stats.count_error(text)
        return ErrorReply(text)

    def log(self, level: int, text: bytes) -> None:
        """Write to the server's log."""
        self._services.log.write(level, text.decode("utf-8", "replace"))

    def targets_chosen(self, targets: int) -> None:
        """Propagate what the script changes from now on to these only (redis.set_repl)."""
        self._cx.targets = targets

    def protocol_chosen(self, resp3: bool) -> None:
        """Let commands reply in RESP3 or RESP2."""
        self._session.resp3 = resp3

    def allowed(self, argv: list[bytes]) -> int:
        """Return 1 if the caller may run `argv`, 0 if not, -1 if there is no such command."""
        row = self._runner.find(argv)
        if row is None:
            return -1
        user = self._services.users.by_name.get(self._session.user)
        return 1 if verdict_on(user, row, argv).reason == ALLOWED else 0


def _error(cx: Context, text: bytes, counted: bool) -> ErrorReply:
    """Return the reply of a script that ends with an error; raise it if the statistics do not know it yet."""
    if not counted:
        raise CommandError(text)
    if cx.command is not None:
        cx.command.failed_calls += 1
    return ErrorReply(text)


def script_host(cx: Context) -> ScriptHost:
    """Return the host of scripts, made now if this is the first call."""
    services = cx.services
    host = services.scripts
    if isinstance(host, ScriptHost):
        return host
    host = ScriptHost(services)
    services.scripts = host
    return host
