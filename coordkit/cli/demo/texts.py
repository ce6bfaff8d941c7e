"""Text files and what is counted in them."""

import os
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

LEFT_OUT: Final = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages", "venv"})
PROBE: Final = 4096
MAX_SIZE: Final = 4 * 1024 * 1024


class Counts(NamedTuple):
    """What a file, or all of them, hold."""

    files: int = 0
    lines: int = 0
    words: int = 0
    bytes: int = 0

    def plus(self, other: Self) -> "Counts":
        """Both together."""
        return Counts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def count_file(path: str | Path) -> Counts:
    """Lines, words and bytes of one file.  Raises OSError."""
    data = Path(path).read_bytes()
    return Counts(1, data.count(b"\n"), len(data.split()), len(data))


def count_files(paths: Iterable[Path]) -> Counts:
    """The same for many, one after the other."""
    total = Counts()
    for path in paths:
        total = total.plus(count_file(path))
    return total


def find_texts(roots: Iterable[Path], limit: int) -> list[Path]:
    """Up to `limit` text files below `roots`, in a fixed order, no file twice."""
    found: dict[Path, None] = {}
    for root in roots:
        for path in _walk(root):
            if len(found) >= limit:
                return list(found)
            if path not in found and _is_text(path):
                found[path] = None
    return list(found)


def default_roots() -> list[Path]:
    """The current directory and the sources of the standard library."""
    return [Path.cwd(), Path(sysconfig.get_path("stdlib")).resolve()]


def _walk(root: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(root):
        names[:] = sorted(name for name in names if _is_source(Path(directory, name)))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(directory, name).resolve()


def _is_source(directory: Path) -> bool:
    name = directory.name
    return not (name.startswith(".") or name in LEFT_OUT or (directory / "pyvenv.cfg").exists())


def _is_text(path: Path) -> bool:
    """Whether the file is text that can be read: what begins as UTF-8 and holds no NUL."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_SIZE:
            return False
        with path.open("rb") as file:
            head = file.read(PROBE)
    except OSError:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as exc:
        if exc.start < len(head) - 3:  # not a character that the probe cut
            return False
    return bool(head) and b"\0" not in head
