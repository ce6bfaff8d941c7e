"""One guard a server: what is sent again and what is not, and how long a caller waits for a server that is
down.

- Every call has one deadline, reconnecting and repeating included.
- A request that was certainly not run is sent again.  One that may have run is sent again only if its script
  is idempotent; else the caller gets OutcomeUnknown and knows what that means.
- A server that has never answered fails at once: the URL is probably wrong.
- An outage that outlives one deadline is remembered: callers fail at once, and one of them probes now and
  then.
"""

import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Final, TypeVar

from coordkit.errors import OutcomeUnknown, ServerUnavailable
from coordkit.scripts import Arg, Args, Keys, Script
from coordkit.transports.base import (
    DEFAULT_TIMEOUT_S,
    AsyncSignal,
    AsyncTransport,
    Listener,
    Signal,
    Transport,
)

PAUSE_FIRST_S: Final = 0.02
PAUSE_MAX_S: Final = 0.5
PROBE_EVERY_S: Final = 0.5

T = TypeVar("T")

Failure = ServerUnavailable | OutcomeUnknown


class Health:
    """What is known about one server.  No I/O; the time is an argument."""

    __slots__ = ("_next_probe_s", "_reached", "_since_s", "_timeout_s", "troubled")

    def __init__(self, timeout_s: float) -> None:
        self.troubled = True
        """False while the last thing heard of the server was good: then nobody needs to ask further."""
        self._reached = False
        self._since_s: float | None = None
        self._next_probe_s = 0.0
        self._timeout_s = timeout_s

    def admit(self, now_s: float) -> None:
        """Comes back if a call may be tried.  Raises ServerUnavailable in an outage, except for one probe now
        and then.
        """
        if self._since_s is None or now_s - self._since_s <= self._timeout_s:
            return
        if now_s >= self._next_probe_s:
            self._next_probe_s = now_s + PROBE_EVERY_S
            return
        raise ServerUnavailable(
            f"the server has been unavailable for {now_s - self._since_s:.1f} s; "
            f"it is tried again in {self._next_probe_s - now_s:.1f} s"
        )

    def succeeded(self) -> None:
        """The server answered."""
        self.troubled = False
        self._reached = True
        self._since_s = None

    def pause_s(
        self, failure: Failure, *, attempt: int, idempotent: bool, started_s: float, now_s: float
    ) -> float | None:
        """How long to wait before a call that failed is sent again; None if it must not be, or its time is
        over.
        """
        self.troubled = True
        if self._since_s is None:
            self._since_s = started_s
        if isinstance(failure, OutcomeUnknown) and not idempotent:
            return None
        if not self._reached:
            return None
        pause_s = min(PAUSE_FIRST_S * 2**attempt, PAUSE_MAX_S) * random.uniform(0.5, 1.0)
        return pause_s if now_s + pause_s < started_s + self._timeout_s else None


class Guard:
    """A blocking backend that repeats what may be repeated."""

    def __init__(self, transport: Transport, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.transport = transport
        self.health = Health(timeout_s)
        self._timeout_s = timeout_s

    def call(self, script: Script[object], keys: Keys, args: Args) -> object:
        """The reply of the script, in plain form."""
        return self._guarded(lambda: self.transport.call(script, keys, args), idempotent=script.idempotent)

    def execute(self, argv: Sequence[Arg], *, idempotent: bool = False) -> object:
        """The reply of one command, in plain form.  Say `idempotent` if it may be sent twice."""
        return self._guarded(lambda: self.transport.execute(argv), idempotent=idempotent)

    def publish(self, channel: bytes, payload: bytes) -> int:
        """How many clients got the message."""
        return self._guarded(lambda: self.transport.publish(channel, payload), idempotent=False)

    def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before."""
        return self.transport.subscribe(channel, listener, topic)

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Whether the channel is open already; then the listener is in.  Never waits."""
        return self.transport.listen(channel, listener, topic)

    def unsubscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> None:
        """Stop listening; never waits."""
        self.transport.unsubscribe(channel, listener, topic)

    def signal(self) -> Signal:
        """A new signal, to be passed to `subscribe`."""
        return self.transport.signal()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.transport.sleep(seconds)

    def monotonic(self) -> float:
        """The time in seconds, from some fixed moment."""
        return self.transport.monotonic()

    def close(self) -> None:
        """Close all connections."""
        self.transport.close()

    def _guarded(self, send: Callable[[], T], *, idempotent: bool) -> T:
        started_s = self.transport.monotonic()
        attempt = 0
        while True:
            if self.health.troubled:
                self.health.admit(self.transport.monotonic())
            try:
                reply = send()
            except (ServerUnavailable, OutcomeUnknown) as failure:
                pause_s = self.health.pause_s(
                    failure,
                    attempt=attempt,
                    idempotent=idempotent,
                    started_s=started_s,
                    now_s=self.transport.monotonic(),
                )
                if pause_s is None:
                    raise
                self.transport.sleep(pause_s)
                attempt += 1
            else:
                if self.health.troubled:
                    self.health.succeeded()
                return reply


class AsyncGuard:
    """An asynchronous backend that repeats what may be repeated."""

    def __init__(self, transport: AsyncTransport, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.transport = transport
        self.health = Health(timeout_s)

    async def call(self, script: Script[object], keys: Keys, args: Args) -> object:
        """The reply of the script, in plain form."""
        if self.health.troubled:
            return await self._guarded(lambda: self.transport.call(script, keys, args), idempotent=script.idempotent)
        started_s = self.transport.monotonic()
        try:
            return await self.transport.call(script, keys, args)
        except (ServerUnavailable, OutcomeUnknown) as failure:
            return await self._guarded(
                lambda: self.transport.call(script, keys, args),
                idempotent=script.idempotent,
                failure=failure,
                started_s=started_s,
            )

    async def execute(self, argv: Sequence[Arg], *, idempotent: bool = False) -> object:
        """The reply of one command, in plain form.  Say `idempotent` if it may be sent twice."""
        return await self._guarded(lambda: self.transport.execute(argv), idempotent=idempotent)

    async def publish(self, channel: bytes, payload: bytes) -> int:
        """How many clients got the message."""
        return await self._guarded(lambda: self.transport.publish(channel, payload), idempotent=False)

    async def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before."""
        return await self.transport.subscribe(channel, listener, topic)

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Whether the channel is open already; then the listener is in.  Never waits."""
        return self.transport.listen(channel, listener, topic)

    def unsubscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> None:
        """Stop listening; never waits."""
        self.transport.unsubscribe(channel, listener, topic)

    def signal(self) -> AsyncSignal:
        """A new signal, to be passed to `subscribe`."""
        return self.transport.signal()

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await self.transport.sleep(seconds)

    def monotonic(self) -> float:
        """The time in seconds, from some fixed moment."""
        return self.transport.monotonic()

    async def shielded(self, work: Coroutine[object, object, None], *, wait_s: float, timeout_s: float) -> None:
        """Run `work` though the caller is cancelled: wait for it `wait_s`, let it go on beside until
        `timeout_s`.
        """
        await self.transport.shielded(work, wait_s=wait_s, timeout_s=timeout_s)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.transport.aclose()

    async def _guarded(
        self,
        send: Callable[[], Awaitable[T]],
        *,
        idempotent: bool,
        failure: Failure | None = None,
        started_s: float | None = None,
    ) -> T:
        """The result of `send`, sent again as often as is right; `failure` is that of a first attempt."""
        if started_s is None:
            started_s = self.transport.monotonic()
        attempt = 0
        while True:
            if failure is not None:
                pause_s = self.health.pause_s(
                    failure,
                    attempt=attempt,
                    idempotent=idempotent,
                    started_s=started_s,
                    now_s=self.transport.monotonic(),
                )
                if pause_s is None:
                    raise failure
                await self.transport.sleep(pause_s)
                attempt += 1
            if self.health.troubled:
                self.health.admit(self.transport.monotonic())
            try:
                reply = await send()
            except (ServerUnavailable, OutcomeUnknown) as exc:
                failure = exc
            else:
                if self.health.troubled:
                    self.health.succeeded()
                return reply
