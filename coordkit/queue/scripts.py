"""The scripts of a queue, one an arrow between the places of a job, and how their replies read."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from coordkit.keys import QueueKeys
from coordkit.scripts import Script

COUNTERS: Final = ("enqueued", "completed", "failed", "crashed", "released", "dead", "cancelled", "requeued")


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How many jobs are where now, how many workers wait for jobs, and how often what has happened so far.

    failed: attempts that ended in an error; crashed: leases that ended without an answer; dead_letters: jobs given up
    and kept; given_up: how many ever were.
    """

    ready: int
    scheduled: int
    leased: int
    dead_letters: int
    idle_workers: int
    enqueued: int
    completed: int
    failed: int
    crashed: int
    released: int
    given_up: int
    cancelled: int
    requeued: int

    @property
    def unfinished(self) -> int:
        """Jobs that are still to be done."""
        return self.ready + self.scheduled + self.leased


@dataclass(frozen=True, slots=True)
class JobInfo:
    """What the server knows of a job.  state: ready, scheduled, leased, done, dead, cancelled or unknown.

    `enqueued_at` is the server's time in seconds; `payload` is there until the job is done, `outcome` from its first
    error or its end on: the encoded result of a job that is done, else the text of the last error.
    """

    id: str
    state: str
    fence: int = 0
    attempts: int = 0
    failures: int = 0
    crashes: int = 0
    retries: int = 0
    enqueued_at: float = 0.0
    key: str | None = None
    payload: bytes | None = None
    outcome: bytes | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in {"done", "dead", "cancelled", "unknown"}

    @property
    def error(self) -> str | None:
        """The last error, None if there was none."""
        return None if self.outcome is None or self.state in {"done", "cancelled"} else self.outcome.decode()


class Leased(NamedTuple):
    """A job that is ours for the time of a lease."""

    id: str
    fence: int
    attempt: int
    failures: int
    crashes: int
    payload: bytes


class Turn(NamedTuple):
    """For each settlement whether the lease was still ours; new leases; ms until the next look, None: no need."""

    settled: list[bool]
    leases: list[Leased]
    look_ms: int | None


class Settlement(NamedTuple):
    """How an attempt ended.  outcome: done, failed, rejected or released; `data`: result or error text."""

    id: str
    fence: int
    outcome: str
    data: bytes = b""
    delay_ms: int | None = None


def parse_job(job_id: str, record: bytes, payload: bytes | None, outcome: bytes | None) -> JobInfo:
    """The job as its record tells."""
    if not record:
        return JobInfo(job_id, "unknown")
    state, fence, attempts, failures, crashes, retries, _, _, _, _, enqueued_ms, key = record.decode().split(" ", 11)
    return JobInfo(
        job_id,
        state,
        int(fence),
        int(attempts),
        int(failures),
        int(crashes),
        int(retries),
        int(enqueued_ms) / 1000,
        key or None,
        payload,
        outcome,
    )


def parse_enqueue(reply: object) -> list[tuple[str, bool]]:
    """For each job its id and whether it is new."""
    assert isinstance(reply, list)
    return [(job_id.decode(), new == 1) for job_id, new in reply]


def parse_turn(reply: object) -> Turn:
    """What a worker settled and got."""
    match reply:
        case [list(settled), list(leases), int(look_ms)]:
            return Turn(
                [mark == 1 for mark in settled],
                [Leased(row[0].decode(), row[1], row[2], row[3], row[4], row[5]) for row in leases],
                None if look_ms < 0 else look_ms,
            )
    raise TypeError(f"queue_turn replied {reply!r}")


def parse_marks(reply: object) -> list[bool]:
    """For each job whether it was done."""
    assert isinstance(reply, list)
    return [mark == 1 for mark in reply]


def parse_known(reply: object) -> tuple[bytes, bytes | None, bytes | None]:
    """Record, payload and outcome of one job."""
    assert isinstance(reply, list)
    record, payload, outcome = reply
    return record, payload, outcome


def parse_dead(reply: object) -> list[JobInfo]:
    """A page of dead letters."""
    assert isinstance(reply, list)
    return [parse_job(row[0].decode(), row[1], row[2], row[3]) for row in reply]


def parse_stats(reply: object) -> QueueStats:
    """The counts in their order."""
    assert isinstance(reply, list)
    return QueueStats(*reply)


def parse_count(reply: object) -> int:
    """A number."""
    assert isinstance(reply, int)
    return reply


KEYS: Final = QueueKeys._fields
JOBS: Final = "jobs"

BEAT: Final = Script("queue_beat", (JOBS, "leased"), ("lease_ms", "*held"), parse_marks, idempotent=True)
CANCEL: Final = Script("queue_cancel", KEYS, ("*ids",), parse_marks, idempotent=True)
DEAD: Final = Script("queue_dead", (JOBS, "dead"), ("offset", "limit"), parse_dead, idempotent=True)
DISCARD: Final = Script("queue_discard", (JOBS, "dead"), ("*ids",), parse_count, idempotent=True)
ENQUEUE: Final = Script("queue_enqueue", KEYS, ("*jobs",), parse_enqueue, idempotent=True)
JOB: Final = Script("queue_job", (JOBS,), ("id",), parse_known, idempotent=True)
REQUEUE: Final = Script("queue_requeue", KEYS, ("*ids",), parse_marks, idempotent=True)
STATS: Final = Script(
    "queue_stats",
    ("meta", "ready", "scheduled", "leased", "dead", "idle"),
    ("*counters",),
    parse_stats,
    idempotent=True,
)
TURN: Final = Script(
    "queue_turn",
    (*KEYS, "turn"),
    ("number", "inbox", "wanted", "lease_ms", "keep_ms", "keep_jobs", "*settled"),
    parse_turn,
    idempotent=True,
)
