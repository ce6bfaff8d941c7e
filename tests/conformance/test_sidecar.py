"""The sidecar as it runs: its own listening socket, clients from outside, every server behind it."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from coordkit import AsyncClient, ConfigurationError
from coordkit.sidecar import http as http_frontend
from coordkit.sidecar.config import load_rules
from coordkit.sidecar.frontends import run_sidecar
from tests.conftest import PeerFactory

LIMITS = ["api=gcra:3/1m", "open=sliding_window:1/1m:on_outage=allow", "shut=gcra:1/1m:on_outage=deny"]


class Sidecar:
    """A sidecar that runs beside the test, on a free port."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._address: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        waiting: list[asyncio.Future[Any]] = [self._address, self._running]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._address.result()

    async def stop(self) -> None:
        """Comes back when it has ended."""
        if not self._running.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(self._running, 10)

    async def _run(self) -> None:
        async with AsyncClient.from_url(self._url, timeout=0.3) as ck:
            await run_sidecar(
                load_rules(None, LIMITS), ck, port=0, on_ready=lambda host, port: self._address.set_result((host, port))
            )

    async def check(self, limiter: str, key: str) -> tuple[int, dict[str, object], str | None]:
        """Status, decision and RateLimit field of one check."""

        def ask() -> tuple[int, dict[str, object], str | None]:
            connection = http.client.HTTPConnection(*self.address, timeout=10)
            try:
                connection.request("POST", "/check", json.dumps({"limiter": limiter, "key": key}))
                response = connection.getresponse()
                decision: dict[str, object] = json.loads(response.read())
                return response.status, decision, response.headers["RateLimit"]
            finally:
                connection.close()

        return await asyncio.to_thread(ask)


async def test_sidecar_enforces_a_limit_for_clients_at_once(server_url: str) -> None:
    async with Sidecar(server_url) as sidecar:
        answers = await asyncio.gather(*(sidecar.check("api", "user:42") for _ in range(8)))
        assert sorted(status for status, _, _ in answers) == [200] * 3 + [429] * 5
        assert min(field for status, _, field in answers if status == 200 and field).startswith('"api";r=0;t=')
        assert (await sidecar.check("api", "user:43"))[0] == 200


async def test_sidecar_shares_its_limits_with_the_toolkit(server_url: str) -> None:
    async with Sidecar(server_url) as sidecar, AsyncClient.from_url(server_url) as ck:
        rule = load_rules(None, LIMITS)["api"]
        assert await ck.limiter("api", rule.algorithm).check("user:42", cost=3)
        assert (await sidecar.check("api", "user:42"))[0] == 429


async def test_sidecar_outlives_its_server_and_comes_back(start_peer: PeerFactory) -> None:
    server = start_peer("valkey")
    async with Sidecar(server.url) as sidecar:
        assert (await sidecar.check("shut", "a"))[0] == 200
        server.kill()
        for _ in range(3):
            assert (await sidecar.check("open", "a"))[:2] == (
                200,
                {
                    "allowed": True,
                    "limit": 1,
                    "remaining": 0,
                    "retry_after": 0.0,
                    "reset_after": 0.0,
                    "degraded": True,
                },
            )
        status, decision, _ = await sidecar.check("shut", "b")
        assert (status, decision["degraded"]) == (429, True)
        start_peer("valkey", port=server.port)
        while (answer := await sidecar.check("shut", "b"))[1]["degraded"]:  # until the next probe
            pass
        assert answer[0] == 200


async def test_sidecar_on_an_address_in_use_raises(server_url: str) -> None:
    port = int(server_url.rpartition(":")[2])
    async with AsyncClient.from_url(server_url) as ck:
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            await run_sidecar(load_rules(None, LIMITS), ck, port=port)
        with pytest.raises(ConfigurationError, match="there is no front end 'grpc'; there are http"):
            await run_sidecar(load_rules(None, LIMITS), ck, frontend="grpc")


async def test_sidecar_that_is_stopped_cuts_off_who_takes_no_answers(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_frontend, "UNREAD_S", 0.2)
    loop = asyncio.get_running_loop()
    async with Sidecar(server_url) as sidecar:
        with socket.create_connection(sidecar.address) as client:
            client.setblocking(False)
            with contextlib.suppress(TimeoutError):
                while True:  # until neither side takes any more
                    many = b"GET /metrics HTTP/1.1\r\nHost: sidecar\r\n\r\n" * 100
                    await asyncio.wait_for(loop.sock_sendall(client, many), 0.5)
            await sidecar.stop()


# -- as a process -----------------------------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[2]
CHECK = b'{"limiter": "open", "key": "a"}'
HEAD = b"POST /check HTTP/1.1\r\nHost: sidecar\r\nContent-Length: %d\r\n" % len(CHECK)


@contextlib.contextmanager
def silent_server() -> Iterator[socket.socket]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        yield listening


@contextlib.contextmanager
def sidecar_process(store: socket.socket) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`coordkit sidecar` as a process, and its port."""
    url = f"redis://127.0.0.1:{store.getsockname()[1]}"
    options = ["--limit", LIMITS[1], "--port", "0", "--timeout", "0.5"]
    process = subprocess.Popen(
        [sys.executable, "-m", "coordkit", "sidecar", "--url", url, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
    )
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("http on "))
        yield process, int(line.partition(",")[0].rpartition(":")[2])
    finally:
        process.kill()
        process.communicate()


def answer_until(client: socket.socket, ending: bytes | None = None) -> bytes:
    """What comes until it ends so, or until the connection is closed."""
    client.settimeout(20)
    answer = b""
    while ending is None or not answer.endswith(ending):
        chunk = client.recv(65536)
        if not chunk:
            break
        answer += chunk
    return answer


def stopped(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Status and output of a process that was told to stop."""
    output, _ = process.communicate(timeout=20)
    return process.returncode, output


@pytest.mark.parametrize(
    "sent, answered, half, last",
    [
        (b"GET /nowhere HTTP/1.1\r\nHost: sidecar\r\n\r\n", b"}\n", HEAD, b""),
        (HEAD + b"Expect: 100-continue\r\n\r\n", b"\r\n\r\n", CHECK[:-3], b"HTTP/1.1 408 "),
    ],
    ids=["fields", "body"],
)
def test_sidecar_process_with_a_request_half_sent_ends_soon_and_quietly(
    sent: bytes, answered: bytes, half: bytes, last: bytes
) -> None:
    with silent_server() as store, sidecar_process(store) as (process, port):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(sent)
            assert answer_until(client, answered)
            client.sendall(half)
            started_s = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert answer_until(client)[: len(last) or None] == last
            assert stopped(process) == (0, "")
        assert time.monotonic() - started_s < 4.0


def test_sidecar_process_that_is_stopped_answers_the_check_under_way() -> None:
    with silent_server() as store, sidecar_process(store) as (process, port):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(HEAD + b"\r\n" + CHECK)
            connection, _ = store.accept()  # the check is on its way to its server
            with connection:
                process.send_signal(signal.SIGTERM)
                answer = answer_until(client)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"degraded":true' in answer
        status, output = stopped(process)
        assert (status, "Traceback" in output) == (0, False), output
