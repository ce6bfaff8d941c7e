"""Leases: what a holder has in its hands, blocking (`Lease`) and asynchronous (`AsyncLease`).

A lease belongs to whoever has the object, never to a thread or a task.  It counts its time on the local clock
from the moment the request for it was sent, so it is over here no later than on the server.  `Hold` and
`AsyncHold` are the context managers that take and release one.
"""

import itertools
import logging
import secrets
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final

from coordkit.durations import Duration, to_ms
from coordkit.errors import CoordkitError
from coordkit.forks import forget_in_child
from coordkit.keys import Keys
from coordkit.renewal import AsyncRenewer, BaseLease, Grant, Terms, ThreadRenewer, renew
from coordkit.runner import run, run_async
from coordkit.transports import loops
from coordkit.transports.base import AsyncBackend, Backend

log = logging.getLogger("coordkit")

TAKEN: Final = "it had ended unnoticed before it was released"


class Identity:
    """Tokens that no other client uses, and the channel this one is woken on.  A forked child gets its own."""

    __slots__ = ("__weakref__", "_inbox", "_keys", "_numbers", "_prefix", "_requests", "contended")

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self.contended = False
        """Whether somebody had to wait lately."""
        self._renew()
        forget_in_child(self._renew)

    def attempt(self) -> tuple[bytes, bytes]:
        """A token for one attempt to own something, and the inbox channel."""
        return b"%b:%x" % (self._prefix, next(self._numbers)), self._inbox

    def request(self) -> int:
        """A name for one request, to be known again by the server if it is sent twice.

        Numbers from a random one up: 62 bits leave room for all clients' ranges.
        """
        return next(self._requests)

    def _renew(self) -> None:
        self._prefix = secrets.token_hex(8).encode()
        self._requests = itertools.count(secrets.randbits(62))
        self._inbox = self._keys.inbox(self._prefix)
        self._numbers = itertools.count(1)


class Lease(BaseLease):
    """Something held by a blocking caller."""

    _lost: threading.Event | None = None

    def __init__(self, terms: Terms, grant: Grant, *, backend: Backend, renewer: ThreadRenewer) -> None:
        super().__init__(terms, grant)
        self._backend = backend
        self._renewer = renewer
        renewer.add(self)

    @property
    def lost(self) -> threading.Event:
        """An event that is set when the lease is lost."""
        if self._lost is None:
            self._lost = threading.Event()
            if self.lost_because is not None:
                self._lost.set()
        return self._lost

    def expires_in(self) -> float:
        """Seconds until the lease ends unless it is renewed; 0 when it is over."""
        return self._expires_in(self._backend.monotonic())

    def check(self) -> None:
        """Comes back if the lease is held.  Raises LeaseLost if it was lost."""
        self._check(self._backend.monotonic())

    def extend(self, ttl: Duration) -> None:
        """Give the lease `ttl` from now on, also at later renewals.  Raises LeaseLost if it is over."""
        self.check()
        self.ttl_ms = to_ms(ttl, name="ttl")
        results, started_s = run(renew([self]), self._backend)
        self._extended(results[0], started_s)

    def release(self) -> bool:
        """Whether it was still ours; then it is free now, or handed to the next waiter.  A second call
        returns False.
        """
        if self.ended:
            return False
        self.ended = True
        self._renewer.discard(self)
        return run(self.terms.release(self.token), self._backend)

    def _tell_loss(self) -> None:
        if self._lost is not None:
            self._lost.set()


class AsyncLease(BaseLease):
    """Something held by an asynchronous caller."""

    _lost: loops.Event | None = None
    on_loss: Callable[[], None] | None = None
    """Called when the lease is lost."""

    def __init__(self, terms: Terms, grant: Grant, *, backend: AsyncBackend, renewer: AsyncRenewer) -> None:
        super().__init__(terms, grant)
        self._backend = backend
        self._renewer = renewer
        renewer.add(self)

    @property
    def lost(self) -> loops.Event:
        """An event that is set when the lease is lost."""
        if self._lost is None:
            self._lost = loops.event()
            if self.lost_because is not None:
                self._lost.set()
        return self._lost

    def expires_in(self) -> float:
        """Seconds until the lease ends unless it is renewed; 0 when it is over."""
        return self._expires_in(self._backend.monotonic())

    def check(self) -> None:
        """Comes back if the lease is held.  Raises LeaseLost if it was lost."""
        self._check(self._backend.monotonic())

    async def extend(self, ttl: Duration) -> None:
        """Give the lease `ttl` from now on, also at later renewals.  Raises LeaseLost if it is over."""
        self.check()
        self.ttl_ms = to_ms(ttl, name="ttl")
        results, started_s = await run_async(renew([self]), self._backend)
        self._extended(results[0], started_s)

    async def release(self) -> bool:
        """Whether it was still ours; then it is free now, or handed to the next waiter.  A second call
        returns False.
        """
        if self.ended:
            return False
        self.ended = True
        self._renewer.discard(self)
        return await run_async(self.terms.release(self.token), self._backend)

    def _tell_loss(self) -> None:
        if self._lost is not None:
            self._lost.set()
        if self.on_loss is not None:
            self.on_loss()


class Hold:
    """A context manager: takes the lease on entering, releases it on leaving.

    If the lease is lost meanwhile, leaving raises LeaseLost, unless the body raised something itself.
    """

    def __init__(self, acquire: Callable[[], Lease]) -> None:
        self._acquire = acquire
        self._lease: Lease | None = None

    def __enter__(self) -> Lease:
        self._lease = self._acquire()
        return self._lease

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        lease = self._lease
        assert lease is not None
        self._lease = None
        try:
            if not lease.ended and not lease.release():
                lease.lost_because = TAKEN
        except CoordkitError as failure:
            # The work is done, and the lease ends by itself: no reason to fail the work.
            log.warning("%r could not be released yet, and ends by itself at the latest: %s", lease, failure)
        if lease.lost_because is not None and exc is None:
            raise lease.error()


class AsyncHold:
    """An asynchronous context manager: takes the lease on entering, releases it on leaving.

    If the lease is lost meanwhile, the body is cancelled and LeaseLost comes out of the `async with`.
    """

    def __init__(self, acquire: Callable[[], Awaitable[AsyncLease]]) -> None:
        self._acquire = acquire
        self._lease: AsyncLease | None = None
        self._body: loops.Body | None = None

    async def __aenter__(self) -> AsyncLease:
        lease = self._lease = await self._acquire()
        self._body = loops.body()
        lease.on_loss = self._body.cancel
        return lease

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        lease, body = self._lease, self._body
        assert lease is not None
        assert body is not None
        lease.on_loss = self._lease = self._body = None
        try:
            ours = body.left(exc)  # whether nobody but us has cancelled it
        finally:
            await self._release(lease)
        if lease.lost_because is not None and (exc is None or ours):
            raise lease.error() from exc

    @staticmethod
    async def _release(lease: AsyncLease) -> None:
        try:
            if not lease.ended and not await lease.release():
                lease.lost_because = TAKEN
        except CoordkitError as failure:
            # The work is done, and the lease ends by itself: no reason to fail the work.
            log.warning("%r could not be released yet, and ends by itself at the latest: %s", lease, failure)
