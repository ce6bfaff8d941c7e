"""What CLIENT PAUSE WRITE keeps waiting: commands that write or are propagated, and scripts that may."""

from coordkit_server.commands.script_host import ScriptHost
from coordkit_server.context import MAY_REPLICATE, WRITE, Command, Services
from coordkit_server.scripting.cache import NO_SHEBANG, NO_WRITES, ScriptError, parse_shebang
from coordkit_server.session import GATE_MULTI, Session


def may_replicate(services: Services, session: Session, row: Command, argv: list[bytes]) -> bool:
    """Return True if `row` with `argv`, or what EXEC would run, may change data or be propagated."""
    if row.name == b"EXEC" and session.gates & GATE_MULTI:
        for queued in session.queue:
            inner = queued.row
            if isinstance(inner, Command) and may_replicate(services, session, inner, queued.argv):
                return True
        return False
    if not row.flags & (WRITE | MAY_REPLICATE):
        return False
    if row.name in (b"EVAL", b"EVALSHA", b"FCALL") and len(argv) > 1:
        return not _declares_no_writes(services, row.name, argv[1])
    return True


def _declares_no_writes(services: Services, command: bytes, name: bytes) -> bool:
    """Return True if the script or function has the flag no-writes."""
    host = services.scripts
    if command == b"EVAL":
        try:
            flags, _ = parse_shebang(name)
        except ScriptError:
            return False
        return flags != NO_SHEBANG and flags & NO_WRITES != 0
    if not isinstance(host, ScriptHost):
        return False
    if command == b"EVALSHA":
        script = host.find(name)
        return script is not None and script.flags != NO_SHEBANG and script.flags & NO_WRITES != 0
    function = host.functions().by_name.get(name.lower()) if host.has_functions() else None
    return function is not None and function.flags & NO_WRITES != 0
