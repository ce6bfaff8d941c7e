"""redis.conf and the command line, as lists of (name, value); both accept the same parameters."""

import glob
from pathlib import Path
from typing import Final

from coordkit_server.parameters import PARAMETERS
from coordkit_server.resp.request import quoted, split_args

# directives of redis.conf that repeat; their values add up
_REPEATED = frozenset(["save", "client-output-buffer-limit"])
# directives with any number of values; all others that are known have one
_SEVERAL: Final = _REPEATED | {
    "bind",
    "latency-tracking-info-percentiles",
    "oom-score-adj-values",
    "rename-command",
    "replicaof",
    "shutdown-on-sigint",
    "shutdown-on-sigterm",
    "slaveof",
    "user",
}
# directives whose values are words that may hold spaces; those of the others never do
_WORDS: Final = frozenset(["rename-command", "user"])
_SPECIAL: Final = frozenset(" \t\n\r\v\f\0\"'")
_SINGLE: Final = {"include", *(name for row in PARAMETERS for name in (row.name, row.alias) if name)} - _SEVERAL
# files that include files that include files: more of them is one that includes itself
_INCLUDES_MAX: Final = 16


class UsageError(Exception):
    """A command line or configuration file that cannot be used; the text says what and where."""


def read_file(path: str, depth: int = 0) -> list[tuple[str, str]]:
    """Return the directives of the file at `path`, includes resolved; `depth` files include it.  Raises UsageError."""
    if depth > _INCLUDES_MAX:
        raise UsageError(f"{path!r} is included by more than {_INCLUDES_MAX} files in a row; does it include itself?")
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"Can't open config file {path!r}: {error.strerror}") from error
    directives: list[tuple[str, str]] = []
    for number, line in enumerate(text.split(b"\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith(b"#"):
            continue
        words = split_args(stripped)
        if words is None:
            raise UsageError(f"{path}:{number}: unbalanced quotes in {stripped.decode('utf-8', 'replace')!r}")
        name = words[0].decode("utf-8", "surrogateescape").lower()
        values = [word.decode("utf-8", "surrogateescape") for word in words[1:]]
        directives.extend(_meant(name, values, depth + 1))
    return directives


def _meant(name: str, values: list[str], depth: int = 0) -> list[tuple[str, str]]:
    """Return the directives that one line or option stands for: itself, or those of what it includes."""
    if len(values) != 1 and name in _SINGLE:
        raise UsageError(f"{name} {' '.join(values)!r}: wrong number of arguments; put what holds spaces in quotes")
    if name != "include":
        return [(name, " ".join(values) if name not in _WORDS else joined_words(values))]
    paths = sorted(glob.glob(values[0])) if glob.has_magic(values[0]) else values
    return [directive for path in paths for directive in read_file(path, depth)]


def read_arguments(arguments: list[str]) -> tuple[str | None, list[tuple[str, str]]]:
    """Return (configuration file or None, directives) of a command line.

    `[FILE] [--name value [value ...]] ...`, as redis-server takes them.  Raises UsageError."""
    path: str | None = None
    rest = arguments
    if rest and not rest[0].startswith("-"):
        path, rest = rest[0], rest[1:]
    directives: list[tuple[str, list[str]]] = []
    for word in rest:
        if word.startswith("--"):
            name, equals, value = word[2:].lower().partition("=")
            directives.append((name, [value] if equals else []))
        elif directives:
            directives[-1][1].append(word)
        else:
            raise UsageError(f"{word!r} belongs to no option; options start with --")
    return path, [meant for name, values in directives for meant in _meant(name, values)]


def joined_words(words: list[str]) -> str:
    """Return the words as one line that `split_words` takes apart again: in quotes where that needs them."""
    return " ".join(word if word and not _SPECIAL & set(word) else _in_quotes(word) for word in words)


def _in_quotes(word: str) -> str:
    return quoted(word.encode("utf-8", "surrogateescape")).decode("ascii")


def split_words(line: str) -> list[str]:
    """Return the words that `joined_words` has joined."""
    words = split_args(line.encode("utf-8", "surrogateescape"))
    return [word.decode("utf-8", "surrogateescape") for word in words or []]


def user_definitions(directives: list[tuple[str, str]]) -> list[list[str]]:
    """Return name and rules of each `user` directive.  Raises UsageError for one without a name or of a name twice."""
    definitions: list[list[str]] = []
    names: set[str] = set()
    for directive, value in directives:
        if directive != "user":
            continue
        words = split_words(value)
        if not words:
            raise UsageError("user: a name is missing")
        if words[0] in names:
            raise UsageError(f"user {value!r}: Duplicate user found. A user can only be defined once in config files")
        names.add(words[0])
        definitions.append(words)
    return definitions


def command_renames(directives: list[tuple[str, str]]) -> list[list[str]]:
    """Return name and new name of each `rename-command`.  Raises UsageError for one without both."""
    renames = [split_words(value) for directive, value in directives if directive == "rename-command"]
    for words in renames:
        if len(words) != 2:
            raise UsageError(
                f"rename-command {joined_words(words)!r}: wrong number of arguments; "
                'give a command and its new name, "" for none'
            )
    return renames


def merged(directives: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return one value a name: the last, or for the directives that repeat all of them joined; `save ""` clears."""
    values: dict[str, str] = {}
    for name, value in directives:
        if name in _REPEATED and value and values.get(name):
            values[name] = values[name] + " " + value
        else:
            values[name] = value
    return list(values.items())
