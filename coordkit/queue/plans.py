"""What a queue does, as plans with no I/O: enqueueing, results, dead letters, and the turns and beats of workers."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from coordkit.codec import Codec
from coordkit.durations import Duration, to_seconds
from coordkit.errors import ConfigurationError, JobCancelled, JobFailed, JobUnknown, ResultTimeout
from coordkit.keys import Keys
from coordkit.plan import Plan, Subscribe, Unsubscribe, WaitSignal, call, now
from coordkit.queue.declaration import Function, Queue, RetryPolicy
from coordkit.queue.scripts import (
    BEAT,
    CANCEL,
    COUNTERS,
    DEAD,
    DISCARD,
    ENQUEUE,
    JOB,
    REQUEUE,
    STATS,
    TURN,
    JobInfo,
    QueueStats,
    Settlement,
    Turn,
    parse_job,
)
from coordkit.scripts import Arg

CHUNK: Final = 200
"""Jobs in one script call: bounds the time for which a server is busy with it."""

MAX_PAYLOAD: Final = 256 * 1024
"""Bytes of one job's arguments; what is larger belongs into a store, and its name into the job."""

LOOK_AGAIN_S: Final = 5.0
"""How often a waiter for a result looks without being told."""


class NewJob(NamedTuple):
    """A job that is ready to be sent."""

    id: str
    payload: bytes
    policy: RetryPolicy
    delay_ms: int
    key: str


@dataclass(frozen=True, slots=True)
class Payload:
    """What a worker needs to run a job."""

    name: str
    args: list[object]
    kwargs: dict[str, object]


def encode_payload(codec: Codec, name: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bytes:
    """The arguments as bytes.  Raises ConfigurationError for values that do not fit or are too large."""
    payload = codec.encode({"job": name, "args": list(args), "kwargs": dict(kwargs)})
    if len(payload) > MAX_PAYLOAD:
        raise ConfigurationError(
            f"the arguments of job {name!r} take {len(payload)} bytes; at most {MAX_PAYLOAD} are accepted: "
            "store the data elsewhere and pass its name"
        )
    return payload


def decode_payload(codec: Codec, payload: bytes) -> Payload:
    """The name and the arguments.  Raises ValueError for a payload that was not written by `encode_payload`."""
    match codec.decode(payload):
        case {"job": str(name), "args": list(args), "kwargs": dict(kwargs)}:
            return Payload(name, args, kwargs)
    raise ValueError(f"the payload {payload[:80]!r} is not that of a job; was it written with another codec?")


class QueuePlans:
    """What a queue does for those who give it jobs."""

    __slots__ = ("codec", "keys", "queue")

    def __init__(self, queue: Queue, *, keys: Keys, codec: Codec) -> None:
        self.queue = queue
        self.keys = keys.queue(queue.name)
        self.codec = codec

    def new_job(
        self,
        function: Function | str,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        *,
        delay: Duration | None = None,
        key: str | None = None,
    ) -> NewJob:
        """The job, checked and encoded.  Raises ConfigurationError, TypeError for arguments the handler cannot take."""
        handler = self.queue.handler_of(function)
        if handler is not None:
            handler.check(args, kwargs)
            name, policy = handler.name, handler.policy
        else:
            name, policy = str(function), RetryPolicy()
        delay_s = 0.0 if delay is None else to_seconds(delay, name="delay")
        payload = encode_payload(self.codec, name, args, kwargs)
        return NewJob(secrets.token_hex(8), payload, policy, round(delay_s * 1000), key or "")

    def enqueue(self, jobs: Sequence[NewJob]) -> Plan[list[tuple[str, bool]]]:
        """For each job its id (that of the holder of its unique key, if there is one) and whether it is new."""
        replies: list[tuple[str, bool]] = []
        for start in range(0, len(jobs), CHUNK):
            words: list[Arg] = []
            for job in jobs[start : start + CHUNK]:
                policy = job.policy
                words += (job.id, job.payload, policy.retries, policy.crashes, policy.backoff_ms)
                words += (policy.backoff_max_ms, job.delay_ms, job.key)
            replies += yield from call(ENQUEUE, self.keys, words)
        return replies

    def job(self, job_id: str) -> Plan[JobInfo]:
        """What the server knows of the job."""
        record, payload, outcome = yield from call(JOB, (self.keys.jobs,), (job_id,))
        return parse_job(job_id, record, payload, outcome)

    def result(self, job_id: str, timeout_s: float | None) -> Plan[object]:
        """What the handler returned.

        Raises JobFailed, JobCancelled, JobUnknown, or ResultTimeout if the job has not ended in time.
        """
        started_s = yield from now()
        info = yield from self.job(job_id)
        if info.ended:
            return self._outcome(info)
        channel = self.keys.job_ended(job_id)
        yield Subscribe(channel)
        while True:
            info = yield from self.job(job_id)
            left_s = LOOK_AGAIN_S if timeout_s is None else started_s + timeout_s - (yield from now())
            if info.ended:
                yield Unsubscribe(channel)
                return self._outcome(info)
            if left_s <= 0:
                raise ResultTimeout(
                    f"job {job_id} of queue {self.queue.name!r} is {info.state} after {timeout_s} s "
                    f"(attempts: {info.attempts}, last error: {info.error})"
                )
            yield WaitSignal(channel, min(left_s, LOOK_AGAIN_S))

    def cancel(self, job_ids: Sequence[str]) -> Plan[list[bool]]:
        """For each job whether it is cancelled; False if it had ended before."""
        return (yield from call(CANCEL, self.keys, job_ids))

    def dead(self, offset: int, limit: int) -> Plan[list[JobInfo]]:
        """A page of dead letters, the latest first."""
        return (yield from call(DEAD, (self.keys.jobs, self.keys.dead), (offset, limit)))

    def requeue(self, job_ids: Iterable[str]) -> Plan[list[bool]]:
        """For each job whether it is not dead any more."""
        ids = list(job_ids)
        revived: list[bool] = []
        for start in range(0, len(ids), CHUNK):
            revived += yield from call(REQUEUE, self.keys, ids[start : start + CHUNK])
        return revived

    def requeue_all(self) -> Plan[int]:
        """How many dead letters were made ready again: those that were dead when it began."""
        revived, skipped = 0, 0
        left = (yield from self.stats()).dead_letters
        while left > 0:
            page = yield from self.dead(skipped, min(CHUNK, left))
            if not page:
                break
            marks = yield from self.requeue([job.id for job in page])
            revived += sum(marks)
            skipped += len(marks) - sum(marks)
            left -= len(page)
        return revived

    def discard(self, job_ids: Sequence[str]) -> Plan[int]:
        """How many of the dead letters are gone."""
        return (yield from call(DISCARD, (self.keys.jobs, self.keys.dead), job_ids))

    def stats(self) -> Plan[QueueStats]:
        """How many jobs are where, and what has happened so far."""
        keys = self.keys
        places = (keys.meta, keys.ready, keys.scheduled, keys.leased, keys.dead, keys.idle)
        return (yield from call(STATS, places, COUNTERS))

    def _outcome(self, info: JobInfo) -> object:
        if info.state == "done":
            assert info.outcome is not None
            return self.codec.decode(info.outcome)
        if info.state == "dead":
            raise JobFailed(f"job {info.id} of queue {self.queue.name!r} was given up: {info.error}")
        if info.state == "cancelled":
            raise JobCancelled(f"job {info.id} of queue {self.queue.name!r} was cancelled")
        raise JobUnknown(
            f"queue {self.queue.name!r} knows no job {info.id}; results are kept for {self.queue.keep_ms / 1000:g} s"
        )


class WorkerPlans:
    """What a queue does for one worker."""

    __slots__ = ("_keys", "_queue", "_turn_keys", "inbox")

    def __init__(self, queue: Queue, *, worker_id: str, keys: Keys) -> None:
        self._queue = queue
        self._keys = keys.queue(queue.name)
        self._turn_keys = (*self._keys, self._keys.turn(worker_id))
        self.inbox = self._keys.wake(worker_id)

    def turn(self, number: int, wanted: int, settlements: Sequence[Settlement]) -> Plan[Turn]:
        """What became of the settlements, and up to `wanted` new jobs.

        `number` rises with every turn; a turn that is sent again under its number gets the same jobs again.
        """
        queue = self._queue
        words: list[Arg] = [number, self.inbox, wanted, queue.lease_ms, queue.keep_ms, queue.keep_jobs]
        for job_id, fence, outcome, data, delay_ms in settlements:
            words += (job_id, fence, outcome, data, "" if delay_ms is None else delay_ms)
        return (yield from call(TURN, self._turn_keys, words))

    def beat(self, held: Sequence[tuple[str, int]]) -> Plan[list[bool]]:
        """For each (id, fence) whether the lease was extended."""
        words: list[Arg] = [self._queue.lease_ms]
        for job_id, fence in held:
            words += (job_id, fence)
        return (yield from call(BEAT, (self._keys.jobs, self._keys.leased), words))
