"""Every error text of the server, equal to Redis's to the byte, and the exception that carries one.

    CommandError            an error reply: a handler raises it, dispatch turns it into `-...`
    ProtocolError           the client broke the protocol: reply, then close

Rule of the room: a text stands here once; handlers name it.  Texts include their code (`ERR`, `WRONGTYPE`, ...).
"""

from typing import Final


class CommandError(Exception):
    """An error reply.  `message` is the whole line without the leading `-`."""

    def __init__(self, message: bytes) -> None:
        super().__init__(message)
        self.message: Final = message


class ProtocolError(Exception):
    """A request that breaks RESP; `message` follows `ERR Protocol error: ` and the connection closes.

    `logged` is how the log calls it."""

    def __init__(self, message: bytes, logged: str = "") -> None:
        super().__init__(message)
        self.message: Final = message
        self.logged: Final = logged or message.decode("latin-1")


# general
SYNTAX: Final = b"ERR syntax error"
WRONG_TYPE: Final = b"WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_INTEGER: Final = b"ERR value is not an integer or out of range"
NOT_FLOAT: Final = b"ERR value is not a valid float"
OUT_OF_RANGE: Final = b"ERR value is out of range"
MUST_BE_POSITIVE: Final = b"ERR value is out of range, must be positive"
INDEX_OUT_OF_RANGE: Final = b"ERR index out of range"
NO_SUCH_KEY: Final = b"ERR no such key"
OVERFLOW: Final = b"ERR increment or decrement would overflow"
NAN_OR_INFINITY: Final = b"ERR increment would produce NaN or Infinity"
STRING_TOO_LONG: Final = b"ERR string exceeds maximum allowed size (proto-max-bulk-len)"
INVALID_CURSOR: Final = b"ERR invalid cursor"
INVALID_DB_INDEX: Final = b"ERR invalid DB index"
DB_INDEX_OUT_OF_RANGE: Final = b"ERR DB index is out of range"
SAME_OBJECT: Final = b"ERR source and destination objects are the same"
INVALID_TIMEOUT: Final = b"ERR timeout is not a float or out of range"
TIMEOUT_OUT_OF_RANGE: Final = b"ERR timeout is out of range"
TIMEOUT_NOT_INTEGER: Final = b"ERR timeout is not an integer or out of range"
NOT_IN_LONG_RANGE: Final = b"ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
NEGATIVE_TIMEOUT: Final = b"ERR timeout is negative"
OFFSET_OUT_OF_RANGE: Final = b"ERR offset is out of range"
DECREMENT_OVERFLOW: Final = b"ERR decrement would overflow"
NOT_STRINGS: Final = b"ERR The specified keys must contain string values"
LCS_LENGTH_AND_INDEXES: Final = b"ERR If you want both the length and indexes, please just use IDX."
LCS_MEMORY: Final = b"ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
SORT_NOT_NUMBERS: Final = b"ERR One or more scores can't be converted into double"
NX_WITH_OTHERS: Final = b"ERR NX and XX, GT or LT options at the same time are not compatible"
GT_WITH_LT: Final = b"ERR GT and LT options at the same time are not compatible"
LFU_SELECTED: Final = (
    b"ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies "
    b"at runtime LRU and LFU data will take some time to adjust."
)
LFU_NOT_SELECTED: Final = (
    b"ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching "
    b"between policies at runtime LRU and LFU data will take some time to adjust."
)

# bits
BIT_OFFSET: Final = b"ERR bit offset is not an integer or out of range"
BIT_VALUE: Final = b"ERR bit is not an integer or out of range"
BIT_ARGUMENT: Final = b"ERR The bit argument must be 1 or 0."
BITOP_NOT_ONE_KEY: Final = b"ERR BITOP NOT must be called with a single source key."
BITFIELD_TYPE: Final = (
    b"ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
)
BITFIELD_OVERFLOW: Final = b"ERR Invalid OVERFLOW type specified"
BITFIELD_READ_ONLY: Final = b"ERR BITFIELD_RO only supports the GET subcommand"

# snapshots
SAVE_IN_PROGRESS: Final = b"ERR Background save already in progress"
ANOTHER_CHILD: Final = (
    b"ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a "
    b"BGSAVE whenever possible."
)
FAILED: Final = b"ERR"
RELOAD_OPTIONS: Final = b"ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."
RELOAD_FAILED: Final = b"ERR Error trying to load the RDB dump, check server logs."
SHUTDOWN_FAILED: Final = b"ERR Errors trying to SHUTDOWN. Check logs."

# DUMP and RESTORE
BUSY_KEY: Final = b"BUSYKEY Target key name already exists."
INVALID_TTL: Final = b"ERR Invalid TTL value, must be >= 0"
INVALID_IDLE_TIME: Final = b"ERR Invalid IDLETIME value, must be >= 0"
INVALID_FREQ: Final = b"ERR Invalid FREQ value, must be >= 0 and <= 255"
BAD_PAYLOAD: Final = b"ERR DUMP payload version or checksum are wrong"
BAD_DATA_FORMAT: Final = b"ERR Bad data format"

# HyperLogLog
HLL_INVALID: Final = b"WRONGTYPE Key is not a valid HyperLogLog string value."
HLL_CORRUPT: Final = b"INVALIDOBJ Corrupted HLL object detected"

# connection and authentication
NO_AUTH: Final = b"NOAUTH Authentication required."
WRONG_PASS: Final = b"WRONGPASS invalid username-password pair or user is disabled."
AUTH_NO_PASSWORD: Final = (
    b"ERR AUTH <password> called without any password configured for the default user. "
    b"Are you sure your configuration is correct?"
)
NO_PERMISSION_KEY: Final = b"No permissions to access a key"
NO_PERMISSION_CHANNEL: Final = b"No permissions to access a channel"
NO_PERMISSION_ANY_MORE: Final = (
    b"NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. "
    b"This command is no longer allowed for the following reason: "
)
NO_PROTO: Final = b"NOPROTO unsupported protocol version"
PROTO_NOT_INTEGER: Final = b"ERR Protocol version is not an integer or out of range"
HELLO_NO_AUTH: Final = (
    b"NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH "
    b"<user> <pass> option can be used to authenticate the client and select the RESP protocol version at the "
    b"same time"
)
CLIENT_NAME_INVALID: Final = b"ERR Client names cannot contain spaces, newlines or special characters."
NO_SUCH_CLIENT: Final = b"ERR No such client"
MAX_CLIENTS: Final = b"ERR max number of clients reached"
DENIED: Final = (
    b"DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the "
    b"default user. In this mode connections are only accepted from the loopback interface."
)

# transactions
NESTED_MULTI: Final = b"ERR MULTI calls can not be nested"
WATCH_IN_MULTI: Final = b"ERR WATCH inside MULTI is not allowed"
EXEC_WITHOUT_MULTI: Final = b"ERR EXEC without MULTI"
DISCARD_WITHOUT_MULTI: Final = b"ERR DISCARD without MULTI"
EXEC_ABORT: Final = b"EXECABORT Transaction discarded because of previous errors."
EXEC_ABORT_BECAUSE: Final = b"EXECABORT Transaction discarded because of: "
NOT_WHILE_MONITORING: Final = b"ERR Replica can't interact with the keyspace"
NOT_IN_MULTI: Final = b"ERR Command not allowed inside a transaction"

# replication
PENDING_OUTPUT: Final = b"ERR SYNC and PSYNC are invalid with pending output"
NOT_A_REPLICA: Final = (
    b"ERR this server can be a primary only, not a replica; to move its data, start a replica of this server there"
)
FAILOVER_UNSUPPORTED: Final = b"ERR FAILOVER is not supported; stop the writers, WAIT for a replica, promote it there"
NO_FAILOVER: Final = b"ERR No failover in progress."
WAITAOF_WITHOUT_AOF: Final = b"ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."

NO_REPLICAS: Final = b"NOREPLICAS Not enough good replicas to write."
MISCONF_RDB: Final = (
    b"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that "
    b"may modify the data set are disabled, because this instance is configured to report errors during writes if RDB "
    b"snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB "
    b"error."
)
MISCONF_AOF: Final = b"MISCONF Errors writing to the AOF file: "  # and the system's reason

# persistence
REWRITE_IN_PROGRESS: Final = b"ERR Background append only file rewriting already in progress"
REWRITE_FAILED: Final = (
    b"ERR Can't execute an AOF background rewriting. Please check the server logs for more information."
)

# scripting
NO_SCRIPT: Final = b"NOSCRIPT No matching script. Please use EVAL."
OOM: Final = b"OOM command not allowed when used memory > 'maxmemory'."
BUSY_FUNCTION: Final = b"BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
BUSY_SCRIPT: Final = b"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
TOO_MANY_KEYS: Final = b"ERR Number of keys can't be greater than number of args"
NEGATIVE_KEYS: Final = b"ERR Number of keys can't be negative"
SCRIPT_UNKNOWN_COMMAND: Final = b"ERR Unknown Redis command called from script"
SCRIPT_WRONG_ARITY: Final = b"ERR Wrong number of args calling Redis command from script"
SCRIPT_FORBIDDEN: Final = b"ERR This Redis command is not allowed from script"
SCRIPT_READ_ONLY: Final = b"ERR Write commands are not allowed from read-only scripts."
SCRIPT_WRITE_FLAG: Final = b"ERR Can not execute a script with write flag using *_ro command."
SCRIPT_OOM: Final = b"OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'"
BAD_KEY_COUNT: Final = b"ERR Bad number of keys provided"
FUNCTION_NOT_FOUND: Final = b"ERR Function not found"
LIBRARY_NOT_FOUND: Final = b"ERR Library not found"
SCRIPT_FLUSH_MODE: Final = b"ERR SCRIPT FLUSH only support SYNC|ASYNC option"
RESTORE_POLICY: Final = b"ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE."
FUNCTION_FLUSH_MODE: Final = b"ERR FUNCTION FLUSH only supports SYNC|ASYNC option"
SCRIPT_KILLED: Final = b"ERR Script killed by user with SCRIPT KILL..."
UNKILLABLE: Final = (
    b"UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script "
    b"termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
)
NOT_BUSY: Final = b"NOTBUSY No scripts in execution right now."
LOADING: Final = b"LOADING Redis is loading the dataset in memory"

# streams
STREAM_ID: Final = b"ERR Invalid stream ID specified as stream command argument"
STREAM_ID_ZERO: Final = b"ERR The ID specified in XADD must be greater than 0-0"
STREAM_ID_NOT_GREATER: Final = b"ERR The ID specified in XADD is equal or smaller than the target stream top item"
STREAM_EXHAUSTED: Final = b"ERR The stream has exhausted the last possible ID, unable to add more items"
STREAM_ENTRY_TOO_LARGE: Final = b"ERR Elements are too large to be stored"
STREAM_START: Final = b"ERR invalid start ID for the interval"
STREAM_END: Final = b"ERR invalid end ID for the interval"
TRIM_TWO_STRATEGIES: Final = b"ERR syntax error, MAXLEN and MINID options at the same time are not compatible"
TRIM_MAXLEN_NEGATIVE: Final = b"ERR The MAXLEN argument must be >= 0."
TRIM_LIMIT_NEGATIVE: Final = b"ERR The LIMIT argument must be >= 0."
TRIM_LIMIT_ALONE: Final = b"ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"
TRIM_LIMIT_EXACT: Final = b"ERR syntax error, LIMIT cannot be used without the special ~ option"
TRIM_NO_STRATEGY: Final = b"ERR syntax error, XTRIM must be called with a trimming strategy"
XSETID_BELOW_GIVEN_DELETED: Final = b"ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id"
XSETID_BELOW_DELETED: Final = b"ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
XSETID_BELOW_TOP: Final = b"ERR The ID specified in XSETID is smaller than the target stream top item"
XSETID_ADDED_NEGATIVE: Final = b"ERR entries_added must be positive"
XSETID_ADDED_BELOW_LENGTH: Final = b"ERR The entries_added specified in XSETID is smaller than the target stream length"
XREAD_GROUP: Final = b"ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead."
XREAD_NOACK: Final = b"ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead."
XREAD_NEW: Final = (
    b"ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
)
XREADGROUP_NO_GROUP: Final = b"ERR Missing GROUP option for XREADGROUP"
XREADGROUP_LAST: Final = (
    b"ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by "
    b"specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set."
)
XGROUP_NO_KEY: Final = (
    b"ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM "
    b"option to create an empty stream automatically."
)
XGROUP_EXISTS: Final = b"BUSYGROUP Consumer Group name already exists"
XGROUP_ENTRIES_READ: Final = b"ERR value for ENTRIESREAD must be positive or -1"
XCLAIM_MIN_IDLE: Final = b"ERR Invalid min-idle-time argument for XCLAIM"
XCLAIM_IDLE: Final = b"ERR Invalid IDLE option argument for XCLAIM"
XCLAIM_TIME: Final = b"ERR Invalid TIME option argument for XCLAIM"
XCLAIM_RETRYCOUNT: Final = b"ERR Invalid RETRYCOUNT option argument for XCLAIM"
XAUTOCLAIM_MIN_IDLE: Final = b"ERR Invalid min-idle-time argument for XAUTOCLAIM"
XAUTOCLAIM_COUNT: Final = b"ERR COUNT must be > 0"
XAUTOCLAIM_MEMORY: Final = b"ERR Insufficient memory, failed allocating transient memory, COUNT too high."


def wrong_type() -> CommandError:
    """Return the WRONGTYPE error."""
    return CommandError(WRONG_TYPE)


def syntax_error() -> CommandError:
    """Return the plain syntax error."""
    return CommandError(SYNTAX)


def wrong_arity(full_name: bytes) -> bytes:
    """Return the text for a wrong number of arguments; `full_name` as in `config|get`, lower case."""
    return b"ERR wrong number of arguments for '" + full_name + b"' command"


def unknown_command(argv: list[bytes]) -> bytes:
    """Return the unknown-command text: the name and the first arguments, 128 bytes each at most."""
    shown = b""
    for arg in argv[1:]:
        if len(shown) >= 128:
            break
        shown += b"'" + arg[: 128 - len(shown)] + b"' "
    return clean(b"ERR unknown command '" + argv[0][:128] + b"', with args beginning with: " + shown)


def unknown_subcommand(container: bytes, name: bytes) -> bytes:
    """Return the text for a subcommand that does not exist; `container` in upper case."""
    return clean(b"ERR unknown subcommand '" + name[:128] + b"'. Try " + container + b" HELP.")


def subcommand_syntax(container: bytes, name: bytes) -> bytes:
    """Return the text for a subcommand with arguments that do not fit; `container` in upper case."""
    return clean(
        b"ERR unknown subcommand or wrong number of arguments for '" + name[:128] + b"'. Try " + container + b" HELP."
    )


def no_permission_command(user: bytes, full_name: bytes) -> bytes:
    """Return why a user may not run a command at all, without a code."""
    return b"User " + user + b" has no permissions to run the '" + full_name + b"' command"


def invalid_expire(command: bytes) -> CommandError:
    """Return the error for an expire time that is zero, negative or overflows; `command` in lower case."""
    return CommandError(b"ERR invalid expire time in '" + command + b"' command")


def no_group(group: bytes, key: bytes) -> CommandError:
    """Return the error for a consumer group that a stream does not have."""
    return CommandError(
        b"NOGROUP No such consumer group '" + _c_text(group) + b"' for key name '" + _c_text(key) + b"'"
    )


def no_key_or_group(key: bytes, group: bytes, tail: bytes = b"") -> CommandError:
    """Return the error for a stream or consumer group that does not exist; `tail` says what was tried."""
    return CommandError(
        b"NOGROUP No such key '" + _c_text(key) + b"' or consumer group '" + _c_text(group) + b"'" + tail
    )


def _c_text(text: bytes) -> bytes:
    """Return `text` as C prints it: up to the first zero byte."""
    return text.split(b"\0", 1)[0]


def clean(message: bytes) -> bytes:
    """Return `message` fit for one reply line: CR and LF become spaces."""
    return message.replace(b"\r", b" ").replace(b"\n", b" ")
