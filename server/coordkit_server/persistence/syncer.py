"""fsync in the background, for appendfsync everysec: the disk may take its time, the server does not wait."""

from threading import Condition, Thread
from typing import Final

from mypy_extensions import trait

from coordkit_server.persistence.log_files import AppendFile


@trait
class Syncer:
    """Runs one fsync at a time."""

    def start(self, file: AppendFile, position: int) -> None:
        """Begin to fsync `file`, which holds the log up to `position`; none may be under way."""
        raise NotImplementedError

    def busy(self) -> bool:
        """Return True while an fsync is under way or its result has not been taken."""
        raise NotImplementedError

    def done(self) -> bool:
        """Return True if an fsync has ended and its result waits to be taken."""
        raise NotImplementedError

    def take_position(self) -> int:
        """Return the position that the fsync that has ended covers, -1 if it failed; the next may start."""
        raise NotImplementedError

    def error_number(self) -> int:
        """Return the errno of the fsync that failed last."""
        raise NotImplementedError

    def wait(self) -> None:
        """Return once no fsync is under way."""
        raise NotImplementedError


class ThreadSyncer(Syncer):
    """A thread that fsyncs when asked; it holds no lock of the interpreter while the disk works."""

    def __init__(self) -> None:
        self._condition: Final = Condition()
        self._file: AppendFile | None = None
        self._position: int = 0
        self._ended: bool = False
        self._failed: bool = False
        self._errno: int = 0
        self._worker: Thread | None = None

    def start(self, file: AppendFile, position: int) -> None:
        """Begin to fsync `file`."""
        with self._condition:
            self._file = file
            self._position = position
            self._ended = False
            self._failed = False
            self._condition.notify_all()
        if self._worker is None:
            self._worker = Thread(target=self._work, name="aof-fsync", daemon=True)
            self._worker.start()

    def busy(self) -> bool:
        """Return True while an fsync is under way or its result has not been taken."""
        return self._file is not None or self._ended

    def done(self) -> bool:
        """Return True if an fsync has ended and its result waits to be taken."""
        return self._ended

    def take_position(self) -> int:
        """Return the position that the fsync that has ended covers, -1 if it failed; the next may start."""
        self._ended = False
        return -1 if self._failed else self._position

    def error_number(self) -> int:
        """Return the errno of the fsync that failed last."""
        return self._errno

    def wait(self) -> None:
        """Return once no fsync is under way."""
        with self._condition:
            while self._file is not None:
                self._condition.wait()

    def _work(self) -> None:
        """Fsync what is asked for, for ever."""
        while True:
            with self._condition:
                while self._file is None:
                    self._condition.wait()
                file = self._file
            failed = False
            try:
                file.fsync()
            except OSError as error:
                failed = True
                self._errno = error.errno or 0
            with self._condition:
                self._failed = failed
                self._ended = True
                self._file = None
                self._condition.notify_all()
