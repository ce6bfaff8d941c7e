"""The HTTP front end: an ASGI application, and the server that runs it.

POST /check    {"limiter": name, "key": who, "cost": number}; cost is 1 if it is left out
               200 allowed, 429 refused: {"allowed", "limit", "remaining", "retry_after", "reset_after", "degraded"},
               with the fields RateLimit, RateLimit-Policy and Retry-After;  400 {"error": what is wrong}
GET /health    200 while the process lives; says whether the server answers
GET /ready     200 if the server answers, else 503
GET /metrics   Prometheus' text format

Told to stop it takes no new request and answers those that have come in.  One that is still being sent has `UNSENT_S`
to come in, and is answered 408 then; after `UNREAD_S` the connections of those who do not take their answers are cut.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final

from coordkit.errors import ConfigurationError
from coordkit.sidecar.headers import Fields, rate_limit_fields
from coordkit.sidecar.metrics import CONTENT_TYPE
from coordkit.sidecar.service import BadRequest, RateLimitService

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

LARGEST_BODY: Final = 16_384

UNSENT_S: Final = 0.5
"""How long after the order to stop a request may still be sent: its 16 kB at most are a matter of milliseconds."""

UNREAD_S: Final = 10.0
"""How long after the order to stop the last connection may stay open: who asks may be slow to take its answers."""

JSON: Final = b"application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    status: int
    body: bytes
    content_type: bytes = JSON
    fields: tuple[tuple[bytes, bytes], ...] = ()


def as_json(status: int, value: dict[str, object], fields: Fields | None = None) -> Answer:
    """A response with a JSON body."""
    return Answer(status, json.dumps(value, separators=(",", ":")).encode() + b"\n", JSON, tuple(fields or ()))


def problem(status: int, text: str) -> Answer:
    """A response that says what is wrong."""
    return as_json(status, {"error": text})


Handler = Callable[[bytes], Awaitable[Answer]]


class HttpApp:
    """The ASGI application."""

    def __init__(self, service: RateLimitService) -> None:
        self._service = service
        self._stopping = False
        self._receiving: set[asyncio.Timeout] = set()
        self._routes: dict[str, tuple[str, Handler]] = {
            "/check": ("POST", self._check),
            "/health": ("GET", self._health),
            "/ready": ("GET", self._ready),
            "/metrics": ("GET", self._metrics),
        }

    def stop(self) -> None:
        """From now on a request that is not here within `UNSENT_S` is refused."""
        self._stopping = True
        for limit in self._receiving:
            limit.reschedule(asyncio.get_running_loop().time() + UNSENT_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"the sidecar speaks HTTP only, not {scope['type']}")
        answer = await self._answer(scope, receive)
        fields = [
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(answer.body)),
            *answer.fields,
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": fields})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        method, handler = self._routes.get(scope["path"], (None, None))
        if method is None or handler is None:
            return problem(404, f"there is no {scope['path']}; there are {', '.join(self._routes)}")
        if scope["method"] != method:
            answer = problem(405, f"{scope['path']} takes {method}, not {scope['method']}")
            return replace(answer, fields=((b"allow", method.encode()),))
        try:
            body = await self._body(receive)
        except TimeoutError:
            answer = problem(408, f"the sidecar is stopping, and the request was not sent within {UNSENT_S} s")
            return replace(answer, fields=((b"connection", b"close"),))
        except ConnectionError:
            return problem(400, "the connection was closed before the request was sent")  # to nobody
        if body is None:
            return problem(413, f"the body is longer than {LARGEST_BODY} bytes")
        return await handler(body)

    async def _body(self, receive: Receive) -> bytes | None:
        """What `read_body` returns.  Raises TimeoutError when it takes too long and the sidecar is stopping."""
        async with asyncio.timeout(UNSENT_S if self._stopping else None) as limit:
            self._receiving.add(limit)
            try:
                return await read_body(receive)
            finally:
                self._receiving.discard(limit)

    async def _check(self, body: bytes) -> Answer:
        try:
            request: object = json.loads(body)
        except (ValueError, RecursionError) as exc:  # RecursionError: brackets in brackets in brackets
            return problem(400, f"the body must be JSON: {exc}")
        try:
            verdict = await self._service.check(request)
        except BadRequest as exc:
            return problem(400, str(exc))
        decision = verdict.decision
        return as_json(200 if decision.allowed else 429, decision._asdict(), rate_limit_fields(verdict.rule, decision))

    async def _health(self, body: bytes) -> Answer:  # noqa: ARG002 - a handler's signature
        trouble = await self._service.store_problem()
        return as_json(200, {"status": "ok", "store": "ok" if trouble is None else trouble})

    async def _ready(self, body: bytes) -> Answer:  # noqa: ARG002 - a handler's signature
        trouble = await self._service.store_problem()
        return as_json(200, {"status": "ok"}) if trouble is None else problem(503, trouble)

    async def _metrics(self, body: bytes) -> Answer:  # noqa: ARG002 - a handler's signature
        return Answer(200, self._service.metrics.exposition(), CONTENT_TYPE.encode())


async def read_body(receive: Receive) -> bytes | None:
    """The whole body of the request, None if it is too long.  Raises ConnectionError if it does not come."""
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ConnectionError("the client closed its connection")
        body += event.get("body", b"")
        if len(body) > LARGEST_BODY:
            return None
        if not event.get("more_body", False):
            return bytes(body)


async def serve(
    service: RateLimitService, listening: socket.socket, on_start: Callable[[Callable[[], None]], None]
) -> None:
    """Answer requests on a listening socket until told to stop: `on_start` gets the function that does.

    Requests that have come in are answered first, those that are still being sent have `UNSENT_S` for it.
    """
    try:
        import uvicorn
    except ImportError as exc:
        raise ConfigurationError("the sidecar needs uvicorn: pip install 'coordkit[sidecar]'") from exc

    class Server(uvicorn.Server):
        def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # a context manager all the same
            """Whoever runs the sidecar decides on signals."""
            return nullcontext()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            """Comes back when every connection is closed: by itself, or by us after `UNREAD_S`."""
            last = asyncio.get_running_loop().call_later(UNREAD_S, self._abort)
            try:
                await super().shutdown(sockets)
            finally:
                last.cancel()

        def _abort(self) -> None:
            for connection in list(self.server_state.connections):
                connection.transport.abort()

    app = HttpApp(service)
    server = Server(uvicorn.Config(app, lifespan="off", access_log=False, log_level="warning"))

    def stop() -> None:
        app.stop()
        server.should_exit = True

    on_start(stop)
    await server.serve(sockets=[listening])
