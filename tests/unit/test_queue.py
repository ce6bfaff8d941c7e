"""Queues without a server: declarations, payloads, plans with scripted answers, and the worker's turns."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence

import anyio
import pytest
import trio

from coordkit import (
    AsyncClient,
    Client,
    ConfigurationError,
    JobContext,
    JobFailed,
    Queue,
    Reject,
    ResultTimeout,
    RetryLater,
    ServerError,
    ServerUnavailable,
)
from coordkit.codec import JsonCodec
from coordkit.errors import JobCancelled, JobUnknown, OutcomeUnknown
from coordkit.guard import AsyncGuard
from coordkit.keys import Keys
from coordkit.plan import Call, Plan, Step, Subscribe, Unsubscribe, WaitSignal
from coordkit.queue import RetryPolicy
from coordkit.queue.plans import MAX_PAYLOAD, QueuePlans, WorkerPlans, decode_payload
from coordkit.queue.scripts import Leased, Settlement, parse_turn
from coordkit.queue.worker.fetcher import Fetcher
from coordkit.queue.worker.heartbeater import Heartbeater
from coordkit.queue.worker.processor import error_text, process
from coordkit.queue.worker.reporter import LogReporter
from tests.unit.fakes import AsyncFakeTransport, play

KEYS = Keys.of("ck")


def record(state: str, failures: int = 0) -> bytes:
    return f"{state} 17 1 {failures} 0 3 3 1000 600000 5 1700000000000 ".encode()


@pytest.fixture
def mail() -> Queue:
    queue = Queue("mail")

    @queue.job(retries=5, backoff=0.5, backoff_max=60, crashes=2)
    async def welcome(ctx: object, user: int, *, loud: bool = False) -> None: ...

    return queue


@pytest.fixture
def plans(mail: Queue) -> QueuePlans:
    return QueuePlans(mail, keys=KEYS, codec=JsonCodec())


# -- declarations ------------------------------------------------------------


def test_queue_job_returns_the_function_itself_with_or_without_options() -> None:
    queue = Queue("mail")

    def plain(ctx: object) -> None: ...

    def named(ctx: object) -> None: ...

    assert queue.job(plain) is plain
    assert queue.job(name="other")(named) is named
    assert sorted(queue.handlers) == ["other", "plain"]
    assert queue.handlers["plain"].policy == RetryPolicy()
    assert not queue.handlers["plain"].asynchronous


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Queue(""), "non-empty"),
        (lambda: Queue("q", lease=0), "lease must be longer than zero"),
        (lambda: Queue("q", keep_jobs=-1), "keep_jobs must be a whole number"),
        (lambda: Queue("q").job(retries=-1), "retries must be a whole number"),
        (lambda: Queue("q").job(crashes=True), "crashes must be a whole number"),
        (lambda: Queue("q").job(backoff=-1), "backoff must be"),
        (lambda: RetryLater(0), "after must be longer"),
    ],
)
def test_declaration_that_cannot_work_is_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_handlers_that_cannot_work_are_refused(mail: Queue) -> None:
    def welcome(ctx: object) -> None: ...

    def nothing() -> None: ...

    def greedy(ctx: object, key: str, delay: int) -> None: ...

    with pytest.raises(ConfigurationError, match="has a handler 'welcome' already"):
        mail.job(welcome)
    with pytest.raises(ConfigurationError, match="its first one must be `ctx`"):
        mail.job(nothing)
    with pytest.raises(ConfigurationError, match=r"parameters \['delay', 'key'\]"):
        mail.job(greedy)
    with pytest.raises(ConfigurationError, match="is no handler of"):
        mail.handler_of(nothing)


# -- jobs ------------------------------------------------------------


def test_new_job_carries_the_policy_of_its_handler(plans: QueuePlans, mail: Queue) -> None:
    welcome = mail.handlers["welcome"].function
    job = plans.new_job(welcome, (7,), {"loud": True}, delay=1.5, key="user 7")
    assert job.policy == RetryPolicy(5, 2, 500, 60_000)
    assert (job.delay_ms, job.key) == (1500, "user 7")
    payload = decode_payload(JsonCodec(), job.payload)
    assert (payload.name, payload.args, payload.kwargs) == ("welcome", [7], {"loud": True})


@pytest.mark.parametrize("args, kwargs", [((), {}), ((1, 2), {}), ((1,), {"nobody": 1})])
def test_new_job_with_arguments_the_handler_cannot_take_raises(
    plans: QueuePlans, args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    with pytest.raises(TypeError, match="job 'welcome'"):
        plans.new_job("welcome", args, kwargs)


def test_new_job_that_is_too_large_or_no_json_raises(plans: QueuePlans) -> None:
    with pytest.raises(ConfigurationError, match="store the data elsewhere"):
        plans.new_job("elsewhere", ("x" * MAX_PAYLOAD,), {})
    with pytest.raises(ConfigurationError, match="does not fit into JSON"):
        plans.new_job("elsewhere", (object(),), {})


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"job":1,"args":[],"kwargs":{}}', b"\xff"])
def test_decode_payload_of_foreign_bytes_raises(payload: bytes) -> None:
    with pytest.raises(ValueError):
        decode_payload(JsonCodec(), payload)


def test_enqueue_of_many_jobs_is_a_call_for_every_200(plans: QueuePlans) -> None:
    jobs = [plans.new_job("welcome", (user,), {}) for user in range(401)]
    answers = [[[job.id.encode(), 1] for job in part] for part in (jobs[:200], jobs[200:400], jobs[400:])]
    steps, replies = play(plans.enqueue(jobs), *answers)
    assert [len(step.args) for step in steps if isinstance(step, Call)] == [1600, 1600, 8]
    assert replies == [(job.id, True) for job in jobs]


def test_all_keys_of_a_queue_share_one_hash_tag(mail: Queue) -> None:
    worker = WorkerPlans(mail, worker_id="w", keys=KEYS)
    step = next(worker.turn(1, 1, ()))
    assert isinstance(step, Call)
    assert len(set(step.keys)) == 10
    assert all(key.startswith(b"ck:{queue:mail}") for key in step.keys)
    assert worker.inbox.startswith(b"ck:{queue:mail}")


# -- results ------------------------------------------------------------


def test_result_of_done_job_is_one_call(plans: QueuePlans) -> None:
    steps, result = play(plans.result("x", None), 1.0, [record("done"), None, b'{"a":1}'])
    assert result == {"a": 1}
    assert len(steps) == 2


def test_result_listens_before_it_looks_again(plans: QueuePlans) -> None:
    ready, done = [record("leased"), b"p", None], [record("done"), None, b"1"]
    steps, result = play(plans.result("x", 10.0), 1.0, ready, True, ready, 1.0, True, done, 1.2, None)
    assert result == 1
    channel = b"ck:{queue:mail}:ended:x"
    assert steps[2] == Subscribe(channel)
    assert WaitSignal(channel, 5.0) in steps, "it looks now and then, should the push be lost"
    assert steps[-1] == Unsubscribe(channel)


def failing(plan: Plan[object], *results: object) -> BaseException:
    """What the plan raises after these results."""
    step: Step = next(plan)
    try:
        for result in results:
            step = plan.send(result)
    except Exception as exc:
        return exc
    raise AssertionError(f"the plan wants another step: {step}")


@pytest.mark.parametrize(
    "reply, error",
    [
        ([record("dead", 4), b"p", b"ValueError: no"], JobFailed),
        ([record("cancelled"), None, b""], JobCancelled),
        ([b"", None, None], JobUnknown),
    ],
)
def test_result_of_job_without_one_raises(plans: QueuePlans, reply: list[object], error: type[Exception]) -> None:
    assert isinstance(failing(plans.result("x", None), 1.0, reply), error)


def test_result_after_its_timeout_says_what_the_job_does(plans: QueuePlans) -> None:
    waiting = [record("scheduled", 2), b"p", b"ValueError: no"]
    error = failing(plans.result("x", 1.0), 1.0, waiting, True, waiting, 1.5, False, waiting, 2.0)
    assert isinstance(error, ResultTimeout)
    assert "is scheduled after 1.0 s (attempts: 1, last error: ValueError: no)" in str(error)


# -- turns ------------------------------------------------------------


def test_parse_turn_refuses_what_is_no_turn() -> None:
    assert parse_turn([[1, 0], [], -1]).look_ms is None
    with pytest.raises(TypeError, match="queue_turn replied"):
        parse_turn([1])


def test_error_text_is_one_line_and_bounded() -> None:
    assert error_text(ValueError("one\ntwo")) == "ValueError: one two"
    assert error_text(KeyError()) == "KeyError"
    assert len(error_text(ValueError("x" * 10_000))) == 2000


async def turn_calls(mail: Queue, *answers: object) -> tuple[AsyncFakeTransport, list[tuple[Settlement, bool]]]:
    """Take turns until a job was leased and settled."""
    transport = AsyncFakeTransport(*answers)
    backend = AsyncGuard(transport)
    settled: list[tuple[Settlement, bool]] = []
    fetcher = Fetcher(
        WorkerPlans(mail, worker_id="w", keys=KEYS), backend, LogReporter(), free=lambda: 1, lease_s=10, give_up_s=5
    )

    def on_leased(jobs: Sequence[Leased], _asked_s: float) -> None:
        for job in jobs:
            fetcher.settle(Settlement(job.id, job.fence, "done"))
            fetcher.close()

    await asyncio.wait_for(fetcher.loop(on_leased, lambda settlement, ours: settled.append((settlement, ours))), 10)
    return transport, settled


LEASED: list[object] = [[], [[b"x", 17, 1, 0, 0, b"p"]], 0]
SETTLED: list[object] = [[1], [], 0]
NOTHING: list[object] = [[], [], 0]


@pytest.mark.parametrize("failure", [OutcomeUnknown("lost"), ServerUnavailable("away"), ServerError("LOADING data")])
async def test_turn_whose_answer_is_lost_is_sent_again_under_its_number(mail: Queue, failure: Exception) -> None:
    transport, settled = await turn_calls(mail, failure, LEASED, failure, SETTLED, NOTHING)
    assert [call[1][0] for call in transport.calls] == [1, 1, 2, 2, 3]
    assert transport.calls[2] == transport.calls[3]
    assert settled == [(Settlement("x", 17, "done"), True)]


async def test_turn_that_the_server_refuses_for_good_ends_the_loop(mail: Queue) -> None:
    with pytest.raises(ServerError, match="WRONGTYPE"):
        await turn_calls(mail, ServerError("WRONGTYPE no queue"))


class DeadHeart:
    """A backend of a heartbeat that breaks in an unforeseen way."""

    def monotonic(self) -> float:
        raise ZeroDivisionError("broken")

    def __getattr__(self, name: str) -> object:
        raise ZeroDivisionError("broken")


def test_heartbeat_that_breaks_tells_it() -> None:
    told: list[BaseException] = []
    heard = threading.Event()

    def on_death(exc: BaseException) -> None:
        told.append(exc)
        heard.set()

    plans = WorkerPlans(Queue("q"), worker_id="w", keys=Keys.of("ck"))
    heart = Heartbeater(plans, DeadHeart(), lease_s=0.03, on_lost=lambda job_id, fence: None)  # type: ignore[arg-type]  # broken on purpose
    heart.add(Leased("j", 1, 1, 0, 0, b""), asked_s=time.monotonic() + 60)
    heart.start(on_death=on_death)
    assert heard.wait(5)
    heart.stop()
    assert isinstance(told[0], ZeroDivisionError)


@pytest.mark.parametrize("name", ["", 5, b"mail", "\ud800"])
def test_job_with_a_name_that_cannot_be_is_refused(name: str) -> None:
    queue = Queue("mail")
    with pytest.raises(ConfigurationError, match="the name of a job must be"):

        @queue.job(name=name)
        def send(ctx: object) -> None:
            pass

    assert not queue.handlers


@pytest.mark.parametrize("timeout", [0, -1])
def test_job_with_a_timeout_that_cannot_work_is_refused(timeout: int) -> None:
    with pytest.raises(ConfigurationError, match="timeout must be"):
        Queue("mail").job(timeout=timeout)


class Mute(Exception):
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    "error, text",
    [
        (Mute(), "Mute: (its text cannot be had: ValueError)"),
        (RuntimeError("a\udcffb"), "RuntimeError: a\\udcffb"),
        (RuntimeError("\x1b[31mred\0\n end"), "RuntimeError: \\x1b[31mred\\x00 end"),
        (RuntimeError("grün ✓"), "RuntimeError: grün ✓"),
        (RuntimeError("x" * 10_000), f"RuntimeError: {'x' * 1986}"),
    ],
    ids=["mute", "surrogate", "control", "text", "long"],
)
def test_error_text_is_one_line_that_can_be_stored_and_printed(error: Exception, text: str) -> None:
    assert error_text(error) == text
    assert text.encode()


async def processed(function: Callable[..., object], timeout: float | None = None) -> tuple[Settlement, JobContext]:
    """How an attempt at a job of that function ended."""
    queue = Queue("mail")
    queue.job(name="send", timeout=timeout)(function)
    codec = JsonCodec()
    job = Leased("1", 1, 1, 0, 0, codec.encode({"job": "send", "args": [], "kwargs": {}}))
    with Client.from_url("redis://h") as blocking:
        client = AsyncClient.from_url("redis://h")
        context = JobContext(job, queue="mail", worker_id="w", client=client, blocking_client=blocking)
        return await process(queue, codec, job, context), context


async def test_process_of_a_handler_whose_error_has_no_text_is_a_failure() -> None:
    async def send(ctx: object) -> None:
        raise Mute

    settlement, _ = await processed(send)
    assert (settlement.outcome, settlement.data) == ("failed", b"Mute: (its text cannot be had: ValueError)")


async def swallow_the_cancellation(ctx: JobContext) -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        assert ctx.lost
    return "well"


async def swallow_it_with_anyio(ctx: JobContext) -> str:
    try:
        await anyio.sleep(60)
    except anyio.get_cancelled_exc_class():
        assert ctx.lost
    return "well"


async def block_the_loop(ctx: JobContext) -> str:
    time.sleep(0.1)  # noqa: ASYNC251 - what a timeout has to notice
    return "well"


async def raise_something_else(ctx: JobContext) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        raise Reject("no more")


async def raise_late(ctx: JobContext) -> None:
    time.sleep(0.1)  # noqa: ASYNC251 - what a timeout has to notice
    raise RetryLater(5, "later")


def work_on(ctx: JobContext) -> str:
    time.sleep(0.1)
    return "well"


@pytest.mark.parametrize(
    "function, then",
    [
        (swallow_the_cancellation, ""),
        (swallow_it_with_anyio, ""),
        (block_the_loop, ""),
        (raise_something_else, "; then Reject: no more"),
        (raise_late, "; then RetryLater: later"),
        (work_on, ""),
    ],
)
async def test_process_of_a_handler_that_ends_after_its_timeout_is_a_failure(
    function: Callable[..., object], then: str
) -> None:
    settlement, _ = await processed(function, timeout=0.05)
    assert (settlement.outcome, settlement.delay_ms) == ("failed", None)
    assert settlement.data.decode() == "TimeoutError: not done within 0.05 s" + then


def test_process_of_a_handler_that_swallows_its_timeout_on_trio_is_a_failure() -> None:
    async def send(ctx: object) -> str:
        with contextlib.suppress(trio.Cancelled):
            await trio.sleep(60)
        time.sleep(0.1)  # noqa: ASYNC251 - no checkpoint: nothing else would notice
        return "well"

    settlement, context = trio.run(processed, send, 0.05)
    assert (settlement.outcome, settlement.data) == ("failed", b"TimeoutError: not done within 0.05 s")
    assert context.lost


async def test_process_of_a_thread_in_time_on_a_loop_that_is_late_is_done() -> None:
    ended = threading.Event()

    def send(ctx: JobContext) -> str:
        asyncio.run_coroutine_threadsafe(block(), loop)
        ended.wait(5)
        return "well"

    async def block() -> None:
        threading.Timer(0, ended.set).start()
        time.sleep(2.3)  # noqa: ASYNC251 - the loop is late

    loop = asyncio.get_running_loop()
    settlement, _ = await processed(send, timeout=2.0)
    assert (settlement.outcome, settlement.data) == ("done", b'"well"')


async def test_process_of_a_handler_with_a_timeout_that_is_cancelled_by_its_worker_is_cancelled() -> None:
    started = asyncio.Event()

    async def send(ctx: object) -> None:
        started.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(processed(send, timeout=30))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
