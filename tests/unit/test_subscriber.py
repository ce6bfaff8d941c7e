"""The subscriber of an event loop: a connection that is lost while it is being opened is opened again."""

from collections.abc import Callable

import pytest

from coordkit.transports import loops
from coordkit.transports.asyncio_subscriber import AsyncioSignal, AsyncioSubscriber
from coordkit.wire import Reply

TIMEOUT_S = 5.0


class ScriptedStream:
    """A connection of which a test decides when it is lost; else it confirms what is subscribed."""

    def __init__(self, lost: str | None) -> None:
        self.closed = lost == "before it starts"
        self._lost = lost
        self._on_reply: Callable[[Reply], None] | None = None
        self._on_end: Callable[[], None] | None = None

    def start(self, on_reply: Callable[[Reply], None], on_end: Callable[[], None]) -> None:
        self._on_reply, self._on_end = on_reply, on_end

    def send(self, *argv: bytes | str) -> None:
        assert self._on_reply is not None
        assert self._on_end is not None
        if self._lost == "while it subscribes":
            self.closed = True
            self._on_end()
        if not self.closed:
            for name in argv[1:]:
                self._on_reply([b"subscribe", name, 1])

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("lost", ["before it starts", "while it subscribes"])
async def test_connection_lost_while_it_is_being_opened_is_opened_again(lost: str) -> None:
    loop = loops.running_loop()
    streams = [ScriptedStream(lost), ScriptedStream(lost), ScriptedStream(None)]
    opened: list[ScriptedStream] = []

    async def open_stream() -> ScriptedStream:
        opened.append(streams[len(opened)])
        return opened[-1]

    subscriber = AsyncioSubscriber(loop, "a server", TIMEOUT_S, open_stream)
    assert await subscriber.subscribe(b"news", AsyncioSignal(loop), None)
    assert opened == streams
    assert subscriber.hears(b"news")
    await subscriber.close()
