"""MIGRATE (group "generic"): moves keys to another server, with DUMP here and RESTORE there.

The whole server waits for the other one, up to the timeout for each step, as Redis does: a key is on one side or the
other for everybody else.
"""

import socket
from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.context import WRITE, Command, Context, KeySpec
from coordkit_server.errors import CommandError, syntax_error
from coordkit_server.keyspace.notify import GENERIC
from coordkit_server.keyspace.propagation import command_bytes
from coordkit_server.keyspace.table import Entry
from coordkit_server.persistence import dump as payloads
from coordkit_server.resp.reply import OK, Simple

_NO_KEY: Final = Simple(b"NOKEY")
_CANNOT_CONNECT: Final = b"IOERR error or timeout connecting to the client"
_TIMEOUT_MS: Final = 1000  # for a timeout of zero or less
_LINE_MAX: Final = 64 * 1024


class _Request:
    """What a MIGRATE asks for."""

    def __init__(self, argv: list[bytes]) -> None:
        self.address: Final = (argv[1].decode("utf-8", "surrogateescape"), integer(argv[2]))
        self.copy: bool = False
        self.replace: bool = False
        self.login: list[bytes] = []
        self.keys: list[bytes] = [argv[3]]
        self._parse(argv)
        timeout_ms = integer(argv[5])
        self.database: Final = integer(argv[4])
        self.timeout_s: Final = (timeout_ms if timeout_ms > 0 else _TIMEOUT_MS) / 1000

    def _parse(self, argv: list[bytes]) -> None:
        """Read the options; raises for unknown ones."""
        at = 6
        while at < len(argv):
            word = argv[at].upper()
            more = len(argv) - at - 1
            if word == b"COPY":
                self.copy = True
            elif word == b"REPLACE":
                self.replace = True
            elif word == b"AUTH" and more >= 1:
                self.login = [b"AUTH", argv[at + 1]]
                at += 1
            elif word == b"AUTH2" and more >= 2:
                self.login = [b"AUTH", argv[at + 1], argv[at + 2]]
                at += 2
            elif word == b"KEYS":
                if argv[3]:
                    raise CommandError(
                        b"ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
                    )
                self.keys = argv[at + 1 :]
                return
            else:
                raise syntax_error()
            at += 1


class _Target:
    """The connection to the other server."""

    def __init__(self, request: _Request) -> None:
        self._socket: Final = socket.create_connection(request.address, request.timeout_s)
        self._received: bytes = b""

    def send(self, commands: list[list[bytes]]) -> None:
        """Send commands in one go.  Raises OSError."""
        self._socket.sendall(b"".join([command_bytes(argv) for argv in commands]))

    def line(self) -> bytes:
        """Return the next line, which is all that the commands of MIGRATE reply.  Raises OSError."""
        while b"\r\n" not in self._received:
            data = self._socket.recv(_LINE_MAX)
            if not data:
                raise ConnectionError("the target closed the connection")
            self._received += data
        line, self._received = self._received.split(b"\r\n", 1)
        return line

    def close(self) -> None:
        """End the connection."""
        self._socket.close()


def migrate(cx: Context) -> object:
    """MIGRATE host port key|"" destination-db timeout [options] [KEYS key ...] -> OK, NOKEY if no key is there."""
    request = _Request(cx.argv)
    found: list[Entry] = []
    for key in request.keys:
        entry = cx.db.lookup_read(key)
        if entry is not None:
            found.append(entry)
    cx.rewrite([])  # until a key is gone there is nothing to repeat
    if not found:
        return _NO_KEY
    try:
        target = _Target(request)
    except ConnectionError as refusal:
        raise CommandError(b"IOERR error or timeout writing to target instance") from refusal
    except OSError as error:
        raise CommandError(_CANNOT_CONNECT) from error
    try:
        return _move(cx, request, target, found)
    finally:
        target.close()


def _move(cx: Context, request: _Request, target: _Target, found: list[Entry]) -> object:
    """Restore `found` on the target and remove what has arrived; raises the target's first error."""
    head: list[list[bytes]] = [request.login] if request.login else []
    head.append([b"SELECT", b"%d" % request.database])
    step = b"writing"
    failure = b""
    moved: list[bytes] = []
    try:
        target.send(head + [_restore(cx, request, entry) for entry in found])
        step = b"reading"
        for _ in head:
            failure = failure or _error_in(target.line())
        for entry in found:
            problem = _error_in(target.line())
            failure = failure or problem
            if not problem and not request.copy and not failure:
                moved.append(entry.key)
    except OSError as error:
        _remove(cx, moved)
        raise CommandError(b"IOERR error or timeout " + step + b" to target instance") from error
    _remove(cx, moved)
    if failure:
        raise CommandError(b"ERR Target instance replied with error: " + failure)
    return OK


def _error_in(line: bytes) -> bytes:
    """Return the error that a reply line tells, empty for none."""
    return line[1:] if line.startswith(b"-") else b""


def _restore(cx: Context, request: _Request, entry: Entry) -> list[bytes]:
    """Return the RESTORE for one key."""
    payload = payloads.dump(entry.value, cx.services.limits, compress=cx.services.config.flag("rdbcompression"))
    ttl_ms = max(entry.expire_at_ms - cx.state.now_ms, 1) if entry.expire_at_ms >= 0 else 0
    argv = [b"RESTORE", entry.key, b"%d" % ttl_ms, payload]
    if request.replace:
        argv.append(b"REPLACE")
    return argv


def _remove(cx: Context, keys: list[bytes]) -> None:
    """Remove the keys that have moved; repeated elsewhere that is a DEL."""
    removed: list[bytes] = []
    for key in keys:
        if cx.db.delete(key):
            cx.db.notify(GENERIC, b"del", key)
            removed.append(key)
    if removed:
        cx.rewrite([b"DEL", *removed])


def _positions(argv: list[bytes]) -> list[int] | None:
    """Return where the keys stand: in their place, or behind KEYS if that is empty."""
    if len(argv) > 3 and not argv[3]:
        for at in range(6, len(argv)):
            if argv[at].upper() == b"KEYS":
                return list(range(at + 1, len(argv)))
    return [3]


def commands() -> list[Command]:
    """Return the row of MIGRATE."""
    keys = KeySpec(3, 3, 1, _positions)
    return [Command(b"MIGRATE", -6, WRITE, migrate, keys, since=b"2.6.0", summary=b"Moves keys to another server.")]
