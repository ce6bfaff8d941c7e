"""CLIENT TRACKING, CACHING, GETREDIR, TRACKINGINFO: client-side caching (group "connection")."""

from typing import Final

from coordkit_server.commands.args import integer
from coordkit_server.context import LOADING, NOSCRIPT, STALE, Command, Context
from coordkit_server.errors import CommandError, syntax_error
from coordkit_server.resp.reply import OK, MapReply, SetReply
from coordkit_server.session import (
    TRACK_BCAST,
    TRACK_BROKEN,
    TRACK_CACHING,
    TRACK_NOLOOP,
    TRACK_ON,
    TRACK_OPTIN,
    TRACK_OPTOUT,
    Session,
)

_OPTIONS: Final[dict[bytes, int]] = {
    b"BCAST": TRACK_BCAST,
    b"NOLOOP": TRACK_NOLOOP,
    b"OPTIN": TRACK_OPTIN,
    b"OPTOUT": TRACK_OPTOUT,
}


_DISABLE_FIRST: Final = b" before disabling tracking for this client, and then re-enabling it with a different mode."


class TrackingRequest:
    """What CLIENT TRACKING asks for."""

    def __init__(self) -> None:
        self.options: int = 0
        self.redirect: int = 0
        self.prefixes: list[bytes] = []


def client_tracking(cx: Context) -> object:
    """CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX prefix ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP] -> OK."""
    request = _request(cx)
    switch = cx.argv[2].upper()
    session = cx.session
    tracking = cx.services.tracking
    if switch == b"ON":
        _check_modes(session, request)
        if request.options & TRACK_BCAST:
            _check_prefixes(session, request.prefixes)
        tracking.enable(session, request.redirect, request.options, request.prefixes)
    elif switch == b"OFF":
        tracking.disable(session)
    else:
        raise syntax_error()
    cx.state.tracking = tracking.is_needed()
    return OK


def _request(cx: Context) -> TrackingRequest:
    """Return the options; raises for unknown ones and for a redirection that cannot be."""
    argv = cx.argv
    request = TrackingRequest()
    at = 3
    while at < len(argv):
        word = argv[at].upper()
        if word == b"REDIRECT" and at + 1 < len(argv):
            at += 1
            if request.redirect:
                raise CommandError(b"ERR A client can only redirect to a single other client")
            request.redirect = integer(argv[at])
            if request.redirect not in cx.services.sessions:
                raise CommandError(b"ERR The client ID you want redirect to does not exist")
        elif word == b"PREFIX" and at + 1 < len(argv):
            at += 1
            request.prefixes.append(argv[at])
        elif word in _OPTIONS:
            request.options |= _OPTIONS[word]
        else:
            raise syntax_error()
        at += 1
    return request


def _check_modes(session: Session, request: TrackingRequest) -> None:
    """Raise if the options contradict one another or the mode the client is in."""
    options = request.options
    if request.prefixes and not options & TRACK_BCAST:
        raise CommandError(b"ERR PREFIX option requires BCAST mode to be enabled")
    if session.tracking & TRACK_ON and (session.tracking ^ options) & TRACK_BCAST:
        raise CommandError(b"ERR You can't switch BCAST mode on/off" + _DISABLE_FIRST)
    if options & TRACK_BCAST and options & (TRACK_OPTIN | TRACK_OPTOUT):
        raise CommandError(b"ERR OPTIN and OPTOUT are not compatible with BCAST")
    if options & TRACK_OPTIN and options & TRACK_OPTOUT:
        raise CommandError(b"ERR You can't specify both OPTIN mode and OPTOUT mode")
    if (options & TRACK_OPTIN and session.tracking & TRACK_OPTOUT) or (
        options & TRACK_OPTOUT and session.tracking & TRACK_OPTIN
    ):
        raise CommandError(b"ERR You can't switch OPTIN/OPTOUT mode" + _DISABLE_FIRST)


def _check_prefixes(session: Session, prefixes: list[bytes]) -> None:
    """Raise if a new prefix lies within another one of this client, or the other way round."""
    for i, prefix in enumerate(prefixes):
        for existing in session.prefixes:
            if _overlap(prefix, existing):
                raise _overlapping(prefix, b"an existing prefix", existing)
        for other in prefixes[i + 1 :]:
            if _overlap(prefix, other):
                raise _overlapping(prefix, b"another provided prefix", other)


def _overlap(first: bytes, second: bytes) -> bool:
    """Return True if a key can start with both."""
    return first.startswith(second) or second.startswith(first)


def _overlapping(prefix: bytes, what: bytes, other: bytes) -> CommandError:
    """Return the error for two prefixes that overlap."""
    return CommandError(
        b"ERR Prefix '%b' overlaps with %b '%b'. Prefixes for a single client must not overlap." % (prefix, what, other)
    )


def client_caching(cx: Context) -> object:
    """CLIENT CACHING YES|NO -> OK; the keys of the next command are tracked (OPTIN) or not (OPTOUT)."""
    session = cx.session
    if not session.tracking & TRACK_ON:
        raise CommandError(
            b"ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode "
            b"enabled"
        )
    word = cx.argv[2].upper()
    if word == b"YES":
        if not session.tracking & TRACK_OPTIN:
            raise CommandError(b"ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
    elif word == b"NO":
        if not session.tracking & TRACK_OPTOUT:
            raise CommandError(b"ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
    else:
        raise syntax_error()
    session.tracking |= TRACK_CACHING
    return OK


def client_getredir(cx: Context) -> object:
    """CLIENT GETREDIR -> the client that gets the messages, 0 for this one, -1 without tracking."""
    return cx.session.redirect if cx.session.tracking & TRACK_ON else -1


def client_trackinginfo(cx: Context) -> object:
    """CLIENT TRACKINGINFO -> flags, redirect, prefixes."""
    session = cx.session
    mode = session.tracking
    flags: list[object] = [b"on" if mode & TRACK_ON else b"off"]
    if mode & TRACK_BCAST:
        flags.append(b"bcast")
    if mode & TRACK_OPTIN:
        flags.append(b"optin")
        if mode & TRACK_CACHING:
            flags.append(b"caching-yes")
    if mode & TRACK_OPTOUT:
        flags.append(b"optout")
        if mode & TRACK_CACHING:
            flags.append(b"caching-no")
    if mode & TRACK_NOLOOP:
        flags.append(b"noloop")
    if mode & TRACK_BROKEN:
        flags.append(b"broken_redirect")
    redirect = session.redirect if mode & TRACK_ON else -1
    prefixes: list[object] = []
    prefixes.extend(sorted(session.prefixes))
    return MapReply([b"flags", SetReply(flags), b"redirect", redirect, b"prefixes", prefixes])


def rows() -> list[Command]:
    """Return the subcommands of CLIENT that this file holds."""
    base = NOSCRIPT | LOADING | STALE
    return [
        Command(b"CACHING", 3, base, client_caching, since=b"6.0.0"),
        Command(b"GETREDIR", 2, base, client_getredir, since=b"6.0.0"),
        Command(b"TRACKING", -3, base, client_tracking, since=b"6.0.0"),
        Command(b"TRACKINGINFO", 2, base, client_trackinginfo, since=b"6.2.0"),
    ]
