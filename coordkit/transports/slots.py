"""Which node of a cluster holds a key: hash slots, the map of them, and the redirections that correct it.  No I/O.

redis+cluster://[[user]:password@]host[:port][,host[:port]...]
"""

import binascii
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from coordkit.errors import ConfigurationError, ServerUnavailable
from coordkit.transports.address import Address, parse_url, redacted, split_url

SCHEME: Final = "redis+cluster"
SLOTS: Final = 16384
KEYLESS: Final = frozenset(
    {
        "CLIENT",
        "CLUSTER",
        "CONFIG",
        "DBSIZE",
        "ECHO",
        "INFO",
        "KEYS",
        "PING",
        "PUBSUB",
        "ROLE",
        "SCAN",
        "SCRIPT",
        "TIME",
    }
)
"""Commands that any node answers; the second word of all others is a key."""


Argv = Sequence[bytes | str | int | float]


def key_of(argv: Argv) -> bytes | None:
    """The key that decides where a command goes, None if any node will do."""
    if str(argv[0]).upper() in KEYLESS or len(argv) < 2:
        return None
    key = argv[1]
    return key if isinstance(key, bytes) else str(key).encode()


def slot_of(key: bytes) -> int:
    """The hash slot of a key: of what stands in its first braces, if anything does."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS


def is_cluster(url: str) -> bool:
    """Whether `url` names nodes of a cluster."""
    return url.startswith(f"{SCHEME}:")


def parse_cluster_url(url: str) -> tuple[Address, ...]:
    """The nodes that `url` names, each with the login.  Raises ConfigurationError for what it cannot mean."""
    parts = split_url(url)
    login, _, hosts = parts.netloc.rpartition("@")
    if not hosts or parts.path.strip("/"):
        raise ConfigurationError(
            f"the URL {redacted(url)!r} must name nodes and nothing more, for a cluster has one database: "
            f"{SCHEME}://host:6379,host:6379"
        )
    login, query = f"{login}@" if login else "", f"?{parts.query}" if parts.query else ""
    return tuple(parse_url(f"redis://{login}{host}{query}") for host in hosts.split(","))


class SlotMap:
    """The nodes of a cluster and which slots they hold, as far as is known."""

    def __init__(self, seeds: tuple[Address, ...]) -> None:
        self.seeds = seeds
        self.stale = True
        """Whether it should be read anew before it is believed."""
        self.nodes: list[Address] = []
        """The nodes that hold slots."""
        self._owners: list[Address | None] = [None] * SLOTS
        self._doubted: Address | None = None

    def doubt(self, node: Address) -> None:
        """The node did not answer: the map may be wrong, and others are asked for it first."""
        self._doubted = node
        self.stale = True

    def learn(self, reply: object, asked: Address) -> None:
        """The map as CLUSTER SLOTS tells it; a node without a host is the one that was asked.

        Raises ServerUnavailable if not all slots are served.
        """
        assert isinstance(reply, list)
        owners: list[Address | None] = [None] * SLOTS
        nodes: list[Address] = []
        for start, end, (host, port, *_), *_ in reply:
            node = self._node(host.decode() if host else asked.host, port)
            if node not in nodes:
                nodes.append(node)
            owners[start : end + 1] = [node] * (end + 1 - start)
        if None in owners:
            raise ServerUnavailable(f"the cluster of {asked} does not serve slot {owners.index(None)} at the moment")
        self._owners, self.nodes, self.stale = owners, nodes, False

    def candidates(self) -> list[Address]:
        """Whom to ask for the map: the nodes that are known, then the seeds; last the one that did not answer."""
        nodes = [*self.nodes, *(seed for seed in self.seeds if seed not in self.nodes)]
        return sorted(nodes, key=lambda node: node == self._doubted)

    def knows(self, key: bytes | None) -> bool:
        """Whether there is a node to send the key's commands to, perhaps not the right one any more."""
        return bool(self.nodes) if key is None else self._owners[slot_of(key)] is not None

    def node_of(self, key: bytes | None) -> Address:
        """The node for the key's commands; any node for None.  Raises ServerUnavailable if nobody is known."""
        if key is not None:
            return self.owner(slot_of(key))
        return self.nodes[0] if self.nodes else self.seeds[0]

    def owner(self, slot: int) -> Address:
        """The node that holds the slot.  Raises ServerUnavailable if nobody is known to."""
        node = self._owners[slot]
        if node is None:
            raise ServerUnavailable(f"no node of the cluster is known to serve slot {slot}")
        return node

    def redirected(self, message: str, asked: Address) -> Address:
        """The node that `MOVED 3999 host:port` or `ASK ...` names; after MOVED the map is corrected, and read anew."""
        kind, slot, place = message.split(" ")[:3]
        host, _, port = place.rpartition(":")
        node = self._node(host or asked.host, int(port))
        if kind == "MOVED":
            self._owners[int(slot)] = node
            self.stale = True
        return node

    def _node(self, host: str, port: int) -> Address:
        return replace(self.seeds[0], host=host, port=port)
