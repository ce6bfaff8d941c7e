"""The file system as persistence uses it, so that tests can put one in its place that fails.

Rule of the room: whoever writes a file that others rely on writes a temporary one, syncs it, renames it, and syncs the
directory: before the last step a crash may bring the old file back, after it the new one is there for good.
"""

import os
from contextlib import suppress

from mypy_extensions import trait

from coordkit_server.persistence.rdb_format import ByteSink, ByteSource


@trait
class OutputFile(ByteSink):
    """A file open for writing."""

    def sync(self) -> None:
        """Wait until what was written is on the disk.  Raises OSError."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file.  Raises OSError."""
        raise NotImplementedError


@trait
class InputFile(ByteSource):
    """A file open for reading."""

    def size(self) -> int:
        """Return the length of the file in bytes."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file."""
        raise NotImplementedError


@trait
class FileSystem:
    """What is done with files.  Everything raises OSError."""

    def create(self, path: str) -> OutputFile:
        """Return a new, empty file at `path`; one that is there is emptied."""
        raise NotImplementedError

    def open(self, path: str) -> InputFile:
        """Return the file at `path` for reading."""
        raise NotImplementedError

    def replace(self, source: str, target: str) -> None:
        """Give the file `source` the name `target`, in place of a file that has it, and make that last."""
        raise NotImplementedError

    def remove(self, path: str) -> None:
        """Remove the file at `path` if there is one."""
        raise NotImplementedError


class RealOutputFile(OutputFile):
    """A file of the operating system, written without a buffer."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int = descriptor

    def write(self, data: bytes) -> None:
        """Write all of `data`, in several goes if the system takes less."""
        written = os.write(self._descriptor, data)
        while written < len(data):
            data = data[written:]
            written = os.write(self._descriptor, data)

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        descriptor = self._descriptor
        self._descriptor = -1
        if descriptor >= 0:
            os.close(descriptor)


class RealInputFile(InputFile):
    """A file of the operating system, read without a buffer."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int = descriptor

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, none at the end."""
        return os.read(self._descriptor, size)

    def size(self) -> int:
        """Return the length of the file in bytes."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class RealFileSystem(FileSystem):
    """The file system of this machine."""

    def create(self, path: str) -> OutputFile:
        """Return a new, empty file at `path`."""
        return RealOutputFile(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644))

    def open(self, path: str) -> InputFile:
        """Return the file at `path` for reading."""
        return RealInputFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def replace(self, source: str, target: str) -> None:
        """Rename a file and sync the directory."""
        os.rename(source, target)
        descriptor = os.open(os.path.dirname(target) or ".", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: str) -> None:
        """Remove the file at `path` if there is one."""
        with suppress(FileNotFoundError):
            os.unlink(path)
