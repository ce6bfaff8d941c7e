"""Redis Cluster and Valkey Cluster: one transport a node, and for every request the node that holds its keys.

All keys of a script share a hash tag, so one node runs it.  MOVED and ASK are followed for the one request they answer;
TRYAGAIN and CLUSTERDOWN are outages that pass, for the guard to repeat.

Where it listens: a channel lives on the node of its hash slot, where publishers send it.  A topic is that of a waiter
who is woken by scripts on any node, so it listens on all of them; being woken twice does no harm.
"""

import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Final, TypeVar

from coordkit.errors import CoordkitError, OutcomeUnknown, ServerError, ServerUnavailable
from coordkit.forks import forget_in_child
from coordkit.scripts import Args, Keys, Script
from coordkit.transports import loops
from coordkit.transports.address import Address
from coordkit.transports.asyncio_ import AsyncioTransport, BackgroundTask
from coordkit.transports.base import DEFAULT_TIMEOUT_S, AsyncSignal, Listener, Signal, SlownessWatcher
from coordkit.transports.slots import KEYLESS, SlotMap, slot_of
from coordkit.transports.socket_ import SocketTransport

REDIRECTIONS: Final = 5
REDIRECTING: Final = frozenset({"MOVED", "ASK"})

Argv = Sequence[bytes | str | int | float]

T = TypeVar("T")


def key_of(argv: Argv) -> bytes | None:
    """The key that decides where a command goes, None if any node will do."""
    if str(argv[0]).upper() in KEYLESS or len(argv) < 2:
        return None
    key = argv[1]
    return key if isinstance(key, bytes) else str(key).encode()


def script_call(script: Script[object], keys: Keys, args: Args) -> Argv:
    """The whole script as a command."""
    return ("EVAL", script.text, len(keys), *keys, *args)


async def together(works: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """What all of them return, in order.  Raises the first exception; who is cancelled cancels them."""
    loop = loops.running_loop()
    return await loops.results([loop.create_task(work) for work in works])


class AsyncClusterTransport:
    """Calls and subscriptions on a cluster, from any number of tasks."""

    def __init__(self, seeds: tuple[Address, ...], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._map = SlotMap(seeds)
        self._timeout_s = timeout_s
        self._transports: dict[tuple[str, int], AsyncioTransport] = {}
        self._watcher: SlownessWatcher | None = None
        self._home = self._at(seeds[0])

    def __str__(self) -> str:
        """Where the cluster is."""
        return f"the cluster of {self._map.seeds[0]}"

    def group_of(self, key: bytes) -> int:
        """Keys of one group may go into one script."""
        return slot_of(key)

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
            self._map.stale = True
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
            self._map.stale = True
            raise

    async def publish(self, channel: bytes, payload: bytes, deadline_s: float | None = None) -> int:
        """How many clients that listen on the channel's node got the message."""
        receivers = await self.execute(("PUBLISH", channel, payload), deadline_s)
        assert isinstance(receivers, int)
        return receivers

    async def probe(self, timeout_s: float) -> None:
        """Comes back if the cluster serves all slots, and all its nodes answer."""
        self._map.stale = True
        await self._refresh(time.monotonic() + timeout_s)
        await together(self._at(node).probe(timeout_s) for node in self._map.nodes)

    def watch(self, watcher: SlownessWatcher) -> None:
        """Tell `watcher` of answers that take long."""
        self._watcher = watcher
        for transport in self._transports.values():
            transport.watch(watcher)

    async def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before."""
        node = await self._owner(channel, None)
        nodes = [node] if topic is None else list(self._map.nodes)
        try:
            fresh = await together(self._at(one).subscribe(channel, listener, topic) for one in nodes)
        except BaseException:
            self.unsubscribe(channel, listener, topic)
            raise
        return any(fresh)

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Whether the channel is open already; then the listener is in.  Never waits."""
        if self._map.stale:
            return False
        nodes = [self._map.owner(slot_of(channel))] if topic is None else self._map.nodes
        # A list: each of them has to be asked, even if one has said no.
        if all([self._at(node).listen(channel, listener, topic) for node in nodes]):  # noqa: C419
            return True
        self.unsubscribe(channel, listener, topic)
        return False

    def unsubscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> None:
        """Stop listening; never waits."""
        for transport in self._transports.values():
            transport.unsubscribe(channel, listener, topic)

    def signal(self) -> AsyncSignal:
        """A new signal, to be passed to `subscribe`."""
        return self._home.signal()

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run for `seconds`."""
        await self._home.sleep(seconds)

    monotonic = staticmethod(time.monotonic)
    """The system's monotonic time in seconds."""

    async def shielded(self, work: Coroutine[object, object, None], *, wait_s: float, timeout_s: float) -> None:
        """Run `work` though the caller is cancelled: wait for it `wait_s`, let it go on beside until `timeout_s`."""
        await self._home.shielded(work, wait_s=wait_s, timeout_s=timeout_s)

    def spawn(self, work: Callable[[], Coroutine[object, object, None]]) -> BackgroundTask:
        """Run `work` beside all callers, on the running loop."""
        return self._home.spawn(work)

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._home.aclose()  # first: the work beside the callers needs the others
        for transport in list(self._transports.values()):
            await transport.aclose()

    def _at(self, node: Address) -> AsyncioTransport:
        place = node.host, node.port
        transport = self._transports.get(place)
        if transport is None:
            transport = self._transports[place] = AsyncioTransport(node, timeout_s=self._timeout_s)
            if self._watcher is not None:
                transport.watch(self._watcher)
        return transport

    async def _owner(self, key: bytes | None, deadline_s: float | None) -> Address:
        if self._map.stale:
            await self._refresh(time.monotonic() + self._timeout_s if deadline_s is None else deadline_s)
        return self._map.nodes[0] if key is None else self._map.owner(slot_of(key))

    async def _refresh(self, deadline_s: float) -> None:
        """Read the map from the first node that tells it."""
        trouble: CoordkitError = ServerUnavailable(f"{self} does not answer")
        for node in self._map.candidates():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            try:
                reply = await self._at(node).execute(("CLUSTER", "SLOTS"), time.monotonic() + min(left_s, 0.5))
                self._map.learn(reply, node)
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


class ClusterTransport:
    """Calls and subscriptions on a cluster, from any number of threads."""

    def __init__(self, seeds: tuple[Address, ...], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._map = SlotMap(seeds)
        self._timeout_s = timeout_s
        self._transports: dict[tuple[str, int], SocketTransport] = {}
        self._lock = threading.Lock()
        forget_in_child(self._new_lock)
        self._home = self._at(seeds[0])

    def __str__(self) -> str:
        """Where the cluster is."""
        return f"the cluster of {self._map.seeds[0]}"

    def group_of(self, key: bytes) -> int:
        """Keys of one group may go into one script."""
        return slot_of(key)

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
            self._map.stale = True
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
            self._map.stale = True
            raise

    def publish(self, channel: bytes, payload: bytes, deadline_s: float | None = None) -> int:
        """How many clients that listen on the channel's node got the message."""
        receivers = self.execute(("PUBLISH", channel, payload), deadline_s)
        assert isinstance(receivers, int)
        return receivers

    def probe(self, timeout_s: float) -> None:
        """Comes back if the cluster serves all slots, and all its nodes answer."""
        self._map.stale = True
        self._refresh(time.monotonic() + timeout_s)
        for node in list(self._map.nodes):
            self._at(node).probe(timeout_s)

    def subscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Listen; comes back when the server confirmed.  True if the channel was not listened to before."""
        node = self._owner(channel, None)
        nodes = [node] if topic is None else list(self._map.nodes)
        try:
            return any([self._at(one).subscribe(channel, listener, topic) for one in nodes])  # noqa: C419 - all of them
        except BaseException:
            self.unsubscribe(channel, listener, topic)
            raise

    def listen(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> bool:
        """Whether the channel is open already; then the listener is in.  Never waits."""
        if self._map.stale:
            return False
        nodes = [self._map.owner(slot_of(channel))] if topic is None else self._map.nodes
        # A list: each of them has to be asked, even if one has said no.
        if all([self._at(node).listen(channel, listener, topic) for node in nodes]):  # noqa: C419
            return True
        self.unsubscribe(channel, listener, topic)
        return False

    def unsubscribe(self, channel: bytes, listener: Listener, topic: bytes | None = None) -> None:
        """Stop listening; never waits."""
        for transport in list(self._transports.values()):
            transport.unsubscribe(channel, listener, topic)

    def signal(self) -> Signal:
        """A new signal, to be passed to `subscribe`."""
        return self._home.signal()

    def sleep(self, seconds: float) -> None:
        """Block the thread for `seconds`."""
        self._home.sleep(seconds)

    def monotonic(self) -> float:
        """The system's monotonic time in seconds."""
        return time.monotonic()

    def close(self) -> None:
        """Close all connections."""
        for transport in list(self._transports.values()):
            transport.close()

    def _at(self, node: Address) -> SocketTransport:
        place = node.host, node.port
        with self._lock:
            transport = self._transports.get(place)
            if transport is None:
                transport = self._transports[place] = SocketTransport(node, timeout_s=self._timeout_s)
            return transport

    def _new_lock(self) -> None:
        """In a forked child: another thread of the parent may have held it."""
        self._lock = threading.Lock()

    def _owner(self, key: bytes | None, deadline_s: float | None) -> Address:
        if self._map.stale:
            self._refresh(time.monotonic() + self._timeout_s if deadline_s is None else deadline_s)
        return self._map.nodes[0] if key is None else self._map.owner(slot_of(key))

    def _refresh(self, deadline_s: float) -> None:
        """Read the map from the first node that tells it."""
        trouble: CoordkitError = ServerUnavailable(f"{self} does not answer")
        for node in self._map.candidates():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            try:
                reply = self._at(node).execute(("CLUSTER", "SLOTS"), time.monotonic() + min(left_s, 0.5))
                self._map.learn(reply, node)
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
