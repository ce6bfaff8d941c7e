"""How changes of streams are repeated elsewhere: with the ids that were made, and claims in place of reads."""

from typing import Final

from coordkit_server.commands.stream_trim import MAXLEN, StreamOptions
from coordkit_server.context import Context
from coordkit_server.datatypes.stream import StreamValue
from coordkit_server.datatypes.stream_entry import id_text
from coordkit_server.datatypes.stream_group import Group, Nack

_MIN_IDLE: Final = b"0"


def settled_argv(argv: list[bytes], options: StreamOptions, stream: StreamValue, text: bytes | None) -> list[bytes]:
    """Return XADD or XTRIM with what came of it: the id `text`, and an exact threshold for approximate trimming.

    LIMIT stays as in Redis, though it goes with approximate trimming only: who repeats the command ignores it."""
    settled = argv[:]
    if text is not None and not options.seq_given:
        settled[options.id_at] = text
    if options.approximately:
        settled[options.threshold_at - 1] = b"="
        length = options.strategy == MAXLEN
        settled[options.threshold_at] = b"%d" % stream.length() if length else id_text(stream.oldest_id())
    return settled


def propagate_claim(cx: Context, key: bytes, name: bytes, last_id: int, nack: Nack, text: bytes) -> None:
    """Let it be repeated that `nack`, whose id is `text`, is pending in the group `name`, read up to `last_id`."""
    owner = nack.consumer
    if owner is not None:
        claim = [b"XCLAIM", key, name, owner.name, _MIN_IDLE, text]
        claim += [b"TIME", b"%d" % nack.delivered_ms, b"RETRYCOUNT", b"%d" % nack.count]
        claim += [b"FORCE", b"JUSTID", b"LASTID", id_text(last_id)]
        cx.propagate(claim)


def propagate_group_id(cx: Context, key: bytes, name: bytes, group: Group) -> None:
    """Let it be repeated how far the group `name` has read."""
    cx.propagate([b"XGROUP", b"SETID", key, name, id_text(group.last_id), b"ENTRIESREAD", b"%d" % group.entries_read])


def propagate_consumer(cx: Context, key: bytes, name: bytes, consumer: bytes) -> None:
    """Let it be repeated that the group `name` has a new consumer."""
    cx.propagate([b"XGROUP", b"CREATECONSUMER", key, name, consumer])
