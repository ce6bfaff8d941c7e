"""The clients: where an application starts.  `Client` blocks, `AsyncClient` is for asyncio and trio; they offer the
same.

    async with AsyncClient.from_url("redis://localhost:6379") as ck:
        async with ck.lock("report", ttl=30).hold(timeout=5) as lease:
            ...

A client opens nothing before its first use.  One client a process is enough; it may be shared by threads or
tasks.
"""

import os
from types import TracebackType
from typing import Final, Self

from coordkit.codec import Codec, JsonCodec
from coordkit.durations import Duration, to_ms, to_positive_seconds
from coordkit.embedded import is_embedded, parse_embedded_url
from coordkit.errors import ClientClosed, ConfigurationError
from coordkit.guard import AsyncGuard, Guard
from coordkit.health import HealthStatistics
from coordkit.keys import DEFAULT_PREFIX, Keys
from coordkit.lease import Identity
from coordkit.lock import AsyncLock, Lock, LockPlans
from coordkit.pubsub.channel import AsyncChannel, Channel
from coordkit.queue.declaration import Queue
from coordkit.queue.handles import AsyncQueueHandle, QueueHandle
from coordkit.queue.plans import QueuePlans
from coordkit.ratelimit.base import Algorithm
from coordkit.ratelimit.limiter import AsyncLimiter, Limiter, LimiterPlans, OnOutage
from coordkit.renewal import AsyncRenewer, ThreadRenewer
from coordkit.transports import loops
from coordkit.transports.address import Address, Endpoint, parse_url
from coordkit.transports.asyncio_ import AsyncioTransport
from coordkit.transports.base import DEFAULT_TIMEOUT_S, AsyncTransport, Transport
from coordkit.transports.cluster import AsyncClusterTransport, ClusterTransport
from coordkit.transports.sentinel import is_sentinel, parse_sentinel_url
from coordkit.transports.slots import is_cluster, parse_cluster_url
from coordkit.transports.socket_ import SocketTransport

URL_VARIABLE: Final = "COORDKIT_URL"
DEFAULT_URL: Final = "redis://localhost:6379"


CLOSED: Final = "the client is closed; make a new one"


def chosen_url(url: str | None) -> str:
    """`url`, or the one of the environment, or the default.  Raises ConfigurationError for what is no text."""
    if url is not None and not isinstance(url, str):
        raise ConfigurationError(f"a URL must be text like {DEFAULT_URL!r}, not {url!r}")
    return url or os.environ.get(URL_VARIABLE) or DEFAULT_URL


def endpoint_of(url: str | None) -> Endpoint:
    """The server at `url`, or at the one in the environment, or a local one.  Raises ConfigurationError."""
    chosen = chosen_url(url)
    if is_embedded(chosen):
        return parse_embedded_url(chosen)
    return parse_sentinel_url(chosen) if is_sentinel(chosen) else parse_url(chosen)


def cluster_of(url: str | None) -> tuple[Address, ...]:
    """The nodes of the cluster at `url`, or of the one in the environment; none if that is no cluster."""
    chosen = chosen_url(url)
    return parse_cluster_url(chosen) if is_cluster(chosen) else ()


def borrowed_endpoint(client: object | None) -> Endpoint:
    """The server of a redis-py client.  Raises ConfigurationError if it names no one server, or if there is none."""
    if client is None:
        raise ConfigurationError("a client needs a server: Client.from_url(...), or Client(redis=...) with your own")
    from coordkit.transports.redis_py import BorrowedSettings  # redis takes longer to import than all the rest

    return BorrowedSettings(client)


def borrowed_nodes(client: object | None) -> tuple[Address, ...]:
    """The nodes of a cluster client of redis-py; none if it is no such client."""
    if client is None:
        return ()
    from coordkit.transports.redis_py import borrowed_cluster

    return borrowed_cluster(client)


def blocking_transport(client: object | None, timeout_s: float, *, share: bool) -> Transport:
    """What goes to the server of a redis-py client: through it, or over own connections."""
    if share:
        from coordkit.transports.shared import SharedTransport

        return SharedTransport(client, timeout_s=timeout_s)
    nodes = borrowed_nodes(client)
    if nodes:
        return ClusterTransport(nodes, timeout_s=timeout_s)
    return SocketTransport(borrowed_endpoint(client), timeout_s=timeout_s)


def asynchronous_transport(client: object | None, timeout_s: float, *, share: bool) -> AsyncTransport:
    """The same for an asynchronous one."""
    if share:
        from coordkit.transports.shared import AsyncSharedTransport, is_blocking
        from coordkit.transports.shared_threads import ThreadedSharedTransport

        shared = ThreadedSharedTransport if is_blocking(client) else AsyncSharedTransport
        return shared(client, timeout_s=timeout_s)
    nodes = borrowed_nodes(client)
    if nodes:
        return AsyncClusterTransport(nodes, timeout_s=timeout_s)
    return AsyncioTransport(borrowed_endpoint(client), timeout_s=timeout_s)


class Client:
    """The toolkit for blocking callers.

    `Client(redis=redis.Redis(...))` borrows the settings of a client of yours, as `from_redis` does: the same server
    and login over connections of its own.  What you pass is neither used nor closed.  With `share=True` everything
    runs through your client instead: its pool, its retries, its timeouts; it is not closed either.
    """

    def __init__(
        self,
        transport: Transport | None = None,
        *,
        redis: object | None = None,
        share: bool = False,
        prefix: str = DEFAULT_PREFIX,
        timeout: Duration = DEFAULT_TIMEOUT_S,
        codec: Codec | None = None,
    ) -> None:
        timeout_s = to_positive_seconds(timeout, name="timeout")
        if transport is None:
            transport = blocking_transport(redis, timeout_s, share=share)
        self.keys = Keys.of(prefix)
        self.codec: Codec = codec or JsonCodec()
        self.identity = Identity(self.keys)
        self.backend = Guard(transport, timeout_s=timeout_s)
        self.renewer = ThreadRenewer(self.backend)
        self._closed = False

    @classmethod
    def from_url(
        cls,
        url: str | None = None,
        *,
        prefix: str = DEFAULT_PREFIX,
        timeout: Duration = DEFAULT_TIMEOUT_S,
        codec: Codec | None = None,
    ) -> Self:
        """A client of the server at `url`; without one of COORDKIT_URL, else of redis://localhost:6379.

        Also `embedded://` and `embedded:///data/dir`: a server that starts with its first user and ends with its last;
        `redis+sentinel://host:26379,host:26379/service`: the master that these sentinels know; and
        `redis+cluster://host:6379,host:6379`: the cluster of these nodes.

        `timeout` bounds every call, reconnecting included.  Raises ConfigurationError for a URL it cannot
        use.
        """
        timeout_s = to_positive_seconds(timeout, name="timeout")
        nodes = cluster_of(url)
        transport: Transport = (
            ClusterTransport(nodes, timeout_s=timeout_s)
            if nodes
            else SocketTransport(endpoint_of(url), timeout_s=timeout_s)
        )
        return cls(transport, prefix=prefix, timeout=timeout, codec=codec)

    @classmethod
    def from_redis(
        cls,
        client: object,
        *,
        share: bool = False,
        prefix: str = DEFAULT_PREFIX,
        timeout: Duration = DEFAULT_TIMEOUT_S,
        codec: Codec | None = None,
    ) -> Self:
        """A client of the server that a `redis.Redis` talks to, with its login, on own connections.

        The client that is passed is neither used nor closed; with `share` it is used for everything, and not closed.
        Raises ConfigurationError if it names no server.
        """
        return cls(redis=client, share=share, prefix=prefix, timeout=timeout, codec=codec)

    def lock(self, name: str, *, ttl: Duration = 30.0, renew: bool = True) -> Lock:
        """The lock `name`.  A holder that dies loses it after `ttl`; a living one renews it, unless `renew`
        is off.
        """
        plans = LockPlans(name, ttl_ms=to_ms(ttl, name="ttl"), renewed=renew, keys=self.keys, identity=self.identity)
        return Lock(plans, backend=self.backend, renewer=self.renewer)

    def limiter(self, name: str, algorithm: Algorithm, *, on_outage: OnOutage = "raise", instances: int = 1) -> Limiter:
        """The rate limit `name`.

        `on_outage` is what it does when the server gives no answer: raise, allow, deny, or local, which counts in this
        process alone, for its share of a limit that `instances` processes use.
        """
        plans = LimiterPlans(
            name, algorithm, on_outage=on_outage, keys=self.keys, instances=instances, identity=self.identity
        )
        return Limiter(plans, backend=self.backend)

    def queue(self, queue: Queue) -> QueueHandle:
        """The queue on this server: to give it jobs, and to look after them."""
        return QueueHandle(QueuePlans(queue, keys=self.keys, codec=self.codec), self.backend)

    def channel(self, name: str) -> Channel:
        """The channel `name`: messages to whoever listens at that moment."""
        return Channel(name, keys=self.keys, codec=self.codec, backend=self.backend)

    def ping(self) -> None:
        """Comes back if the server answers.  Raises ServerUnavailable."""
        self.backend.execute(("PING",), idempotent=True)

    def statistics(self) -> HealthStatistics:
        """What the client has seen of its server so far."""
        return self.backend.statistics()

    def close(self) -> None:
        """Close all connections.  What is still held ends by itself."""
        self._closed = True
        self.renewer.close()
        self.backend.close()

    def __enter__(self) -> Self:
        """Itself.  Raises ClientClosed if it has been closed."""
        if self._closed:
            raise ClientClosed(CLOSED)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """The toolkit for asyncio and trio: it sees which of them runs.

    `AsyncClient(redis=redis.asyncio.Redis(...))` borrows the settings of a client of yours, as `from_redis` does: the
    same server and login over connections of its own.  What you pass is neither used nor closed.  With `share=True`
    everything runs through your client instead: its pool, its retries; it is not closed either.  On trio that has to be
    a `redis.Redis`, which is used from threads.
    """

    def __init__(
        self,
        transport: AsyncTransport | None = None,
        *,
        redis: object | None = None,
        share: bool = False,
        prefix: str = DEFAULT_PREFIX,
        timeout: Duration = DEFAULT_TIMEOUT_S,
        codec: Codec | None = None,
    ) -> None:
        timeout_s = to_positive_seconds(timeout, name="timeout")
        if transport is None:
            transport = asynchronous_transport(redis, timeout_s, share=share)
        self.keys = Keys.of(prefix)
        self.codec: Codec = codec or JsonCodec()
        self.identity = Identity(self.keys)
        self.backend = AsyncGuard(transport, timeout_s=timeout_s)
        self._renewers: dict[loops.Loop, AsyncRenewer] = {}
        self._closed_in: set[loops.Loop] = set()

    @classmethod
    def from_url(
        cls,
        url: str | None = None,
        *,
        prefix: str = DEFAULT_PREFIX,
        timeout: Duration = DEFAULT_TIMEOUT_S,
        codec: Codec | None = None,
    ) -> Self:
        """A client of the server at `url`; without one of COORDKIT_URL, else of redis://localhost:6379.

        Also `embedded://` and `embedded:///data/dir`: a server that starts with its first user and ends with its last;
        `redis+sentinel://host:26379,host:26379/service`: the master that these sentinels know; and
        `redis+cluster://host:6379,host:6379`: the cluster of these nodes.

        `timeout` bounds every call, reconnecting included.  Raises ConfigurationError for a URL it cannot
        use.
        """
        timeout_s = to_positive_seconds(timeout, name="timeout")
        nodes = cluster_of(url)
        transport: AsyncTransport = (
            AsyncClusterTransport(nodes, timeout_s=timeout_s)
            if nodes
            else AsyncioTransport(endpoint_of(url), timeout_s=timeout_s)
        )
        return cls(transport, prefix=prefix, timeout=timeout, codec=codec)

    @classmethod
    def from_redis(
        cls,
        client: object,
        *,
        share: bool = False,
        prefix: str = DEFAULT_PREFIX,
        timeout: Duration = DEFAULT_TIMEOUT_S,
        codec: Codec | None = None,
    ) -> Self:
        """A client of the server that a `redis.asyncio.Redis` talks to, with its login, on own connections.

        The client that is passed is neither used nor closed; with `share` it is used for everything, and not closed.
        Raises ConfigurationError if it names no server.
        """
        return cls(redis=client, share=share, prefix=prefix, timeout=timeout, codec=codec)

    def lock(self, name: str, *, ttl: Duration = 30.0, renew: bool = True) -> AsyncLock:
        """The lock `name`.  A holder that dies loses it after `ttl`; a living one renews it, unless `renew`
        is off.
        """
        plans = LockPlans(name, ttl_ms=to_ms(ttl, name="ttl"), renewed=renew, keys=self.keys, identity=self.identity)
        return AsyncLock(plans, backend=self.backend, renewer=self._renewer)

    def limiter(
        self, name: str, algorithm: Algorithm, *, on_outage: OnOutage = "raise", instances: int = 1
    ) -> AsyncLimiter:
        """The rate limit `name`.

        `on_outage` is what it does when the server gives no answer: raise, allow, deny, or local, which counts in this
        process alone, for its share of a limit that `instances` processes use.
        """
        plans = LimiterPlans(
            name, algorithm, on_outage=on_outage, keys=self.keys, instances=instances, identity=self.identity
        )
        return AsyncLimiter(plans, backend=self.backend)

    def queue(self, queue: Queue) -> AsyncQueueHandle:
        """The queue on this server: to give it jobs, and to look after them."""
        return AsyncQueueHandle(QueuePlans(queue, keys=self.keys, codec=self.codec), self.backend)

    def channel(self, name: str) -> AsyncChannel:
        """The channel `name`: messages to whoever listens at that moment."""
        return AsyncChannel(name, keys=self.keys, codec=self.codec, backend=self.backend)

    async def ping(self) -> None:
        """Comes back if the server answers.  Raises ServerUnavailable."""
        await self.backend.execute(("PING",), idempotent=True)

    def statistics(self) -> HealthStatistics:
        """What the client has seen of its server so far."""
        return self.backend.statistics()

    async def aclose(self) -> None:
        """Close the connections of the running loop.  What is still held ends by itself."""
        loop = loops.running_loop()
        self._closed_in = {other for other in self._closed_in if not other.is_closed()} | {loop}
        renewer = self._renewers.pop(loop, None)
        if renewer is not None:
            renewer.close()
        with loops.shielded():
            await self.backend.aclose()

    async def __aenter__(self) -> Self:
        """Itself.  Raises ClientClosed if it has been closed in the running loop."""
        if loops.running_loop() in self._closed_in:
            raise ClientClosed(CLOSED)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _renewer(self) -> AsyncRenewer:
        """The renewer of the running loop."""
        loop = loops.running_loop()
        renewer = self._renewers.get(loop)
        if renewer is None:
            for stale in [other for other in list(self._renewers) if other.is_closed()]:
                del self._renewers[stale]
            renewer = self._renewers[loop] = AsyncRenewer(self.backend, loop)
        return renewer
