"""A user: whether it may log in, with which passwords, and what it may do then."""

from hashlib import sha256
from hmac import compare_digest
from typing import Final

from coordkit_server.access.catalog import Catalog
from coordkit_server.access.selector import (
    ALLOWED,
    DENIED_COMMAND,
    Request,
    RuleError,
    Selector,
    Verdict,
)
from coordkit_server.resp.request import split_args

_NO_SUCH_PASSWORD: Final = b"The password you are trying to remove from the user does not exist"
_BAD_HASH: Final = b"The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
_HASH_LENGTH: Final = 64
_HASH_DIGITS: Final = b"0123456789abcdef"


def password_hash(password: bytes) -> bytes:
    """Return the form in which a password is kept and shown."""
    return sha256(password).hexdigest().encode("ascii")


class User:
    """A user.  It starts switched off, with no password and no permission."""

    def __init__(self, name: bytes, catalog: Catalog, all_channels: bool) -> None:
        self.name: Final = name
        self._catalog: Final = catalog
        self.enabled: bool = False
        self.needs_no_password: bool = False
        self.sanitizes: bool = True  # payloads of RESTORE are checked; here they always are
        self.passwords: list[bytes] = []  # hashes
        self.selectors: list[Selector] = [Selector(catalog, all_channels)]

    def take_over(self, other: "User") -> None:
        """Become what `other` is, but for the name."""
        self.enabled = other.enabled
        self.needs_no_password = other.needs_no_password
        self.sanitizes = other.sanitizes
        self.passwords = list(other.passwords)
        self.selectors = [selector.copy() for selector in other.selectors]

    # -- rules ---------------------------------------------------------------------------------------------------

    def apply(self, rule: bytes, all_channels: bool) -> None:
        """Change the user as `rule` says; `all_channels` is what new selectors start with.  Raises RuleError."""
        word = rule.lower()
        first = rule[:1]
        if not rule:
            return
        if word in (b"on", b"off"):
            self.enabled = word == b"on"
        elif word in (b"sanitize-payload", b"skip-sanitize-payload"):
            self.sanitizes = word == b"sanitize-payload"
        elif word in (b"nopass", b"resetpass"):
            self.needs_no_password = word == b"nopass"
            self.passwords = []
        elif first in (b">", b"#", b"<", b"!"):
            self._apply_password(rule)
        elif first == b"(" and rule[-1:] == b")":
            self._add_selector(rule[1:-1], all_channels)
        elif word == b"clearselectors":
            del self.selectors[1:]
        elif word == b"reset":
            self.take_over(User(self.name, self._catalog, all_channels))
        else:
            self.selectors[0].apply(rule)

    def _apply_password(self, rule: bytes) -> None:
        """Add (`>password`, `#hash`) or remove (`<password`, `!hash`) a password."""
        hashed = rule[1:]
        if rule[:1] in (b">", b"<"):
            hashed = password_hash(hashed)
        elif len(hashed) != _HASH_LENGTH or hashed.strip(_HASH_DIGITS):
            raise RuleError(_BAD_HASH)
        known = hashed in self.passwords
        if rule[:1] in (b">", b"#"):
            if not known:
                self.passwords.append(hashed)
            self.needs_no_password = False
        elif known:
            self.passwords.remove(hashed)
        else:
            raise RuleError(_NO_SUCH_PASSWORD)

    def _add_selector(self, text: bytes, all_channels: bool) -> None:
        """Add a selector with the rules in `text`."""
        selector = Selector(self._catalog, all_channels)
        for rule in split_args(text) or []:
            selector.apply(rule)
        self.selectors.append(selector)

    # -- description ---------------------------------------------------------------------------------------------

    def flags(self) -> list[bytes]:
        """Return the words for what the user is."""
        flags = [b"on" if self.enabled else b"off"]
        if self.needs_no_password:
            flags.append(b"nopass")
        flags.append(b"sanitize-payload" if self.sanitizes else b"skip-sanitize-payload")
        return flags

    def described(self) -> bytes:
        """Return all rules, from which the same user can be made."""
        parts = self.flags()
        parts.extend([b"#" + hashed for hashed in self.passwords])
        parts.append(self.selectors[0].described())
        parts.extend([b"(" + selector.described() + b")" for selector in self.selectors[1:]])
        return b" ".join(parts)

    # -- checks --------------------------------------------------------------------------------------------------

    def accepts(self, password: bytes) -> bool:
        """Return True if the user may log in with `password`; it takes as long for any of them."""
        if not self.enabled:
            return False
        if self.needs_no_password:
            return True
        hashed = password_hash(password)
        accepted = False
        for known in self.passwords:
            if compare_digest(known, hashed):
                accepted = True
        return accepted

    def is_open(self) -> bool:
        """Return True if clients are logged in as this user when they connect."""
        return self.enabled and self.needs_no_password

    def is_unrestricted(self) -> bool:
        """Return True if there is nothing that the user may not do."""
        for selector in self.selectors:
            if selector.allows_everything():
                return True
        return False

    def check(self, request: Request) -> Verdict:
        """Return whether the user may run `request`; of several reasons against it, the one that tells most."""
        worst = Verdict(DENIED_COMMAND, 0)
        for selector in self.selectors:
            verdict = selector.check(request)
            if verdict.reason == ALLOWED:
                return verdict
            if (verdict.reason, verdict.position) > (worst.reason, worst.position):
                worst = verdict
        return worst

    def reads_every_key(self, request: Request) -> bool:
        """Return True if a selector that allows `request` hides no key."""
        for selector in self.selectors:
            if selector.check(request).reason == ALLOWED and selector.reads_every_key():
                return True
        return False
