"""Clients and their users: who a client is when it comes, logging in, and what a change of users means for clients."""

from coordkit_server.access.selector import matches_channel
from coordkit_server.access.user import User
from coordkit_server.access.users import DEFAULT
from coordkit_server.commands.permissions import log_refusal
from coordkit_server.context import Context, Services
from coordkit_server.errors import WRONG_PASS, CommandError
from coordkit_server.session import GATE_ACL, GATE_AUTH, Session


def greet(services: Services, session: Session) -> None:
    """Make `session` the default user's, logged in if that takes no password."""
    session.user = DEFAULT
    session.authenticated = services.users.default.is_open()
    set_gates(services, session)


def set_gates(services: Services, session: Session) -> None:
    """Have dispatch look at the session's commands as far as its user asks for it."""
    users = services.users
    if session.authenticated or users.default.is_open():
        session.gates &= ~GATE_AUTH
    else:
        session.gates |= GATE_AUTH
    user = users.by_name.get(session.user)
    if user is not None and user.is_unrestricted():
        session.gates &= ~GATE_ACL
    else:
        session.gates |= GATE_ACL


def users_changed(services: Services) -> None:
    """Take over for all clients what users may do now."""
    for session in services.sessions.values():
        set_gates(services, session)


def authenticate(cx: Context, name: bytes, password: bytes) -> None:
    """Log the session in as the user `name`; raises WRONGPASS.  Failures are logged and counted."""
    session = cx.session
    user = cx.services.users.by_name.get(name)
    if user is None or not user.accepts(password):
        cx.services.stats.denied_logins += 1
        where = b"multi" if session.deny_blocking else b"toplevel"
        log_refusal(cx, b"auth", where, cx.argv[0], name)
        raise CommandError(WRONG_PASS)
    session.authenticated = True
    session.user = name
    set_gates(cx.services, session)


def disconnect(cx: Context, session: Session) -> None:
    """Close the connection of a user who is no more; the caller's own after the reply."""
    session.user = DEFAULT
    session.authenticated = False
    set_gates(cx.services, session)
    if session is cx.session:
        session.sink.close_after_flush()
    else:
        session.sink.close_now()


def disconnect_subscribers(cx: Context, before: User, after: User) -> None:
    """Close the connections of a user whose subscriptions it may not have any more."""
    channels: list[bytes] = []
    for selector in after.selectors:
        if selector.all_channels:
            return
        channels.extend(selector.channels)
    shrinks = False
    for selector in before.selectors:
        if selector.all_channels or not set(selector.channels) <= set(channels):
            shrinks = True
    if not shrinks:
        return
    for session in list(cx.services.sessions.values()):
        if session.user == before.name and session.client_type() == b"pubsub" and _exceeds(session, channels):
            if session is cx.session:
                session.sink.close_after_flush()
            else:
                session.sink.close_now()


def _exceeds(session: Session, channels: list[bytes]) -> bool:
    """Return True if the session subscribes to what is not among `channels`."""
    for pattern in session.patterns:
        if not matches_channel(channels, pattern, True):
            return True
    for name in [*session.channels, *session.shard_channels]:
        if not matches_channel(channels, name, False):
            return True
    return False
