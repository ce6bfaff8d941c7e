"""`coordkit-server [FILE] [--option value ...]`: reads the configuration, binds, serves."""

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from random import Random, SystemRandom

from coordkit_server import REDIS_LEVEL, __version__
from coordkit_server.access.users import UserError
from coordkit_server.app import Server
from coordkit_server.clock import SystemClock
from coordkit_server.commands.table import build_table, renamed_table
from coordkit_server.config import Config, ConfigError
from coordkit_server.configfile import UsageError, command_renames, merged, read_arguments, read_file, user_definitions
from coordkit_server.log import Log
from coordkit_server.networking.listener import bind_addresses, bind_unix
from coordkit_server.persistence.aof import AppendOnlyError
from coordkit_server.persistence.check import Report, check_snapshot, is_snapshot
from coordkit_server.persistence.check_log import check_log, is_log
from coordkit_server.persistence.files import RealFileSystem
from coordkit_server.persistence.snapshot import LoadError
from coordkit_server.process import allow_files

LINES_OF_WORDS = frozenset(["rename-command", "user"])  # directives that are no parameters
RESERVED_FILES = 32  # open besides the clients: listeners, the log, snapshots
# parameters that are kept as values and change nothing here, and what they would need
WITHOUT_EFFECT = {
    "cluster-enabled": "it is no cluster's node",
    "daemonize": "it stays in the foreground",
    "supervised": "it tells no supervisor that it is ready",
    "syslog-enabled": "it writes to the logfile, or to standard output",
    "tls-port": "it has no TLS; put a proxy that has before it",
}
HELP = """usage: coordkit-server [FILE] [--OPTION VALUE ...]

FILE is a redis.conf.  Every parameter of it is an option too, for example:
  --port 6379            TCP port, 0 for none            --bind 127.0.0.1     addresses to listen on
  --unixsocket PATH      also listen on a unix socket    --unixsocketperm 700 its permissions
  --dir PATH             working directory               --requirepass TEXT   password of the default user
  --databases 16         number of databases             --maxclients 10000   connections at most
  --check FILE           say whether a snapshot or append-only file is whole, and where it breaks if not
  --check FILE --fix     also cut an append-only file to its whole part, after asking (--yes: without asking)
  --owner-socket PATH    end when the last connection to this socket has closed
"""


def load_config(arguments: list[str]) -> Config:
    """Return the configuration that `arguments` and the file they name give.  Raises UsageError."""
    path, directives = read_arguments(arguments)
    if path is not None:
        directives = read_file(path) + directives
    config = Config()
    config.path = str(Path(path).absolute()) if path is not None else ""
    config.users.extend(user_definitions(directives))
    config.renames.extend(command_renames(directives))
    if config.renames:
        try:
            renamed_table(build_table(), config.renames)
        except ValueError as error:
            raise UsageError(str(error)) from error
    for name, value in merged([(name, value) for name, value in directives if name not in LINES_OF_WORDS]):
        if config.find(name) is None:
            raise UsageError(f"unknown option {name!r}; `coordkit-server --help` lists the common ones")
        try:
            config.set(name, value)
        except ConfigError as error:
            raise UsageError(f"{name} {value!r}: {error}") from error
    if config.text("replicaof"):
        raise UsageError(
            f"replicaof {config.text('replicaof')!r}: this server cannot be a replica, and must not pass for one; "
            "remove the line, or run redis-server with it"
        )
    return config


def bind_all(config: Config) -> tuple[list[socket.socket], list[str]]:
    """Return the listening sockets the configuration asks for, and the unix paths to remove at the end.

    Raises UsageError; an address written with a leading `-` may be missing on this machine."""
    sockets: list[socket.socket] = []
    paths: list[str] = []
    backlog = config.number("tcp-backlog")
    port = config.number("port")
    try:
        sockets.extend(bind_addresses(config.text("bind"), port, backlog))
    except OSError as error:
        raise UsageError(
            f"Could not create server TCP listening socket {error.filename}:{port}: {error.strerror}"
        ) from error
    path = config.text("unixsocket")
    if path:
        sockets.append(bind_path("unixsocket", path, int(config.text("unixsocketperm"), 8), backlog))
        paths.append(path)
    if not sockets:
        raise UsageError("nothing to listen on: give --port or --unixsocket")
    return sockets, paths


def bind_path(option: str, path: str, permissions: int, backlog: int) -> socket.socket:
    """Return a listening unix socket at the `path` that `option` names.  Raises UsageError."""
    try:
        return bind_unix(path, permissions, backlog)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{option} {path!r}: Failed opening Unix socket: {reason}") from error


def prepare_files(config: Config) -> None:
    """Go to the directory of the data, and see that the log can be written.  Raises UsageError."""
    option = "dir"
    try:
        os.chdir(config.text(option))
        option = "logfile"
        if config.text(option):
            with open(config.text(option), "ab"):
                pass
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{option} {config.text(option)!r}: {reason}") from error
    config.set("dir", str(Path.cwd()))


def signal_pipe() -> int:
    """Return the read end of a pipe that gets the numbers of SIGTERM and SIGINT."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    os.set_blocking(write_fd, False)
    signal.set_wakeup_fd(write_fd)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)  # the number travels through the wakeup pipe
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return read_fd


def is_compiled() -> bool:
    """Return True if the server runs as compiled code."""
    import coordkit_server.dispatch as module

    return not str(module.__file__).endswith(".py")


def fit_clients(config: Config, log: Log) -> None:
    """Raise the limit of open files as `maxclients` needs it; lower `maxclients` where the system forbids that."""
    wanted = config.number("maxclients") + RESERVED_FILES
    allowed = allow_files(wanted)
    if allowed < wanted:
        clients = max(allowed - RESERVED_FILES, 1)
        log.warning(f"maxclients needs {wanted} open files, the system allows {allowed}: maxclients is {clients} now")
        config.set("maxclients", str(clients))


def warn_of(config: Config, log: Log) -> None:
    """Say which of the parameters that were set have no effect."""
    for name, why in WITHOUT_EFFECT.items():
        if config.text(name) != config.parameters[name].default:
            log.warning(f"{name} {config.text(name)} has no effect on this server: {why}")


def write_pid(path: str, log: Log) -> bool:
    """Write the number of this process to the file at `path`; return False, and say so, if that fails."""
    try:
        Path(path).write_text(f"{os.getpid()}\n", encoding="ascii")
    except OSError as error:
        log.warning(f"Failed to write PID file {path}: {error.strerror}")
        return False
    return True


def serve(config: Config) -> None:
    """Run a server until it is told to stop."""
    prepare_files(config)
    log = Log(config.text("logfile"), config.text("loglevel"))
    fit_clients(config, log)
    warn_of(config, log)
    sockets, paths = bind_all(config)
    owner_path = config.text("owner-socket")
    server = Server(config, SystemClock(), log, Random(SystemRandom().getrandbits(64)))
    for sock in sockets:
        server.listen(sock)
    if owner_path:
        server.listen_for_owners(bind_path("owner-socket", owner_path, 0o700, 128))
        paths.append(owner_path)
    if config.text("pidfile") and write_pid(config.text("pidfile"), log):
        paths.append(config.text("pidfile"))
    server.listen_for_signals(signal_pipe())
    mode = "compiled" if is_compiled() else "interpreted"
    log.notice(f"coordkit-server {__version__}, level of Redis {REDIS_LEVEL}, {mode}, PID: {os.getpid()}")
    log.notice("Server initialized")
    try:
        server.load_users()
    except UserError as error:
        log.warning(f"Aborting Redis startup because of ACL errors: {error.reason.decode('utf-8', 'replace')}")
        sys.exit(1)
    try:
        server.load()
    except AppendOnlyError as error:
        log.warning(str(error))
        sys.exit(1)
    except LoadError as error:
        log.warning(str(error))
        log.warning("Fatal error loading the DB, check server logs. Exiting.")
        sys.exit(1)
    except OSError as error:
        log.warning(f"The append-only file cannot be used: {error.strerror}. Exiting.")
        sys.exit(1)
    log.notice("Ready to accept connections")
    server.run()
    for path in paths:
        with contextlib.suppress(OSError):  # somebody removed it, or the directory
            os.unlink(path)


def check(words: list[str]) -> int:
    """Return 0 if the file in `words` is whole, 1 if it is not, 2 if it cannot be read; says so on the way.

    With `--fix` an append-only file is cut to its whole part if the reader agrees, or at once with `--yes`."""
    paths = [word for word in words if not word.startswith("--")]
    options = {word for word in words if word.startswith("--")}
    if len(paths) != 1 or not options <= {"--fix", "--yes"} or options == {"--yes"}:
        sys.stderr.write("usage: coordkit-server --check FILE [--fix [--yes]]\n")
        return 2
    path = paths[0]
    try:
        report = report_of(path)
        if report is None:
            return 2
        for line in report.lines:
            sys.stdout.write(f"{path}: {line}\n")
        if report.good:
            return 0
        return fix(report, asks="--yes" not in options) if "--fix" in options else 1
    except OSError as error:
        sys.stderr.write(f"coordkit-server: can't read or cut {error.filename or path}: {error.strerror}\n")
        return 2


def report_of(path: str) -> Report | None:
    """Return what is to be said of the file at `path`, None (and say so) if it is of no kind that is known."""
    with open(path, "rb") as file:
        head = file.read(8)
    if is_snapshot(head) and not is_log(path, head):
        return check_snapshot(path, RealFileSystem())
    if is_log(path, head):
        return check_log(path, RealFileSystem())
    sys.stderr.write(f"coordkit-server: {path} is no snapshot and no append-only file: it starts with {head!r}\n")
    return None


def fix(report: Report, *, asks: bool) -> int:
    """Cut the file to its whole part; return 0 if that was done, 1 if not.  Raises OSError."""
    if report.good_bytes < 0:
        sys.stdout.write("cannot be fixed: only the end of the last append-only file can be cut off\n")
        return 1
    path, whole = report.path, report.good_bytes
    size = os.stat(path).st_size
    question = f"{path}: cut from {size} to {whole} bytes? {size - whole} bytes will be lost"
    if asks:
        sys.stdout.write(f"{question} [y/N]: ")
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            sys.stdout.write("nothing has been changed\n")
            return 1
    with open(path, "r+b") as file:
        file.truncate(whole)
        os.fsync(file.fileno())
    sys.stdout.write(f"{path}: cut from {size} to {whole} bytes, what is left is whole\n")
    return 0


def open_standard_files() -> None:
    """Open those of the first three descriptors that are closed: else a socket or a data file would be one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free


def main() -> None:
    """Run the command line."""
    open_standard_files()
    arguments = sys.argv[1:]
    if arguments[:1] in (["--help"], ["-h"]):
        sys.stdout.write(HELP)
        return
    if arguments[:1] in (["--version"], ["-v"]):
        sys.stdout.write(f"coordkit-server {__version__} (level of Redis {REDIS_LEVEL})\n")
        return
    if arguments[:1] == ["--check"]:
        sys.exit(check(arguments[1:]))
    try:
        serve(load_config(arguments))
    except (UsageError, OSError) as error:
        sys.stderr.write(f"coordkit-server: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
