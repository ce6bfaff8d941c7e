"""What this server refuses as a server without the feature does: CLUSTER, ASKING, READONLY, READWRITE, MODULE LOAD.

MODULE LIST has its answer: there are no modules.
"""

from typing import Final

from coordkit_server.commands.help import help_reply
from coordkit_server.commands.server import allowed, container
from coordkit_server.context import (
    ADMIN,
    FAST,
    LOADING,
    NO_ASYNC_LOADING,
    NOSCRIPT,
    STALE,
    Command,
    Context,
)
from coordkit_server.errors import CommandError

_NO_CLUSTER: Final = b"ERR This instance has cluster support disabled"
_NO_MODULES: Final = (
    b'ERR MODULE command not allowed. If the enable-module-command option is set to "local", you can run it from a '
    b"local connection, otherwise you need to set this option in the configuration file, and then restart the server."
)


def no_cluster(cx: Context) -> object:
    """CLUSTER subcommand, ASKING, READONLY, READWRITE: refused, this server is no cluster's node."""
    raise CommandError(_NO_CLUSTER)


def cluster_help(cx: Context) -> object:
    """CLUSTER HELP -> lines of help."""
    return help_reply(b"CLUSTER", [b"(any subcommand)", b"    Refused: this server is no node of a cluster."])


def module_list(cx: Context) -> object:
    """MODULE LIST -> the loaded modules: none."""
    return []


def module_load(cx: Context) -> object:
    """MODULE LOAD, LOADEX, UNLOAD: refused, this server takes no modules of machine code."""
    if not allowed(cx, "enable-module-command"):
        raise CommandError(_NO_MODULES)
    raise CommandError(b"ERR Error loading the extension. This server takes no modules.")


def module_help(cx: Context) -> object:
    """MODULE HELP -> lines of help."""
    return help_reply(b"MODULE", [b"LIST", b"    List the loaded modules: this server takes none."])


_ADMIN: Final = ADMIN | STALE | NO_ASYNC_LOADING
# (name, arity, flags, since)
_CLUSTER: Final[list[tuple[bytes, int, int, bytes]]] = [
    (b"ADDSLOTS", -3, _ADMIN, b"3.0.0"),
    (b"ADDSLOTSRANGE", -4, _ADMIN, b"7.0.0"),
    (b"BUMPEPOCH", 2, _ADMIN, b"3.0.0"),
    (b"COUNT-FAILURE-REPORTS", 3, ADMIN | STALE, b"3.0.0"),
    (b"COUNTKEYSINSLOT", 3, STALE, b"3.0.0"),
    (b"DELSLOTS", -3, _ADMIN, b"3.0.0"),
    (b"DELSLOTSRANGE", -4, _ADMIN, b"7.0.0"),
    (b"FAILOVER", -2, _ADMIN, b"3.0.0"),
    (b"FLUSHSLOTS", 2, _ADMIN, b"3.0.0"),
    (b"FORGET", 3, _ADMIN, b"3.0.0"),
    (b"GETKEYSINSLOT", 4, STALE, b"3.0.0"),
    (b"INFO", 2, STALE, b"3.0.0"),
    (b"KEYSLOT", 3, STALE, b"3.0.0"),
    (b"LINKS", 2, STALE, b"7.0.0"),
    (b"MEET", -4, _ADMIN, b"3.0.0"),
    (b"MYID", 2, STALE, b"3.0.0"),
    (b"MYSHARDID", 2, STALE, b"7.2.0"),
    (b"NODES", 2, STALE, b"3.0.0"),
    (b"REPLICAS", 3, ADMIN | STALE, b"5.0.0"),
    (b"REPLICATE", 3, _ADMIN, b"3.0.0"),
    (b"RESET", -2, ADMIN | NOSCRIPT | STALE, b"3.0.0"),
    (b"SAVECONFIG", 2, _ADMIN, b"3.0.0"),
    (b"SET-CONFIG-EPOCH", 3, _ADMIN, b"3.0.0"),
    (b"SETSLOT", -4, _ADMIN, b"3.0.0"),
    (b"SHARDS", 2, LOADING | STALE, b"7.0.0"),
    (b"SLAVES", 3, ADMIN | STALE, b"3.0.0"),
    (b"SLOTS", 2, LOADING | STALE, b"3.0.0"),
]


def _cluster_rows() -> list[Command]:
    """Return the subcommands of CLUSTER."""
    rows = [Command(name, arity, flags, no_cluster, since=since) for name, arity, flags, since in _CLUSTER]
    rows.append(Command(b"HELP", 2, LOADING | STALE, cluster_help, since=b"5.0.0"))
    return rows


def cluster_commands() -> list[Command]:
    """Return the rows of group "cluster"."""
    fast = LOADING | STALE | FAST
    return [
        Command(b"ASKING", 1, FAST, no_cluster, since=b"3.0.0", summary=b"Refused: there is no cluster."),
        Command(
            b"CLUSTER",
            -2,
            0,
            container,
            since=b"3.0.0",
            summary=b"Refused: there is no cluster.",
            subcommands=_cluster_rows(),
        ),
        Command(b"READONLY", 1, fast, no_cluster, since=b"3.0.0", summary=b"Refused: there is no cluster."),
        Command(b"READWRITE", 1, fast, no_cluster, since=b"3.0.0", summary=b"Refused: there is no cluster."),
    ]


def module_commands() -> list[Command]:
    """Return the row of MODULE."""
    load = ADMIN | NOSCRIPT | NO_ASYNC_LOADING
    return [
        Command(
            b"MODULE",
            -2,
            0,
            container,
            since=b"4.0.0",
            summary=b"Lists the modules: there are none.",
            subcommands=[
                Command(b"HELP", 2, LOADING | STALE, module_help, since=b"5.0.0"),
                Command(b"LIST", 2, ADMIN | NOSCRIPT, module_list, since=b"4.0.0"),
                Command(b"LOAD", -3, load, module_load, since=b"4.0.0"),
                Command(b"LOADEX", -3, load, module_load, since=b"7.0.0"),
                Command(b"UNLOAD", 3, load, module_load, since=b"4.0.0"),
            ],
        )
    ]
