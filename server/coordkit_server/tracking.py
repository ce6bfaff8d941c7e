"""Client-side caching: who is told which key has changed (CLIENT TRACKING).

Default mode: the server remembers which client read which key and tells each once.  Broadcast mode: clients name
prefixes, and once a turn of the event loop all of them hear of the keys that changed below them.

Messages go to the client itself (RESP3), or to the client it redirects to: as a push in RESP3, as a message on
`__redis__:invalidate` to a RESP2 client with subscriptions.  Source: Redis documentation, "Client-side caching".
"""

from itertools import islice
from typing import Final

from coordkit_server.keyspace.watch import Tracker
from coordkit_server.resp.reply import PushReply
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

CHANNEL: Final = b"__redis__:invalidate"
# keys that one turn drops from a table that is too large; the next turn drops as many more, and so on
LIMIT_EFFORT: Final = 100


class Prefix:
    """One prefix of broadcast mode: who wants it, and the keys below it that changed in this turn, with who did it."""

    def __init__(self) -> None:
        self.clients: Final[dict[int, None]] = {}
        self.changed: dict[bytes, int] = {}


class Tracking(Tracker):
    """Everything the server knows about what its clients cache."""

    def __init__(self, sessions: dict[int, Session]) -> None:
        self.sessions: Final = sessions
        self.current: Session | None = None  # the client whose command runs
        self.client_count: int = 0
        self.max_keys: int = 0
        self.keys: Final[dict[bytes, dict[int, None]]] = {}
        self.item_count: int = 0
        self.prefixes: Final[dict[bytes, Prefix]] = {}
        self._changed: bool = False  # a prefix has keys to tell
        self._overfull_turns: int = 0

    def is_needed(self) -> bool:
        """Return True if changes of keys matter to anybody."""
        return self.client_count > 0 or len(self.keys) > 0

    # -- clients -------------------------------------------------------------------------------------------------

    def enable(self, session: Session, redirect: int, options: int, prefixes: list[bytes]) -> None:
        """Start tracking for `session`, or change how; broadcast prefixes add to those it has."""
        if not session.tracking & TRACK_ON:
            self.client_count += 1
        session.tracking = (session.tracking & TRACK_CACHING) | TRACK_ON | options
        session.redirect = redirect
        if options & TRACK_BCAST:
            for prefix in prefixes or [b""]:
                self._add_prefix(session, prefix)

    def _add_prefix(self, session: Session, prefix: bytes) -> None:
        """Tell `session` about keys that start with `prefix`."""
        state = self.prefixes.get(prefix)
        if state is None:
            state = Prefix()
            self.prefixes[prefix] = state
        state.clients[session.id] = None
        if prefix not in session.prefixes:
            session.prefixes.append(prefix)

    def disable(self, session: Session) -> None:
        """Stop tracking for `session`; the keys it read are forgotten as they change."""
        for prefix in session.prefixes:
            state = self.prefixes[prefix]
            del state.clients[session.id]
            if not state.clients:
                del self.prefixes[prefix]
        session.prefixes = []
        if session.tracking & TRACK_ON:
            self.client_count -= 1
        session.tracking = 0

    # -- reads ---------------------------------------------------------------------------------------------------

    def remember(self, argv: list[bytes], positions: list[int]) -> None:
        """Note that the current client has read the keys at `positions` of `argv`, if its mode tracks this command."""
        session = self.current
        if session is None:
            return
        mode = session.tracking
        if not mode & TRACK_ON or mode & TRACK_BCAST:
            return
        caching = mode & TRACK_CACHING
        if (mode & TRACK_OPTIN and not caching) or (mode & TRACK_OPTOUT and caching):
            return
        ident = session.id
        for position in positions:
            readers = self.keys.get(argv[position])
            if readers is None:
                self.keys[argv[position]] = {ident: None}
                self.item_count += 1
            elif ident not in readers:
                readers[ident] = None
                self.item_count += 1

    # -- changes -------------------------------------------------------------------------------------------------

    def key_modified(self, key: bytes, db_index: int) -> None:
        """Tell those who read `key`, and note it for the prefixes it has; the current client changed it."""
        current = self.current
        self._changed_by(key, 0 if current is None else current.id)

    def key_removed(self, key: bytes, db_index: int) -> None:
        """Do as `key_modified` for a key that expired or was evicted, which no client has changed."""
        self._changed_by(key, 0)

    def _changed_by(self, key: bytes, author: int) -> None:
        """Tell of a change that the client number `author` (0: none) has made."""
        for prefix, state in self.prefixes.items():
            if key.startswith(prefix):
                state.changed[key] = author
                self._changed = True
        self._forget(key)

    def _forget(self, key: bytes) -> None:
        """Tell the clients that read `key`, once: they have to read again to be told again."""
        readers = self.keys.pop(key, None)
        if readers is None:
            return
        self.item_count -= len(readers)
        for ident in readers:
            session = self.sessions.get(ident)
            if session is None or not session.tracking & TRACK_ON or session.tracking & TRACK_BCAST:
                continue
            if not (session.tracking & TRACK_NOLOOP and session is self.current):
                self._send(session, [key])

    def flushed(self) -> None:
        """Tell every tracking client to drop all it has: a database was emptied."""
        if self.client_count:
            for session in self.sessions.values():
                if session.tracking & TRACK_ON:
                    self._send(session, None)
        self.keys.clear()
        self.item_count = 0

    def broadcast(self) -> None:
        """Send what has changed below the prefixes in this turn; the event loop calls it before it waits."""
        if not self._changed:
            return
        self._changed = False
        for state in list(self.prefixes.values()):
            if state.changed:
                changed = state.changed
                state.changed = {}
                self._send_changes(state, changed)

    def _send_changes(self, state: Prefix, changed: dict[bytes, int]) -> None:
        """Send the keys of one prefix to its clients, without their own changes to those with NOLOOP."""
        everything: list[object] = []
        everything.extend(changed)
        for ident in state.clients:
            session = self.sessions.get(ident)
            if session is None:
                continue
            if not session.tracking & TRACK_NOLOOP:
                self._send(session, everything)
                continue
            foreign: list[object] = []
            for key, author in changed.items():
                if author != ident:
                    foreign.append(key)
            if foreign:
                self._send(session, foreign)

    def limit(self) -> None:
        """Drop keys, telling their readers, while there are more than `max_keys` (0: no limit) of them."""
        if self.max_keys == 0 or len(self.keys) <= self.max_keys:
            self._overfull_turns = 0
            return
        self._overfull_turns += 1
        excess = min(LIMIT_EFFORT * self._overfull_turns, len(self.keys) - self.max_keys)
        for key in list(islice(self.keys, excess)):
            self._forget(key)

    # -- messages ------------------------------------------------------------------------------------------------

    def _send(self, session: Session, what: object) -> None:
        """Send an invalidation to `session` or to the client it redirects to."""
        target = session
        if session.redirect:
            redirected = self.sessions.get(session.redirect)
            if redirected is None:
                session.tracking |= TRACK_BROKEN
                if session.resp3:
                    session.deliver(PushReply([b"tracking-redir-broken", session.redirect]))
                return
            target = redirected
        if target.resp3:
            target.deliver(PushReply([b"invalidate", what]))
        elif target is not session and (target.subscription_count() or target.shard_channels):
            target.deliver(PushReply([b"message", CHANNEL, what]))
