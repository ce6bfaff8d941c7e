"""Readiness of file descriptors: epoll where the system has it, `selectors` (kqueue, poll) elsewhere."""

import select
import selectors
from typing import Final

from mypy_extensions import trait

READ: Final = 1
WRITE: Final = 4


@trait
class Poller:
    """Watches file descriptors.  Masks are READ and WRITE; errors and hang-ups report as READ."""

    def register(self, fd: int, mask: int) -> None:
        """Watch `fd` for `mask`."""
        raise NotImplementedError

    def modify(self, fd: int, mask: int) -> None:
        """Change what `fd` is watched for."""
        raise NotImplementedError

    def unregister(self, fd: int) -> None:
        """Stop watching `fd`."""
        raise NotImplementedError

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        """Return (fd, mask) of what is ready, after at most `timeout_s` seconds."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the descriptor of the poller itself back."""
        raise NotImplementedError


class EpollPoller(Poller):
    """epoll, level-triggered.  EPOLLIN and EPOLLOUT are 1 and 4, EPOLLERR 8, EPOLLHUP 16."""

    def __init__(self) -> None:
        self._epoll: Final = select.epoll()

    def register(self, fd: int, mask: int) -> None:
        """Watch `fd` for `mask`."""
        self._epoll.register(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        """Change what `fd` is watched for."""
        self._epoll.modify(fd, mask)

    def unregister(self, fd: int) -> None:
        """Stop watching `fd`."""
        self._epoll.unregister(fd)

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        """Return (fd, mask) of what is ready, after at most `timeout_s` seconds."""
        return self._epoll.poll(timeout_s, 1024)

    def close(self) -> None:
        """Give the descriptor of the poller itself back."""
        self._epoll.close()


class SelectorPoller(Poller):
    """The best that `selectors` finds on this system."""

    def __init__(self) -> None:
        self._selector: Final = selectors.DefaultSelector()

    def register(self, fd: int, mask: int) -> None:
        """Watch `fd` for `mask`."""
        self._selector.register(fd, _events(mask))

    def modify(self, fd: int, mask: int) -> None:
        """Change what `fd` is watched for."""
        self._selector.modify(fd, _events(mask))

    def unregister(self, fd: int) -> None:
        """Stop watching `fd`."""
        self._selector.unregister(fd)

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        """Return (fd, mask) of what is ready, after at most `timeout_s` seconds."""
        ready: list[tuple[int, int]] = []
        for key, events in self._selector.select(timeout_s):
            mask = (READ if events & selectors.EVENT_READ else 0) | (WRITE if events & selectors.EVENT_WRITE else 0)
            ready.append((key.fd, mask))
        return ready

    def close(self) -> None:
        """Give the descriptor of the poller itself back."""
        self._selector.close()


def _events(mask: int) -> int:
    """Return the selectors' bits for `mask`."""
    return (selectors.EVENT_READ if mask & READ else 0) | (selectors.EVENT_WRITE if mask & WRITE else 0)


def best_poller() -> Poller:
    """Return the fastest poller of this system."""
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()
