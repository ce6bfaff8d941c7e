"""Files as a dependency: the system's, and in tests ones that fail or forget.

Every way in which writing can go wrong passes here: a write may take less than it was given, a full disk and a broken
one raise OSError, and what was not fsynced (names in a directory included) may be gone after a power failure.
"""

import errno
import os
import sys
from typing import Final

from mypy_extensions import trait

_NEW_FILE_MODE: Final = 0o644


@trait
class AppendFile:
    """A file that grows at its end."""

    def write(self, data: bytes) -> int:
        """Append `data`; return how many bytes were taken, which may be fewer.  Raises OSError."""
        raise NotImplementedError

    def fsync(self) -> None:
        """Return once everything written is on disk.  Raises OSError."""
        raise NotImplementedError

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes.  Raises OSError."""
        raise NotImplementedError

    def size(self) -> int:
        """Return the size in bytes.  Raises OSError."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the descriptor back."""
        raise NotImplementedError


@trait
class Files:
    """The file system.  All methods raise OSError."""

    def open_append(self, path: str, *, empty: bool = False) -> AppendFile:
        """Return the file at `path`, made if absent, emptied if asked for."""
        raise NotImplementedError

    def read(self, path: str) -> bytes:
        """Return the contents of a small file."""
        raise NotImplementedError

    def write_whole(self, path: str, data: bytes) -> None:
        """Make the file at `path` hold `data`, on disk when this returns."""
        raise NotImplementedError

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, replacing what had it."""
        raise NotImplementedError

    def unlink(self, path: str) -> None:
        """Remove a name."""
        raise NotImplementedError

    def fsync_directory(self, path: str) -> None:
        """Return once the names in the directory are on disk."""
        raise NotImplementedError

    def make_directory(self, path: str) -> None:
        """Make the directory unless it exists."""
        raise NotImplementedError

    def exists(self, path: str) -> bool:
        """Return True if there is something at `path`."""
        raise NotImplementedError

    def size(self, path: str) -> int:
        """Return the size of the file at `path`."""
        raise NotImplementedError


class SystemFile(AppendFile):
    """A file of the system, in append mode."""

    def __init__(self, fd: int) -> None:
        self._fd: Final = fd

    def write(self, data: bytes) -> int:
        """Append `data`; return how many bytes were taken."""
        return os.write(self._fd, data)

    def fsync(self) -> None:
        """Return once everything written is on disk."""
        if sys.platform == "linux":
            os.fdatasync(self._fd)
        else:
            os.fsync(self._fd)

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(self._fd, size)

    def size(self) -> int:
        """Return the size in bytes."""
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)


class SystemFiles(Files):
    """The system's files."""

    def open_append(self, path: str, *, empty: bool = False) -> AppendFile:
        """Return the file at `path`, made if absent, emptied if asked for."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | (os.O_TRUNC if empty else 0)
        return SystemFile(os.open(path, flags, _NEW_FILE_MODE))

    def read(self, path: str) -> bytes:
        """Return the contents of a small file."""
        with open(path, "rb") as file:
            return file.read()

    def write_whole(self, path: str, data: bytes) -> None:
        """Make the file at `path` hold `data`, on disk when this returns."""
        with open(path, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, replacing what had it."""
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        """Remove a name."""
        os.unlink(path)

    def fsync_directory(self, path: str) -> None:
        """Return once the names in the directory are on disk."""
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def make_directory(self, path: str) -> None:
        """Make the directory unless it exists."""
        try:
            os.makedirs(path, mode=0o755, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from error

    def exists(self, path: str) -> bool:
        """Return True if there is something at `path`."""
        return os.path.exists(path)

    def size(self, path: str) -> int:
        """Return the size of the file at `path`."""
        return os.stat(path).st_size
