"""The servers that are measured, all of them alive at the same time, and the CPU time of each."""

import contextlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import redis

from tests.peers import STARTERS, Peer, PeerMissing

REFERENCE: Final = "redis"
"""The server that the others are compared with; where it is not installed, the first of those that are."""

ORDER: Final = (REFERENCE, "valkey", "bundled")


@dataclass(slots=True)
class Server:
    """One running server."""

    name: str
    version: str
    peer: Peer
    process: psutil.Process
    client: "redis.Redis"

    def cpu_s(self) -> float:
        """The CPU time its process has used so far: user and system, in seconds."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def empty(self) -> None:
        """Remove all data."""
        self.client.flushall()


@contextlib.contextmanager
def running(directory: Path, names: tuple[str, ...] = ORDER) -> Iterator[tuple[list[Server], list[str]]]:
    """The servers that can be started here, the reference first, and a line for each that cannot."""
    with contextlib.ExitStack() as stack:
        servers: list[Server] = []
        missing: list[str] = []
        for name in names:
            try:
                peer = STARTERS[name](directory / name)
            except PeerMissing as reason:
                missing.append(f"{name}: {reason}")
                continue
            stack.callback(peer.stop)
            client = stack.enter_context(redis.Redis(host=peer.host, port=peer.port))
            servers.append(Server(name, _version(name, client), peer, psutil.Process(peer.pid), client))
        yield servers, missing


def _version(name: str, client: "redis.Redis") -> str:
    if name == "bundled":
        return "compiled" if bundled_is_compiled() else "interpreted"
    info = client.info("server")
    assert isinstance(info, dict)
    return str(info.get("valkey_version") or info["redis_version"])


def bundled_is_compiled() -> bool:
    """Whether the bundled server that a child process imports is the compiled one."""
    spec = importlib.util.find_spec("coordkit_server.dispatch")
    return spec is not None and spec.origin is not None and not spec.origin.endswith(".py")
