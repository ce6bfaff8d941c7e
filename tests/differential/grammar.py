"""A grammar of commands, from which hypothesis makes streams of them.

A line is a command: upper-case words stand for themselves, lower-case words for an argument of a kind, `[a b]` may be
left out, `(a|b)` is one of them, `a...` comes one to three times.  A line behind `?` replies in no order, one behind
`+` is drawn more often.
"""

import re
from typing import Final

from hypothesis import strategies as st

from tests.differential.case import Argument
from tests.differential.command_lines import GROUPS, KINDS

Words = list[Argument]
# whether the reply has no order, and the words
Drawn = tuple[bool, Words]

# one command in six is spoilt
SPOILERS: Final = ["none"] * 20 + ["leave out", "repeat", "another", "lower"]
# commands of which spoilt forms cannot be compared, and why
NOT_SPOILT: Final[dict[str, str]] = {
    "HRANDFIELD": "without a count it is chance that answers",
    "SPOP": "without a count it is chance that answers",
    "SRANDMEMBER": "without a count it is chance that answers",
    "ZRANDMEMBER": "without a count it is chance that answers",
    "SCAN": "without a count a part comes, in an order of the server's own",
    "HSCAN": "without a count a part comes, in an order of the server's own",
    "SSCAN": "without a count a part comes, in an order of the server's own",
    "ZSCAN": "without a count a part comes, in an order of the server's own",
    "SORT": "a set without an order comes in one of the server's own",
    "SORT_RO": "a set without an order comes in one of the server's own",
    "XCLAIM": "another word may be an idle time of some milliseconds",
    "XAUTOCLAIM": "another word may be an idle time of some milliseconds",
    "XADD": "an ID of the server's own is its time",
    "GEOSEARCH": "without an order it is the server's own",
    "GEORADIUS": "without an order it is the server's own",
    "GEORADIUS_RO": "without an order it is the server's own",
    "GEORADIUSBYMEMBER": "without an order it is the server's own",
}
# how much oftener lines behind `+` are drawn
GROWTH: Final = 4

_TOKEN: Final = re.compile(r"\.\.\.|[][()|]|(?:(?!\.\.\.)[^][()|\s])+")


class _Parser:
    """Reads one line into a strategy for its words."""

    def __init__(self, line: str, kinds: dict[str, st.SearchStrategy[Argument]]) -> None:
        self._tokens = _TOKEN.findall(line)
        self._kinds = kinds
        self._at = 0

    def sequence(self, until: str) -> st.SearchStrategy[Words]:
        """What stands before one of the tokens in `until`, or before the end."""
        parts: list[st.SearchStrategy[Words]] = []
        while self._at < len(self._tokens) and self._tokens[self._at] not in until:
            parts.append(self._repeated(self._part()))
        return st.tuples(*parts).map(_joined)

    def _part(self) -> st.SearchStrategy[Words]:
        token = self._tokens[self._at]
        self._at += 1
        if token == "[":
            inner = self.sequence("]")
            self._at += 1
            return st.one_of(st.just([]), inner)
        if token == "(":
            choices = [self.sequence("|)")]
            while self._tokens[self._at] == "|":
                self._at += 1
                choices.append(self.sequence("|)"))
            self._at += 1
            return st.one_of(choices)
        kind = self._kinds.get(token)
        return kind.map(_alone) if kind is not None else st.just([token])

    def _repeated(self, part: st.SearchStrategy[Words]) -> st.SearchStrategy[Words]:
        if self._at < len(self._tokens) and self._tokens[self._at] == "...":
            self._at += 1
            return st.lists(part, min_size=1, max_size=3).map(_joined)
        return part


def _alone(word: Argument) -> Words:
    return [word]


def _joined(parts: list[Words] | tuple[Words, ...]) -> Words:
    return [word for part in parts for word in part]


def commands(group: str) -> st.SearchStrategy[Drawn]:
    """Commands of `group`."""
    choices: list[st.SearchStrategy[Drawn]] = []
    for line in GROUPS[group].splitlines():
        if line:
            text = line.lstrip("?+")
            words = _sometimes_spoilt(text, _Parser(text, KINDS).sequence(""))
            unordered = st.just(line.startswith("?"))
            # one_of would take the same strategy once only
            choices += [st.tuples(unordered, words) for _ in range(GROWTH if line.startswith("+") else 1)]
    return st.one_of(choices)


def _sometimes_spoilt(line: str, whole: st.SearchStrategy[Words]) -> st.SearchStrategy[Words]:
    """The commands of a line; of some, a word is gone, is there twice or is another one, or all are in lower case."""
    if line.split(maxsplit=1)[0] in NOT_SPOILT:
        return whole
    return st.tuples(whole, st.sampled_from(SPOILERS), st.integers(1, 8)).map(_spoilt)


def _spoilt(drawn: tuple[Words, str, int]) -> Words:
    words, spoiler, place = drawn
    place = 1 + place % (len(words) - 1) if len(words) > 1 else 1
    before, word, after = words[:place], words[place : place + 1], words[place + 1 :]
    match spoiler:
        case "leave out":
            return [*before, *after]
        case "repeat":
            return [*before, *word, *word, *after]
        case "another":
            return [*before, "zzz", *after]
        case "lower":
            return [words[0], *(part.lower() if isinstance(part, str) else part for part in words[1:])]
        case _:
            return words
