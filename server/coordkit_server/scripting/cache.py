"""Scripts by SHA-1, and the `#!lua` line that declares what a script needs.

Map: Script, ScriptCache, parse_shebang.
"""

from hashlib import sha1
from typing import Final

from coordkit_server.resp.request import split_args

NO_WRITES: Final = 1
ALLOW_OOM: Final = 2
ALLOW_STALE: Final = 4
NO_CLUSTER: Final = 8
ALLOW_CROSS_SLOT: Final = 16
NO_SHEBANG: Final = 32  # no declaration: what the script may do is judged command by command

FLAG_NAMES: Final[dict[bytes, int]] = {
    b"no-writes": NO_WRITES,
    b"allow-oom": ALLOW_OOM,
    b"allow-stale": ALLOW_STALE,
    b"no-cluster": NO_CLUSTER,
    b"allow-cross-slot-keys": ALLOW_CROSS_SLOT,
}


class ScriptError(Exception):
    """A script that cannot be loaded; `message` is the error reply."""

    def __init__(self, message: bytes) -> None:
        super().__init__(message)
        self.message: Final = message


class Script:
    """A loaded script.  `number` is its number in the interpreter."""

    def __init__(self, sha: bytes, body: bytes, flags: int, number: int) -> None:
        self.sha: Final = sha
        self.body: Final = body
        self.flags: Final = flags
        self.number: Final = number


def script_sha(body: bytes) -> bytes:
    """Return the name of a script: 40 hexadecimal digits, lower case."""
    return sha1(body).hexdigest().encode("ascii")


def parse_shebang(body: bytes) -> tuple[int, int]:
    """Return (flags, length of the `#!` line without its line end); (NO_SHEBANG, 0) if there is none.

    Raises ScriptError."""
    if not body.startswith(b"#!"):
        return NO_SHEBANG, 0
    end = body.find(b"\n")
    if end < 0:
        raise ScriptError(b"ERR Invalid script shebang")
    words = split_args(body[:end])
    if not words:
        raise ScriptError(b"ERR Invalid engine in script shebang")
    if words[0] != b"#!lua":
        raise ScriptError(b"ERR Unexpected engine in script shebang: " + words[0])
    flags = 0
    for word in words[1:]:
        if not word.startswith(b"flags="):
            raise ScriptError(b"ERR Unknown lua shebang option: " + word)
        flags |= parse_flags(word[6:])
    return flags, end


def parse_flags(text: bytes) -> int:
    """Return the flags that `text` names, separated by commas.  Raises ScriptError."""
    flags = 0
    if not text:
        return flags
    for name in text.split(b","):
        flag = FLAG_NAMES.get(name)
        if flag is None:
            raise ScriptError(b"ERR Unexpected flag in script shebang: " + name)
        flags |= flag
    return flags
