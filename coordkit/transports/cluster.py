"""Redis Cluster and Valkey Cluster: one transport a node, and for every request the node that holds its keys.

All keys of a script share a hash tag, so one node runs it.  MOVED and ASK are followed for the one request they answer;
TRYAGAIN and CLUSTERDOWN are outages that pass, for the guard to repeat.  Each node has a breaker of its own: what is
on living nodes works on while another one is away.

Who listens where, and how listeners are moved off a node that died, is in `audience`.
"""

import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Final, Generic, Protocol, TypeVar

from coordkit.errors import CoordkitError, OutcomeUnknown, ServerError, ServerUnavailable
from coordkit.forks import forget_in_child
from coordkit.scripts import Args, Keys, Script
from coordkit.transports import loops
from coordkit.transports.address import Address
from coordkit.transports.asyncio_ import AsyncioTransport, BackgroundTask
from coordkit.transports.audience import Audience, Join, Leave, Pause, Refresh, Step, moving, places
from coordkit.transports.base import DEFAULT_TIMEOUT_S, AsyncSignal, Listener, Signal, SlownessWatcher
from coordkit.transports.slots import Argv, SlotMap, key_of, slot_of
from coordkit.transports.socket_ import SocketTransport

REDIRECTIONS: Final = 5
REDIRECTING: Final = frozenset({"MOVED", "ASK"})
ASK_WITHIN_S: Final = 0.5
"""How long one node may take to tell the map: the next one is asked then."""

T = TypeVar("T")


class Node(Protocol):
    """What both kinds of a node's transport offer without waiting."""

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Whether the channel is open already; then the listener is in."""
        ...

    def hears(self, channel: bytes) -> bool:
        """Whether the channel is open."""
        ...

    def unsubscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> None:
        """Stop listening."""
        ...


N = TypeVar("N", bound=Node)


def script_call(script: Script[object], keys: Keys, args: Args) -> Argv:
    """The whole script as a command."""
    return ("EVAL", script.text, len(keys), *keys, *args)


async def together(works: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """What all of them return, in order.  Raises the first exception; who is cancelled cancels them."""
    loop = loops.running_loop()
    return await loops.results([loop.create_task(work) for work in works])


def say_ok(node: Address, reply: object) -> None:
    """Comes back if the reply to CLUSTER INFO says that the node serves its slots.  Raises ServerUnavailable."""
    if b"cluster_state:ok" not in (reply if isinstance(reply, bytes) else b""):
        raise ServerUnavailable(f"{node} says that the cluster is down")


class _Cluster(Generic[N]):
    """What both kinds share: everything but waiting."""

    def __init__(self, seeds: tuple[Address, ...], *, timeout_s: float) -> None:
        self._map = SlotMap(seeds)
        self._timeout_s = timeout_s
        self._transports: dict[tuple[str, int], N] = {}
        self._lock = threading.Lock()
        forget_in_child(self._forget)

    def __str__(self) -> str:
        """Where the cluster is."""
        return f"the cluster of {self._map.seeds[0]}"

    monotonic = staticmethod(time.monotonic)
    """The system's monotonic time in seconds."""

    def group_of(self, key: bytes) -> int:
        """Keys of one group may go into one script."""
        return slot_of(key)

    def place_of(self, key: bytes | None) -> str | None:
        """The node that serves the key, as far as is known."""
        return str(self._map.node_of(key)) if self._map.knows(key) else None

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Whether the channel is open already; then the listener is in.  Never waits."""
        if self._map.stale:
            return False
        nodes = places(self._map, channel, topic)
        # A list: each of them has to be asked, even if one has said no.
        if all([self._at(node).listen(channel, listener, topic) for node in nodes]):  # noqa: C419
            self._audience().add(channel, listener, topic, nodes)
            return True
        self.unsubscribe(channel, listener, topic)
        return False

    def unsubscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> None:
        """Stop listening; never waits."""
        self._audience().remove(channel, listener, topic)
        for transport in list(self._transports.values()):
            transport.unsubscribe(channel, listener, topic)

    def _at(self, node: Address) -> N:
        """The node's transport."""
        place = node.host, node.port
        transport = self._transports.get(place)
        if transport is None:
            with self._lock:
                transport = self._transports.get(place)
                if transport is None:
                    transport = self._transports[place] = self._make(node)
        return transport

    def _learned(self, reply: object, node: Address) -> None:
        """The map is as `node` tells it; who listens on the wrong node is moved."""
        self._map.learn(reply, node)
        if self._audience().misplaced(self._map):
            self._move_soon()

    def _hears(self, node: Address, channel: bytes) -> bool:
        return self._at(node).hears(channel)

    def _forget(self) -> None:
        """In a forked child: another thread of the parent may have held the lock; its listeners stay there."""
        self._lock = threading.Lock()

    def _make(self, node: Address) -> N:
        raise NotImplementedError

    def _audience(self) -> Audience:
        raise NotImplementedError

    def _move_soon(self) -> None:
        raise NotImplementedError


class AsyncClusterTransport(_Cluster[AsyncioTransport]):
    """Calls and subscriptions on a cluster, from any number of tasks."""

    def __init__(self, seeds: tuple[Address, ...], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        super().__init__(seeds, timeout_s=timeout_s)
        self._watcher_at: Callable[[str], SlownessWatcher] | None = None
        self._audiences: dict[loops.Loop, Audience] = {}
        self._movers: dict[loops.Loop, BackgroundTask] = {}
        self._home = self._at(seeds[0])

    async def call(self, script: Script[object], keys: Keys, args: Args, deadline_s: float | None = None) -> object:
        """The reply of the script, in plain form."""
        node = await self._owner(keys[0], deadline_s)
        try:
            return await self._at(node).call(script, keys, args, deadline_s)
        except ServerError as exc:
            if exc.code not in REDIRECTING:
                raise
            return await self._follow(exc, node, script_call(script, keys, args), deadline_s)
        except (ServerUnavailable, OutcomeUnknown):
            self._map.doubt(node)
            raise

    async def execute(self, argv: Argv, deadline_s: float | None = None) -> object:
        """The reply of one command, in plain form."""
        node = await self._owner(key_of(argv), deadline_s)
        try:
            return await self._at(node).execute(argv, deadline_s)
        except ServerError as exc:
            if exc.code not in REDIRECTING:
                raise
            return await self._follow(exc, node, argv, deadline_s)
        except (ServerUnavailable, OutcomeUnknown):
            self._map.doubt(node)
            raise

    async def publish(self, channel: bytes, payload: bytes, deadline_s: float | None = None) -> int:
        """How many clients that listen on the channel's node got the message."""
        receivers = await self.execute(("PUBLISH", channel, payload), deadline_s)
        assert isinstance(receivers, int)
        return receivers

    async def probe(self, timeout_s: float, place: str | None = None) -> None:
        """Comes back if all slots are served, and the node `place`, if it is still one of them, says so too."""
        await self._refresh(time.monotonic() + timeout_s)
        for node in self._map.nodes:
            if str(node) == place:
                say_ok(node, await self._at(node).execute(("CLUSTER", "INFO"), time.monotonic() + timeout_s))

    def watch(self, watcher: SlownessWatcher) -> None:
        """Tell `watcher` of answers that take long, whichever node gives them."""
        self.watch_places(lambda _: watcher)

    def watch_places(self, watcher_at: Callable[[str], SlownessWatcher]) -> None:
        """Tell the watcher of a node of its answers that take long."""
        self._watcher_at = watcher_at
        for transport in self._transports.values():
            transport.watch(watcher_at(str(transport)))

    async def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before."""
        await self._owner(channel, None)
        nodes = places(self._map, channel, topic)
        self._audience().add(channel, listener, topic, nodes)
        try:
            fresh = await together(self._at(one).subscribe(channel, listener, topic) for one in nodes)
        except BaseException:
            self.unsubscribe(channel, listener, topic)
            raise
        return any(fresh)

    def signal(self) -> AsyncSignal:
        """A new signal, to be passed to `subscribe`."""
        return self._home.signal()

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run for `seconds`."""
        await self._home.sleep(seconds)

    async def shielded(self, work: Coroutine[object, object, None], *, wait_s: float, timeout_s: float) -> None:
        """Run `work` though the caller is cancelled: wait for it `wait_s`, let it go on beside until `timeout_s`."""
        await self._home.shielded(work, wait_s=wait_s, timeout_s=timeout_s)

    def spawn(self, work: Callable[[], Coroutine[object, object, None]]) -> BackgroundTask:
        """Run `work` beside all callers, on the running loop."""
        return self._home.spawn(work)

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        loop = loops.running_loop()
        mover = self._movers.pop(loop, None)
        if mover is not None:
            mover.cancel()
        self._audiences.pop(loop, None)
        await self._home.aclose()  # first: the work beside the callers needs the others
        for transport in list(self._transports.values()):
            await transport.aclose()

    def _make(self, node: Address) -> AsyncioTransport:
        transport = AsyncioTransport(node, timeout_s=self._timeout_s)
        transport.on_deaf = self._move_soon
        if self._watcher_at is not None:
            transport.watch(self._watcher_at(str(node)))
        return transport

    def _audience(self) -> Audience:
        """That of the running loop."""
        loop = loops.running_loop()
        audience = self._audiences.get(loop)
        if audience is None:
            for stale in [other for other in list(self._audiences) if other.is_closed()]:
                self._audiences.pop(stale, None)
                self._movers.pop(stale, None)
            audience = self._audiences[loop] = Audience()
        return audience

    def _move_soon(self) -> None:
        """Have one task of the loop see to it that everybody listens in the right place."""
        loop = loops.running_loop()
        mover = self._movers.get(loop)
        if loop in self._audiences and (mover is None or not mover.running()):
            self._movers[loop] = self._home.spawn(self._move)

    async def _move(self) -> None:
        plan, done = moving(self._audience(), self._map, self._hears), False
        step = next(plan)
        while not done:
            try:
                step = plan.send(await self._moved(step))
            except StopIteration:
                done = True

    async def _moved(self, step: Step) -> bool:
        """Whether the step succeeded."""
        try:
            match step:
                case Refresh():
                    await self._refresh(time.monotonic() + self._timeout_s)
                case Join(seat, node):
                    await self._at(node).subscribe(seat.channel, seat.listener, seat.topic)
                case Leave(seat, node):
                    self._at(node).unsubscribe(seat.channel, seat.listener, seat.topic)
                case Pause(seconds):
                    await loops.sleep(seconds)
        except (ServerUnavailable, OutcomeUnknown, ServerError):
            return False
        return True

    async def _owner(self, key: bytes | None, deadline_s: float | None) -> Address:
        if self._map.stale:
            try:
                await self._refresh(time.monotonic() + self._timeout_s if deadline_s is None else deadline_s)
            except ServerUnavailable:
                if not self._map.knows(key):
                    raise
        return self._map.node_of(key)

    async def _refresh(self, deadline_s: float) -> None:
        """Read the map from the first node that tells it."""
        trouble: CoordkitError = ServerUnavailable(f"{self} does not answer")
        for node in self._map.candidates():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            try:
                reply = await self._at(node).execute(("CLUSTER", "SLOTS"), time.monotonic() + min(left_s, ASK_WITHIN_S))
                self._learned(reply, node)
            except (ServerUnavailable, OutcomeUnknown) as exc:
                trouble = ServerUnavailable(str(exc))
            else:
                return
        raise trouble

    async def _follow(self, redirection: ServerError, asked: Address, argv: Argv, deadline_s: float | None) -> object:
        for _ in range(REDIRECTIONS):
            node = self._map.redirected(redirection.message, asked)
            try:
                if redirection.code == "ASK":
                    return await self._at(node).execute_asking(argv, deadline_s)
                return await self._at(node).execute(argv, deadline_s)
            except ServerError as exc:
                if exc.code not in REDIRECTING:
                    raise
                redirection, asked = exc, node
        raise ServerUnavailable(f"{self} sent a request from node to node: {redirection}")


class ClusterTransport(_Cluster[SocketTransport]):
    """Calls and subscriptions on a cluster, from any number of threads."""

    def __init__(self, seeds: tuple[Address, ...], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        super().__init__(seeds, timeout_s=timeout_s)
        self._listeners = Audience()
        self._mover: threading.Thread | None = None
        self._closed = threading.Event()
        self._home = self._at(seeds[0])

    def call(self, script: Script[object], keys: Keys, args: Args, deadline_s: float | None = None) -> object:
        """The reply of the script, in plain form."""
        node = self._owner(keys[0], deadline_s)
        try:
            return self._at(node).call(script, keys, args, deadline_s)
        except ServerError as exc:
            if exc.code not in REDIRECTING:
                raise
            return self._follow(exc, node, script_call(script, keys, args), deadline_s)
        except (ServerUnavailable, OutcomeUnknown):
            self._map.doubt(node)
            raise

    def execute(self, argv: Argv, deadline_s: float | None = None) -> object:
        """The reply of one command, in plain form."""
        node = self._owner(key_of(argv), deadline_s)
        try:
            return self._at(node).execute(argv, deadline_s)
        except ServerError as exc:
            if exc.code not in REDIRECTING:
                raise
            return self._follow(exc, node, argv, deadline_s)
        except (ServerUnavailable, OutcomeUnknown):
            self._map.doubt(node)
            raise

    def publish(self, channel: bytes, payload: bytes, deadline_s: float | None = None) -> int:
        """How many clients that listen on the channel's node got the message."""
        receivers = self.execute(("PUBLISH", channel, payload), deadline_s)
        assert isinstance(receivers, int)
        return receivers

    def probe(self, timeout_s: float, place: str | None = None) -> None:
        """Comes back if all slots are served, and the node `place`, if it is still one of them, says so too."""
        self._refresh(time.monotonic() + timeout_s)
        for node in list(self._map.nodes):
            if str(node) == place:
                say_ok(node, self._at(node).execute(("CLUSTER", "INFO"), time.monotonic() + timeout_s))

    def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before."""
        self._owner(channel, None)
        nodes = places(self._map, channel, topic)
        self._listeners.add(channel, listener, topic, nodes)
        try:
            return any([self._at(one).subscribe(channel, listener, topic) for one in nodes])  # noqa: C419 - all of them
        except BaseException:
            self.unsubscribe(channel, listener, topic)
            raise

    def signal(self) -> Signal:
        """A new signal, to be passed to `subscribe`."""
        return self._home.signal()

    def sleep(self, seconds: float) -> None:
        """Block the thread for `seconds`."""
        self._home.sleep(seconds)

    def close(self) -> None:
        """Close all connections."""
        self._closed.set()
        mover = self._mover
        if mover is not None and mover is not threading.current_thread():
            mover.join(self._timeout_s)
        for transport in list(self._transports.values()):
            transport.close()

    def _make(self, node: Address) -> SocketTransport:
        transport = SocketTransport(node, timeout_s=self._timeout_s)
        transport.on_deaf = self._move_soon
        return transport

    def _audience(self) -> Audience:
        return self._listeners

    def _forget(self) -> None:
        super()._forget()
        self._listeners, self._mover = Audience(), None

    def _move_soon(self) -> None:
        """Have one thread see to it that everybody listens in the right place."""
        with self._lock:
            if self._closed.is_set() or (self._mover is not None and self._mover.is_alive()):
                return
            self._mover = threading.Thread(target=self._move, name="coordkit-mover", daemon=True)
            self._mover.start()

    def _move(self) -> None:
        plan = moving(self._listeners, self._map, self._hears)
        step = next(plan)
        while not self._closed.is_set():
            try:
                step = plan.send(self._moved(step))
            except StopIteration:
                return

    def _moved(self, step: Step) -> bool:
        """Whether the step succeeded."""
        try:
            match step:
                case Refresh():
                    self._refresh(time.monotonic() + self._timeout_s)
                case Join(seat, node):
                    self._at(node).subscribe(seat.channel, seat.listener, seat.topic)
                case Leave(seat, node):
                    self._at(node).unsubscribe(seat.channel, seat.listener, seat.topic)
                case Pause(seconds):
                    self._closed.wait(seconds)
        except (ServerUnavailable, OutcomeUnknown, ServerError):
            return False
        return True

    def _owner(self, key: bytes | None, deadline_s: float | None) -> Address:
        if self._map.stale:
            try:
                self._refresh(time.monotonic() + self._timeout_s if deadline_s is None else deadline_s)
            except ServerUnavailable:
                if not self._map.knows(key):
                    raise
        return self._map.node_of(key)

    def _refresh(self, deadline_s: float) -> None:
        """Read the map from the first node that tells it."""
        trouble: CoordkitError = ServerUnavailable(f"{self} does not answer")
        for node in self._map.candidates():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            try:
                reply = self._at(node).execute(("CLUSTER", "SLOTS"), time.monotonic() + min(left_s, ASK_WITHIN_S))
                self._learned(reply, node)
            except (ServerUnavailable, OutcomeUnknown) as exc:
                trouble = ServerUnavailable(str(exc))
            else:
                return
        raise trouble

    def _follow(self, redirection: ServerError, asked: Address, argv: Argv, deadline_s: float | None) -> object:
        for _ in range(REDIRECTIONS):
            node = self._map.redirected(redirection.message, asked)
            try:
                if redirection.code == "ASK":
                    return self._at(node).execute_asking(argv, deadline_s)
                return self._at(node).execute(argv, deadline_s)
            except ServerError as exc:
                if exc.code not in REDIRECTING:
                    raise
                redirection, asked = exc, node
        raise ServerUnavailable(f"{self} sent a request from node to node: {redirection}")
