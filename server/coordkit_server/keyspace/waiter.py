"""One blocked command: what it waits for and what it replies when time is up."""

from typing import Final


class Waiter:
    """A blocked client's wait.  `kind` is the TYPE that can serve it; `client` is opaque here."""

    def __init__(
        self,
        client: object,
        kind: bytes,
        keys: list[bytes],
        deadline_us: int,
        timeout_reply: object,
        *,
        wakes_on_missing: bool = False,
    ) -> None:
        self.client: Final = client
        self.kind: Final = kind
        self.keys: Final = keys
        self.deadline_us: Final = deadline_us
        self.timeout_reply: object = timeout_reply
        self.wakes_on_missing: Final = wakes_on_missing  # XREADGROUP: also when the key goes away
        self.active: bool = False  # it is in the queues of its keys
        self.timed: bool = False  # it is among the deadlines
