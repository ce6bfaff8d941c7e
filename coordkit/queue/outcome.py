"""What a handler raises to say how its failure is meant.  Any other exception means: try again as declared."""

from coordkit.durations import Duration, to_ms


class Reject(Exception):
    """The job can never succeed: it goes to the dead letters at once, whatever retries are left."""


class RetryLater(Exception):
    """Try again after `after` seconds instead of the declared backoff; it still counts as a failure."""

    def __init__(self, after: Duration, reason: str = "") -> None:
        super().__init__(reason or f"again after {after}")
        self.after_ms = to_ms(after, name="after")
