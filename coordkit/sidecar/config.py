"""Which limits a sidecar enforces: read from a TOML or YAML file, or from options.

    on_outage = "allow"            # what a limit does when the server gives no answer: allow (default) or deny

    [limits.api]
    algorithm = "gcra"             # a name of the table in ratelimit/algorithms.py
    limit = 100
    per = "1s"                     # ms, s, m, h, d; a number is seconds
    burst = 20                     # gcra only
    on_outage = "deny"             # for this limit

The same limit as an option: `--limit api=gcra:100/1s:burst=20:on_outage=deny`.
"""

import inspect
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coordkit.errors import ConfigurationError
from coordkit.ratelimit.algorithms import ALGORITHMS
from coordkit.ratelimit.base import Algorithm
from coordkit.ratelimit.limiter import OnOutage

SECONDS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)?(ms|s|m|h|d)")
OPTION: Final = re.compile(r"(?P<name>[^=]+)=(?P<kind>\w+):(?P<limit>\d+)/(?P<per>[^:]+)(?P<rest>(?::\w+=[^:]+)*)")
OPTION_FORM: Final = "NAME=ALGORITHM:LIMIT/PERIOD[:burst=N], like api=gcra:100/1s:burst=20"

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,99}")
"""What a limit may be called: the name stands in headers, metrics and keys."""

POLICIES: Final[Mapping[str, OnOutage]] = {"allow": "allow", "deny": "deny"}
DEFAULT_ON_OUTAGE: Final = "allow"


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit."""

    name: str
    algorithm: Algorithm
    on_outage: OnOutage


def load_rules(path: Path | None, options: Sequence[str]) -> dict[str, Rule]:
    """The limits of a file, then those of options, which replace limits of the same name.

    Raises ConfigurationError for what cannot be read, is unknown or cannot work, and if there is no limit at all.
    """
    document = {} if path is None else _parsed(path)
    where = "the options" if path is None else str(path)
    _refuse_unknown(document, {"limits", "on_outage"}, where)
    policy = document.get("on_outage", DEFAULT_ON_OUTAGE)
    limits = document.get("limits", {})
    if not isinstance(limits, Mapping):
        raise ConfigurationError(f"{where}: `limits` must be a table of limits by name, not {limits!r}")
    rules = {str(name): _rule(str(name), entry, policy, f"{where}: limit {name!r}") for name, entry in limits.items()}
    for option in options:
        rule = parse_option(option, policy)
        rules[rule.name] = rule
    if not rules:
        raise ConfigurationError(f"there is no limit to enforce; give a file, or --limit {OPTION_FORM}")
    return rules


def parse_option(option: str, policy: object = DEFAULT_ON_OUTAGE) -> Rule:
    """The limit that `NAME=ALGORITHM:LIMIT/PERIOD...` describes."""
    match = OPTION.fullmatch(option)
    if match is None:
        raise ConfigurationError(f"the limit {option!r} must have the form {OPTION_FORM}")
    entry: dict[str, object] = {"algorithm": match["kind"], "limit": int(match["limit"]), "per": match["per"]}
    for part in match["rest"].split(":")[1:]:
        name, _, value = part.partition("=")
        entry[name] = int(value) if value.isdecimal() else value
    return _rule(match["name"], entry, policy, f"the limit {option!r}")


def parse_duration(value: object, where: str) -> float:
    """Seconds: a number, or text like 500ms, 1.5s, 10m, 1h, d.  Raises ConfigurationError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ConfigurationError(f"{where}: `per` must be a duration like 500ms, 1s, 10m, 1h or 1d, not {value!r}")
    return float(match[1] or 1) * SECONDS[match[2]]


def _parsed(path: Path) -> Mapping[str, object]:
    try:
        text = path.read_text(encoding="utf-8")
        document: object = _yaml(text) if path.suffix in {".yaml", ".yml"} else tomllib.loads(text)
    except OSError as exc:
        raise ConfigurationError(f"the file of limits cannot be read: {exc}") from exc
    except ValueError as exc:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigurationError(f"{path} cannot be understood: {exc}") from exc
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"{path} must hold a table with `limits`, not {document!r}")
    return document


def _yaml(text: str) -> object:
    try:
        import yaml
    except ImportError as exc:
        raise ConfigurationError("YAML files need PyYAML: pip install 'coordkit[sidecar]'; TOML needs nothing") from exc
    try:
        document: object = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ValueError(str(exc)) from exc
    return {} if document is None else document


def _rule(name: str, entry: object, policy: object, where: str) -> Rule:
    if NAME.fullmatch(name) is None:
        raise ConfigurationError(
            f"{where}: the name must be of letters, digits and _ . / - (up to 100), and start with a letter or digit"
        )
    if not isinstance(entry, Mapping):
        raise ConfigurationError(f"{where} must be a table with algorithm, limit and per, not {entry!r}")
    chosen = entry.get("on_outage", policy)
    on_outage = POLICIES.get(chosen) if isinstance(chosen, str) else None
    if on_outage is None:
        raise ConfigurationError(f"{where}: on_outage must be allow or deny, not {chosen!r}")
    return Rule(name, _algorithm(entry, where), on_outage)


def _algorithm(entry: Mapping[str, object], where: str) -> Algorithm:
    """The algorithm with its settings; these are the arguments of its class."""
    kind = entry.get("algorithm")
    make = ALGORITHMS.get(kind) if isinstance(kind, str) else None
    if make is None:
        raise ConfigurationError(f"{where}: algorithm must be one of {', '.join(ALGORITHMS)}, not {kind!r}")
    settings = {name: value for name, value in entry.items() if name not in {"algorithm", "on_outage"}}
    parameters = inspect.signature(make).parameters
    _refuse_unknown(settings, set(parameters), where)
    needed = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
    if missing := sorted(needed - settings.keys()):
        raise ConfigurationError(f"{where} lacks {', '.join(missing)}")
    settings["per"] = parse_duration(settings["per"], where)
    try:
        return make(**settings)
    except ConfigurationError as exc:
        raise ConfigurationError(f"{where}: {exc}") from exc


def _refuse_unknown(table: Mapping[str, object], known: set[str], where: str) -> None:
    if unknown := sorted(str(name) for name in table.keys() - known):
        raise ConfigurationError(
            f"{where} has unknown settings {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
