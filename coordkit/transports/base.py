"""What a transport offers, blocking (`Transport`) and asynchronous (`AsyncTransport`).

Errors, the same for all: ServerUnavailable when the request was certainly not sent, OutcomeUnknown when it
was sent and its reply never came, ServerError for an error reply.  A transport sends a request once and never
again, with one exception: a script the server did not know (NOSCRIPT) is sent in full, for it certainly was
not run.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Final, Protocol, TypeVar, runtime_checkable

from coordkit.errors import CoordkitError, OutcomeForgotten, ServerError, ServerUnavailable
from coordkit.scripts import Args, Keys, Script
from coordkit.transports.loops import Future

V = TypeVar("V")

NOT_RUN: Final = frozenset({"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "TRYAGAIN"})
"""Codes with which a server refuses a command for the moment; it was not run."""


FORGOTTEN: Final = "OUTCOMEUNKNOWN"
"""The code with which our scripts refuse a repeated request of which they cannot say whether it was run."""


def refusal(reply: ServerError) -> CoordkitError:
    """The error to raise for an error reply: ServerUnavailable if the server only cannot work now."""
    if reply.code in NOT_RUN:
        return ServerUnavailable(f"the server cannot work at the moment: {reply}")
    if reply.code == FORGOTTEN:
        return OutcomeForgotten(f"{reply.message.partition(' ')[2]}: it may have been counted or not")
    return reply


DEFAULT_TIMEOUT_S = 5.0
"""How long a call may take, reconnecting and repeating included."""


class Listener(Protocol):
    """Gets what arrives on a channel.  Called on the event loop or on the subscription thread: must not
    block.
    """

    def on_message(self, channel: bytes, payload: bytes) -> None:
        """A message arrived."""
        ...

    def on_gap(self) -> None:
        """The subscription was lost and is back: messages may have been missed."""
        ...

    def on_close(self) -> None:
        """The client was closed: nothing more will come."""
        ...


class Signal(Listener, Protocol):
    """A listener that can be waited for, by a thread."""

    def wait(self, timeout_s: float | None) -> bool:
        """True if a message came since the last wait; False if `timeout_s` passed first."""
        ...


class AsyncSignal(Listener, Protocol):
    """A listener that can be waited for, by a task."""

    async def wait(self, timeout_s: float | None) -> bool:
        """True if a message came since the last wait; False if `timeout_s` passed first."""
        ...


class Backend(Protocol):
    """What `runner.run` and the blocking classes need."""

    def call(self, script: Script[object], keys: Keys, args: Args) -> object:
        """The reply of the script, in plain form."""
        ...

    def execute(self, argv: Sequence[bytes | str | int | float]) -> object:
        """The reply of one command, in plain form."""
        ...

    def publish(self, channel: bytes, payload: bytes) -> int:
        """How many clients got the message."""
        ...

    def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before."""
        ...

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Whether the channel is open already; then the listener is in.  Never waits."""
        ...

    def unsubscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> None:
        """Stop listening; never waits."""
        ...

    def signal(self) -> Signal:
        """A new signal, to be passed to `subscribe`."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def monotonic(self) -> float:
        """The time in seconds, from some fixed moment."""
        ...

    def group_of(self, key: bytes) -> int:
        """Keys of one group may go into one script."""
        ...


class AsyncBackend(Protocol):
    """What `runner.run_async` and the asynchronous classes need."""

    async def call(self, script: Script[object], keys: Keys, args: Args) -> object:
        """The reply of the script, in plain form."""
        ...

    async def execute(self, argv: Sequence[bytes | str | int | float]) -> object:
        """The reply of one command, in plain form."""
        ...

    async def publish(self, channel: bytes, payload: bytes) -> int:
        """How many clients got the message."""
        ...

    async def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before."""
        ...

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Whether the channel is open already; then the listener is in.  Never waits."""
        ...

    def unsubscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> None:
        """Stop listening; never waits."""
        ...

    def signal(self) -> AsyncSignal:
        """A new signal, to be passed to `subscribe`."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def monotonic(self) -> float:
        """The time in seconds, from some fixed moment."""
        ...

    def group_of(self, key: bytes) -> int:
        """Keys of one group may go into one script."""
        ...

    async def shielded(self, work: Coroutine[object, object, None], *, wait_s: float, timeout_s: float) -> None:
        """Run `work` though the caller is cancelled: wait for it `wait_s`, let it go on beside until
        `timeout_s`.

        Errors of `work` are logged, not raised.
        """
        ...


class SlownessWatcher(Protocol):
    """Is told of answers that take long."""

    @property
    def slow_s(self) -> float:
        """What is long."""
        ...

    def heard_slow(self, count: int, now_s: float) -> None:
        """So many requests have been waiting for longer than `slow_s`."""
        ...


@runtime_checkable
class Placing(Protocol):
    """A transport to several servers, each of which may fail alone."""

    def place_of(self, key: bytes | None) -> str | None:
        """The server that serves the key (None: any command without one), as far as is known."""
        ...


@runtime_checkable
class AsyncPlacing(Placing, Protocol):
    """The same, of the asynchronous kind."""

    def watch_places(self, watcher_at: Callable[[str], SlownessWatcher]) -> None:
        """Tell the watcher of a server of its answers that take long."""
        ...


@runtime_checkable
class Prompt(Protocol[V]):
    """An asynchronous transport that can send a call without waiting for anything, if all is well."""

    def begin(self, script: Script[object], keys: Keys, args: Args) -> tuple[V, Future[object]] | None:
        """The connection by which the call was sent, and its reply to come, as the server sends it.

        None: nothing was sent; `call` may have to wait first.
        """
        ...

    async def settled(
        self,
        via: V,
        reply: ServerError,
        script: Script[object],
        keys: Keys,
        args: Args,
        *,
        deadline_s: float | None = None,
    ) -> object:
        """What `call` makes of an error reply to what was begun: it raises, or sends the script in full."""
        ...


@runtime_checkable
class Catching(Protocol):
    """A backend that makes calls up for which there was no server, as a guard does."""

    def when_back(self, script: Script[object], keys: Keys, args: Args, *, within_s: float) -> None:
        """Make the call when the server answers again, if that is within `within_s`.  Never waits."""
        ...


class Background(Protocol):
    """Work that goes on beside all callers."""

    def running(self) -> bool:
        """Whether it has not ended; False too if its event loop was closed."""
        ...

    def cancel(self) -> None:
        """End it, if it belongs to the running loop."""
        ...


class Transport(Backend, Protocol):
    """A blocking backend that owns its connections.

    `deadline_s` is a moment of `monotonic()`; None gives the call the transport's whole timeout.
    """

    def call(self, script: Script[object], keys: Keys, args: Args, deadline_s: float | None = None) -> object:
        """The reply of the script, in plain form."""
        ...

    def execute(self, argv: Sequence[bytes | str | int | float], deadline_s: float | None = None) -> object:
        """The reply of one command, in plain form."""
        ...

    def publish(self, channel: bytes, payload: bytes, deadline_s: float | None = None) -> int:
        """How many clients got the message."""
        ...

    def probe(self, timeout_s: float, place: str | None = None) -> None:
        """Comes back if the server answers in time; a connection that stays silent is given up.

        With several places, as `Placing` names them, it is the one at `place` that has to answer.

        Raises ServerUnavailable, OutcomeUnknown.
        """
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class AsyncTransport(AsyncBackend, Protocol):
    """An asynchronous backend that owns its connections.

    `deadline_s` is a moment of `monotonic()`; None gives the call the transport's whole timeout.
    """

    async def call(self, script: Script[object], keys: Keys, args: Args, deadline_s: float | None = None) -> object:
        """The reply of the script, in plain form."""
        ...

    async def execute(self, argv: Sequence[bytes | str | int | float], deadline_s: float | None = None) -> object:
        """The reply of one command, in plain form."""
        ...

    async def publish(self, channel: bytes, payload: bytes, deadline_s: float | None = None) -> int:
        """How many clients got the message."""
        ...

    async def probe(self, timeout_s: float, place: str | None = None) -> None:
        """Comes back if the server answers in time; a connection that stays silent is given up.

        With several places, as `Placing` names them, it is the one at `place` that has to answer.

        Raises ServerUnavailable, OutcomeUnknown.
        """
        ...

    def watch(self, watcher: SlownessWatcher) -> None:
        """Tell `watcher` of answers that take long, as far as the event loop is not to blame for it."""
        ...

    def spawn(self, work: Callable[[], Coroutine[object, object, None]]) -> Background:
        """Run `work` beside all callers, on the running loop."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...
