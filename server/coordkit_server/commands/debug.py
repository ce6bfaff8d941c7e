"""DEBUG (group "server"): what test suites need, allowed by enable-debug-command.

Map: gate, subcommands that act, PROTOCOL samples, rows.  What this server has no counterpart of is an unknown
subcommand.
"""

from hashlib import sha1
from time import sleep
from typing import Final

from coordkit_server import glob
from coordkit_server.commands.acl_files import user_lines
from coordkit_server.commands.aof import load_again
from coordkit_server.commands.args import integer, number
from coordkit_server.commands.digest import value_digest
from coordkit_server.commands.dumping import serialized_length
from coordkit_server.commands.help import help_reply
from coordkit_server.commands.keys import encoding_name
from coordkit_server.commands.script_host import script_host
from coordkit_server.commands.server import allowed
from coordkit_server.commands.snapshots import reload
from coordkit_server.config import ConfigError, parse_memory
from coordkit_server.configrewrite import rewrite
from coordkit_server.context import ADMIN, LOADING, NOSCRIPT, STALE, Command, Context
from coordkit_server.datatypes.value import Value
from coordkit_server.errors import NO_SUCH_KEY, CommandError, subcommand_syntax
from coordkit_server.keyspace.database import Database
from coordkit_server.keyspace.frequency import idle_ms
from coordkit_server.persistence.aof import AppendOnlyError
from coordkit_server.persistence.rdb import LoadStopped
from coordkit_server.resp.reply import (
    OK,
    AttributeReply,
    BigNumber,
    ErrorReply,
    MapReply,
    PushReply,
    SetReply,
    Simple,
    VerbatimReply,
)

_PACKED_MAX: Final = 1 << 32
NOT_ALLOWED: Final = (
    b'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a '
    b"local connection, otherwise you need to set this option in the configuration file, and then restart the server."
)


def check_allowed(cx: Context) -> None:
    """Raise unless enable-debug-command allows this client."""
    if allowed(cx, "enable-debug-command"):
        return
    raise CommandError(NOT_ALLOWED)


def debug_set_disable_deny_scripts(cx: Context) -> object:
    """DEBUG SET-DISABLE-DENY-SCRIPTS 0|1 -> OK; 1 lets scripts call commands that are not for them."""
    check_allowed(cx)
    script_host(cx).denies = integer(cx.argv[2]) == 0
    return OK


def debug_set_skip_checksum_validation(cx: Context) -> object:
    """DEBUG SET-SKIP-CHECKSUM-VALIDATION 0|1 -> OK; with 1 RESTORE takes payloads whatever their checksum."""
    check_allowed(cx)
    cx.services.skip_checksums = integer(cx.argv[2]) != 0
    return OK


def debug_sleep(cx: Context) -> object:
    """DEBUG SLEEP seconds -> OK, after the whole server has stood still."""
    check_allowed(cx)
    sleep(max(number(cx.argv[2]), 0.0))
    return OK


def debug_set_active_expire(cx: Context) -> object:
    """DEBUG SET-ACTIVE-EXPIRE 0|1 -> OK; with 0 only reads find out that a key is due."""
    check_allowed(cx)
    cx.services.expiry.enabled = integer(cx.argv[2]) != 0
    return OK


def debug_stringmatch_len(cx: Context) -> object:
    """DEBUG STRINGMATCH-LEN length pattern -> 1 if a string of that many `a` matches."""
    check_allowed(cx)
    return 1 if glob.match(cx.argv[3], b"a" * integer(cx.argv[2])) else 0


def debug_quicklist_packed_threshold(cx: Context) -> object:
    """DEBUG QUICKLIST-PACKED-THRESHOLD size -> OK; lists here keep large elements as they keep small ones."""
    check_allowed(cx)
    size = parse_memory(cx.argv[2].decode("utf-8", "replace"))
    if size is None or size > _PACKED_MAX:
        raise CommandError(b"ERR argument must be a memory value bigger than 1 and smaller than 4gb")
    return OK


def debug_htstats(cx: Context) -> object:
    """DEBUG HTSTATS dbid [full] -> the sizes of the database's tables."""
    check_allowed(cx)
    index = integer(cx.argv[2])
    if not 0 <= index < len(cx.services.databases):
        raise CommandError(b"ERR Out of range database")
    database = cx.services.databases[index]
    text = b"[Dictionary HT]\n" + _table_stats(len(database))
    return VerbatimReply(b"txt", text + b"[Expires HT]\n" + _table_stats(database.volatile_count()))


def debug_htstats_key(cx: Context) -> object:
    """DEBUG HTSTATS-KEY key [full] -> the size of the value's table."""
    check_allowed(cx)
    entry = cx.db.peek(cx.argv[2])
    if entry is None:
        raise CommandError(NO_SUCH_KEY)
    if encoding_name(entry.value) not in (b"hashtable", b"skiplist"):
        raise CommandError(b"ERR The value stored at the specified key is not represented using an hash table")
    value = entry.value
    return VerbatimReply(b"txt", _table_stats(value.length() if isinstance(value, Value) else 0))


def _table_stats(elements: int) -> bytes:
    """Return what is known of a table: Python's do not tell their chains, and never rehash in steps."""
    if elements == 0:
        return b"No stats available for empty dictionaries\n"
    return b"Hash table 0 stats (main hash table):\n number of elements: %d\n" % elements


def debug_change_repl_id(cx: Context) -> object:
    """DEBUG CHANGE-REPL-ID -> OK; replicas have to synchronise in full."""
    check_allowed(cx)
    cx.services.primary.change_id()
    return OK


def debug_config_rewrite(cx: Context) -> object:
    """DEBUG CONFIG-REWRITE-FORCE-ALL -> OK; the configuration file names every parameter."""
    check_allowed(cx)
    try:
        rewrite(cx.services.config, user_lines(cx.services), everything=True)
    except (ConfigError, OSError) as error:
        raise CommandError(b"ERR CONFIG-REWRITE-FORCE-ALL failed") from error
    return OK


def debug_listpack(cx: Context) -> object:
    """DEBUG LISTPACK key -> OK if the value is a listpack."""
    check_allowed(cx)
    entry = cx.db.peek(cx.argv[2])
    if entry is None:
        raise CommandError(NO_SUCH_KEY)
    if encoding_name(entry.value) != b"listpack":
        raise CommandError(b"ERR Not a listpack encoded object.")
    return Simple(b"Listpack structure printed on stdout")


def debug_help(cx: Context) -> object:
    """DEBUG HELP -> lines of help."""
    lines: list[bytes] = []
    for sub in _SUBCOMMANDS.values():
        usage, _, effect = (sub.handler.__doc__ or "").split("\n", 1)[0].partition(" -> ")
        if sub.name != b"HELP" and usage:
            lines.append(usage.removeprefix("DEBUG ").encode())
            lines.append(b"    -> " + effect.encode())
    return help_reply(b"DEBUG", lines)


def debug_pause_cron(cx: Context) -> object:
    """DEBUG PAUSE-CRON 0|1 -> OK; with 1 no periodic work is done."""
    check_allowed(cx)
    cx.services.cron_paused = integer(cx.argv[2]) != 0
    return OK


def debug_populate(cx: Context) -> object:
    """DEBUG POPULATE count [prefix [size]] -> OK; adds missing keys `prefix:N` with values `value:N`."""
    check_allowed(cx)
    cx.prevent_propagation()
    argv = cx.argv
    prefix = argv[3] if len(argv) > 3 else b"key"
    size = integer(argv[4]) if len(argv) > 4 else 0
    for i in range(integer(argv[2])):
        key = b"%b:%d" % (prefix, i)
        if cx.db.lookup_write(key) is None:
            value = b"value:%d" % i
            cx.db.add(key, value[:size].ljust(size, b"\0") if size else value)
            cx.db.modified(key)
    return OK


def debug_object(cx: Context) -> object:
    """DEBUG OBJECT key -> one line about the value."""
    check_allowed(cx)
    entry = cx.db.stored(cx.argv[2])
    if entry is None:
        raise CommandError(NO_SUCH_KEY)
    idle_s = 0 if cx.state.counts_use else idle_ms(entry.used_at, cx.state.now_ms) // 1000
    text = b"Value at:0x%x refcount:1 encoding:%b serializedlength:%d lru:%d lru_seconds_idle:%d" % (
        id(entry),
        encoding_name(entry.value),
        serialized_length(cx, entry.value),
        ((cx.state.now_ms // 1000) - idle_s) & 0xFFFFFF,
        idle_s,
    )
    return Simple(text)


def debug_digest(cx: Context) -> object:
    """DEBUG DIGEST -> a hash of all data, equal for equal data."""
    check_allowed(cx)
    total = 0
    for database in cx.services.databases:
        for entry in database.entries():
            total ^= _entry_digest(cx, database, entry.key)
    return Simple(b"%040x" % total)


def debug_digest_value(cx: Context) -> object:
    """DEBUG DIGEST-VALUE key [key ...] -> a hash of each value."""
    check_allowed(cx)
    return [b"%040x" % _value_digest(cx, cx.db, key) for key in cx.argv[2:]]


def _entry_digest(cx: Context, database: Database, key: bytes) -> int:
    """Return the hash of a key with its database, value and presence of a time to live."""
    value = _value_digest(cx, database, key)
    entry = database.peek(key)
    volatile = entry is not None and entry.expire_at_ms >= 0
    return int(sha1(b"%d %d %d " % (database.index, value, volatile) + key).hexdigest(), 16)


def _value_digest(cx: Context, database: Database, key: bytes) -> int:
    """Return a hash of the value at `key` that does not depend on the order of unordered types; 0 if absent."""
    entry = database.peek(key)
    if entry is None:
        return 0
    return value_digest(entry.value)


def debug_protocol(cx: Context) -> object:
    """DEBUG PROTOCOL type -> a sample reply of that type."""
    check_allowed(cx)
    kind = cx.argv[2].lower()
    sample = _SAMPLES.get(kind)
    if sample is None:
        raise CommandError(
            b"ERR Wrong protocol type name. Please use one of the following: "
            b"string|integer|double|null|array|set|map|attrib|push|verbatim|true|false"
        )
    return sample[0]


_SAMPLES: Final[dict[bytes, list[object]]] = {
    b"string": [b"Hello World"],
    b"integer": [12345],
    b"double": [3.141],
    b"null": [None],
    b"array": [[0, 1, 2]],
    b"set": [SetReply([0, 1, 2])],
    b"map": [MapReply([0, False, 1, True, 2, False])],
    b"attrib": [
        AttributeReply(
            [b"key-popularity", [b"key:123", 90]],
            b"Some real reply following the attribute",
        )
    ],
    b"push": [PushReply([b"server-cpu-usage", 42])],
    b"bignum": [BigNumber(b"1234567999999999999999999999999999999")],
    b"verbatim": [VerbatimReply(b"txt", b"This is a verbatim\nstring")],
    b"true": [True],
    b"false": [False],
}


def debug_error(cx: Context) -> object:
    """DEBUG ERROR text -> that error."""
    check_allowed(cx)
    return ErrorReply(cx.argv[2].replace(b"\r", b" ").replace(b"\n", b" "))


def debug_log(cx: Context) -> object:
    """DEBUG LOG text -> OK; the text stands in the log."""
    check_allowed(cx)
    cx.services.control.log_warning("DEBUG LOG: " + cx.argv[2].decode("utf-8", "replace"))
    return OK


def debug_reload(cx: Context) -> object:
    """DEBUG RELOAD [MERGE] [NOFLUSH] [NOSAVE] -> OK, after the data went through the snapshot file."""
    check_allowed(cx)
    return reload(cx)


def debug_aof_flush_sleep(cx: Context) -> object:
    """DEBUG AOF-FLUSH-SLEEP microseconds -> OK; each write of the append-only file takes so much longer."""
    check_allowed(cx)
    cx.services.aof.appender.write_delay_us = integer(cx.argv[2])
    return OK


def debug_loadaof(cx: Context) -> object:
    """DEBUG LOADAOF -> OK; the data are what the append-only file says."""
    check_allowed(cx)
    cx.prevent_propagation()
    try:
        return load_again(cx.services)
    except (AppendOnlyError, LoadStopped, OSError) as error:
        cx.services.log.warning(str(error))
        raise CommandError(b"ERR Error trying to load the AOF files, check server logs.") from error


def debug(cx: Context) -> object:
    """DEBUG subcommand [argument ...]: what the subcommand replies; in the table of commands DEBUG is one command."""
    check_allowed(cx)
    argv = cx.argv
    row = _SUBCOMMANDS.get(argv[1].upper())
    if row is None or not (len(argv) == row.arity or (row.arity < 0 and len(argv) >= -row.arity)):
        raise CommandError(subcommand_syntax(b"DEBUG", argv[1]))
    return row.handler(cx)


def _rows() -> list[Command]:
    """Return the subcommands, each with its arity."""
    flags = ADMIN | NOSCRIPT | LOADING | STALE
    return [
        Command(b"CHANGE-REPL-ID", 2, flags, debug_change_repl_id),
        Command(b"CONFIG-REWRITE-FORCE-ALL", 2, flags, debug_config_rewrite),
        Command(b"AOF-FLUSH-SLEEP", 3, flags, debug_aof_flush_sleep),
        Command(b"DIGEST", 2, flags, debug_digest),
        Command(b"DIGEST-VALUE", -2, flags, debug_digest_value),
        Command(b"ERROR", 3, flags, debug_error),
        Command(b"HELP", 2, flags, debug_help),
        Command(b"HTSTATS", -3, flags, debug_htstats),
        Command(b"HTSTATS-KEY", -3, flags, debug_htstats_key),
        Command(b"RELOAD", -2, flags, debug_reload),
        Command(b"LOADAOF", 2, flags, debug_loadaof),
        Command(b"LISTPACK", 3, flags, debug_listpack),
        Command(b"LOG", 3, flags, debug_log),
        Command(b"OBJECT", -3, flags, debug_object),
        Command(b"PAUSE-CRON", 3, flags, debug_pause_cron),
        Command(b"POPULATE", -3, flags, debug_populate),
        Command(b"PROTOCOL", 3, flags, debug_protocol),
        Command(b"QUICKLIST-PACKED-THRESHOLD", 3, flags, debug_quicklist_packed_threshold),
        Command(b"SET-ACTIVE-EXPIRE", 3, flags, debug_set_active_expire),
        Command(b"SET-DISABLE-DENY-SCRIPTS", 3, flags, debug_set_disable_deny_scripts),
        Command(b"SET-SKIP-CHECKSUM-VALIDATION", 3, flags, debug_set_skip_checksum_validation),
        Command(b"SLEEP", 3, flags, debug_sleep),
        Command(b"STRINGMATCH-LEN", 4, flags, debug_stringmatch_len),
    ]


_SUBCOMMANDS: Final[dict[bytes, Command]] = {row.name: row for row in _rows()}


def commands() -> list[Command]:
    """Return the row of DEBUG."""
    flags = ADMIN | NOSCRIPT | LOADING | STALE
    return [Command(b"DEBUG", -2, flags, debug, summary=b"Helps test suites; see enable-debug-command.")]
