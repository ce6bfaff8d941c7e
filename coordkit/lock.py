"""Locks: one owner at a time, for the time of a lease, with a fence number for what the lock protects.

Order: scripts and their replies, LockPlans (all logic, no I/O), the blocking class, the asynchronous class.

- Taking a free lock and releasing it cost one round trip each.
- Who waits stands in a queue on the server and is woken by a push when the lock is handed to it: first come,
  first served, and one wake-up a release.  A waiter that died is passed over.
- A token stands for one attempt: sending it again gives the same grant, so nothing can be taken twice by
  accident.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from coordkit.durations import Duration, to_seconds
from coordkit.errors import ClientClosed, CoordkitError, LockTimeout, OutcomeUnknown, ServerUnavailable
from coordkit.keys import Keys
from coordkit.lease import AsyncHold, AsyncLease, Hold, Identity, Lease
from coordkit.plan import NOW, Call, Listen, Plan, Subscribe, WaitSignal, WhenBack, call, now
from coordkit.renewal import AsyncRenewer, Grant, ThreadRenewer
from coordkit.runner import run, run_async
from coordkit.scripts import Script
from coordkit.transports.base import AsyncBackend, Backend

log = logging.getLogger("coordkit")

T = TypeVar("T")

FOREVER_MS: Final = 10**12

FAILURES: Final = (ServerUnavailable, OutcomeUnknown)


class Busy(NamedTuple):
    """The lock is not ours.  Ask again after `ask_again_ms` if nothing is heard before."""

    ask_again_ms: int
    left_ms: int
    before: int
    holder: bytes


@dataclass(frozen=True, slots=True)
class LockInfo:
    """What the server knows of a lock.  `owner` is None and `expires_in` 0 when it is free."""

    name: str
    owner: str | None
    fence: int
    expires_in: float
    waiters: int


def parse_acquire(reply: object) -> int | Busy:
    """The fence of the grant, or why there is none."""
    assert isinstance(reply, list)
    if reply[0] == 1:
        fence: int = reply[1]
        return fence
    return Busy(*reply[1:])


def parse_release(reply: object) -> bool:
    """Whether the lock was still ours."""
    return reply == 1


def parse_renew(reply: object) -> list[bool]:
    """For each lease whether it was renewed."""
    assert isinstance(reply, list)
    return [result == 1 for result in reply]


def parse_info(reply: object) -> tuple[bytes, int, int, int]:
    """Owner, fence, lease left in ms, waiters."""
    match reply:
        case [bytes(owner), int(fence), int(left_ms), int(waiters)]:
            return owner, fence, left_ms, waiters
    raise TypeError(f"lock_info replied {reply!r}")


RECORD: Final = ("record", "queue", "tickets")

ACQUIRE: Final = Script(
    "lock_acquire", RECORD, ("owner", "lease_ms", "wait_ms", "inbox"), parse_acquire, idempotent=True
)
INFO: Final = Script("lock_info", ("record",), (), parse_info, idempotent=True)
RELEASE: Final = Script("lock_release", RECORD, ("owner",), parse_release, idempotent=True)
RENEW: Final = Script("lock_renew", ("*records",), ("*owner_lease_ms",), parse_renew, idempotent=True)


class LockPlans:
    """What a lock does, with no I/O."""

    __slots__ = ("_identity", "_records", "name", "record", "renewed", "ttl_ms")

    renewal = RENEW

    def __init__(self, name: str, *, ttl_ms: int, renewed: bool, keys: Keys, identity: Identity) -> None:
        self.name = name
        self._records = keys.lock(name)
        self._identity = identity
        self.record = self._records[0]
        self.ttl_ms = ttl_ms
        self.renewed = renewed

    def try_acquire(self) -> Plan[Grant | None]:
        """The grant, or None if the lock is held or others wait for it."""
        owner, inbox = self._identity.attempt()
        started_s, answer = yield from self._first(owner, inbox, 0.0)
        return None if isinstance(answer, Busy) else Grant(owner, answer, started_s)

    def acquire(self, timeout_s: float | None) -> Plan[Grant]:
        """The grant.  Raises LockTimeout; after that and any other failure nothing is held and no place is kept."""
        identity = self._identity
        owner, inbox = identity.attempt()
        # Where there was contention lately the inbox is open: who listens before asking need not ask again.
        listening = identity.contended and (yield Listen(inbox, owner)) is True
        identity.contended = listening
        started_s, answer = yield from self._first(owner, inbox, timeout_s)
        if isinstance(answer, Busy):
            identity.contended = True
            deadline_s = math.inf if timeout_s is None else started_s + timeout_s
            wait_s = min(answer.ask_again_ms / 1000, deadline_s - started_s) if listening else None
            waiting = self._wait(owner, inbox, deadline_s, wait_s)
            started_s, answer = yield from self._or_abandon(owner, waiting)
        if isinstance(answer, Busy):
            raise LockTimeout(
                f"lock {self.name!r} is held by {answer.holder.decode()}; its lease ends in {answer.left_ms} ms, "
                f"{answer.before} wait before us; gave up after {timeout_s} s"
            )
        return Grant(owner, answer, started_s)

    def release(self, token: bytes) -> Plan[bool]:
        """Whether the lock was still ours.  Goes through even if the caller is cancelled meanwhile."""
        try:
            reply = yield Call(RELEASE, self._records, (token,))
            return parse_release(reply)
        except FAILURES as exc:
            yield from self._when_back(token, exc)
            raise
        except (GeneratorExit, CoordkitError):
            raise
        except BaseException:
            yield from self._abandon(token)
            raise

    def info(self) -> Plan[LockInfo]:
        """What the server knows of the lock."""
        owner, fence, left_ms, waiters = yield from call(INFO, self._records[:1], ())
        return LockInfo(self.name, owner.decode() or None, fence, left_ms / 1000, waiters)

    def _first(self, owner: bytes, inbox: bytes, wait_s: float | None) -> Plan[tuple[float, int | Busy]]:
        """When it was asked, and the first answer."""
        try:
            return (yield from self._ask(owner, inbox, wait_s))
        except (GeneratorExit, ServerUnavailable):  # nothing was run
            raise
        except BaseException:
            yield from self._abandon(owner)  # the answer is lost, the grant may not be
            raise

    def _ask(self, owner: bytes, inbox: bytes, wait_s: float | None) -> Plan[tuple[float, int | Busy]]:
        """When it was asked, and the answer.  With `wait_s` above 0 we get a place in the queue."""
        started_s = yield NOW
        assert isinstance(started_s, float)
        wait_ms = FOREVER_MS if wait_s is None or wait_s == math.inf else math.ceil(wait_s * 1000)
        reply = yield Call(ACQUIRE, self._records, (owner, self.ttl_ms, wait_ms, inbox))
        return started_s, parse_acquire(reply)

    def _wait(
        self, owner: bytes, inbox: bytes, deadline_s: float, wait_s: float | None
    ) -> Plan[tuple[float, int | Busy]]:
        """When it was asked, and the grant or the last answer before the deadline; then no place is kept.

        Asks for the first time after `wait_s` or when woken; at once with None, which opens our inbox.
        """
        if wait_s is None:
            yield Subscribe(inbox, owner)
            wait_s = 0.0  # what was handed to us before we listened was not heard
        while True:
            if wait_s > 0:
                yield WaitSignal(inbox, wait_s, owner)
            left_s = deadline_s - (yield from now())
            # The wake-up is a hint, the server's answer is the truth: ask in any case.
            started_s, answer = yield from self._ask(owner, inbox, max(left_s, 0.001))
            if not isinstance(answer, Busy):
                return started_s, answer
            if left_s <= 0:
                yield from self._abandon(owner)
                return started_s, answer
            wait_s = min(answer.ask_again_ms / 1000, left_s)

    def _or_abandon(self, owner: bytes, steps: Plan[T]) -> Plan[T]:
        """What `steps` return.  If they fail, the server may have us as waiter, or as owner by now: give that up."""
        try:
            return (yield from steps)
        except GeneratorExit:
            raise
        except BaseException:
            yield from self._abandon(owner)
            raise

    def _abandon(self, owner: bytes) -> Plan[None]:
        """Free the lock if it is ours, and our place in the queue."""
        try:
            yield from call(RELEASE, self._records, (owner,))
        except CoordkitError as exc:
            log.warning(
                "lock %r: an attempt could not be taken back yet, at the latest it ends by itself: %s", self.name, exc
            )
            yield from self._when_back(owner, exc)

    def _when_back(self, owner: bytes, failure: CoordkitError) -> Plan[None]:
        """Have it freed as soon as there is a server again, rather than at the end of its lease."""
        if isinstance(failure, FAILURES) and not isinstance(failure, ClientClosed):
            yield WhenBack(RELEASE, self._records, (owner,), self.ttl_ms / 1000)


class Lock:
    """A lock for blocking callers: `Client.lock`."""

    def __init__(self, plans: LockPlans, *, backend: Backend, renewer: ThreadRenewer) -> None:
        self._plans = plans
        self._backend = backend
        self._renewer = renewer

    @property
    def name(self) -> str:
        """The name of the lock."""
        return self._plans.name

    def acquire(self, timeout: Duration | None = None) -> Lease:
        """The lease, as soon as it is our turn.  Raises LockTimeout after `timeout`; None waits for ever."""
        timeout_s = None if timeout is None else to_seconds(timeout, name="timeout")
        return self._lease(run(self._plans.acquire(timeout_s), self._backend))

    def try_acquire(self) -> Lease | None:
        """The lease, or None if the lock is held or others wait for it.  One round trip."""
        grant = run(self._plans.try_acquire(), self._backend)
        return None if grant is None else self._lease(grant)

    def hold(self, timeout: Duration | None = None) -> Hold:
        """A context manager that holds the lock.  Entering raises LockTimeout, leaving LeaseLost if it was
        lost.
        """
        return Hold(lambda: self.acquire(timeout))

    def locked(self) -> bool:
        """Whether somebody holds the lock now."""
        return self.info().owner is not None

    def info(self) -> LockInfo:
        """Holder, fence, remaining lease and number of waiters."""
        return run(self._plans.info(), self._backend)

    def _lease(self, grant: Grant) -> Lease:
        return Lease(self._plans, grant, backend=self._backend, renewer=self._renewer)


class AsyncLock:
    """A lock for asynchronous callers: `AsyncClient.lock`."""

    def __init__(self, plans: LockPlans, *, backend: AsyncBackend, renewer: Callable[[], AsyncRenewer]) -> None:
        self._plans = plans
        self._backend = backend
        self._renewer = renewer

    @property
    def name(self) -> str:
        """The name of the lock."""
        return self._plans.name

    async def acquire(self, timeout: Duration | None = None) -> AsyncLease:
        """The lease, as soon as it is our turn.  Raises LockTimeout after `timeout`; None waits for ever."""
        timeout_s = None if timeout is None else to_seconds(timeout, name="timeout")
        return self._lease(await run_async(self._plans.acquire(timeout_s), self._backend))

    async def try_acquire(self) -> AsyncLease | None:
        """The lease, or None if the lock is held or others wait for it.  One round trip."""
        grant = await run_async(self._plans.try_acquire(), self._backend)
        return None if grant is None else self._lease(grant)

    def hold(self, timeout: Duration | None = None) -> AsyncHold:
        """A context manager that holds the lock.  Entering raises LockTimeout; LeaseLost comes out if it was
        lost.
        """
        return AsyncHold(lambda: self.acquire(timeout))

    async def locked(self) -> bool:
        """Whether somebody holds the lock now."""
        return (await self.info()).owner is not None

    async def info(self) -> LockInfo:
        """Holder, fence, remaining lease and number of waiters."""
        return await run_async(self._plans.info(), self._backend)

    def _lease(self, grant: Grant) -> AsyncLease:
        return AsyncLease(self._plans, grant, backend=self._backend, renewer=self._renewer())
