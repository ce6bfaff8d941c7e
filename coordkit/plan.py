"""Plans: what a primitive does, as a generator that yields steps and gets their results.  No I/O happens
here.

A step is a value; `runner.run` carries it out with a blocking backend and `runner.run_async` with an
asynchronous one, so the logic exists once and is tested with scripted results.  The rules for whoever writes
a plan:

- A failed step is raised inside the plan, at its `yield`; so is the cancellation of the caller
  (CancelledError, KeyboardInterrupt).  What has to be undone goes into `except BaseException: yield from
  undo(); raise` or `finally`: steps that are yielded there are still carried out, shielded from the caller's
  cancellation and bounded in time.
- `Subscribe` comes back once the server has confirmed; what is published from then on is not missed.
- After a lost and regained subscription every `WaitSignal` returns True once: look again, rather than wait
  for ever.
"""

from collections.abc import Generator
from typing import Final, NamedTuple, TypeVar

from coordkit.scripts import Args, Keys, Script

T = TypeVar("T")


class Call(NamedTuple):
    """Run a script; the result is its reply in plain form (`call` parses it)."""

    script: Script[object]
    keys: Keys
    args: Args


class Sleep(NamedTuple):
    """Let `seconds` pass."""

    seconds: float


class Now(NamedTuple):
    """The result is the monotonic time in seconds."""


class Publish(NamedTuple):
    """Send `payload` to `channel`; the result is how many clients got it."""

    channel: bytes
    payload: bytes


class Subscribe(NamedTuple):
    """Listen to `channel`, only for messages that equal `topic` if one is given; comes back when the server
    confirmed.

    The result is True if messages may have been missed so far: the channel was not being listened to before.
    """

    channel: bytes
    topic: bytes | None = None


class Listen(NamedTuple):
    """Listen to `channel` if it is open already; the result says whether.  Never waits."""

    channel: bytes
    topic: bytes | None = None


class WaitSignal(NamedTuple):
    """Wait for a message since the last wait (or the subscription); the result is False if `timeout_s` passed
    first.
    """

    channel: bytes
    timeout_s: float | None = None
    topic: bytes | None = None


class Unsubscribe(NamedTuple):
    """Stop listening.  What a plan leaves subscribed ends with the plan."""

    channel: bytes
    topic: bytes | None = None


class WhenBack(NamedTuple):
    """Have a call made that failed: when the server answers again, if that is within `within_s`.

    Nobody waits for it or hears of it.
    """

    script: Script[object]
    keys: Keys
    args: Args
    within_s: float


Step = Call | Sleep | Now | Publish | Subscribe | Listen | WaitSignal | Unsubscribe | WhenBack
Plan = Generator[Step, object, T]

NOW: Final = Now()


def call(script: Script[T], keys: Keys, args: Args) -> Plan[T]:
    """What `script` replies, parsed; to be used with `yield from`."""
    reply = yield Call(script, keys, args)
    return script.parse(reply)


def now() -> Plan[float]:
    """The monotonic time in seconds; to be used with `yield from`."""
    moment = yield NOW
    assert isinstance(moment, float)
    return moment
