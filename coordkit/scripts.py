"""Server-side scripts: one `.lua` file each, and a typed row that says what goes in and what comes out.

A file in `coordkit/lua/` starts with its contract, in comment lines:

    -- lock_release: what it does, in a sentence
    -- KEYS[1] record     hash: what is in it
    -- ARGV[1] owner      meaning, unit
    -- ARGV[2...] ids     a tail of any length; the row says "*ids"
    -- returns {1} | {0}
    -- include: now_ms    the text of include/now_ms.lua goes before the script's own

A test compares these lines with the row, so neither can drift.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Final, Generic, TypeVar

from coordkit.errors import ConfigurationError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Arg = bytes | str | int | float
Keys = Sequence[bytes]
Args = Sequence[Arg]

INCLUDE: Final = re.compile(r"^--.*?\binclude: ([\w, ]*\w)", re.MULTILINE)


def source_text(name: str) -> str:
    """The text of `coordkit/lua/<name>.lua` as written, without its includes.

    Raises ConfigurationError if there is no such file.
    """
    path = files("coordkit").joinpath("lua", *f"{name}.lua".split("/"))
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ConfigurationError(f"there is no script {path}; is the package installed with its .lua files?") from exc


def resolved_text(name: str) -> str:
    """The text the server gets: every included file once, before what needs it, then the script."""
    texts: list[str] = []
    _collect(name, texts, seen=set())
    return "\n".join(texts)


def _collect(name: str, texts: list[str], seen: set[str]) -> None:
    seen.add(name)
    text = source_text(name)
    for group in INCLUDE.findall(text):
        for word in group.replace(",", " ").split():
            if f"include/{word}" not in seen:
                _collect(f"include/{word}", texts, seen)
    texts.append(text)


@dataclass(frozen=True, slots=True)
class Script(Generic[T_co]):
    """One script: names of its keys and arguments in order, and how its reply reads.

    `parse` gets the reply in plain form (bytes, int, list, None).  `idempotent` says that running it again
    with the same keys and arguments changes nothing more and gives the same answer: only such a script is
    ever sent twice. A last name that starts with `*` stands for a tail of any length.  `again` makes the arguments of
    a repeated call from those of the first one and the milliseconds since it was sent, where the script needs to know.
    `steady` says of how many arguments all but the last one are nearly always the same, whole numbers or bytes, for
    calls with one key: they are packed once.
    """

    name: str
    keys: tuple[str, ...]
    args: tuple[str, ...]
    parse: Callable[[object], T_co]
    idempotent: bool = False
    again: Callable[[Args, int], Args] | None = None
    steady: int = 0
    text: str = field(init=False, repr=False, compare=False)
    sha1: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = resolved_text(self.name)
        object.__setattr__(self, "text", text)  # the documented way to complete a frozen instance
        object.__setattr__(self, "sha1", hashlib.sha1(text.encode()).hexdigest())
