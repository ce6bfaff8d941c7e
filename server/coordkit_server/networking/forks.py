"""Forked children whose end the event loop hears of: the read end of a pipe that the child holds open."""

import os
import signal
import time
from contextlib import suppress
from typing import Final

from coordkit_server.children import ChildRunner, ChildTask
from coordkit_server.log import Log
from coordkit_server.networking.eventloop import EventLoop, Handler


class Forks(ChildRunner, Handler):
    """One child at a time."""

    def __init__(self, loop: EventLoop, log: Log) -> None:
        self._loop: Final = loop
        self._log: Final = log
        self._task: ChildTask | None = None
        self._pid: int = 0
        self._pipe: int = -1
        self.forks: int = 0
        self.fork_us: int = 0  # how long the last fork took

    def child_running(self) -> bool:
        """Return True while a child is at work."""
        return self._task is not None

    def child_pid(self) -> int:
        """Return the process ID of the child, 0 if there is none."""
        return self._pid

    def last_fork_us(self) -> int:
        """Return how long the last fork took."""
        return self.fork_us

    def fork_count(self) -> int:
        """Return how many children there have been."""
        return self.forks

    def start_child(self, task: ChildTask) -> bool:
        """Fork a child for `task`; return False if the system has no room for one."""
        reading, writing = os.pipe()
        started_ns = time.monotonic_ns()
        try:
            pid = os.fork()
        except OSError as error:
            self._log.warning("Can't %s in background: fork: %s" % (task.purpose(), error.strerror))
            os.close(reading)
            os.close(writing)
            return False
        if pid == 0:
            os.close(reading)
            self._work(task)
        os.close(writing)
        self.fork_us = (time.monotonic_ns() - started_ns) // 1000
        self.forks += 1
        self._task = task
        self._pid = pid
        self._pipe = reading
        self._loop.add(reading, self)
        return True

    def _work(self, task: ChildTask) -> None:
        """Run the task in the child and end it."""
        status = 1
        try:
            # The pipe of the parent's signals is shared: a signal to the child is none of its business.
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            task.run_in_child()
            status = 0
        except OSError:
            pass  # the task has told of it
        except Exception as surprise:  # whatever it is, this process must not go on as a server
            self._log.warning("Child failed: %r" % surprise)
        finally:
            os._exit(status)

    def kill_child(self) -> None:
        """End the child that runs, if there is one; its task hears of a failure."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self.on_readable()

    def on_readable(self) -> None:
        """The child has ended: reap it and let its task take over."""
        task = self._task
        if task is None:
            return
        _, status = os.waitpid(self._pid, 0)
        self._loop.remove(self._pipe)
        os.close(self._pipe)
        self._task = None
        self._pid = 0
        task.child_ended(os.waitstatus_to_exitcode(status) == 0)

    def on_writable(self) -> None:
        """Never called: the pipe is watched for reading."""
