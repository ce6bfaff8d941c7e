"""The manifest of an append-only file: which files it consists of.

One line a file, `file NAME seq N type T`; T is `b` for the base (a snapshot, at most one), `i` for an increment (the
commands after it; several in order), `h` for history (replaced, to be removed).  Names with spaces and the like are
quoted.  Lines that start with `#` are comments; more pairs of words may follow.

    file appendonly.aof.2.base.rdb seq 2 type b
    file appendonly.aof.2.incr.aof seq 2 type i

Source: redis.io, "Redis persistence", multi-part AOF.
"""

from typing import Final

from coordkit_server.resp.request import split_args

BASE: Final = b"b"
INCREMENT: Final = b"i"
HISTORY: Final = b"h"
MAX_LINE: Final = 1024
TEMP_PREFIX: Final = "temp-"

_PLAIN_FIRST: Final = 33
_PLAIN_LAST: Final = 126
_ESCAPES: Final = {10: b"\\n", 13: b"\\r", 9: b"\\t", 7: b"\\a", 8: b"\\b", 34: b'\\"', 92: b"\\\\"}


class ManifestError(Exception):
    """A manifest that cannot be read: the reason, and where."""

    def __init__(self, reason: str, line_number: int, line: bytes) -> None:
        super().__init__(reason)
        self.reason: Final = reason
        self.line_number: Final = line_number
        self.line: Final = line


class Part:
    """One file."""

    def __init__(self, name: str, seq: int, kind: bytes) -> None:
        self.name: Final = name
        self.seq: Final = seq
        self.kind: Final = kind


class Manifest:
    """The files of an append-only file; `name` is appendfilename."""

    def __init__(self, name: str) -> None:
        self.name: Final = name
        self.base: Part | None = None
        self.increments: list[Part] = []
        self.history: list[Part] = []
        self.base_seq: int = 0
        self.increment_seq: int = 0

    def copy(self) -> "Manifest":
        """Return an independent copy, to be changed and taken over once it is on disk."""
        other = Manifest(self.name)
        other.base = self.base
        other.increments = self.increments[:]
        other.history = self.history[:]
        other.base_seq = self.base_seq
        other.increment_seq = self.increment_seq
        return other

    def file_name(self) -> str:
        """Return the name of the manifest itself."""
        return self.name + ".manifest"

    def parts(self) -> list[Part]:
        """Return what has to be loaded, in order."""
        return ([] if self.base is None else [self.base]) + self.increments

    def is_empty(self) -> bool:
        """Return True if there is nothing to load."""
        return self.base is None and not self.increments

    # -- changes -------------------------------------------------------------------------------------------------

    def new_base(self, *, as_rdb: bool) -> str:
        """Replace the base by a new one; return its name.  The old one is history."""
        if self.base is not None:
            self.history.insert(0, Part(self.base.name, self.base.seq, HISTORY))
        self.base_seq += 1
        name = f"{self.name}.{self.base_seq}.base.{'rdb' if as_rdb else 'aof'}"
        self.base = Part(name, self.base_seq, BASE)
        return name

    def adopt(self, name: str) -> None:
        """Take a file with a name of its own as the base."""
        self.base_seq = 1
        self.base = Part(name, 1, BASE)

    def new_increment(self) -> str:
        """Add an increment; return its name."""
        self.increment_seq += 1
        name = f"{self.name}.{self.increment_seq}.incr.aof"
        self.increments.append(Part(name, self.increment_seq, INCREMENT))
        return name

    def temp_increment(self) -> str:
        """Return the name of the file that takes commands until there is a first base."""
        return f"{TEMP_PREFIX}{self.name}.incr"

    def retire_increments(self, kept: int) -> None:
        """Make all increments but the last `kept` history: a new base holds what they did."""
        gone = len(self.increments) - kept
        for part in reversed(self.increments[:gone]):
            self.history.insert(0, Part(part.name, part.seq, HISTORY))
        self.increments = self.increments[gone:]

    # -- text ----------------------------------------------------------------------------------------------------

    def text(self) -> bytes:
        """Return the manifest as it stands in its file."""
        lines: list[bytes] = []
        for part in ([] if self.base is None else [self.base]) + self.history + self.increments:
            lines.append(b"file %b seq %d type %b\n" % (quoted(part.name), part.seq, part.kind))
        return b"".join(lines)


def quoted(name: str) -> bytes:
    """Return the name, in quotes and with escapes if a word could not hold it."""
    raw = name.encode("utf-8", "surrogateescape")
    plain = len(raw) > 0
    for char in raw:
        if char < _PLAIN_FIRST or char > _PLAIN_LAST or char in (34, 39, 92):
            plain = False
    if plain:
        return raw
    parts: list[bytes] = [b'"']
    for char in raw:
        if char in _ESCAPES:
            parts.append(_ESCAPES[char])
        elif _PLAIN_FIRST - 1 <= char <= _PLAIN_LAST:
            parts.append(bytes([char]))
        else:
            parts.append(b"\\x%02x" % char)
    parts.append(b'"')
    return b"".join(parts)


def parse_manifest(name: str, text: bytes) -> Manifest:
    """Return the manifest of appendfilename `name` that `text` describes.  Raises ManifestError."""
    if not text:
        raise ManifestError("Found an empty AOF manifest", 0, b"")
    manifest = Manifest(name)
    number = 0
    for line in text.splitlines(keepends=True):
        number += 1
        if line.startswith(b"#"):
            continue
        if len(line) > MAX_LINE or not line.endswith(b"\n"):
            raise ManifestError("The AOF manifest file contains too long line", number, b"")
        stripped = line.strip(b" \t\r\n")
        reason = _take(manifest, _parse_line(stripped))
        if reason:
            raise ManifestError(reason, number, stripped)
    return manifest


def _parse_line(line: bytes) -> Part | str:
    """Return the file that a line names, or what is wrong with it."""
    words = split_args(line)
    if words is None or len(words) < 6 or len(words) % 2:
        return "Invalid AOF manifest file format"
    name = b""
    seq = 0
    kind = b""
    for i in range(0, len(words), 2):
        key, value = words[i].lower(), words[i + 1]
        if key == b"file":
            name = value
            if b"/" in name or b"\\" in name:
                return "File can't be a path, just a filename"
        elif key == b"seq":
            seq = int(value) if value.isdigit() else 0
        elif key == b"type":
            kind = value[:1]
    if not name or not seq or not kind:
        return "Invalid AOF manifest file format"
    return Part(name.decode("utf-8", "surrogateescape"), seq, kind)


def _take(manifest: Manifest, part: Part | str) -> str:
    """Enter a file; return what is wrong with it, empty if nothing."""
    if isinstance(part, str):
        return part
    if part.kind == BASE:
        if manifest.base is not None:
            return "Found duplicate base file information"
        manifest.base = part
        manifest.base_seq = part.seq
    elif part.kind == HISTORY:
        manifest.history.append(part)
    elif part.kind == INCREMENT:
        if part.seq <= manifest.increment_seq:
            return "Found a non-monotonic sequence number"
        manifest.increments.append(part)
        manifest.increment_seq = part.seq
    else:
        return "Unknown AOF file type"
    return ""
