"""Pub/sub commands (group "pubsub"): publish, subscribe by name, pattern or shard channel, introspection."""

from typing import Final

from coordkit_server import glob, pubsub
from coordkit_server.commands.help import help_reply
from coordkit_server.context import (
    ALL_KEYS,
    FAST,
    KEY1,
    LOADING,
    MAY_REPLICATE,
    NOSCRIPT,
    PUBSUB,
    STALE,
    Command,
    Context,
)
from coordkit_server.errors import CommandError
from coordkit_server.keyspace.propagation import TO_REPLICAS
from coordkit_server.pubsub import Registry
from coordkit_server.resp.encoder import encode
from coordkit_server.resp.reply import NO_REPLY, JoinedReply, PushReply
from coordkit_server.session import Session

_BASE: Final = PUBSUB | NOSCRIPT | LOADING | STALE


def publish(cx: Context) -> object:
    """PUBLISH channel message -> number of clients that received it."""
    cx.force_propagation(TO_REPLICAS)
    return cx.services.pubsub.publish(cx.argv[1], cx.argv[2])


def spublish(cx: Context) -> object:
    """SPUBLISH shardchannel message -> number of clients that received it."""
    cx.force_propagation(TO_REPLICAS)
    return cx.services.pubsub.publish_shard(cx.argv[1], cx.argv[2])


def subscribe(cx: Context) -> object:
    """SUBSCRIBE channel [channel ...]: one confirmation a channel."""
    return _subscribe(cx, b"subscribe", cx.services.pubsub.channels, cx.session.channels)


def psubscribe(cx: Context) -> object:
    """PSUBSCRIBE pattern [pattern ...]: one confirmation a pattern."""
    return _subscribe(cx, b"psubscribe", cx.services.pubsub.patterns, cx.session.patterns)


def ssubscribe(cx: Context) -> object:
    """SSUBSCRIBE shardchannel [shardchannel ...]: one confirmation a channel."""
    return _subscribe(cx, b"ssubscribe", cx.services.pubsub.shard_channels, cx.session.shard_channels)


def unsubscribe(cx: Context) -> object:
    """UNSUBSCRIBE [channel ...]: one confirmation a channel; all if none is named."""
    return _unsubscribe(cx, b"unsubscribe", cx.services.pubsub.channels, cx.session.channels)


def punsubscribe(cx: Context) -> object:
    """PUNSUBSCRIBE [pattern ...]: one confirmation a pattern; all if none is named."""
    return _unsubscribe(cx, b"punsubscribe", cx.services.pubsub.patterns, cx.session.patterns)


def sunsubscribe(cx: Context) -> object:
    """SUNSUBSCRIBE [shardchannel ...]: one confirmation a channel; all if none is named."""
    return _unsubscribe(
        cx,
        b"sunsubscribe",
        cx.services.pubsub.shard_channels,
        cx.session.shard_channels,
    )


def _subscribe(cx: Context, kind: bytes, registry: Registry, own: dict[bytes, None]) -> object:
    """Enter the session for each name, confirming each."""
    session = cx.session
    if session.deny_blocking and not session.resp3:
        # inside EXEC a RESP2 client could not tell the confirmations from the replies
        raise CommandError(b"ERR " + kind.upper() + b" isn't allowed for a DENY BLOCKING client")
    confirmations: list[object] = []
    for i in range(1, len(cx.argv)):
        name = cx.argv[i]
        own[name] = None
        pubsub.add(registry, name, session)
        confirmations.append(_confirmation(session, kind, name))
    session.set_subscribed_gate()
    return _confirmed(session, confirmations)


def _unsubscribe(cx: Context, kind: bytes, registry: Registry, own: dict[bytes, None]) -> object:
    """Take the session out for each name (all if none is given), confirming each."""
    session = cx.session
    names = cx.argv[1:] if len(cx.argv) > 1 else list(own)
    confirmations: list[object] = []
    for name in names:
        own.pop(name, None)
        pubsub.remove(registry, name, session)
        confirmations.append(_confirmation(session, kind, name))
    if not names:
        confirmations.append(_confirmation(session, kind, None))
    session.set_subscribed_gate()
    return _confirmed(session, confirmations)


def _confirmation(session: Session, kind: bytes, name: bytes | None) -> object:
    """Return the confirmation of one (un)subscription with the number that remain."""
    sharded = kind in (b"ssubscribe", b"sunsubscribe")
    count = len(session.shard_channels) if sharded else session.subscription_count()
    return PushReply([kind, name, count])


def _confirmed(session: Session, confirmations: list[object]) -> object:
    """Send the confirmations, whatever the client's reply mode; inside EXEC they stand among its replies."""
    if session.deny_blocking:
        return JoinedReply(confirmations)
    for confirmation in confirmations:
        encode(session.out, confirmation, session.resp3)
    session.sink.wake()
    return NO_REPLY


def pubsub_channels(cx: Context) -> object:
    """PUBSUB CHANNELS [pattern] -> channels with subscribers."""
    return _names(cx.services.pubsub.channels, cx.argv)


def pubsub_shardchannels(cx: Context) -> object:
    """PUBSUB SHARDCHANNELS [pattern] -> shard channels with subscribers."""
    return _names(cx.services.pubsub.shard_channels, cx.argv)


def _names(registry: Registry, argv: list[bytes]) -> object:
    """Return the names in `registry` that match the optional pattern."""
    if len(argv) > 3:
        raise CommandError(
            b"ERR unknown subcommand or wrong number of arguments for '" + argv[1] + b"'. Try PUBSUB HELP."
        )
    names: list[object] = []
    for name in registry:
        if len(argv) == 2 or glob.match(argv[2], name):
            names.append(name)
    return names


def pubsub_numpat(cx: Context) -> object:
    """PUBSUB NUMPAT -> number of patterns with subscribers."""
    return len(cx.services.pubsub.patterns)


def pubsub_numsub(cx: Context) -> object:
    """PUBSUB NUMSUB [channel ...] -> channel, subscribers, ..."""
    return _counts(cx.services.pubsub.channels, cx.argv)


def pubsub_shardnumsub(cx: Context) -> object:
    """PUBSUB SHARDNUMSUB [shardchannel ...] -> shard channel, subscribers, ..."""
    return _counts(cx.services.pubsub.shard_channels, cx.argv)


def _counts(registry: Registry, argv: list[bytes]) -> object:
    """Return each name with its number of subscribers."""
    items: list[object] = []
    for name in argv[2:]:
        items.append(name)
        items.append(len(registry.get(name, {})))
    return items


def pubsub_help(cx: Context) -> object:
    """PUBSUB HELP -> lines of help."""
    return help_reply(b"PUBSUB", _HELP)


_HELP: Final[list[bytes]] = [
    b"CHANNELS [<pattern>]",
    b"    List the channels that have subscribers.",
    b"NUMPAT",
    b"    Count the patterns that clients subscribe to.",
    b"NUMSUB [<channel> ...]",
    b"    Count the subscribers of channels.",
    b"SHARDCHANNELS [<pattern>]",
    b"    List the shard channels that have subscribers.",
    b"SHARDNUMSUB [<shardchannel> ...]",
    b"    Count the subscribers of shard channels.",
]


def pubsub_container(cx: Context) -> object:
    """PUBSUB subcommand: never reached without one (arity)."""
    raise CommandError(b"ERR wrong number of arguments for 'pubsub' command")


def commands() -> list[Command]:
    """Return the rows of this group."""
    read = PUBSUB | LOADING | STALE
    return [
        Command(b"PSUBSCRIBE", -2, _BASE, psubscribe, since=b"2.0.0", summary=b"Listens to channels by pattern."),
        Command(
            b"PUBLISH",
            3,
            read | FAST | MAY_REPLICATE,
            publish,
            since=b"2.0.0",
            summary=b"Sends a message to a channel.",
        ),
        Command(
            b"PUBSUB",
            -2,
            0,
            pubsub_container,
            since=b"2.8.0",
            summary=b"Tells about channels and subscribers.",
            subcommands=[
                Command(b"CHANNELS", -2, read, pubsub_channels, since=b"2.8.0"),
                Command(b"HELP", 2, LOADING | STALE, pubsub_help, since=b"6.2.0"),
                Command(b"NUMPAT", 2, read, pubsub_numpat, since=b"2.8.0"),
                Command(b"NUMSUB", -2, read, pubsub_numsub, since=b"2.8.0"),
                Command(b"SHARDCHANNELS", -2, read, pubsub_shardchannels, since=b"7.0.0"),
                Command(b"SHARDNUMSUB", -2, read, pubsub_shardnumsub, since=b"7.0.0"),
            ],
        ),
        Command(b"PUNSUBSCRIBE", -1, _BASE, punsubscribe, since=b"2.0.0", summary=b"Stops listening to patterns."),
        Command(
            b"SPUBLISH",
            3,
            read | FAST | MAY_REPLICATE,
            spublish,
            KEY1,
            since=b"7.0.0",
            summary=b"Sends to a shard channel.",
        ),
        Command(b"SSUBSCRIBE", -2, _BASE, ssubscribe, ALL_KEYS, since=b"7.0.0", summary=b"Listens to shard channels."),
        Command(b"SUBSCRIBE", -2, _BASE, subscribe, since=b"2.0.0", summary=b"Listens to channels."),
        Command(
            b"SUNSUBSCRIBE",
            -1,
            _BASE,
            sunsubscribe,
            ALL_KEYS,
            since=b"7.0.0",
            summary=b"Stops listening to shard channels.",
        ),
        Command(b"UNSUBSCRIBE", -1, _BASE, unsubscribe, since=b"2.0.0", summary=b"Stops listening to channels."),
    ]
