"""The asynchronous transport: one pipelined connection a loop for calls, a second one for subscriptions.

`AsyncioTransport` belongs to no loop: it keeps a connection for each running loop it is used from, and opens
it when it is first needed.  A lost connection is opened again by the next call; that a call is repeated is
the guard's decision.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeVar

from coordkit.errors import CoordkitError, OutcomeUnknown, ServerError, ServerUnavailable
from coordkit.scripts import Args, Keys, Script
from coordkit.transports.address import Address, Endpoint, opening, refused_login, unreachable
from coordkit.transports.asyncio_subscriber import AsyncioSignal, AsyncioSubscriber
from coordkit.transports.base import DEFAULT_TIMEOUT_S, AsyncSignal, Listener, refusal
from coordkit.transports.link import Link
from coordkit.wire import Reply, pack, pack_command

log = logging.getLogger("coordkit")

L = TypeVar("L", bound=Link)


class _LoopState:
    """What the transport has open on one event loop."""

    __slots__ = ("background", "connecting", "link", "loop", "subscriber")

    def __init__(self, loop: asyncio.AbstractEventLoop, subscriber: AsyncioSubscriber) -> None:
        self.loop = loop
        self.link: Link | None = None
        self.connecting: asyncio.Task[Link] | None = None
        self.subscriber = subscriber
        self.background: set[asyncio.Task[None]] = set()


class AsyncioTransport:
    """Calls and subscriptions on one server, from any number of tasks."""

    def __init__(self, endpoint: Endpoint, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._link: Link | None = None  # the link of the loop that was used last
        self._states: dict[asyncio.AbstractEventLoop, _LoopState] = {}
        self._closed = False

    # -- calls
    # ------------------------------------------------------------------------------------------------------

    async def call(self, script: Script[object], keys: Keys, args: Args) -> object:
        """The reply of the script, in plain form.  A script the server does not know is sent in full: one
        more trip.
        """
        link = self._link
        if link is None or link.closed or link.crowded or link.loop is not asyncio.get_running_loop():
            link = await self._usable_link()
        reply = await link.submit(pack_command(("EVALSHA", script.sha1, len(keys), *keys, *args)))
        if reply.__class__ is ServerError:
            if reply.code == "NOSCRIPT":
                reply = await link.submit(pack(("EVAL", script.text, len(keys), *keys, *args)))
            if isinstance(reply, ServerError):
                raise refusal(reply)
        return reply

    async def execute(self, argv: Sequence[bytes | str | int | float]) -> object:
        """The reply of one command, in plain form."""
        link = self._link
        if link is None or link.closed or link.crowded or link.loop is not asyncio.get_running_loop():
            link = await self._usable_link()
        reply = await link.submit(pack(argv))
        if isinstance(reply, ServerError):
            raise refusal(reply)
        return reply

    async def publish(self, channel: bytes, payload: bytes) -> int:
        """How many clients got the message."""
        receivers = await self.execute(("PUBLISH", channel, payload))
        assert isinstance(receivers, int)
        return receivers

    # -- subscriptions
    # ------------------------------------------------------------------------------------------------

    async def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before."""
        return await self._state().subscriber.subscribe(channel, listener, topic)

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Whether the channel is open already; then the listener is in.  Never waits."""
        return self._state().subscriber.listen(channel, listener, topic)

    def unsubscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> None:
        """Stop listening; never waits."""
        self._state().subscriber.unsubscribe(channel, listener, topic)

    def signal(self) -> AsyncSignal:
        """A new signal, to be passed to `subscribe`."""
        return AsyncioSignal(asyncio.get_running_loop())

    # -- time and tasks
    # -----------------------------------------------------------------------------------------------

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run for `seconds`."""
        await asyncio.sleep(seconds)

    def monotonic(self) -> float:
        """The system's monotonic time in seconds."""
        return time.monotonic()

    async def shielded(self, work: Coroutine[object, object, None], *, wait_s: float, timeout_s: float) -> None:
        """Run `work` though the caller is cancelled: wait for it `wait_s`, let it go on beside until
        `timeout_s`.
        """
        background = self._state().background

        async def bounded() -> None:
            try:
                async with asyncio.timeout(timeout_s):
                    await work
            except (CoordkitError, TimeoutError) as exc:
                log.warning("cleaning up after a cancelled call failed; its lease will end by itself: %s", exc)

        task = asyncio.get_running_loop().create_task(bounded())
        background.add(task)
        task.add_done_callback(background.discard)
        await asyncio.wait({task}, timeout=wait_s)

    async def aclose(self) -> None:
        """Close the connections of the running loop, after the clean-up work that is still under way."""
        self._closed = True
        state = self._states.pop(asyncio.get_running_loop(), None)
        self._link = None
        if state is not None:
            await self._close_state(state)
        if not self._states:
            await asyncio.to_thread(self._endpoint.close)

    async def _close_state(self, state: _LoopState) -> None:
        if state.background:
            await asyncio.wait(state.background)
        if state.connecting is not None:
            state.connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError, CoordkitError):
                await state.connecting
        await state.subscriber.close()
        if state.link is not None:
            await state.link.close()

    # -- connections
    # --------------------------------------------------------------------------------------------------

    def _state(self) -> _LoopState:
        loop = asyncio.get_running_loop()
        state = self._states.get(loop)
        if state is None:
            for stale in [other for other in list(self._states) if other.is_closed()]:
                del self._states[stale]
            subscriber = AsyncioSubscriber(loop, str(self._endpoint), self._timeout_s, self.open_link)
            state = self._states[loop] = _LoopState(loop, subscriber)
        return state

    async def _usable_link(self) -> Link:
        """An open link of the running loop with room for a request."""
        if self._closed:
            raise ServerUnavailable("the client is closed; make a new one")
        state = self._state()
        while state.link is None or state.link.closed or state.link.crowded:
            if state.link is not None and not state.link.closed:
                await state.link.room()
                continue
            if state.connecting is None:
                state.connecting = state.loop.create_task(self._connect(state))
            await asyncio.shield(state.connecting)  # shared: a cancelled caller must not cancel it for the others
        self._link = state.link
        return state.link

    async def _connect(self, state: _LoopState) -> Link:
        try:
            state.link = await self.open_link(Link)
            return state.link
        finally:
            state.connecting = None

    async def _address(self) -> Address:
        if isinstance(self._endpoint, Address):
            return self._endpoint
        return await asyncio.to_thread(self._endpoint.resolve)

    async def open_link(self, make: Callable[[asyncio.AbstractEventLoop, Address, float], L]) -> L:
        """A new open connection, logged in.  Raises ServerUnavailable, ConfigurationError for a refused
        login.
        """
        loop = asyncio.get_running_loop()
        address = await self._address()

        def factory() -> L:
            return make(loop, address, self._timeout_s)

        try:
            async with asyncio.timeout(self._timeout_s):
                if address.path is not None:
                    _, link = await loop.create_unix_connection(factory, address.path)
                else:
                    _, link = await loop.create_connection(
                        factory, address.host, address.port, ssl=address.tls_context()
                    )
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


async def _open(link: Link, address: Address) -> None:
    """Log in; with RESP3 where the server speaks it.  One round trip."""
    for resp3 in (True, False):
        commands = opening(address, resp3=resp3)
        replies: list[Reply] = await asyncio.gather(*(link.submit(pack(command.argv)) for command in commands))
        if resp3 and isinstance(replies[0], ServerError) and replies[0].code in {"ERR", "NOPROTO"}:
            continue  # the server is older than RESP3
        for command, reply in zip(commands, replies, strict=True):
            if command.required and isinstance(reply, ServerError):
                raise refused_login(address, command.argv[0], reply)
        return
