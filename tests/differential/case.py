"""A case: commands that are sent one after the other to an empty server."""

from collections.abc import Sequence
from dataclasses import dataclass, field

Argument = str | bytes | int | float
CommandLine = Sequence[Argument]

# whether KEYS[1] was used ARGV[1] seconds ago: the clock of uses goes on in whole seconds, also between two commands
IDLE_FOR = "local s = redis.call('OBJECT', 'IDLETIME', KEYS[1]) - ARGV[1] return s >= 0 and s < 60"


@dataclass(frozen=True, slots=True)
class Case:
    """`commands` run on one connection; `unordered`: replies that are lists of an unordered type are sorted first.

    `differs` says why the reference is right to reply something else; such a case runs on ours only if it is empty."""

    id: str
    commands: Sequence[CommandLine] = field(default_factory=list)
    unordered: bool = False
    differs: str = ""
