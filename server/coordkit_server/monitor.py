"""MONITOR: a line for each command that runs, to the clients that asked for it; and what of a command is secret."""

from typing import Final

from coordkit_server.resp.request import quoted
from coordkit_server.session import GATE_MONITOR, Session

REDACTED: Final = b"(redacted)"
# parameters of CONFIG SET whose values are never shown
_SECRET_PARAMETERS: Final = frozenset([b"requirepass", b"masterauth", b"masteruser", b"tls-key-file-pass"])


class Monitors:
    """The clients that listen."""

    def __init__(self) -> None:
        self.sessions: Final[dict[int, Session]] = {}

    def add(self, session: Session) -> None:
        """Let `session` listen."""
        self.sessions[session.id] = session
        session.gates |= GATE_MONITOR

    def remove(self, session: Session) -> None:
        """End `session`'s listening, if it does."""
        self.sessions.pop(session.id, None)
        session.gates &= ~GATE_MONITOR

    def feed(self, session: Session, db_index: int, argv: list[bytes], now_us: int) -> None:
        """Tell everybody that `session` runs `argv`."""
        source = session.address
        if session.in_script:
            source = b"lua"
        elif session.unix_socket:
            source = b"unix:" + session.address.removesuffix(b":0")
        words = b" ".join([quoted(word) for word in redact(argv)])
        line = b"+%d.%06d [%d %b] %b\r\n" % (now_us // 1_000_000, now_us % 1_000_000, db_index, source, words)
        for listener in self.sessions.values():
            listener.deliver_raw(line)


def redact(argv: list[bytes]) -> list[bytes]:
    """Return `argv` with passwords replaced by `(redacted)`."""
    name = argv[0].upper()
    if name == b"AUTH":
        return [argv[0]] + [REDACTED] * (len(argv) - 1)
    shown = argv
    if name == b"HELLO":
        shown = list(argv)
        for at in range(2, len(argv) - 2):
            if argv[at].upper() == b"AUTH":
                shown[at + 1] = shown[at + 2] = REDACTED
    elif name == b"CONFIG" and len(argv) > 3 and argv[1].upper() == b"SET":
        shown = list(argv)
        for at in range(2, len(argv) - 1, 2):
            if argv[at].lower() in _SECRET_PARAMETERS:
                shown[at + 1] = REDACTED
    elif name == b"ACL" and len(argv) > 2 and argv[1].upper() in (b"SETUSER", b"DELUSER", b"GETUSER"):
        shown = [argv[0], argv[1]] + [REDACTED] * (len(argv) - 2)
    elif name == b"MIGRATE":
        shown = _redact_migrate(argv)
    return shown


def _redact_migrate(argv: list[bytes]) -> list[bytes]:
    """Return a MIGRATE with what follows AUTH and AUTH2 hidden."""
    shown = list(argv)
    for at in range(6, len(argv)):
        hidden = {b"AUTH": 1, b"AUTH2": 2}.get(argv[at].upper(), 0)
        for i in range(at + 1, min(at + 1 + hidden, len(argv))):
            shown[i] = REDACTED
    return shown
