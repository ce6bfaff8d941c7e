"""Every key and channel name the toolkit uses is built here, and nowhere else.

The part in braces is the hash tag: all keys that one script touches share it, so that a cluster keeps them in
one slot.

    ck:{lock:NAME}            hash    owner, fence, until_ms, waiters, expires_ms
    ck:{lock:NAME}:queue      zset    waiting owner -> server time of its arrival in us
    ck:{lock:NAME}:tickets    hash    waiting owner -> "deadline_ms inbox"
    ck:inbox:CLIENT           channel the wake-ups of one client; the payload is the waiting owner
    ck:limit:NAME:KIND:KEY    string or list, as the algorithm KIND keeps it; no tag, for the keys shall be spread
    ck:channel:NAME           channel what `Channel.publish` sends
    ck:{queue:NAME}           hash    counters, last fence, last sequence number
    ck:{queue:NAME}:jobs      hash    id -> record, id:in -> payload, id:out -> result or last error
    ck:{queue:NAME}:PLACE     zset    the ids in one place: ready, scheduled, leased, ended, dead
    ck:{queue:NAME}:unique    hash    unique key -> id of the job that holds it
    ck:{queue:NAME}:idle      zset    channels of the workers that wait for jobs
    ck:{queue:NAME}:turn:ID   string  the last turn of one worker
    ck:{queue:NAME}:wake:ID   channel the wake-ups of one worker
    ck:{queue:NAME}:ended:ID  channel the end of one job; the payload is how it ended
    ck:{demo}:NAME            what the processes of `coordkit demo` share

A name in the middle of a key is escaped, so that (a, b:c) and (a:b, c) are two keys.
"""

from dataclasses import dataclass
from typing import NamedTuple

from coordkit.errors import ConfigurationError

DEFAULT_PREFIX = "ck"


def encoded_name(name: str, *, kind: str) -> bytes:
    """`name` as bytes.  Raises ConfigurationError if it is no text, or empty; `kind` says whose name it is."""
    return encoded_text(name, what=f"the name of a {kind}")


def encoded_text(text: object, *, what: str) -> bytes:
    """`text` as bytes.  Raises ConfigurationError, which calls it `what`, unless it is a string that is not empty
    and has a form in UTF-8.
    """
    if not isinstance(text, str) or not text:
        raise ConfigurationError(f"{what} must be a non-empty string, not {text!r}")
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise ConfigurationError(f"{what} must be text that UTF-8 can hold, not {text!r}: {exc.reason}") from exc


class QueueKeys(NamedTuple):
    """The keys of one queue, in the order in which its scripts take them."""

    meta: bytes
    jobs: bytes
    ready: bytes
    scheduled: bytes
    leased: bytes
    ended: bytes
    dead: bytes
    unique: bytes
    idle: bytes

    @classmethod
    def of(cls, meta: bytes) -> "QueueKeys":
        """The keys beside `meta`."""
        places = (b"jobs", b"ready", b"scheduled", b"leased", b"ended", b"dead", b"unique", b"idle")
        return cls(meta, *(meta + b":" + place for place in places))

    def turn(self, worker_id: str) -> bytes:
        """The key of a worker's last turn."""
        return self.meta + b":turn:" + worker_id.encode()

    def wake(self, worker_id: str) -> bytes:
        """The channel on which a worker is woken."""
        return self.meta + b":wake:" + worker_id.encode()

    def job_ended(self, job_id: str) -> bytes:
        """The channel on which the end of a job is told."""
        return self.meta + b":ended:" + job_id.encode()


@dataclass(frozen=True, slots=True)
class Keys:
    """Key builders of one client; `prefix` keeps applications that share a server apart."""

    prefix: bytes

    @classmethod
    def of(cls, prefix: str) -> "Keys":
        """The builders for `prefix`.  Raises ConfigurationError for an empty prefix or one with braces."""
        if not prefix or "{" in prefix or "}" in prefix:
            raise ConfigurationError(f"a prefix must be non-empty and hold no braces, not {prefix!r}")
        return cls(prefix.encode())

    def lock(self, name: str) -> tuple[bytes, bytes, bytes]:
        """The keys of a lock: record, queue, tickets."""
        record = b"%b:{lock:%b}" % (self.prefix, encoded_name(name, kind="lock"))
        return record, record + b":queue", record + b":tickets"

    def limit(self, name: str, kind: str) -> bytes:
        """What every key of a limiter starts with; the user's key follows."""
        escaped = encoded_name(name, kind="limiter").replace(b"%", b"%25").replace(b":", b"%3A")
        return b"%b:limit:%b:%b:" % (self.prefix, escaped, kind.encode())

    def channel(self, name: str) -> bytes:
        """The server's name of a channel."""
        return b"%b:channel:%b" % (self.prefix, encoded_name(name, kind="channel"))

    def queue(self, name: str) -> "QueueKeys":
        """The keys of a queue."""
        return QueueKeys.of(b"%b:{queue:%b}" % (self.prefix, encoded_name(name, kind="queue")))

    def demo(self, name: str) -> bytes:
        """A key of `coordkit demo`."""
        return b"%b:{demo}:%b" % (self.prefix, name.encode())

    def inbox(self, client_id: bytes) -> bytes:
        """The channel on which one client is woken."""
        return b"%b:inbox:%b" % (self.prefix, client_id)
