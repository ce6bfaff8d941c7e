"""Rate limit scripts on a real server with a clock that the test sets: only the include that reads TIME differs."""

import itertools
import re
from typing import Final

from coordkit import Client
from coordkit.ratelimit.base import Algorithm
from coordkit.ratelimit.decision import Decision
from coordkit.ratelimit.gcra import GCRA
from coordkit.scripts import source_text

START_US: Final = 1_790_000_000_000_000
LAST_US: Final = 9_000_000_000_000_000
NUMBERS: Final = itertools.count()

CLOCKS: Final = {
    source_text("include/now_ms"): "local function now_us() return tonumber(KEYS[2]) end\n",
    source_text("include/now_us"): (
        "local time = {string.sub(KEYS[2], 1, -7), string.sub(KEYS[2], -6)}\nlocal now = tonumber(KEYS[2])\n"
    ),
}
"""What reads the server's clock, and what reads the test's instead."""

LIFETIME: Final = re.compile(r"/ 1000\) \+ 1\)")
LONG: Final = "/ 1000) + 1 + 3600000)"
"""The server's own clock goes on and would expire keys that live on by the test's clock."""


def clocked_text(algorithm: Algorithm) -> str:
    """The script's text with the test's clock."""
    text = algorithm.check_script.text
    [(clock, of_the_test)] = [clocks for clocks in CLOCKS.items() if clocks[0] in text]
    assert len(LIFETIME.findall(text)) == text.count("'PSETEX'") + text.count("'PEXPIRE'") > 0
    return LIFETIME.sub(LONG, text.replace(clock, of_the_test))


class Subject:
    """One subject of a limit, alone on its key; time stands still until `advance_us` is called."""

    def __init__(self, ck: Client, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        self.now_us = START_US
        self.key = b"clocked:%d" % next(NUMBERS)
        self._ck = ck

    def advance_us(self, span_us: int) -> None:
        """Let time pass; backwards with a negative span.  Stops before doubles stop counting, in 2255."""
        self.now_us = min(max(0, self.now_us + span_us), LAST_US)

    def check(self, cost: int = 1, *, consume: bool = True, request: str = "", age_us: int = 0) -> Decision:
        """The decision of the script.  Every hit is a new one unless it is named."""
        request = request or f"request.{next(NUMBERS)}"
        age = (age_us,) if age_us else ()
        arguments = (*self.algorithm.arguments(cost), "1" if consume else "0", request, *age)
        reply = self._ck.backend.execute(
            ("EVAL", clocked_text(self.algorithm), 2, self.key, f"{self.now_us:017d}", *arguments)
        )
        return self.algorithm.decision(reply, cost)

    def stored(self) -> object:
        """What the server keeps, without the time to live; None or [] if nothing."""
        if isinstance(self.algorithm, GCRA):
            return self._ck.backend.execute(("GET", self.key))
        return self._ck.backend.execute(("LRANGE", self.key, 0, -1))
