"""DUMP, RESTORE and RESTORE-ASKING (group "generic"): a value as bytes that any Redis or Valkey can restore."""

from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.context import ASKING, DENYOOM, KEY1, READONLY, WRITE, Command, Context
from coordkit_server.errors import (
    BAD_DATA_FORMAT,
    BAD_PAYLOAD,
    BUSY_KEY,
    INVALID_FREQ,
    INVALID_IDLE_TIME,
    INVALID_TTL,
    CommandError,
    syntax_error,
)
from coordkit_server.keyspace.frequency import packed, used_before
from coordkit_server.keyspace.notify import GENERIC
from coordkit_server.persistence import dump as payloads
from coordkit_server.persistence.packed import BadFormat
from coordkit_server.persistence.rdb_format import Writer
from coordkit_server.persistence.rdb_values import save_value
from coordkit_server.resp.reply import OK

_UNSET: Final = -1


class _Options:
    """What the options of RESTORE say."""

    def __init__(self) -> None:
        self.replace: bool = False
        self.absolute: bool = False
        self.idle_s: int = _UNSET
        self.frequency: int = _UNSET


def _parse(argv: list[bytes]) -> _Options:
    """Return the options behind the payload."""
    options = _Options()
    at = 4
    while at < len(argv):
        word = argv[at].upper()
        if word == b"REPLACE":
            options.replace = True
        elif word == b"ABSTTL":
            options.absolute = True
        elif word == b"IDLETIME" and at + 1 < len(argv) and options.frequency == _UNSET:
            at += 1
            options.idle_s = integer(argv[at])
            if options.idle_s < 0:
                raise CommandError(INVALID_IDLE_TIME)
        elif word == b"FREQ" and at + 1 < len(argv) and options.idle_s == _UNSET:
            at += 1
            options.frequency = integer(argv[at])
            if not 0 <= options.frequency <= 255:
                raise CommandError(INVALID_FREQ)
        else:
            raise syntax_error()
        at += 1
    return options


def dump(cx: Context) -> object:
    """DUMP key -> the value as bytes, null if there is none."""
    entry = cx.db.lookup_read(cx.argv[1])
    if entry is None:
        return None
    compress = cx.services.config.flag("rdbcompression")
    services = cx.services
    return payloads.dump(entry.value, services.limits, compress=compress, compressor=services.compressor)


def serialized_length(cx: Context, value: object) -> int:
    """Return how many bytes `value` takes in a snapshot, without its type and key."""
    writer = Writer(compress=cx.services.config.flag("rdbcompression"), compressor=cx.services.compressor)
    save_value(writer, value, cx.services.limits)
    return len(writer.collected())


def restore(cx: Context) -> object:
    """RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME s] [FREQ n] -> OK; `ttl` in ms, 0 for none."""
    argv = cx.argv
    key = argv[1]
    options = _parse(argv)
    if not options.replace and cx.db.lookup_write(key) is not None:
        raise CommandError(BUSY_KEY)
    ttl_ms = integer(argv[2])
    if ttl_ms < 0:
        raise CommandError(INVALID_TTL)
    value = _restored(cx, argv[3])
    deleted = options.replace and _drop(cx, key)
    if ttl_ms and not options.absolute:
        ttl_ms += cx.state.now_ms
    if ttl_ms and ttl_ms <= cx.state.now_ms:
        if deleted:
            cx.rewrite([b"UNLINK" if cx.state.propagation.lazy_server_del else b"DEL", key])
            cx.db.modified(key)
            cx.db.notify(GENERIC, b"del", key)
        return OK
    entry = cx.db.add(key, value)
    if ttl_ms:
        cx.db.set_expiry(entry, ttl_ms)
        if not options.absolute and cx.propagates():
            cx.rewrite([*argv[:2], b"%d" % ttl_ms, *argv[3:], b"ABSTTL"])
    if options.frequency != _UNSET and cx.state.counts_use:
        entry.used_at = packed(cx.state.now_ms, options.frequency)
    if options.idle_s != _UNSET and not cx.state.counts_use:
        entry.used_at = used_before(options.idle_s, cx.state.now_ms)
    cx.db.modified(key)
    cx.db.notify(GENERIC, b"restore", key)
    return OK


def _restored(cx: Context, payload: bytes) -> object:
    """Return the value in `payload`."""
    try:
        return payloads.restore(payload, cx.services.limits, check_sum=not cx.services.skip_checksums)
    except payloads.BadChecksum as damage:
        raise CommandError(BAD_PAYLOAD) from damage
    except BadFormat as error:
        cx.services.log.warning(f"RESTORE: {error}")
        raise CommandError(BAD_DATA_FORMAT) from error


def _drop(cx: Context, key: bytes) -> bool:
    """Remove what is at `key`, for the new value; return False if there was nothing."""
    entry = cx.db.lookup_write(key)
    if entry is None:
        return False
    cx.db.remove(entry)
    return True


def commands() -> list[Command]:
    """Return the rows of this part of the group."""
    write = WRITE | DENYOOM
    return [
        Command(b"DUMP", 2, READONLY, dump, KEY1, since=b"2.6.0", summary=b"Turns a value into bytes."),
        Command(b"RESTORE", -4, write, restore, KEY1, since=b"2.6.0", summary=b"Makes a key from the bytes of DUMP."),
        Command(
            b"RESTORE-ASKING",
            -4,
            write | ASKING,
            restore,
            KEY1,
            since=b"3.0.0",
            summary=b"Makes a key from the bytes of DUMP, while a cluster moves keys.",
        ),
    ]
