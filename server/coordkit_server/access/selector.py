"""One set of permissions: commands, keys and channels that belong together.

A user has one of them at least; a command may run if a single selector allows all of it.  Rules are applied in their
order, and are kept as far as they still matter, so that the selector can be shown.
Source: Redis documentation, "ACL".
"""

from typing import Final

from coordkit_server.access.catalog import Catalog
from coordkit_server.glob import match

READ: Final = 1
WRITE: Final = 2

# why something is refused; the larger number tells more
ALLOWED: Final = 0
DENIED_COMMAND: Final = 1
DENIED_KEY: Final = 2
DENIED_CHANNEL: Final = 3

UNKNOWN_COMMAND: Final = b"Unknown command or category name in ACL"
BAD_SYNTAX: Final = b"Syntax error"
AFTER_ALL_KEYS: Final = (
    b"Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. "
    b"Try 'resetkeys' to start with an empty list of patterns"
)
AFTER_ALL_CHANNELS: Final = (
    b"Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. "
    b"Try 'resetchannels' to start with an empty list of channels"
)
NO_SUBCOMMAND_ARGUMENT: Final = b"Allowing first-arg of a subcommand is not supported"

_SPACES: Final = b" \t\n\v\f\r\0"


class RuleError(Exception):
    """A rule that cannot be applied; `reason` is Redis's text."""

    def __init__(self, reason: bytes) -> None:
        super().__init__(reason)
        self.reason: Final = reason


class KeyRef:
    """A key that a command names: where it stands, and whether it is read or written."""

    def __init__(self, position: int, access: int) -> None:
        self.position: Final = position
        self.access: Final = access


class ChannelRef:
    """A channel that a command names; a pattern is compared letter by letter."""

    def __init__(self, position: int, is_pattern: bool) -> None:
        self.position: Final = position
        self.is_pattern: Final = is_pattern


class Request:
    """What a command asks for."""

    def __init__(
        self, name: bytes, argv: list[bytes], keys: list[KeyRef], channels: list[ChannelRef], is_open: bool
    ) -> None:
        self.name: Final = name  # the full name
        self.argv: Final = argv
        self.keys: Final = keys
        self.channels: Final = channels
        self.is_open: Final = is_open  # anybody may run it: AUTH, HELLO...


class Verdict:
    """What a selector or user says: ALLOWED, or why not and which argument is to blame."""

    def __init__(self, reason: int, position: int) -> None:
        self.reason: Final = reason
        self.position: Final = position


def has_spaces(text: bytes) -> bool:
    """Return True if `text` has a space or a null byte: names and patterns must stay one word."""
    for char in text:
        if char in _SPACES:
            return True
    return False


class Selector:
    """Permissions that hold together."""

    def __init__(self, catalog: Catalog, all_channels: bool) -> None:
        self._catalog: Final = catalog
        self.all_keys: bool = False
        self.all_channels: bool = all_channels
        self.all_commands: bool = False
        self._starts_with_all: bool = False  # `+@all` came last of it and `-@all`
        self._allowed: set[bytes] = set()  # full names, unless all_commands
        self._first_arguments: dict[bytes, list[bytes]] = {}  # of commands that are allowed with these only
        self._patterns: dict[bytes, int] = {}  # key pattern -> READ, WRITE or both
        self.channels: list[bytes] = []
        self._rules: list[bytes] = []  # what has been said of commands since `+@all` or `-@all`

    def copy(self) -> "Selector":
        """Return a selector with the same permissions."""
        other = Selector(self._catalog, self.all_channels)
        other.all_keys = self.all_keys
        other.all_commands = self.all_commands
        other._starts_with_all = self._starts_with_all
        other._allowed = set(self._allowed)
        for name, words in self._first_arguments.items():
            other._first_arguments[name] = list(words)
        other._patterns = dict(self._patterns)
        other.channels = list(self.channels)
        other._rules = list(self._rules)
        return other

    def allows_everything(self) -> bool:
        """Return True if there is nothing to check."""
        return self.all_commands and self.all_keys and self.all_channels

    # -- rules ---------------------------------------------------------------------------------------------------

    def apply(self, rule: bytes) -> None:
        """Change the permissions as `rule` says.  Raises RuleError."""
        word = rule.lower()
        first = rule[:1]
        if word in (b"allkeys", b"~*", b"resetkeys"):
            self.all_keys = word != b"resetkeys"
            self._patterns = {}
        elif word in (b"allchannels", b"&*", b"resetchannels"):
            self.all_channels = word != b"resetchannels"
            self.channels = []
        elif word in (b"allcommands", b"+@all", b"nocommands", b"-@all"):
            self._all_or_none(word in (b"allcommands", b"+@all"))
        elif first in (b"~", b"%"):
            self._add_pattern(rule)
        elif first == b"&":
            self._add_channel(rule[1:])
        elif first in (b"+", b"-"):
            self._apply_command(word, first == b"+")
        else:
            raise RuleError(BAD_SYNTAX)

    def _all_or_none(self, everything: bool) -> None:
        """Allow all commands, or none."""
        self.all_commands = everything
        self._starts_with_all = everything
        self._allowed = set()
        self._first_arguments = {}
        self._rules = []

    def _add_pattern(self, rule: bytes) -> None:
        """Add a key pattern: `~pattern`, `%R~pattern`, `%W~pattern`, `%RW~pattern`."""
        if self.all_keys:
            raise RuleError(AFTER_ALL_KEYS)
        access = READ | WRITE
        start = 1
        if rule[:1] == b"%":
            start = rule.find(b"~") + 1
            letters = rule[1 : max(start - 1, 1)].upper()
            if letters not in (b"R", b"W", b"RW", b"WR"):
                raise RuleError(BAD_SYNTAX)
            access = (READ if b"R" in letters else 0) | (WRITE if b"W" in letters else 0)
        pattern = rule[start:]
        if has_spaces(pattern):
            raise RuleError(BAD_SYNTAX)
        self._patterns[pattern] = self._patterns.get(pattern, 0) | access

    def _add_channel(self, pattern: bytes) -> None:
        """Add a channel pattern."""
        if self.all_channels:
            raise RuleError(AFTER_ALL_CHANNELS)
        if has_spaces(pattern):
            raise RuleError(BAD_SYNTAX)
        if pattern not in self.channels:
            self.channels.append(pattern)

    def _apply_command(self, rule: bytes, allow: bool) -> None:
        """Allow or forbid a command, a subcommand, a category, or a command with one first argument."""
        name = rule[1:]
        if name[:1] == b"@":
            members = self._catalog.category(name[1:])
            if members is None:
                raise RuleError(UNKNOWN_COMMAND)
            for member in members:
                self._set_command(member, allow)
        elif self._catalog.has(name):
            self._set_command(name, allow)
        elif allow and b"|" in name:
            self._allow_first_argument(name)
        else:
            raise RuleError(UNKNOWN_COMMAND)
        self._remember(rule)

    def _set_command(self, name: bytes, allow: bool) -> None:
        """Allow or forbid `name` with its subcommands."""
        if not allow and self.all_commands:
            self.all_commands = False
            self._allowed = set(self._catalog.category(b"all") or [])
        self._first_arguments.pop(name, None)
        for one in [name, *self._catalog.subcommands(name)]:
            if allow:
                self._allowed.add(one)
            else:
                self._allowed.discard(one)

    def _allow_first_argument(self, name: bytes) -> None:
        """Allow a command only with this first argument: `select|0`."""
        command, _, argument = name.rpartition(b"|")
        if not self._catalog.has(command):
            raise RuleError(UNKNOWN_COMMAND)
        if b"|" in command:
            raise RuleError(NO_SUBCOMMAND_ARGUMENT)
        if not argument:
            raise RuleError(BAD_SYNTAX)
        if self._catalog.subcommands(command):
            raise RuleError(UNKNOWN_COMMAND)
        words = self._first_arguments.setdefault(command, [])
        if argument not in words:
            words.append(argument)

    def _remember(self, rule: bytes) -> None:
        """Keep `rule` instead of what it overrides: the same name, and subcommands of it."""
        name = rule[1:]
        below = name + b"|"
        self._rules = [old for old in self._rules if old[1:] != name and not old[1:].startswith(below)]
        self._rules.append(rule)

    # -- description ---------------------------------------------------------------------------------------------

    def described_commands(self) -> bytes:
        """Return the rules about commands."""
        return b" ".join([b"+@all" if self._starts_with_all else b"-@all", *self._rules])

    def described_keys(self) -> bytes:
        """Return the rules about keys."""
        if self.all_keys:
            return b"~*"
        prefixes = {READ: b"%R~", WRITE: b"%W~"}
        return b" ".join([prefixes.get(access, b"~") + pattern for pattern, access in self._patterns.items()])

    def described_channels(self) -> bytes:
        """Return the rules about channels."""
        if self.all_channels:
            return b"&*"
        return b" ".join([b"&" + pattern for pattern in self.channels])

    def described(self) -> bytes:
        """Return all rules, from which the same selector can be made."""
        parts = [self.described_keys()]
        if not self.all_channels:
            parts.append(b"resetchannels")
        parts.append(self.described_channels())
        parts.append(self.described_commands())
        return b" ".join([part for part in parts if part])

    # -- checks --------------------------------------------------------------------------------------------------

    def check(self, request: Request) -> Verdict:
        """Return whether `request` may run."""
        if not (self.all_commands or request.is_open or self._allows_command(request)):
            return Verdict(DENIED_COMMAND, 0)
        if not self.all_keys:
            for key in request.keys:
                if not self._allows_key(request.argv[key.position], key.access):
                    return Verdict(DENIED_KEY, key.position)
        if not self.all_channels:
            for channel in request.channels:
                if not self.allows_channel(request.argv[channel.position], channel.is_pattern):
                    return Verdict(DENIED_CHANNEL, channel.position)
        return Verdict(ALLOWED, 0)

    def _allows_command(self, request: Request) -> bool:
        """Return True if the command may run, perhaps because of its first argument."""
        if request.name in self._allowed:
            return True
        words = self._first_arguments.get(request.name)
        return words is not None and len(request.argv) > 1 and request.argv[1].lower() in words

    def _allows_key(self, key: bytes, access: int) -> bool:
        """Return True if `key` may be used in this way."""
        for pattern, granted in self._patterns.items():
            if granted & access == access and match(pattern, key):
                return True
        return False

    def allows_channel(self, channel: bytes, is_pattern: bool) -> bool:
        """Return True if `channel` may be used; a pattern must be among the rules as it is."""
        if self.all_channels:
            return True
        return matches_channel(self.channels, channel, is_pattern)

    def reads_every_key(self) -> bool:
        """Return True if no key is hidden."""
        return self.all_keys or self._patterns.get(b"*", 0) & READ != 0


def matches_channel(patterns: list[bytes], channel: bytes, is_pattern: bool) -> bool:
    """Return True if `channel` matches one of `patterns`, or is one of them if it is a pattern itself."""
    if is_pattern:
        return channel in patterns
    for pattern in patterns:
        if match(pattern, channel):
            return True
    return False
