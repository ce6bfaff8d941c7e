"""The event loop: readiness to handlers, then flush what was written, then what is due.

One turn: wait for descriptors, let each handler read and execute, flush every connection that has output, run the
timers.  Nothing in a turn waits.
"""

from typing import Final

from mypy_extensions import trait

from coordkit_server.clock import Clock
from coordkit_server.networking.poller import READ, WRITE, Poller

_MAX_WAIT_S: Final = 1.0


@trait
class Handler:
    """Owner of a file descriptor."""

    def on_readable(self) -> None:
        """Take what has arrived."""
        raise NotImplementedError

    def on_writable(self) -> None:
        """Send what is waiting."""
        raise NotImplementedError


@trait
class Flushable:
    """Has output for the end of the turn."""

    def flush(self) -> None:
        """Send as much as the peer takes."""
        raise NotImplementedError


@trait
class TurnHooks:
    """What the application does each turn."""

    def before_wait(self) -> int:
        """Do what is due; return when (monotonic us) the next thing is, 0 for never."""
        raise NotImplementedError


@trait
class Barrier:
    """Stands between executing and replying."""

    def settle(self) -> None:
        """Make last what was executed: replies to it are about to be sent."""
        raise NotImplementedError


class EventLoop:
    """Runs handlers until stopped."""

    def __init__(self, poller: Poller, clock: Clock) -> None:
        self._poller: Final = poller
        self._clock: Final = clock
        self._handlers: Final[dict[int, Handler]] = {}
        self._pending: list[Flushable] = []
        self._stopped: bool = False
        self.barrier: Barrier | None = None  # replies wait for the end of the turn, and for it

    def add(self, fd: int, handler: Handler) -> None:
        """Call `handler` when `fd` is readable."""
        self._handlers[fd] = handler
        self._poller.register(fd, READ)

    def watch(self, fd: int, mask: int) -> None:
        """Change what `fd` is watched for (READ, WRITE, both or 0)."""
        self._poller.modify(fd, mask)

    def remove(self, fd: int) -> None:
        """Forget `fd`; call it before the descriptor closes."""
        del self._handlers[fd]
        self._poller.unregister(fd)

    def flush_later(self, item: Flushable) -> None:
        """Flush `item` at the end of this turn."""
        self._pending.append(item)

    def stop(self) -> None:
        """Let `run` return at the end of this turn."""
        self._stopped = True

    def stopped(self) -> bool:
        """Return True if `stop` was called."""
        return self._stopped

    def run(self, hooks: TurnHooks) -> None:
        """Turn until `stop`."""
        while not self._stopped:
            due_us = hooks.before_wait()
            self._flush_pending()
            if self.stopped():
                return
            self._turn(self._wait_s(due_us))

    def glance(self) -> None:
        """Handle what is ready and return at once: for a long script that lets others be answered."""
        self._turn(0.0)

    def _turn(self, wait_s: float) -> None:
        """Wait for descriptors, handle those that are ready, flush."""
        handlers = self._handlers
        for fd, mask in self._poller.poll(wait_s):
            handler = handlers.get(fd)
            if handler is None:
                continue
            if mask & ~WRITE:
                handler.on_readable()
                if mask & WRITE and handlers.get(fd) is handler:
                    handler.on_writable()
            else:
                handler.on_writable()
            if self.stopped():  # SHUTDOWN: what other clients have sent does not run
                break
        self._flush_pending()

    def _wait_s(self, due_us: int) -> float:
        """Return how long the poller may sleep."""
        if due_us == 0:
            return _MAX_WAIT_S
        return min(max((due_us - self._clock.monotonic_us()) / 1e6, 0.0), _MAX_WAIT_S)

    def _flush_pending(self) -> None:
        """Flush what asked for it; a flush may make others ask."""
        while self._pending:
            if self.barrier is not None:
                self.barrier.settle()
            pending = self._pending
            self._pending = []
            for item in pending:
                item.flush()
