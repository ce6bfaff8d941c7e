"""The demo's worker processes: `coordkit worker` as anybody would start it, with what they print in files."""

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coordkit.cli.demo.jobs import SETTINGS_VARIABLE, Settings
from coordkit.client import URL_VARIABLE

STOP_WITHIN_S: Final = 15.0
TARGET: Final = "coordkit.cli.demo.jobs:words"


@dataclass(slots=True)
class Member:
    """One worker process."""

    process: asyncio.subprocess.Process
    log: Path
    killed: bool = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.returncode is None and not self.killed


class Crew:
    """Starts, kills and ends workers."""

    def __init__(self, url: str, prefix: str, settings: Settings, *, concurrency: int, logs: Path) -> None:
        self.members: list[Member] = []
        self._concurrency = concurrency
        self._logs = logs
        self._prefix = prefix
        self._environment = {**os.environ, URL_VARIABLE: url, SETTINGS_VARIABLE: settings.encoded()}

    @property
    def alive(self) -> list[Member]:
        """Those that run."""
        return [member for member in self.members if member.alive]

    async def start(self) -> Member:
        """One more worker.  It stops when this process ends, however that happens: its input is then closed."""
        log = self._logs / f"worker-{len(self.members) + 1}.log"
        options = ("--concurrency", str(self._concurrency), "--prefix", self._prefix)
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "coordkit", "worker", TARGET, "--lines", "quiet", "--give-up", "20", "--stop-on-eof"),
                *options,
                env=self._environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the demo, which ends them in order
            )
        member = Member(process, log)
        self.members.append(member)
        return member

    async def kill(self, member: Member) -> None:
        """SIGKILL, as the kernel does it to a process that uses too much memory."""
        member.killed = True
        member.process.kill()
        await member.process.wait()

    async def stop(self) -> None:
        """Drain all that run; kill who does not listen."""
        for member in self.alive:
            with contextlib.suppress(ProcessLookupError):
                member.process.send_signal(signal.SIGTERM)
        for member in self.members:
            try:
                async with asyncio.timeout(STOP_WITHIN_S):
                    await member.process.wait()
            except TimeoutError:
                member.process.kill()
                await member.process.wait()

    def deserters(self) -> list[Member]:
        """Those that have ended though nobody told them to; to be asked before `stop`."""
        return [member for member in self.members if not member.killed and member.process.returncode is not None]
