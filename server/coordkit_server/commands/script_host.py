"""The server as scripts see it: one session for all of them, the gates of `redis.call`, the script cache.

Map: ScriptHost (load, find, flush, run; what the engine calls: call, log, allowed), script_host.

The engine is made by the first command that needs it: a server whose clients send no script starts sooner.
"""

from typing import Final

from coordkit_server.context import MAY_REPLICATE, NOSCRIPT, WRITE, CommandRunner, Context, Services
from coordkit_server.errors import (
    NOT_BUSY,
    SCRIPT_FORBIDDEN,
    SCRIPT_KILLED,
    SCRIPT_READ_ONLY,
    SCRIPT_UNKNOWN_COMMAND,
    SCRIPT_WRITE_FLAG,
    SCRIPT_WRONG_ARITY,
    UNKILLABLE,
    CommandError,
)
from coordkit_server.resp.reply import ErrorReply
from coordkit_server.scripting.cache import NO_SHEBANG, NO_WRITES, Script, ScriptError, parse_shebang, script_sha
from coordkit_server.scripting.convert import one_line
from coordkit_server.scripting.engine import Engine, Failure, ScriptServer
from coordkit_server.session import NullSink, Session


class ScriptHost(ScriptServer):
    """Runs scripts and the commands that they call."""

    def __init__(self, services: Services) -> None:
        self._services: Final = services
        self._runner: Final[CommandRunner] = services.require_runner()
        self._session: Final = Session(0, services.databases[0], NullSink(), services.clock.now_us())
        self._session.in_script = True
        self._session.deny_blocking = True
        self._cx: Final = Context(self._session, services)
        self._engine: Engine = Engine(self)
        self._scripts: Final[dict[bytes, Script]] = {}
        self._read_only: bool = False
        self._wrote: bool = False
        self._running: bool = False
        self._busy: bool = False
        self._killed: bool = False
        self._due_us: int = 0

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
            number = self._engine.compile(body[skip:])
            if not isinstance(number, int):
                raise CommandError(b"ERR Error compiling script (new function): " + one_line(number))
            script = Script(sha, body, flags, number)
            self._scripts[sha] = script
        return script

    def flush(self) -> None:
        """Forget all scripts, and the interpreter with what they left in it."""
        self._scripts.clear()
        self._engine = Engine(self)

    def run(self, cx: Context, script: Script, key_count: int, read_only: bool) -> object:
        """Run `script` for `cx`, whose argv holds keys and arguments from the fourth on; return its reply."""
        flags = script.flags
        if not flags & NO_SHEBANG:
            if read_only and not flags & NO_WRITES:
                raise CommandError(SCRIPT_WRITE_FLAG)
            read_only = read_only or flags & NO_WRITES != 0
        session = self._session
        caller = cx.session
        session.db = cx.db
        session.resp3 = False
        session.user = caller.user
        self._read_only = read_only
        self._wrote = False
        self._running = True
        self._killed = False
        reply = self._engine.run(script.number, key_count, cx.argv[3:])
        self._running = False
        if self._busy:
            self._busy = False
            self._services.control.busy_over()
        if isinstance(reply, Failure):
            return self._failed(script, reply)
        if isinstance(reply, ErrorReply):
            self._services.stats.count_error(reply.text)
        return reply

    def tick(self) -> bytes | None:
        """Answer others once the script runs for too long; return the error that ends it if somebody asked for that."""
        services = self._services
        if not self._running:
            return None
        if not self._busy:
            ran_ms = (services.clock.now_us() - services.state.now_us) // 1000
            threshold_ms = services.config.number("busy-reply-threshold")
            if ran_ms < threshold_ms or threshold_ms == 0:
                return None
            self._busy = True
            services.log.warning(
                "Slow script detected: still in execution after %d milliseconds. You can try killing the script using "
                "the SCRIPT KILL command." % ran_ms
            )
        services.control.serve_while_busy()
        return SCRIPT_KILLED if self._killed or services.control.stopping() else None

    def kill(self) -> None:
        """End the script that runs.  Raises NOTBUSY without one, UNKILLABLE once it has written."""
        if not self._running:
            raise CommandError(NOT_BUSY)
        if self._wrote:
            raise CommandError(UNKILLABLE)
        self._killed = True

    def _failed(self, script: Script, failure: Failure) -> object:
        """Return the error reply of a script that raised."""
        text = failure.text
        if failure.source:
            text += b" script: %b, on %b:%d." % (script.sha, failure.source, failure.line)
        text = one_line(text)
        if not failure.counted:
            raise CommandError(text)
        return ErrorReply(text)

    # -- what the engine calls -----------------------------------------------------------------------------------

    def call(self, argv: list[bytes]) -> object:
        """Run a command of the running script."""
        row = self._runner.find(argv)
        if row is None:
            return self._refuse(SCRIPT_UNKNOWN_COMMAND)
        size = len(argv)
        if not (size == row.arity or (row.arity < 0 and size >= -row.arity)):
            row.rejected_calls += 1
            return self._refuse(SCRIPT_WRONG_ARITY)
        flags = row.flags
        if flags & (NOSCRIPT | WRITE | MAY_REPLICATE):
            if flags & NOSCRIPT:
                row.rejected_calls += 1
                return self._refuse(SCRIPT_FORBIDDEN)
            if self._read_only:
                row.rejected_calls += 1
                return self._refuse(SCRIPT_READ_ONLY)
            if flags & WRITE:
                self._wrote = True
        cx = self._cx
        cx.argv = argv
        cx.db = self._session.db
        return self._runner.call(cx, row)

    def _refuse(self, text: bytes) -> object:
        """Return an error that was found before the command ran."""
        self._services.stats.count_error(text)
        return ErrorReply(text)

    def log(self, level: int, text: bytes) -> None:
        """Write to the server's log."""
        self._services.log.write(level, text.decode("utf-8", "replace"))

    def protocol_chosen(self, resp3: bool) -> None:
        """Let commands reply in RESP3 or RESP2."""
        self._session.resp3 = resp3

    def allowed(self, argv: list[bytes]) -> int:
        """Return 1 if the caller may run `argv`, -1 if there is no such command."""
        row = self._runner.find(argv)
        return -1 if row is None else 1


def script_host(cx: Context) -> ScriptHost:
    """Return the host of scripts, made now if this is the first call."""
    services = cx.services
    host = services.scripts
    if isinstance(host, ScriptHost):
        return host
    host = ScriptHost(services)
    services.scripts = host
    return host
