"""Renewal: one renewer a client keeps all its leases alive, many in one call.

`Renewals` decides what is due (no I/O, the time is an argument); `AsyncRenewer` drives it with a timer of the
loop, `ThreadRenewer` with a thread of its own.  A failed renewal is tried again until the lease ends by the
local clock; only then, or when the server says that the lease is gone, it is lost.
"""

import logging
import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from coordkit.errors import CoordkitError, LeaseLost
from coordkit.plan import Plan, call, now
from coordkit.runner import run, run_async
from coordkit.scripts import Script
from coordkit.transports.base import AsyncBackend, Backend
from coordkit.transports.loops import Handle, Loop, Task

log = logging.getLogger("coordkit")

RENEWALS_A_TTL: Final = 3
"""The first renewal is due after a third of the ttl, so that two may fail."""

BATCH: Final = 100
"""Leases renewed by one call."""

RETRY_S: Final = 0.25
"""The pause after a renewal that failed, or a tenth of the ttl if that is shorter."""

EARLY: Final = 0.1
"""A lease may be renewed this part of its ttl early, to go along with others."""


class Terms(Protocol):
    """What is the same for every lease of one lock, permit or the like: its plans offer this."""

    @property
    def name(self) -> str:
        """The name of what is held."""
        ...

    @property
    def record(self) -> bytes:
        """The key to renew."""
        ...

    @property
    def ttl_ms(self) -> int:
        """How long a lease lasts."""
        ...

    @property
    def renewed(self) -> bool:
        """Whether leases are prolonged while they are held."""
        ...

    @property
    def renewal(self) -> Script[list[bool]]:
        """Gives many leases fresh time: keys are records, arguments pairs of token and ttl_ms."""
        ...

    def release(self, token: bytes) -> Plan[bool]:
        """Whether the lease of `token` was still held; it is not any more."""
        ...


class Grant(NamedTuple):
    """What the server granted to `token`; the request for it was sent at `started_s`, by the local clock."""

    token: bytes
    fence: int
    started_s: float


class BaseLease:
    """What both kinds of lease share: the grant, the local deadline, and whether it is lost."""

    under_way = False
    """Whether a renewal has been sent and not answered."""
    ended = False
    """Whether it was released or lost."""
    lost_because: str | None = None

    def __init__(self, terms: Terms, grant: Grant) -> None:
        self.terms = terms
        self.token = grant.token
        self.fence = grant.fence
        """Above that of every earlier holder: pass it on to what the lease protects, and refuse lower ones there."""
        self.ttl_ms = terms.ttl_ms
        self.prolonged(grant.started_s)

    @property
    def name(self) -> str:
        """The name of what is held."""
        return self.terms.name

    @property
    def owner(self) -> str:
        """The token that stands in the server's record."""
        return self.token.decode()

    def prolonged(self, started_s: float) -> None:
        """The server gave the lease its full ttl, asked at `started_s`."""
        self.until_s = started_s + self.ttl_ms / 1000
        self.renew_at_s = started_s + self.ttl_ms / 1000 / RENEWALS_A_TTL

    def lose(self, because: str) -> None:
        """The lease is lost; told once, and not after its release."""
        if not self.ended:
            self.ended = True
            self.lost_because = because
            self._tell_loss()

    def error(self) -> LeaseLost:
        """The exception that tells the loss."""
        return LeaseLost(
            f"the lease of {self.name!r} (fence {self.fence}) was lost: {self.lost_because}; another owner may hold it"
        )

    def _extended(self, granted: bool, started_s: float) -> None:  # noqa: FBT001 - the server's answer
        if not granted:
            self.lose("the server no longer has it")
            raise self.error()
        self.prolonged(started_s)

    def _expires_in(self, now_s: float) -> float:
        return 0.0 if self.ended else max(0.0, self.until_s - now_s)

    def _check(self, now_s: float) -> None:
        if not self.ended and now_s >= self.until_s:
            self.lose(f"it was not renewed within its {self.ttl_ms} ms")
        if self.lost_because is not None:
            raise self.error()

    def _tell_loss(self) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        state = self.lost_because or ("released" if self.ended else "held")
        return f"<{type(self).__name__} {self.name!r} fence={self.fence} {state}>"


class Renewals:
    """The leases of one client that are held.  One whose object is gone is forgotten, and ends by itself."""

    __slots__ = ("_gone", "_group_of", "_references")

    def __init__(self, group_of: Callable[[bytes], int] = lambda _: 0) -> None:
        self._group_of = group_of
        self._references: set[weakref.ref[BaseLease]] = set()
        # Objects end at any moment, even while the set is being read: what has ended waits here for its removal.
        self._gone: deque[weakref.ref[BaseLease]] = deque()

    def add(self, lease: BaseLease) -> None:
        """The lease is held from now on."""
        self._forget_gone()
        self._references.add(weakref.ref(lease, self._gone.append))

    def discard(self, lease: BaseLease) -> None:
        """The lease is not held any more."""
        self._references.discard(weakref.ref(lease))

    def held(self) -> list[BaseLease]:
        """The leases that are held."""
        self._forget_gone()
        leases = [reference() for reference in self._references]
        return [lease for lease in leases if lease is not None]

    def _forget_gone(self) -> None:
        while self._gone:
            self._references.discard(self._gone.popleft())

    def next_s(self) -> float:
        """When `due` has to be asked next; infinite without leases."""
        return min((_next_s(lease) for lease in self.held()), default=math.inf)

    def due(self, now_s: float) -> list[list[BaseLease]]:
        """Batches to renew now, each of one script on keys of one group; marks them as under way.

        Ends the leases whose time is over.
        """
        waiting: list[BaseLease] = []
        for lease in self.held():
            if now_s >= lease.until_s:
                self.discard(lease)
                lease.lose(f"it was not renewed within its {lease.ttl_ms} ms")
            elif _may_renew(lease):
                waiting.append(lease)
        if not any(now_s >= lease.renew_at_s for lease in waiting):
            return []
        by_script: dict[tuple[str, int], list[BaseLease]] = {}
        for lease in waiting:
            if now_s >= lease.renew_at_s - EARLY * lease.ttl_ms / 1000:
                lease.under_way = True
                by_script.setdefault((lease.terms.renewal.name, self._group_of(lease.terms.record)), []).append(lease)
        return [
            leases[start : start + BATCH] for leases in by_script.values() for start in range(0, len(leases), BATCH)
        ]

    def renewed(self, batch: Sequence[BaseLease], results: Sequence[bool], started_s: float) -> None:
        """The server's answers for a batch that was sent at `started_s`."""
        for lease, result in zip(batch, results, strict=True):
            lease.under_way = False
            if result:
                lease.prolonged(started_s)
            elif not lease.ended:  # not released meanwhile
                self.discard(lease)
                lease.lose("the server no longer has it")

    def failed(self, batch: Sequence[BaseLease], now_s: float) -> None:
        """No answer for a batch: it is due again soon."""
        for lease in batch:
            lease.under_way = False
            lease.renew_at_s = now_s + min(RETRY_S, EARLY * lease.ttl_ms / 1000)


def _may_renew(lease: BaseLease) -> bool:
    return lease.terms.renewed and not lease.under_way


def _next_s(lease: BaseLease) -> float:
    if _may_renew(lease):
        return min(lease.renew_at_s, lease.until_s)
    return lease.until_s


def renew(batch: Sequence[BaseLease]) -> Plan[tuple[list[bool], float]]:
    """For each lease whether the server renewed it, and when that was asked."""
    started_s = yield from now()
    args: list[bytes | int] = []
    for lease in batch:
        args += (lease.token, lease.ttl_ms)
    results = yield from call(batch[0].terms.renewal, [lease.terms.record for lease in batch], args)
    return results, started_s


def _log_failure(batch: Sequence[BaseLease], exc: Exception) -> None:
    unexpected = None if isinstance(exc, CoordkitError) else exc
    log.warning("renewing %d leases failed, trying again: %s", len(batch), exc, exc_info=unexpected)


class AsyncRenewer:
    """Keeps the leases of one client on one event loop."""

    def __init__(self, backend: AsyncBackend, loop: Loop) -> None:
        self._backend = backend
        self._loop = loop
        self._renewals = Renewals(self._backend.group_of)
        self._wake_s = math.inf
        self._timer: Handle | None = None
        self._tasks: set[Task[None]] = set()

    def add(self, lease: BaseLease) -> None:
        """Keep the lease from now on."""
        self._renewals.add(lease)
        if lease.renew_at_s < self._wake_s:
            self._wake_at(_next_s(lease))

    def discard(self, lease: BaseLease) -> None:
        """The lease was released: forget it."""
        self._renewals.discard(lease)

    def close(self) -> None:
        """Stop renewing; what is still held ends by itself."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    def _wake_at(self, moment_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wake_s = moment_s
        self._timer = None
        if moment_s < math.inf:
            self._timer = self._loop.call_later(moment_s - self._backend.monotonic(), self._tick)

    def _tick(self) -> None:
        for batch in self._renewals.due(self._backend.monotonic()):
            task = self._loop.create_task(self._renew(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._wake_at(self._renewals.next_s())

    async def _renew(self, batch: list[BaseLease]) -> None:
        try:
            results, started_s = await run_async(renew(batch), self._backend)
        except Exception as exc:  # nothing may end the renewer while leases are held
            _log_failure(batch, exc)
            self._renewals.failed(batch, self._backend.monotonic())
        else:
            self._renewals.renewed(batch, results, started_s)
        self._wake_at(self._renewals.next_s())


class ThreadRenewer:
    """Keeps the leases of one blocking client, in a thread that lives while there are leases.

    A forked child starts without its parent's leases: only the parent holds them.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._pid = 0
        self._thread: threading.Thread | None = None
        self._closed = False
        self._reset()

    def add(self, lease: BaseLease) -> None:
        """Keep the lease from now on."""
        if self._pid != os.getpid():
            self._reset()
        with self._changed:
            self._renewals.add(lease)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="coordkit-renewal", daemon=True)
                self._thread.start()
            elif lease.renew_at_s < self._wake_s:
                self._changed.notify()

    def discard(self, lease: BaseLease) -> None:
        """The lease was released: forget it."""
        with self._changed:
            self._renewals.discard(lease)

    def close(self) -> None:
        """Stop renewing; what is still held ends by itself."""
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._renewals = Renewals(self._backend.group_of)
        self._wake_s = math.inf
        self._thread = None

    def _run(self) -> None:
        while True:
            with self._changed:
                batches = self._renewals.due(self._backend.monotonic())
                if not batches:
                    if self._closed:
                        return
                    self._wake_s = self._renewals.next_s()
                    left_s = self._wake_s - self._backend.monotonic()
                    self._changed.wait(min(max(left_s, 0.0), threading.TIMEOUT_MAX))
                    continue
            for batch in batches:
                self._renew(batch)

    def _renew(self, batch: list[BaseLease]) -> None:
        try:
            results, started_s = run(renew(batch), self._backend)
        except Exception as exc:  # nothing may end the renewer while leases are held
            _log_failure(batch, exc)
            with self._changed:
                self._renewals.failed(batch, self._backend.monotonic())
        else:
            with self._changed:
                self._renewals.renewed(batch, results, started_s)
