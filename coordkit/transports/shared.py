"""Users' own redis-py clients, shared: every call and every subscription runs through them.

    Client(redis=redis.Redis(...), share=True)
    AsyncClient(redis=redis.asyncio.Redis(...), share=True)
    AsyncClient(redis=redis.Redis(...), share=True)  # on trio too, by threads: see shared_threads

Their pool is used, with their login, TLS, retries and timeouts; the first subscription takes one connection of it until
the toolkit's client is closed.  What they own is never closed.  `redis.RedisCluster` and its twin work too.

Their retries are theirs: a command may have been run before an attempt fails to connect.  So a failure is
OutcomeUnknown unless it happened while a connection was being got for the first time.  All scripts of the toolkit may
be sent twice.
"""

import asyncio
import contextlib
import random
import re
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final

import redis
import redis.asyncio
import redis.exceptions

from coordkit.errors import (
    ClientClosed,
    ConfigurationError,
    CoordkitError,
    OutcomeUnknown,
    ServerError,
    ServerUnavailable,
)
from coordkit.scripts import Args, Keys, Script
from coordkit.transports.address import Address
from coordkit.transports.asyncio_ import AsyncioTransport
from coordkit.transports.asyncio_subscriber import KEEPALIVE_S
from coordkit.transports.base import DEFAULT_TIMEOUT_S, refusal
from coordkit.transports.loops import Loop, Task, running_asyncio, running_loop, trio_module
from coordkit.transports.slots import slot_of
from coordkit.transports.socket_ import SocketTransport
from coordkit.wire import Reply

RAW: Final[dict[str, Any]] = {"NEVER_DECODE": True}
"""Replies are bytes, whatever the client does for its owner."""

CODES: Final = {
    "AskError": "ASK",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "ExecAbortError": "EXECABORT",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}
"""What redis-py takes off the text of an error, by its class."""

CODE: Final = re.compile(r"[A-Z][A-Z0-9_]*( |$)")
THEIRS: Final = (redis.exceptions.RedisError, OSError, asyncio.TimeoutError)
CLUSTERS: Final = (redis.RedisCluster, redis.asyncio.RedisCluster)


def is_blocking(client: object) -> bool:
    """Whether its calls block."""
    return isinstance(client, redis.Redis | redis.RedisCluster)


def undecoded(reply: object) -> object:
    """The reply with bytes for text: redis-py 5.0 decodes replies though it is asked not to."""
    if isinstance(reply, str):
        return reply.encode()
    return [undecoded(part) for part in reply] if isinstance(reply, list) else reply


def server_error(exc: redis.exceptions.ResponseError) -> ServerError:
    """The error reply as the server sent it."""
    text = str(exc)
    code = CODES.get(type(exc).__name__)
    if code is not None:
        return ServerError(text if text.startswith(code) else f"{code} {text}")
    return ServerError(text if CODE.match(text) else f"ERR {text}")


def mapped(exc: BaseException, server: str) -> CoordkitError:
    """Our error for one of redis-py's."""
    match exc:
        case redis.exceptions.BusyLoadingError():
            return refusal(ServerError(f"LOADING {exc}"))
        case redis.exceptions.AuthenticationError() | redis.exceptions.AuthorizationError():
            return ConfigurationError(
                f"{server} refused the login: {exc}; give user and password to the client you share"
            )
        case redis.exceptions.ResponseError():
            return refusal(server_error(exc))
    frames = {frame.f_code.co_name for frame, _ in traceback.walk_tb(exc.__traceback__)}
    if frames & {"get_connection", "acquire_connection", "initialize"}:
        return ServerUnavailable(f"{server} gives no connection: {exc}")
    return OutcomeUnknown(f"{server} gave no answer ({type(exc).__name__}: {exc}); a command may have run")


class SharedClient:
    """An endpoint that is nobody's to open: the client's own."""

    def __init__(self, client: object, *, asynchronous: bool) -> None:
        fits = (
            isinstance(client, redis.asyncio.Redis | redis.asyncio.RedisCluster)
            if asynchronous
            else is_blocking(client)
        )
        if not fits:
            wanted = "redis.asyncio.Redis, redis.asyncio.RedisCluster, " if asynchronous else ""
            raise ConfigurationError(
                f"share=True needs a {wanted}redis.Redis or redis.RedisCluster here, not {client!r}"
            )
        self.client: Any = client
        self.is_cluster = isinstance(client, CLUSTERS)

    def __str__(self) -> str:
        """What is shared, without a login."""
        return f"the shared {type(self.client).__name__}"

    def resolve(self) -> Address:
        """Nothing of ours connects to it."""
        raise ServerUnavailable(f"{self} is used through its own connections only")

    def close(self) -> None:
        """Nothing to do: the client is its owner's."""

    def group_of(self, key: bytes) -> int:
        """Keys of one group may go into one script."""
        return slot_of(key) if self.is_cluster else 0


class SharedTransport(SocketTransport):
    """Calls and subscriptions through a `redis.Redis` or `redis.RedisCluster`, from any number of threads.

    How long a call may take is the client's to say, with its `socket_timeout`: nobody else can end it.
    """

    def __init__(self, client: object, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._shared = SharedClient(client, asynchronous=False)
        super().__init__(self._shared, timeout_s=timeout_s)

    def group_of(self, key: bytes) -> int:
        """Keys of one group may go into one script."""
        return self._shared.group_of(key)

    def call(self, script: Script[object], keys: Keys, args: Args, deadline_s: float | None = None) -> object:
        """The reply of the script, in plain form."""
        tail = (len(keys), *keys, *args)
        try:
            return self.execute(("EVALSHA", script.sha1, *tail), deadline_s)
        except ServerError as exc:
            if exc.code != "NOSCRIPT":
                raise
        return self.execute(("EVAL", script.text, *tail), deadline_s)

    def execute(self, argv: Sequence[bytes | str | int | float], deadline_s: float | None = None) -> object:  # noqa: ARG002 - see above
        """The reply of one command, in plain form."""
        if self._closed:
            raise ClientClosed("the client is closed; make a new one")
        try:
            return undecoded(self._shared.client.execute_command(*argv, **RAW))
        except THEIRS as exc:
            raise mapped(exc, str(self)) from exc

    def probe(self, timeout_s: float, place: str | None = None) -> None:  # noqa: ARG002 - there is one place only
        """Comes back if the server answers."""
        with contextlib.suppress(ServerError):
            self.execute(("PING",), time.monotonic() + timeout_s)

    def _open_socket(self) -> "socket.socket":
        """One connection of the pool, for subscriptions; closing it gives it back."""
        try:
            return BorrowedSocket(self._pool())  # type: ignore[return-value]  # as far as it is used
        except THEIRS as exc:
            raise mapped(exc, str(self)) from exc

    def _pool(self) -> Any:
        """The pool; of a cluster that of any node, since messages reach all of them."""
        client = self._shared.client
        if not self._shared.is_cluster:
            return client.connection_pool
        nodes = client.get_primaries() or client.get_nodes()
        return client.get_redis_connection(random.choice(nodes)).connection_pool


class BorrowedSocket:
    """The socket of a connection that belongs to a redis-py pool."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._connection = pool.get_connection("SUBSCRIBE") if redis.VERSION < (5, 3) else pool.get_connection()
        self._socket: socket.socket | None = getattr(self._connection, "_sock", None)
        if self._socket is None:
            pool.release(self._connection)
            raise ConfigurationError(f"{self._connection!r} has no socket to listen on; use from_url for subscriptions")

    def __getattr__(self, name: str) -> Any:
        """What sockets offer."""
        return getattr(self._socket, name)

    def close(self) -> None:
        """Give it back, unconnected: nobody else may hear what was subscribed."""
        if self._socket is not None:
            self._connection.disconnect()
            self._pool.release(self._connection)
            self._socket = None


def refuse_trio(client: object) -> None:
    """Raises ConfigurationError where trio runs: redis.asyncio does not run there."""
    if running_asyncio() is None and trio_module() is not None:
        raise ConfigurationError(
            f"{type(client).__name__} of redis.asyncio runs on asyncio only, so it cannot be shared on trio; share a "
            "blocking redis.Redis or redis.RedisCluster, which is used from threads, or leave out share=True: then its "
            "settings are used, over connections of our own"
        )


class AsyncSharedTransport(AsyncioTransport):
    """Calls and subscriptions through a `redis.asyncio.Redis` or `RedisCluster`, on the loop where that is used."""

    def __init__(self, client: object, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._shared = SharedClient(client, asynchronous=True)
        refuse_trio(client)
        super().__init__(self._shared, timeout_s=timeout_s)

    def group_of(self, key: bytes) -> int:
        """Keys of one group may go into one script."""
        return self._shared.group_of(key)

    async def call(self, script: Script[object], keys: Keys, args: Args, deadline_s: float | None = None) -> object:
        """The reply of the script, in plain form."""
        tail = (len(keys), *keys, *args)
        try:
            return await self.execute(("EVALSHA", script.sha1, *tail), deadline_s)
        except ServerError as exc:
            if exc.code != "NOSCRIPT":
                raise
        return await self.execute(("EVAL", script.text, *tail), deadline_s)

    async def execute(self, argv: Sequence[bytes | str | int | float], deadline_s: float | None = None) -> object:
        """The reply of one command, in plain form."""
        if self._state().closed:
            raise ClientClosed("the client is closed; make a new one")
        started_s = time.monotonic()
        left_s = self._timeout_s if deadline_s is None else deadline_s - started_s
        limit = asyncio.timeout(max(left_s, 0.001))
        try:
            async with limit:
                return undecoded(await self._shared.client.execute_command(*argv, **RAW))
        except THEIRS as exc:
            if limit.expired():
                raise OutcomeUnknown(f"{self} did not answer within {left_s:.3g} s; the command may have run") from exc
            raise mapped(exc, str(self)) from exc
        finally:
            now_s = time.monotonic()
            if self._watcher is not None and now_s - started_s > self._watcher.slow_s:
                self._watcher.heard_slow(1, now_s)

    async def probe(self, timeout_s: float, place: str | None = None) -> None:  # noqa: ARG002 - one place only
        """Comes back if the server answers in time."""
        with contextlib.suppress(ServerError):
            await self.execute(("PING",), time.monotonic() + timeout_s)

    def _state(self) -> Any:
        refuse_trio(self._shared.client)
        return super()._state()

    async def open_stream(self) -> "BorrowedStream":
        """One connection of the pool, for subscriptions."""
        client = self._shared.client
        try:
            async with asyncio.timeout(self._timeout_s):
                if not self._shared.is_cluster:
                    pool = client.connection_pool
                    old = redis.VERSION < (5, 3)
                    connection = await (pool.get_connection("SUBSCRIBE") if old else pool.get_connection())
                    return BorrowedStream(connection, pool.release, running_loop())
                await client.initialize()
                node = random.choice(client.get_primaries() or client.get_nodes())
                connection = node.acquire_connection()
                try:
                    await connection.connect()
                except BaseException:
                    node.release(connection)
                    raise
                return BorrowedStream(connection, node.release, running_loop())
        except THEIRS as exc:
            raise mapped(exc, str(self)) from exc


class BorrowedStream:
    """A connection that belongs to a redis-py pool, as a stream of replies."""

    def __init__(self, connection: Any, release: Callable[[Any], Any], loop: Loop) -> None:
        self.closed = False
        self._connection = connection
        self._release = release
        self._loop = loop
        self._outbox: list[tuple[bytes | str, ...]] = []
        self._tasks: list[Task[None]] = []
        self._sending: Task[None] | None = None

    def start(self, on_reply: Callable[[Reply], None], on_end: Callable[[], None]) -> None:
        """From now on replies are handed to `on_reply`; `on_end` is called when no more come."""
        self._tasks.append(self._loop.create_task(self._read(on_reply, on_end), name="coordkit-listener"))

    def send(self, *argv: bytes | str) -> None:
        """Send a command whose reply comes through the stream."""
        self._outbox.append(argv)
        if self._sending is None and not self.closed:
            self._sending = self._loop.create_task(self._send_all())
            self._tasks = [*(task for task in self._tasks if not task.done()), self._sending]

    async def close(self) -> None:
        """Give the connection back."""
        self.closed = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)  # type: ignore[type-var]  # asyncio's own

    async def _send_all(self) -> None:
        try:
            while self._outbox:
                await self._connection.send_command(*self._outbox.pop(0), check_health=False)
        except THEIRS:
            await self._connection.disconnect(nowait=True)  # the reader sees that
        finally:
            self._sending = None

    async def _read(self, on_reply: Callable[[Reply], None], on_end: Callable[[], None]) -> None:
        asked = False
        try:
            while not self.closed:
                reply = await self._next()
                if reply is not None:
                    asked = False
                    on_reply(reply)
                elif asked:
                    break  # silent for twice as long
                else:
                    asked = True
                    self.send("PING")
        except THEIRS:
            pass  # on_end tells
        finally:
            self.closed = True
            with contextlib.suppress(*THEIRS):
                # Unconnected: nobody else may hear what was subscribed.
                await self._connection.disconnect(nowait=True)
            released = self._release(self._connection)
            if released is not None:
                await released
            on_end()

    async def _next(self) -> Reply:
        """The next reply; None if the server is silent."""
        try:
            reply = await self._connection.read_response(
                disable_decoding=True, timeout=KEEPALIVE_S, disconnect_on_error=False, push_request=True
            )
            return undecoded(reply)
        except (redis.exceptions.TimeoutError, TimeoutError):
            return None
