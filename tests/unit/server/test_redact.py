"""What MONITOR and the slow log hide of a command."""

import pytest

from coordkit_server.monitor import redact

HIDDEN = "(redacted)"


@pytest.mark.parametrize(
    "command, shown",
    [
        ("AUTH secret", f"AUTH {HIDDEN}"),
        ("AUTH eve secret", f"AUTH {HIDDEN} {HIDDEN}"),
        ("HELLO 3 AUTH eve one AUTH adam two", f"HELLO 3 AUTH {HIDDEN} {HIDDEN} AUTH {HIDDEN} {HIDDEN}"),
        ("HELLO 3 SETNAME AUTH", "HELLO 3 SETNAME AUTH"),
        ("acl setuser eve on >secret", f"acl setuser {HIDDEN} {HIDDEN} {HIDDEN}"),
        ("ACL WHOAMI", "ACL WHOAMI"),
        ("CONFIG SET requirepass secret maxmemory 0", f"CONFIG SET requirepass {HIDDEN} maxmemory 0"),
        ("MIGRATE h 1 k 0 5 AUTH2 eve secret", f"MIGRATE h 1 k 0 5 AUTH2 {HIDDEN} {HIDDEN}"),
        ("SET AUTH secret", "SET AUTH secret"),
    ],
)
def test_redact_hides_passwords_and_nothing_else(command: str, shown: str) -> None:
    argv = command.encode().split()
    assert b" ".join(redact(argv)).decode() == shown
    assert b" ".join(argv).decode() == command
