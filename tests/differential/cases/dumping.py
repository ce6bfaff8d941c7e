"""DUMP and RESTORE: options, errors in their order, what is left behind."""

from coordkit_server.datatypes.limits import Limits
from coordkit_server.persistence.dump import dump, seal
from tests.differential.case import IDLE_FOR, Case

PAYLOAD = dump(b"value", Limits())
BROKEN = PAYLOAD[:-1] + bytes([PAYLOAD[-1] ^ 1])

CASES = [
    Case(
        "restore-options",
        [
            ["RESTORE", "k", 0, PAYLOAD],
            ["GET", "k"],
            ["TTL", "k"],
            ["RESTORE", "k", 0, PAYLOAD],
            ["RESTORE", "k", 100000, PAYLOAD, "REPLACE"],
            ["TTL", "k"],
            ["RESTORE", "k", 0, PAYLOAD, "replace", "absttl"],
            ["TTL", "k"],
            ["RESTORE", "k", 32503680000000, PAYLOAD, "ABSTTL", "REPLACE"],
            ["PEXPIRETIME", "k"],
            ["RESTORE", "k", 1000, PAYLOAD, "ABSTTL", "REPLACE"],
            ["EXISTS", "k"],
            ["RESTORE", "k", 1000, PAYLOAD, "ABSTTL"],
            ["EXISTS", "k"],
            ["RESTORE", "k", 0, PAYLOAD, "IDLETIME", 1000],
            ["EVAL", IDLE_FOR, 1, "k", 1000],
            ["RESTORE", "k", 0, PAYLOAD, "REPLACE", "FREQ", 100],
            ["GET", "k"],
            ["RESTORE-ASKING", "a", 0, PAYLOAD],
            ["GET", "a"],
        ],
    ),
    Case(
        "restore-errors",
        [
            ["RESTORE", "k", 0, "short"],
            ["RESTORE", "k", 0, ""],
            ["RESTORE", "k", 0, BROKEN],
            ["RESTORE", "k", -1, PAYLOAD],
            ["RESTORE", "k", "x", PAYLOAD],
            ["RESTORE", "k", 0, PAYLOAD, "NOTHING"],
            ["RESTORE", "k", 0, PAYLOAD, "FREQ"],
            ["RESTORE", "k", 0, PAYLOAD, "FREQ", 256],
            ["RESTORE", "k", 0, PAYLOAD, "FREQ", -1],
            ["RESTORE", "k", 0, PAYLOAD, "FREQ", "x"],
            ["RESTORE", "k", 0, PAYLOAD, "IDLETIME", -1],
            ["RESTORE", "k", 0, PAYLOAD, "IDLETIME", 1, "FREQ", 1],
            ["RESTORE", "k", 0, PAYLOAD, "FREQ", 1, "IDLETIME", 1],
            ["RESTORE", "k", -1, BROKEN, "NOTHING"],
            ["RESTORE", "k", -1, BROKEN],
            ["SET", "k", "old"],
            ["RESTORE", "k", -1, BROKEN],
            ["RESTORE", "k", 0, BROKEN, "REPLACE"],
            ["RESTORE", "k", 0, seal(b"\x63"), "REPLACE"],
            ["RESTORE", "k", 0, seal(b"\x12\x00"), "REPLACE"],
            ["RESTORE", "k", 0, seal(b"\x02\x01"), "REPLACE"],
            ["RESTORE", "k", 0, seal(b""), "REPLACE"],
            ["GET", "k"],
            ["DUMP", "none"],
            ["DUMP"],
            ["RESTORE", "k", 0],
        ],
    ),
]
