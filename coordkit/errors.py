"""What the toolkit raises.

    CoordkitError
    ├── ConfigurationError (ValueError)        a value that cannot work: a URL, a ttl, a name
    ├── ServerUnavailable (ConnectionError)    no answer, and the command was certainly not run
    │   └── ClientClosed                       the client had been closed before
    ├── OutcomeUnknown                         the command was sent and the answer was lost: it may have run
    │   └── OutcomeForgotten                   the server itself cannot know any more
    ├── ServerError                            the server answered with an error
    ├── LockTimeout (TimeoutError)             the lock was not free within the timeout
    ├── LeaseLost                              the lease ended while it was still needed
    ├── LimitTimeout (TimeoutError)            the rate limit has no room within the timeout
    ├── SubscriptionOverflow                   messages came faster than they were read, and none may be dropped
    ├── JobFailed                              the job was given up: its last error
    ├── JobCancelled                           the job was cancelled before it was done
    ├── JobUnknown (LookupError)               no such job, or its result is kept no longer
    └── ResultTimeout (TimeoutError)           the job has not ended within the timeout

Errors of the standard library and of clients are mapped where they cross into the toolkit, in `transports`.
"""


class CoordkitError(Exception):
    """The root of everything the toolkit raises on purpose."""


class ConfigurationError(CoordkitError, ValueError):
    """A setting or an argument that cannot work; the message names it, its value and what is accepted."""


class ServerUnavailable(CoordkitError, ConnectionError):
    """The server gave no answer, and the command was certainly not run: trying again is safe."""


class ClientClosed(ServerUnavailable):
    """The client was closed before the call: no attempt was made, and none will be."""


class OutcomeUnknown(CoordkitError):
    """The command was sent and its answer was lost: it may or may not have been run.

    Raised only where running it twice would do harm; what may be repeated is repeated within the call's
    deadline.
    """


class OutcomeForgotten(OutcomeUnknown):
    """The server says that it cannot know any more whether the command was run: asking again is of no use."""


class ServerError(CoordkitError):
    """The server answered with an error; `code` is its first word (`WRONGTYPE`, `NOSCRIPT`, ...)."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def code(self) -> str:
        """The first word of the message."""
        return self.message.partition(" ")[0]


class LockTimeout(CoordkitError, TimeoutError):
    """The lock could not be taken within the timeout; nothing is held."""


class LeaseLost(CoordkitError):
    """The lease ended while it was needed: another owner may hold the lock now, or soon."""


class LimitTimeout(CoordkitError, TimeoutError):
    """The rate limit has no room within the timeout; nothing was taken."""


class SubscriptionOverflow(CoordkitError):
    """Messages came faster than they were read, the buffer is full, and its policy is not to drop any."""


class JobFailed(CoordkitError):
    """The job was given up after its last retry; the message holds its last error."""


class JobCancelled(CoordkitError):
    """The job was cancelled before it was done: there is no result."""


class JobUnknown(CoordkitError, LookupError):
    """There is no such job in the queue; ended ones are forgotten after the time the queue keeps results."""


class ResultTimeout(CoordkitError, TimeoutError):
    """The job has not ended within the timeout; it is still in the queue."""
