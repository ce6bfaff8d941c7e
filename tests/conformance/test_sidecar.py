"""The sidecar as it runs: its own listening socket, clients from outside, every server behind it."""

import asyncio
import http.client
import json
import os
import signal
from typing import Any, Self

import pytest

from coordkit import AsyncClient, ConfigurationError
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
            connection = http.client.HTTPConnection(*self._address.result(), timeout=10)
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
