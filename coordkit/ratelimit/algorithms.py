"""The table of algorithms: what files and options may name, and what the conformance tests iterate."""

from typing import Final

from coordkit.ratelimit.base import Algorithm
from coordkit.ratelimit.gcra import GCRA
from coordkit.ratelimit.sliding_window import SlidingWindow

ALGORITHMS: Final[dict[str, type[Algorithm]]] = {
    GCRA.kind: GCRA,
    SlidingWindow.kind: SlidingWindow,
}
