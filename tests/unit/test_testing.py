"""The test switch that applications use."""

import pytest

from coordkit import GCRA, AsyncClient, Client, OutcomeUnknown, Queue, ServerUnavailable
from coordkit.errors import ConfigurationError
from coordkit.testing import outage
from tests.unit.fakes import AsyncFakeTransport, FakeTransport

mail = Queue("mail")


@mail.job()
async def welcome(ctx: object) -> None: ...


def test_outage_of_a_blocking_client_reaches_every_primitive_and_ends() -> None:
    transport = FakeTransport(b"PONG")
    client = Client(transport)
    with outage(client):
        with pytest.raises(ServerUnavailable, match="outage is in force"):
            client.lock("report").acquire()
        with pytest.raises(ServerUnavailable, match="outage is in force"):
            client.queue(mail).enqueue(welcome)
        with pytest.raises(ServerUnavailable, match="outage is in force"):
            client.channel("news").publish("x")
        assert client.limiter("api", GCRA(10, 1), on_outage="allow").check("u").degraded
        assert client.limiter("api", GCRA(10, 1), on_outage="local").check("u").allowed
    assert transport.calls == []
    client.ping()
    client.close()


async def test_outage_of_an_async_client_reaches_every_primitive_and_ends() -> None:
    transport = AsyncFakeTransport(b"PONG")
    client = AsyncClient(transport)
    with outage(client, "unknown"):
        with pytest.raises(OutcomeUnknown, match="outage is in force"):
            await client.lock("report").acquire()
        with pytest.raises(OutcomeUnknown, match="outage is in force"):
            await client.queue(mail).enqueue(welcome)
        with pytest.raises(OutcomeUnknown):
            await client.channel("news").publish("x")
        assert not await client.limiter("api", GCRA(10, 1), on_outage="deny").check("u")
    assert transport.calls == []
    await client.ping()
    await client.aclose()


def test_outage_of_another_kind_is_refused() -> None:
    with (
        pytest.raises(ConfigurationError, match="'unavailable' or 'unknown', not 'slow'"),
        outage(
            Client(FakeTransport()),
            "slow",  # type: ignore[arg-type]  # what somebody may write
        ),
    ):
        pass
