"""The asynchronous transport: one pipelined connection a loop for calls, a second one for subscriptions.

The loops are asyncio's, of whatever kind, and trio's as `loops` makes them look.  `AsyncioTransport` belongs to none:
it keeps a connection for each running loop it is used from, and opens it when it is first needed.  A lost connection is
opened again by the next call; that a call is repeated is the guard's decision.
"""

import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, TypeVar

from coordkit.errors import ClientClosed, CoordkitError, OutcomeUnknown, ServerError, ServerUnavailable
from coordkit.forks import forget_in_child
from coordkit.scripts import Args, Keys, Script
from coordkit.transports import loops
from coordkit.transports.address import Address, Endpoint, opening, refused_login, unreachable
from coordkit.transports.asyncio_subscriber import AsyncioSignal, AsyncioSubscriber, Stream, SubscriberLink
from coordkit.transports.base import DEFAULT_TIMEOUT_S, AsyncSignal, Listener, SlownessWatcher, refusal
from coordkit.transports.link import Link
from coordkit.transports.loops import Future, Loop, Task, running_loop
from coordkit.transports.packing import ScriptCalls
from coordkit.wire import Reply, pack

log = logging.getLogger("coordkit")

L = TypeVar("L", bound=Link)


PING: Final = pack(("PING",))
ASKING: Final = pack(("ASKING",))


class _LoopState:
    """What the transport has open on one event loop."""

    __slots__ = ("background", "closed", "connecting", "link", "loop", "subscriber")

    def __init__(self, loop: Loop, subscriber: AsyncioSubscriber) -> None:
        self.loop = loop
        self.link: Link | None = None
        self.connecting: Task[Link] | None = None
        self.subscriber = subscriber
        self.background: set[Task[None]] = set()
        self.closed = False


class BackgroundTask:
    """Work beside all callers, as a task of one loop."""

    __slots__ = ("_task",)

    def __init__(self, task: Task[None]) -> None:
        self._task = task

    def running(self) -> bool:
        """Whether it has not ended; False too if its event loop was closed."""
        return not self._task.done() and not self._task.get_loop().is_closed()

    def cancel(self) -> None:
        """End it, if it belongs to the running loop."""
        if self._task.get_loop() is running_loop():
            self._task.cancel()


class AsyncioTransport:
    """Calls and subscriptions on one server, from any number of tasks."""

    def __init__(self, endpoint: Endpoint, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._link: Link | None = None  # the link of the loop that was used last
        self._states: dict[Loop, _LoopState] = {}
        self._watcher: SlownessWatcher | None = None
        self.on_deaf: Callable[[], None] | None = None
        """Called when a connection on which somebody listens is lost."""
        self._pack = ScriptCalls().pack
        forget_in_child(self._forget)

    def __str__(self) -> str:
        """Where the server is."""
        return str(self._endpoint)

    def group_of(self, key: bytes) -> int:  # noqa: ARG002 - one server holds all keys
        """Keys of one group may go into one script."""
        return 0

    # -- calls
    # ------------------------------------------------------------------------------------------------------

    async def call(self, script: Script[object], keys: Keys, args: Args, deadline_s: float | None = None) -> object:
        """The reply of the script, in plain form.  A script the server does not know is sent in full: one
        more trip.
        """
        begun = None if deadline_s is not None else self.begin(script, keys, args)
        if begun is None:
            link, reply = await self._exchange(self._pack(script, keys, args), deadline_s)
        else:
            link, future = begun
            reply = await future
        if isinstance(reply, ServerError):
            return await self.settled(link, reply, script, keys, args, deadline_s=deadline_s)
        return reply

    def begin(self, script: Script[object], keys: Keys, args: Args) -> tuple[Link, Future[Reply]] | None:
        """The connection by which the call was sent, and its reply to come; None: `call` may have to wait first."""
        link = self._link
        if link is None or link.closed or link.crowded:
            return None
        try:
            if link.here() is not link.home:
                return None
        except RuntimeError:  # not on trio, as the last caller was
            return None
        return link, link.submit(self._pack(script, keys, args))

    async def settled(
        self,
        via: Link,
        reply: ServerError,
        script: Script[object],
        keys: Keys,
        args: Args,
        *,
        deadline_s: float | None = None,
    ) -> object:
        """What `call` makes of an error reply: it raises, or sends the script in full."""
        if reply.code != "NOSCRIPT":
            raise self._refusal(via, reply)
        link, again = await self._exchange(pack(("EVAL", script.text, len(keys), *keys, *args)), deadline_s)
        if isinstance(again, ServerError):
            raise self._refusal(link, again)
        return again

    async def execute(self, argv: Sequence[bytes | str | int | float], deadline_s: float | None = None) -> object:
        """The reply of one command, in plain form."""
        link, reply = await self._exchange(pack(argv), deadline_s)
        if isinstance(reply, ServerError):
            raise self._refusal(link, reply)
        return reply

    async def execute_asking(
        self, argv: Sequence[bytes | str | int | float], deadline_s: float | None = None
    ) -> object:
        """The reply of one command of which the slot is on its way to this node."""
        if deadline_s is None:
            deadline_s = time.monotonic() + self._timeout_s
        link = await self._usable_link(deadline_s)
        asking, future = link.submit(ASKING), link.submit(pack(argv))  # nothing may come between the two
        asking.add_done_callback(_heard)
        reply = await _until(future, deadline_s, str(self))
        if isinstance(reply, ServerError):
            raise self._refusal(link, reply)
        return reply

    async def publish(self, channel: bytes, payload: bytes, deadline_s: float | None = None) -> int:
        """How many clients got the message."""
        receivers = await self.execute(("PUBLISH", channel, payload), deadline_s)
        assert isinstance(receivers, int)
        return receivers

    async def probe(self, timeout_s: float, place: str | None = None) -> None:  # noqa: ARG002 - there is one place only
        """Comes back if the server answers in time; a connection that stays silent is given up."""
        state = self._state()
        deadline_s = time.monotonic() + timeout_s
        link, answered = state.link, 0
        try:
            if link is None or link.closed:
                link = await self._usable_link(deadline_s)
            answered = link.answered
            reply = await _until(link.submit(PING), deadline_s, str(self))
        except (ServerUnavailable, OutcomeUnknown):
            if state.connecting is not None:
                state.connecting.cancel()  # the next probe begins with a fresh attempt
            if link is not None and link.answered == answered:
                link.give_up(f"{self} did not answer a probe")
            raise
        if isinstance(reply, ServerError) and isinstance(refused := self._refusal(link, reply), ServerUnavailable):
            raise refused

    def watch(self, watcher: SlownessWatcher) -> None:
        """Tell `watcher` of answers that take long."""
        self._watcher = watcher

    async def _exchange(self, request: bytes, deadline_s: float | None) -> tuple[Link, Reply]:
        """The connection used, and the reply."""
        if deadline_s is None:
            deadline_s = time.monotonic() + self._timeout_s
        link = await self._usable_link(deadline_s)
        answered, sent_s = link.answered, time.monotonic()
        try:
            return link, await _until(link.submit(request), deadline_s, str(self))
        except OutcomeUnknown:
            if link.answered == answered and time.monotonic() - sent_s > self._timeout_s / 2:
                link.give_up(f"{self} answered nothing for {time.monotonic() - sent_s:.3g} s")
            raise

    def _refusal(self, link: Link, reply: ServerError) -> CoordkitError:
        """The error for an error reply.  Of a server that became a replica nothing more is asked."""
        if reply.code == "READONLY":
            link.retire()
            state = self._states.get(link.loop)
            if state is not None and state.link is link:
                state.link = None
            if self._link is link:
                self._link = None
        return refusal(reply)

    # -- subscriptions
    # ------------------------------------------------------------------------------------------------

    async def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before."""
        return await self._state().subscriber.subscribe(channel, listener, topic)

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Whether the channel is open already; then the listener is in.  Never waits."""
        return self._state().subscriber.listen(channel, listener, topic)

    def hears(self, channel: bytes) -> bool:
        """Whether the channel is open."""
        return self._state().subscriber.hears(channel)

    def unsubscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> None:
        """Stop listening; never waits."""
        self._state().subscriber.unsubscribe(channel, listener, topic)

    def signal(self) -> AsyncSignal:
        """A new signal, to be passed to `subscribe`."""
        return AsyncioSignal(running_loop())

    # -- time and tasks
    # -----------------------------------------------------------------------------------------------

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run for `seconds`."""
        await loops.sleep(seconds)

    monotonic = staticmethod(time.monotonic)
    """The system's monotonic time in seconds."""

    def spawn(self, work: Callable[[], Coroutine[object, object, None]]) -> BackgroundTask:
        """Run `work` beside all callers, on the running loop."""
        task = running_loop().create_task(work())
        background = self._state().background
        background.add(task)
        task.add_done_callback(background.discard)
        return BackgroundTask(task)

    async def shielded(self, work: Coroutine[object, object, None], *, wait_s: float, timeout_s: float) -> None:
        """Run `work` though the caller is cancelled: wait for it `wait_s`, let it go on beside until
        `timeout_s`.
        """
        background = self._state().background

        async def bounded() -> None:
            try:
                async with loops.timeout(timeout_s):
                    await work
            except (CoordkitError, TimeoutError) as exc:
                log.warning("cleaning up after a cancelled call failed; its lease will end by itself: %s", exc)

        task = running_loop().create_task(bounded())
        background.add(task)
        task.add_done_callback(background.discard)
        with loops.shielded():
            await loops.wait({task}, wait_s)

    async def aclose(self) -> None:
        """Close the connections of the running loop, after the clean-up work that is still under way."""
        state = self._state()
        if state.closed:
            return
        state.closed = True
        self._link = None
        await self._close_state(state)
        if all(other.closed for other in list(self._states.values())):
            await loops.in_thread(self._endpoint.close)

    async def _close_state(self, state: _LoopState) -> None:
        if state.background:
            await loops.wait(set(state.background))
        if state.connecting is not None:
            state.connecting.cancel()
            await loops.wait({state.connecting})
        await state.subscriber.close()
        if state.link is not None:
            await state.link.close()

    # -- connections
    # --------------------------------------------------------------------------------------------------

    def _state(self) -> _LoopState:
        loop = running_loop()
        state = self._states.get(loop)
        if state is None:
            for stale in [other for other in list(self._states) if other.is_closed()]:
                self._states.pop(stale, None)
            subscriber = AsyncioSubscriber(loop, str(self._endpoint), self._timeout_s, self.open_stream, self.on_deaf)
            state = self._states[loop] = _LoopState(loop, subscriber)
        return state

    def _forget(self) -> None:
        """In a forked child: its loops are its own, and two processes must not share a stream."""
        self._states = {}
        self._link = None

    async def _usable_link(self, deadline_s: float) -> Link:
        """An open link of the running loop with room for a request.  Raises ServerUnavailable at the deadline."""
        state = self._state()
        while True:
            if state.closed:
                raise ClientClosed("the client is closed; make a new one")
            link = state.link
            left_s = deadline_s - time.monotonic()
            if link is None or link.closed:
                await self._connected(state, left_s)
            elif link.crowded:
                await link.room(left_s)
            else:
                self._link = link
                return link

    async def _connected(self, state: _LoopState, left_s: float) -> None:
        """Comes back when the attempt to connect that all callers share has succeeded."""
        if state.connecting is None:
            state.connecting = state.loop.create_task(self._connect(state))
        connecting = state.connecting
        # Not awaited itself: a caller that is cancelled or gives up must not end it for the others.
        await loops.wait({connecting}, max(0.0, left_s))
        if not connecting.done():
            raise ServerUnavailable(f"no connection to {self} in time")
        if connecting.cancelled():
            raise ServerUnavailable(f"an attempt to connect to {self} was given up")
        failure = connecting.exception()
        if failure is not None:
            raise failure

    async def _connect(self, state: _LoopState) -> Link:
        try:
            state.link = await self.open_link(Link)
            return state.link
        finally:
            state.connecting = None

    async def _address(self) -> Address:
        if isinstance(self._endpoint, Address):
            return self._endpoint
        return await loops.in_thread(self._endpoint.resolve)

    async def open_stream(self) -> Stream:
        """A connection for subscriptions."""
        return await self.open_link(SubscriberLink)

    async def open_link(self, make: Callable[[Loop, Address, float, SlownessWatcher | None], L]) -> L:
        """A new open connection, logged in.  Raises ServerUnavailable, ConfigurationError for a refused
        login.
        """
        loop = running_loop()
        address = await self._address()

        def factory() -> L:
            return make(loop, address, self._timeout_s, self._watcher)

        try:
            async with loops.timeout(self._timeout_s):
                link = await loops.connect(factory, address)
        except OSError as exc:  # TimeoutError included
            raise unreachable(address, exc, self._timeout_s) from exc
        try:
            await _open(link, address)
        except BaseException as exc:
            await link.close()
            if isinstance(exc, OutcomeUnknown):  # no caller's request has been sent yet
                raise ServerUnavailable(f"{address} takes connections, but does not answer: {exc}") from exc
            raise
        return link


async def _until(future: Future[Reply], deadline_s: float, server: str) -> Reply:
    """The reply, if it comes before the deadline.  Raises OutcomeUnknown; the slot stays behind."""
    left_s = deadline_s - time.monotonic()
    silent = f"{server} did not answer within {max(left_s, 0.0):.3g} s; the command may have run"
    timer = future.get_loop().call_later(left_s, _expire, future, silent)
    try:
        return await future
    finally:
        timer.cancel()


def _heard(future: Future[Reply]) -> None:
    """Nobody waits for this one."""
    if not future.cancelled():
        future.exception()


def _expire(future: Future[Reply], silent: str) -> None:
    if not future.done():
        future.set_exception(OutcomeUnknown(silent))


async def _open(link: Link, address: Address) -> None:
    """Log in; with RESP3 where the server speaks it.  One round trip."""
    for resp3 in (True, False):
        commands = opening(address, resp3=resp3)
        replies = await loops.results([link.submit(pack(command.argv)) for command in commands])
        if resp3 and isinstance(replies[0], ServerError) and replies[0].code in {"ERR", "NOPROTO"}:
            continue  # the server is older than RESP3
        for command, reply in zip(commands, replies, strict=True):
            if command.required and isinstance(reply, ServerError):
                raise refused_login(address, command.argv[0], reply)
        return
