"""A scenario: several clients, some of which block, and what each of them is told.

A line of a scenario is one of
    a BLPOP k 0         client `a` sends the command and reads the reply
    a~ BLPOP k 0        client `a` sends it and blocks: the line ends when the server counts one more blocked client
    a| PING | PING      client `a` sends all commands in one write and reads nothing
    a?                  client `a` reads the next reply
    a!                  client `a` disconnects; the line ends when the server has noticed
    = 2                 the line ends when so many clients are blocked

Clients exist from their first line on.  A word in single quotes may be empty or hold spaces.
"""

import shlex
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Final

from tests.differential.client import RawClient, Reply, pack
from tests.differential.known import normalise_text

NOTICED_WITHIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """Lines that are played on an empty server; `protocols` to play them in."""

    id: str
    lines: str
    protocols: tuple[int, ...] = (2, 3)


class Stage:
    """One server on which a scenario is played."""

    def __init__(self, host: str, port: int, protocol: int) -> None:
        self._host, self._port, self._protocol = host, port, protocol
        self._clients: dict[str, RawClient] = {}
        self._control = RawClient(host, port)
        self._control.call("FLUSHALL")
        self._control.call("CONFIG", "SET", "notify-keyspace-events", "")
        self.seen: list[tuple[str, Reply]] = []

    def play(self, scenario: Scenario) -> list[tuple[str, Reply]]:
        """Everything that any client was told, in the order of the lines."""
        try:
            for line in scenario.lines.strip().splitlines():
                self._play_line(line.strip())
        finally:
            self.close()
        return self.seen

    def close(self) -> None:
        """Disconnect all clients."""
        for client in (*self._clients.values(), self._control):
            client.close()

    def _client(self, name: str) -> RawClient:
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = RawClient(self._host, self._port)
            client.call("HELLO", self._protocol)
        return client

    def _play_line(self, line: str) -> None:
        first, _, rest = line.partition(" ")
        name, mode = first.rstrip("~|?!"), first[-1]
        if name == "=":
            self.wait_for_blocked(int(rest))
        elif mode == "~":
            client = self._client(name)
            blocked = self.blocked() + 1
            client.send(pack(self._words(rest)))
            self.wait_for_blocked(blocked)
        elif mode == "|":
            self._client(name).send(b"".join(pack(self._words(part)) for part in rest.split("|")))
        elif mode == "?":
            self.seen.append((name, _normalise(self._client(name).read())))
        elif mode == "!":
            clients = self._count("connected_clients") - 1
            self._clients.pop(name).close()
            self._wait("connected_clients", clients)
        else:
            self.seen.append((name, _normalise(self._client(name).call(*self._words(rest)))))

    def _words(self, text: str) -> list[str | bytes | int]:
        """The words of a command; `@a` stands for the id of client `a`."""
        words: list[str | bytes | int] = []
        for word in shlex.split(text):
            if word.startswith("@"):
                ident = self._ident(word[1:])
                words.append(ident)
            else:
                words.append(word)
        return words

    def _ident(self, name: str) -> int:
        """The id of a client, which may be blocked: found by its address."""
        port = self._client(name).port()
        _, lines = self._control.call("CLIENT", "LIST")
        assert isinstance(lines, bytes)
        for line in lines.split(b"\n"):
            fields = dict(part.partition(b"=")[::2] for part in line.split())
            if fields.get(b"addr", b"").endswith(b":%d" % port):
                return int(fields[b"id"])
        raise LookupError(f"no client {name}")

    def blocked(self) -> int:
        """How many clients are blocked."""
        return self._count("blocked_clients")

    def _count(self, field: str) -> int:
        _, text = self._control.call("INFO", "clients")
        assert isinstance(text, bytes)
        return int(text.split(field.encode() + b":")[1].split(b"\r")[0])

    def wait_for_blocked(self, count: int) -> None:
        """Return when so many clients are blocked."""
        self._wait("blocked_clients", count)

    def _wait(self, field: str, count: int) -> None:
        deadline = monotonic() + NOTICED_WITHIN_S
        while self._count(field) != count:
            if monotonic() > deadline:
                raise TimeoutError(f"{field} is {self._count(field)}, not {count}")
            sleep(0.001)  # a server does not tell when a client blocks


def _normalise(reply: Reply) -> Reply:
    kind, value = reply
    return (kind, normalise_text(value)) if kind == "-" and isinstance(value, bytes) else reply
