"""Configuration parameters: their types, defaults, limits, and the text forms of redis.conf and CONFIG GET/SET.

The table is in `parameters`.  Who needs to act on a change is told by the composition root
(`ServerControl.apply_config`).
"""

from typing import Final

from coordkit_server.glob import match
from coordkit_server.keyspace.notify import format_flags, parse_flags
from coordkit_server.numeric import format_float, parse_float
from coordkit_server.parameters import (
    BOOL,
    ENUM,
    FLAGS,
    INT,
    MEMORY,
    NOTIFY,
    OCTAL,
    OOM_SCORES,
    OUTPUT_LIMITS,
    PARAMETERS,
    PERCENT,
    PERCENTILES,
    SAVE,
    TEXT,
    Parameter,
)

_UNITS: Final[list[tuple[str, int]]] = [
    ("kb", 1024),
    ("mb", 1024 * 1024),
    ("gb", 1024 * 1024 * 1024),
    ("k", 1000),
    ("m", 1000 * 1000),
    ("g", 1000 * 1000 * 1000),
    ("b", 1),
]


class ConfigError(Exception):
    """A value that a parameter refuses; the text is Redis's reason."""


class Config:
    """The values of all parameters, kept in canonical text form."""

    def __init__(self) -> None:
        self.parameters: Final[dict[str, Parameter]] = {}
        self.values: Final[dict[str, str]] = {}
        self.users: Final[list[list[str]]] = []  # name and rules of each `user` directive
        self.renames: Final[list[list[str]]] = []  # name and new name (empty: none) of each `rename-command`
        self.path: str = ""  # of the configuration file, absolute; empty if there is none
        for row in PARAMETERS:
            self.parameters[row.name] = row
            if row.alias:
                self.parameters[row.alias] = row
            self.values[row.name] = self.canonical(row, row.default)

    def find(self, name: str) -> Parameter | None:
        """Return the parameter with this name or alias (any case), None if there is none."""
        return self.parameters.get(name.lower())

    def text(self, name: str) -> str:
        """Return the value of `name` as CONFIG GET shows it."""
        return self.values[name]

    def number(self, name: str) -> int:
        """Return the value of an integer or memory parameter."""
        return int(self.values[name])

    def flag(self, name: str) -> bool:
        """Return the value of a yes/no parameter."""
        return self.values[name] == "yes"

    def set(self, name: str, value: str) -> None:
        """Store `value`; raises ConfigError with the reason if the parameter refuses it."""
        row = self.parameters[name.lower()]
        self.values[row.name] = self.canonical(row, value)

    def matching(self, patterns: list[bytes]) -> list[tuple[str, str]]:
        """Return (name, value) of the parameters whose name or alias matches one of the glob `patterns`."""
        found: dict[str, str] = {}
        lowered = [pattern.lower() for pattern in patterns]
        for name, row in self.parameters.items():
            for pattern in lowered:
                exact = pattern == name.encode("ascii")
                if exact or (not row.hidden and match(pattern, name.encode("ascii"))):
                    found[name] = self.values[row.name]
        return list(found.items())

    def canonical(self, row: Parameter, value: str) -> str:
        """Return `value` in the form CONFIG GET shows; raises ConfigError."""
        kind = row.kind
        if kind == BOOL:
            return _canonical_bool(value)
        if kind in (INT, MEMORY, PERCENT, OCTAL):
            return _canonical_number(row, value)
        if kind in (ENUM, FLAGS):
            return _canonical_choice(row, value)
        if kind == NOTIFY:
            flags = parse_flags(value)
            if flags is None:
                raise ConfigError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
            return format_flags(flags)
        if kind == SAVE:
            return _canonical_save(value)
        if kind == OUTPUT_LIMITS:
            return _canonical_output_limits(value, self.values.get(row.name, row.default))
        if kind == OOM_SCORES:
            return _canonical_oom_scores(value)
        if kind == PERCENTILES:
            return _canonical_percentiles(value)
        if kind == TEXT:
            _check_text(row.name, value)
        return value


def _check_text(name: str, value: str) -> None:
    """Raise ConfigError for a text that its parameter cannot take."""
    if name in ("dbfilename", "appendfilename", "appenddirname"):
        what = "dirname" if name == "appenddirname" else "filename"
        if "/" in value:
            raise ConfigError(f"{name} can't be a path, just a {what}")
        if not value and name != "dbfilename":
            raise ConfigError(f"{name} can't be empty")


def _canonical_choice(row: Parameter, value: str) -> str:
    """Return one of the choices, or several of them for FLAGS; raises ConfigError."""
    words = value.lower().split() if row.kind == FLAGS else [value.lower()]
    for word in words:
        if word not in row.choices:
            raise ConfigError("argument(s) must be one of the following: " + ", ".join(row.choices))
    if "save" in words and "nosave" in words:
        raise ConfigError("shutdown options SAVE and NOSAVE can't be used simultaneously")
    chosen = [choice for choice in row.choices if choice in words]
    if len(chosen) > 1 and chosen[0] == "default":
        del chosen[0]
    if row.name == "oom-score-adj" and chosen == ["relative"]:
        return "yes"
    return " ".join(chosen) or row.choices[0]


def _canonical_oom_scores(value: str) -> str:
    """Return three ascending scores; raises ConfigError."""
    words = value.split()
    scores = [_parse_integer(word) for word in words]
    if len(words) != 3:
        raise ConfigError("wrong number of arguments")
    for score in scores:
        if score is None or not -2000 <= score <= 2000:
            raise ConfigError("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")
    return " ".join(words)


def _canonical_percentiles(value: str) -> str:
    """Return percentiles, each from 0 to 100; raises ConfigError."""
    shown: list[str] = []
    for word in value.split():
        percent = parse_float(word.encode("utf-8", "replace"))
        if percent is None:
            raise ConfigError("Invalid latency-tracking-info-percentiles parameters")
        if not 0 <= percent <= 100:
            raise ConfigError("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")
        shown.append(format_float(percent).decode("ascii"))
    return " ".join(shown)


def _canonical_bool(value: str) -> str:
    """Return `yes` or `no`."""
    if value.lower() not in ("yes", "no"):
        raise ConfigError("argument must be 'yes' or 'no'")
    return value.lower()


def _canonical_number(row: Parameter, value: str) -> str:
    """Return the digits of a number or memory size within its limits; raises ConfigError."""
    if row.name == "hz":
        value = _between(value, 1, 500)
    if row.kind == PERCENT and value.endswith("%"):
        share = _parse_integer(value[:-1])
        if share is None or share < 0:
            raise ConfigError("argument must be a memory or percent value")
        if share > -row.low:
            raise ConfigError(f"percentage argument must be less or equal to {-row.low}")
        return value
    if row.kind == INT:
        number = _parse_integer(value)
    elif row.kind == OCTAL:
        number = _parse_octal(value)
    else:
        number = parse_memory(value)
    if number is None:
        raise ConfigError(_NOT_A_NUMBER[row.kind])
    if not max(row.low, 0 if row.kind == PERCENT else row.low) <= number <= row.high:
        if row.kind == OCTAL:
            raise ConfigError(f"argument must be between {row.low:o} and {row.high:o} inclusive")
        raise ConfigError(f"argument must be between {row.low} and {row.high} inclusive")
    return f"{number:o}" if row.kind == OCTAL else str(number)


_NOT_A_NUMBER: Final = {
    INT: "argument couldn't be parsed into an integer",
    MEMORY: "argument must be a memory value",
    PERCENT: "argument must be a memory or percent value",
    OCTAL: "argument couldn't be parsed as an octal number",
}


def _between(value: str, low: int, high: int) -> str:
    """Return an integer moved into its limits, anything else as it is."""
    number = _parse_integer(value)
    return value if number is None else str(min(max(number, low), high))


def _parse_octal(value: str) -> int | None:
    """Return the number that octal digits spell, None if they are none."""
    for digit in value:
        if digit not in "01234567":
            return None
    return int(value, 8) if value else None


def _parse_integer(value: str) -> int | None:
    """Return the integer `value` spells, None if it is none."""
    digits = value[1:] if value[:1] == "-" else value
    return int(value) if digits.isascii() and digits.isdigit() else None


def parse_memory(value: str) -> int | None:
    """Return the bytes that `value` (digits and an optional unit) stands for, None if malformed."""
    lower = value.lower()
    for unit, factor in _UNITS:
        if lower.endswith(unit):
            number = _parse_integer(lower[: -len(unit)])
            return None if number is None or number < 0 else number * factor
    number = _parse_integer(lower)
    return None if number is None or number < 0 else number


def _canonical_save(value: str) -> str:
    """Return save points as `seconds changes seconds changes`; empty for none."""
    words = value.split()
    if len(words) % 2:
        raise ConfigError("Invalid save parameters")
    for i in range(0, len(words), 2):
        seconds = _parse_integer(words[i])
        changes = _parse_integer(words[i + 1])
        if seconds is None or changes is None or seconds < 1 or changes < 0:
            raise ConfigError("Invalid save parameters")
    return " ".join(words)


def _canonical_output_limits(value: str, current: str) -> str:
    """Return the limits of all three classes, those named in `value` replaced."""
    words = value.split()
    if not words or len(words) % 4:
        raise ConfigError("Wrong number of arguments in buffer limit configuration.")
    limits = {}
    known = current.split()
    for i in range(0, len(known), 4):
        limits[known[i]] = known[i + 1 : i + 4]
    for i in range(0, len(words), 4):
        name = "slave" if words[i] == "replica" else words[i]
        hard = parse_memory(words[i + 1])
        soft = parse_memory(words[i + 2])
        seconds = _parse_integer(words[i + 3])
        if name not in ("normal", "slave", "pubsub"):
            raise ConfigError("Invalid client class specified in buffer limit configuration.")
        if hard is None or soft is None or seconds is None or seconds < 0:
            raise ConfigError("Error in hard, soft or soft_seconds setting in buffer limit configuration.")
        limits[name] = [str(hard), str(soft), str(seconds)]
    return " ".join(f"{name} {' '.join(parts)}" for name, parts in limits.items())
