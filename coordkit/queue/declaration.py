"""Queues as modules declare them: a name, handlers and their policies.  Nothing here connects.

mail = Queue("mail")

@mail.job(retries=5)
async def welcome(ctx, user: int): ...
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar, overload

from coordkit.durations import Duration, to_ms, to_positive_seconds
from coordkit.errors import ConfigurationError
from coordkit.keys import encoded_name

Function = Callable[..., object]
F = TypeVar("F", bound=Function)

RESERVED: Final = frozenset({"delay", "key"})
"""Keyword arguments of `enqueue` itself: no handler may have them."""

DEFAULT_LEASE_S: Final = 10.0
"""How long a job stays with a worker that is not heard of: about the time until a crash is noticed."""

DEFAULT_KEEP_S: Final = 600.0
DEFAULT_KEEP_JOBS: Final = 10_000
MAX_COUNT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a job is tried again: `retries` after errors, `crashes` after lost leases, with growing pauses between."""

    retries: int = 3
    crashes: int = 3
    backoff_ms: int = 1000
    backoff_max_ms: int = 600_000


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that runs jobs of one name."""

    name: str
    function: Function
    policy: RetryPolicy
    timeout_s: float | None
    asynchronous: bool
    signature: inspect.Signature

    def check(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        """Comes back if the function takes these arguments after its `ctx`.  Raises TypeError like a call would."""
        try:
            self.signature.bind(None, *args, **kwargs)
        except TypeError as exc:
            raise TypeError(f"job {self.name!r}: {exc}") from exc


class Queue:
    """A declaration: a name and the handlers that belong to it.

    `lease`: how long a worker that is not heard of keeps a job.  `keep`, `keep_jobs`: how long, and of how many jobs,
    the results are kept.  A job that was given up is kept until it is requeued or discarded.
    """

    def __init__(
        self,
        name: str,
        *,
        lease: Duration = DEFAULT_LEASE_S,
        keep: Duration = DEFAULT_KEEP_S,
        keep_jobs: int = DEFAULT_KEEP_JOBS,
    ) -> None:
        encoded_name(name, kind="queue")
        self.name = name
        self.lease_ms = to_ms(lease, name="lease")
        self.keep_ms = to_ms(keep, name="keep")
        self.keep_jobs = checked_count(keep_jobs, name="keep_jobs")
        self.handlers: dict[str, Handler] = {}

    def __repr__(self) -> str:
        return f"Queue({self.name!r}, {len(self.handlers)} handlers)"

    @overload
    def job(self, function: F, /) -> F: ...

    @overload
    def job(
        self,
        /,
        *,
        name: str | None = None,
        retries: int = 3,
        crashes: int = 3,
        backoff: Duration = 1.0,
        backoff_max: Duration = 600.0,
        timeout: Duration | None = None,
    ) -> Callable[[F], F]: ...

    def job(
        self,
        function: F | None = None,
        /,
        *,
        name: str | None = None,
        retries: int = 3,
        crashes: int = 3,
        backoff: Duration = 1.0,
        backoff_max: Duration = 600.0,
        timeout: Duration | None = None,
    ) -> F | Callable[[F], F]:
        """The function unchanged, now the handler of the jobs of its name (or of `name`).

        `retries`: attempts after the first that failed; their pauses grow from `backoff` to `backoff_max`, half of
        them random.  `crashes`: how many lost leases are forgiven (a job that kills its worker must not go round
        for ever).  `timeout`: how long one attempt may take; after that it has failed, whatever the function returns
        or raises then.  A coroutine is cancelled at its timeout and keeps its place until it ends; a function in a
        thread is left to itself: it sees `ctx.lost` and should stop, for the next attempt may start beside it.
        """
        policy = RetryPolicy(
            checked_count(retries, name="retries"),
            checked_count(crashes, name="crashes"),
            to_ms(backoff, name="backoff"),
            to_ms(backoff_max, name="backoff_max"),
        )
        timeout_s = None if timeout is None else to_positive_seconds(timeout, name="timeout")

        def register(handler: F) -> F:
            self._register(handler, name, policy, timeout_s)
            return handler

        return register if function is None else register(function)

    def handler_of(self, function: Function | str) -> Handler | None:
        """The handler of a name or a function; None for a name that is not declared here.

        Raises ConfigurationError for a function that is no handler of this queue.
        """
        if isinstance(function, str):
            return self.handlers.get(function)
        for handler in self.handlers.values():
            if handler.function is function:
                return handler
        raise ConfigurationError(f"{function!r} is no handler of {self!r}; decorate it with `@queue.job()`")

    def _register(self, function: Function, name: str | None, policy: RetryPolicy, timeout_s: float | None) -> None:
        chosen = str(getattr(function, "__name__", "")) if name is None else name
        encoded_name(chosen, kind="job")
        signature = inspect.signature(function)
        if chosen in self.handlers:
            raise ConfigurationError(f"queue {self.name!r} has a handler {chosen!r} already; give another `name`")
        if not signature.parameters:
            raise ConfigurationError(f"handler {chosen!r} takes no arguments; its first one must be `ctx`")
        if taken := RESERVED & signature.parameters.keys():
            raise ConfigurationError(
                f"handler {chosen!r} has parameters {sorted(taken)} that `enqueue` needs for itself; rename them"
            )
        asynchronous = inspect.iscoroutinefunction(function)
        self.handlers[chosen] = Handler(chosen, function, policy, timeout_s, asynchronous, signature)


def checked_count(value: int, *, name: str) -> int:
    """`value` if it is a whole number from 0 to MAX_COUNT.  Raises ConfigurationError, which names it."""
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise ConfigurationError(f"{name} must be a whole number from 0 to {MAX_COUNT}, not {value!r}")
    return value
