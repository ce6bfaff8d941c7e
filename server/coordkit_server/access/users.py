"""All users: by name, from rules, from the lines of a file."""

from typing import Final

from coordkit_server.access.catalog import Catalog
from coordkit_server.access.selector import UNKNOWN_COMMAND, RuleError, has_spaces
from coordkit_server.access.user import User

DEFAULT: Final = b"default"
DUPLICATE: Final = b"Duplicate user found. A user can only be defined once in config files"
_UNCHANGED: Final = b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed"


class UserError(Exception):
    """Rules that cannot be applied; `reason` is the whole text, without code."""

    def __init__(self, reason: bytes) -> None:
        super().__init__(reason)
        self.reason: Final = reason


def joined_selectors(words: list[bytes]) -> list[bytes]:
    """Return `words` with each selector, from `(` to `)`, as one of them.  Raises UserError if one stays open."""
    rules: list[bytes] = []
    opened: list[bytes] = []
    for word in words:
        if opened:
            opened.append(word)
        elif word[:1] == b"(" and word[-1:] != b")":
            opened = [word]
            continue
        else:
            rules.append(word)
            continue
        if word[-1:] == b")":
            rules.append(b" ".join(opened))
            opened = []
    if opened:
        raise UserError(b"Unmatched parenthesis in acl selector starting at '" + opened[0] + b"'.")
    return rules


class Users:
    """The users of the server; one called `default` is always there."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog: Final = catalog
        self.all_channels: bool = False  # what new users and selectors start with (acl-pubsub-default)
        self.by_name: dict[bytes, User] = {}
        self.default: Final = self.new_default()
        self.by_name[DEFAULT] = self.default

    def new_default(self) -> User:
        """Return a default user as a server starts with it."""
        user = User(DEFAULT, self._catalog, True)
        for rule in (b"+@all", b"~*", b"&*", b"on", b"nopass"):
            user.apply(rule, True)
        return user

    def sorted(self) -> list[User]:
        """Return the users by name."""
        return [self.by_name[name] for name in sorted(self.by_name)]

    def lines(self) -> list[bytes]:
        """Return the users as `user NAME RULES`."""
        return [b"user " + user.name + b" " + user.described() for user in self.sorted()]

    def is_pristine(self) -> bool:
        """Return True if there is only the default user, as a server starts with it."""
        return len(self.by_name) == 1 and self.default.described() == self.new_default().described()

    def changed(self, name: bytes, words: list[bytes]) -> User:
        """Return what the user `name` would be after these rules; nothing has happened yet.  Raises UserError."""
        staged = User(name, self._catalog, self.all_channels)
        known = self.by_name.get(name)
        if known is not None:
            staged.take_over(known)
        for rule in joined_selectors(words):
            try:
                staged.apply(rule, self.all_channels)
            except RuleError as error:
                raise UserError(b"Error in ACL SETUSER modifier '" + rule + b"': " + error.reason) from error
        return staged

    def adopt(self, staged: User) -> User:
        """Take over the user that `changed` returned; return the one that stays."""
        user = self.by_name.get(staged.name)
        if user is None:
            self.by_name[staged.name] = staged
            return staged
        user.take_over(staged)
        return user

    def set_password(self, password: bytes) -> None:
        """Give the default user this password only, or none if it is empty (requirepass)."""
        self.default.apply(b"resetpass", self.all_channels)
        self.default.apply(b">" + password if password else b"nopass", self.all_channels)

    def configure(self, definitions: list[list[bytes]]) -> None:
        """Take over the users of the configuration file: name, then rules.  Raises UserError."""
        for words in definitions:
            name = words[0]
            if has_spaces(name):
                raise UserError(b"Spaces not allowed in ACL usernames")
            user = User(name, self._catalog, self.all_channels)
            for rule in joined_selectors(words[1:]):
                try:
                    user.apply(rule, self.all_channels)
                except RuleError as error:
                    raise UserError(
                        b"Error loading ACL rule '%b' for the user named '%b': %b" % (rule, name, error.reason)
                    ) from error
            self.adopt(user)

    def load(self, path: bytes, text: bytes) -> dict[bytes, User]:
        """Replace all users by those in `text`, the content of the file at `path`; return those that were.

        Raises UserError with all that is wrong; nothing has changed then."""
        fresh: dict[bytes, User] = {}
        problems: list[bytes] = []
        for number, line in enumerate(text.split(b"\n"), 1):
            words = line.strip(b" \t\r\n").split(b" ")
            if words != [b""]:
                problems.extend(self._load_line(fresh, b"%b:%d" % (path, number), words, number))
        if problems:
            raise UserError(b"".join(problems) + _UNCHANGED)
        before = self.by_name
        self.default.take_over(fresh.get(DEFAULT) or self.new_default())
        fresh[DEFAULT] = self.default
        self.by_name = fresh
        return before

    def _load_line(self, fresh: dict[bytes, User], place: bytes, words: list[bytes], number: int) -> list[bytes]:
        """Add the user of one line to `fresh`; return what is wrong with it."""
        if words[0] != b"user" or len(words) < 2:
            return [place + b" should start with user keyword followed by the username. "]
        name = words[1]
        if has_spaces(name):
            return [b"'" + place + b": username '" + name + b"' contains invalid characters. "]
        if name in fresh:
            return [b"WARNING: Duplicate user '%b' found on line %d. " % (name, number)]
        user = User(name, self._catalog, self.all_channels)
        fresh[name] = user
        try:
            rules = joined_selectors(words[2:])
        except UserError:
            return [place + b": Unmatched parenthesis in selector definition."]
        problems: list[bytes] = []
        told = False  # of other problems the first is enough: those that follow may come from it
        for rule in rules:
            try:
                user.apply(rule.strip(b"\t\r\n"), self.all_channels)
            except RuleError as error:
                if error.reason == UNKNOWN_COMMAND:
                    problems.append(place + b": Error in applying operation '" + rule + b"': " + error.reason + b". ")
                elif not told:
                    told = True
                    problems.append(place + b": " + error.reason + b". ")
        return problems
