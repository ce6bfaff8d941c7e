"""Build script: compiles the bundled server with mypyc; everything else is declared in pyproject.toml.

`COMPILED` is the one list of the server's compiled modules.  All of them make one compilation unit, so that
calls between them are plain C calls.  Without a C compiler, without mypyc, or with COORDKIT_PURE=1 the same
sources are installed and run interpreted, at a fraction of the speed; a notice says so.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from setuptools import setup
from setuptools.command.build_ext import build_ext

if TYPE_CHECKING:
    from collections.abc import Callable

    from setuptools import Extension

SERVER: Final = "server/coordkit_server"

# Every module of the server except INTERPRETED and packages' `__init__` without functions and classes (a test
# compares this list with the directory).  Alphabetical, one a line, relative to SERVER.
COMPILED: Final[list[str]] = [
    "access/catalog.py",
    "access/refusals.py",
    "access/selector.py",
    "access/user.py",
    "access/users.py",
    "app.py",
    "children.py",
    "clock.py",
    "commands/accounts.py",
    "commands/acl.py",
    "commands/acl_categories.py",
    "commands/acl_files.py",
    "commands/aof.py",
    "commands/args.py",
    "commands/bitfield.py",
    "commands/bitmaps.py",
    "commands/blocking_lists.py",
    "commands/client.py",
    "commands/client_tracking.py",
    "commands/clients.py",
    "commands/cluster.py",
    "commands/command_info.py",
    "commands/connection.py",
    "commands/counters.py",
    "commands/debug.py",
    "commands/digest.py",
    "commands/dumping.py",
    "commands/expiry.py",
    "commands/functions.py",
    "commands/geo.py",
    "commands/hashes.py",
    "commands/help.py",
    "commands/hyperloglog.py",
    "commands/info.py",
    "commands/info_memory.py",
    "commands/info_stats.py",
    "commands/key_specs.py",
    "commands/keys.py",
    "commands/latency.py",
    "commands/library_store.py",
    "commands/lists.py",
    "commands/lolwut.py",
    "commands/memory.py",
    "commands/migrate.py",
    "commands/monitoring.py",
    "commands/pausing.py",
    "commands/permissions.py",
    "commands/pubsub.py",
    "commands/reference.py",
    "commands/replaying.py",
    "commands/replication.py",
    "commands/script_host.py",
    "commands/scripting.py",
    "commands/server.py",
    "commands/sets.py",
    "commands/slowlog.py",
    "commands/snapshots.py",
    "commands/sorting.py",
    "commands/stream_groups.py",
    "commands/stream_ids.py",
    "commands/stream_info.py",
    "commands/stream_propagation.py",
    "commands/stream_reads.py",
    "commands/stream_trim.py",
    "commands/streams.py",
    "commands/strings.py",
    "commands/subsequence.py",
    "commands/table.py",
    "commands/transactions.py",
    "commands/zranges.py",
    "commands/zset_algebra.py",
    "commands/zset_ranges.py",
    "commands/zsets.py",
    "config.py",
    "configrewrite.py",
    "context.py",
    "cron.py",
    "datatypes/bits.py",
    "datatypes/geohash.py",
    "datatypes/hash.py",
    "datatypes/hyperloglog.py",
    "datatypes/limits.py",
    "datatypes/list.py",
    "datatypes/listpack.py",
    "datatypes/member_index.py",
    "datatypes/packed_scores.py",
    "datatypes/radix.py",
    "datatypes/sampling.py",
    "datatypes/set.py",
    "datatypes/shared_names.py",
    "datatypes/sorted_members.py",
    "datatypes/stream.py",
    "datatypes/stream_entry.py",
    "datatypes/stream_group.py",
    "datatypes/subsequence.py",
    "datatypes/value.py",
    "datatypes/zset.py",
    "dispatch.py",
    "errors.py",
    "executor.py",
    "glob.py",
    "keyspace/blocking.py",
    "keyspace/database.py",
    "keyspace/evict.py",
    "keyspace/expire.py",
    "keyspace/frequency.py",
    "keyspace/notify.py",
    "keyspace/propagation.py",
    "keyspace/sizes.py",
    "keyspace/table.py",
    "keyspace/waiter.py",
    "keyspace/watch.py",
    "latency.py",
    "log.py",
    "longdouble.py",
    "monitor.py",
    "networking/connection.py",
    "networking/eventloop.py",
    "networking/forks.py",
    "networking/listener.py",
    "networking/poller.py",
    "numeric.py",
    "parameters.py",
    "pause.py",
    "persistence/aof.py",
    "persistence/aof_dump.py",
    "persistence/aof_load.py",
    "persistence/aof_reader.py",
    "persistence/append_log.py",
    "persistence/check.py",
    "persistence/check_log.py",
    "persistence/crc64.py",
    "persistence/dump.py",
    "persistence/files.py",
    "persistence/log_files.py",
    "persistence/lzf.py",
    "persistence/manifest.py",
    "persistence/packed.py",
    "persistence/rdb.py",
    "persistence/rdb_format.py",
    "persistence/rdb_streams.py",
    "persistence/rdb_values.py",
    "persistence/snapshot.py",
    "persistence/syncer.py",
    "process.py",
    "pubsub.py",
    "replication/backlog.py",
    "replication/primary.py",
    "replication/replica.py",
    "resp/encoder.py",
    "resp/reply.py",
    "resp/request.py",
    "scripting/bytecode.py",
    "scripting/cache.py",
    "scripting/construct.py",
    "scripting/convert.py",
    "scripting/engine.py",
    "scripting/formats.py",
    "scripting/functions.py",
    "scripting/library.py",
    "scripting/memory.py",
    "scripting/rewrite.py",
    "scripting/sites.py",
    "session.py",
    "settings.py",
    "slowlog.py",
    "testing.py",
    "tracking.py",
]

# These stay interpreted: they run once at start, and argparse-like code gains nothing from compilation.
INTERPRETED: Final = ["__main__.py", "cli.py", "configfile.py"]

# gcc's level.  "2" is 3 % slower a command and takes a tenth less time to compile.
OPT_LEVEL: Final = "3"

# One C file a module, compiled on all cores.  10,000 lines of Python take 41 s of processor time, spread over the
# cores; one C file for all takes 65 s on one core and makes a command 2 to 4 % faster.
ONE_C_FILE_A_MODULE: Final = True

# Calls within the unit need no look-up that another library could redirect: 10 % less time a command.
COMPILER_FLAGS: Final = ["-fvisibility=hidden", "-fno-semantic-interposition"]

# What a packaging tool runs before the build and for a source archive: no C code is asked for yet.
WITHOUT_EXTENSIONS: Final = ("dist_info", "egg_info", "sdist")


def reason_not_to_compile() -> str | None:
    """Return why the server can't or shan't be compiled here, None if it can."""
    if os.environ.get("COORDKIT_PURE", "") not in ("", "0"):
        return "COORDKIT_PURE is set"
    try:
        import mypyc.build  # noqa: F401
    except ImportError as error:
        return f"mypyc is not installed ({error})"
    return reason_compiler_fails()


def reason_compiler_fails() -> str | None:
    """Return why a three-line C extension does not compile here, None if it does."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    include = sysconfig.get_paths()["include"]
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "probe.c")
        source.write_text("#include <Python.h>\nint coordkit_probe(void) { return PY_VERSION_HEX; }\n")
        command = [*compiler, f"-I{include}", "-c", str(source), "-o", str(source.with_suffix(".o"))]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return f"there is no C compiler ({error})"
    if done.returncode != 0:
        return f"the C compiler can't build an extension ({done.stderr.strip().splitlines()[0]})"
    return None


def server_extensions() -> list[Extension]:
    """Return the server's extension modules, [] (and a notice on stderr) where it will run interpreted."""
    if sys.argv[1:2] and sys.argv[1] in WITHOUT_EXTENSIONS:
        return []
    reason = reason_not_to_compile()
    if reason is not None:
        print(
            f"coordkit: the bundled server will run interpreted, about 3 times slower: {reason}",
            file=sys.stderr,
        )
        return []
    from mypyc.build import mypycify

    paths = [f"{SERVER}/{name}" for name in COMPILED]
    unit = mypycify(
        paths,
        opt_level=OPT_LEVEL,
        debug_level="0",
        multi_file=ONE_C_FILE_A_MODULE,
        group_name="coordkit_server",
    )
    extensions = cast("list[Extension]", unit)  # typeshed has two classes for what is one
    for extension in extensions:
        extension.extra_compile_args += COMPILER_FLAGS
    return extensions


class BuildOnAllCores(build_ext):
    """Compiles the C files of an extension beside each other; setuptools does so for whole extensions only."""

    def build_extensions(self) -> None:
        """Build all extensions."""
        self.compiler.compile = functools.partial(compile_beside_each_other, self.compiler.compile)
        super().build_extensions()


def compile_beside_each_other(
    compile_all: Callable[..., list[str]], sources: list[str], **options: object
) -> list[str]:
    """Return the object files of `sources`, in their order, each from a compiler process of its own."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(lambda source: compile_all([source], **options), sources))
    return [path for paths in objects for path in paths]


if __name__ == "__main__":
    setup(ext_modules=server_extensions(), cmdclass={"build_ext": BuildOnAllCores})
