"""Job queues of other people, each made of Lua scripts of its own: a small flow of each on the bundled server.

A library runs in a process of its own and prints what came of its jobs.  What is absent is skipped: `make peers`
installs those of Python and runs all on the compiled server; BullMQ is there after `npm install bullmq` in the
directory that COORDKIT_NODE_MODULES names.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers import Peer
from tests.programs import program

WITHIN_S = 50

TASKIQ = """
import asyncio, json, os, sys
from taskiq.api import run_receiver_task
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

async def add(a, b):
    return a + b

async def fail():
    raise ValueError("no")

async def flow(broker_class):
    url = "redis://127.0.0.1:" + sys.argv[1]
    broker = broker_class(url, queue_name=broker_class.__name__)
    broker = broker.with_result_backend(RedisAsyncResultBackend(url))
    adder, failing = broker.task("add")(add), broker.task("fail")(fail)
    broker.is_worker_process = True
    await broker.startup()
    worker = asyncio.create_task(run_receiver_task(broker))
    jobs = [await adder.kiq(n, 1) for n in range(20)]
    found = [(await job.wait_result(timeout=20)).return_value for job in jobs]
    failed = (await (await failing.kiq()).wait_result(timeout=20)).is_err
    worker.cancel()
    return [sum(found), failed]

async def main():
    print(json.dumps([await flow(RedisStreamBroker), await flow(ListQueueBroker)]), flush=True)
    os._exit(0)  # a worker that is told to end while it listens may not end

asyncio.run(main())
"""

SAQ = """
import asyncio, json, sys, time
from saq import Queue, Worker

async def add(ctx, *, a, b):
    return a + b

async def twice(ctx):
    return ctx["job"].attempts if ctx["job"].attempts > 1 else 1 / 0

async def main():
    queue = Queue.from_url("redis://127.0.0.1:" + sys.argv[1])
    await queue.connect()
    await queue.sweep()  # the next is a minute away: one at the start can take a job for stuck that has just been taken
    worker = Worker(queue, functions=[add, twice], concurrency=5)
    running = asyncio.create_task(worker.start())
    found = await queue.map("add", [{"a": n, "b": 1} for n in range(20)], timeout=20)
    retried = await queue.apply("twice", key="x", retries=3, timeout=20)
    later = await queue.enqueue("add", a=1, b=2, scheduled=int(time.time()) + 1)
    await later.refresh(20)
    await worker.stop()
    await asyncio.gather(running, return_exceptions=True)
    await queue.disconnect()
    print(json.dumps([sum(found), retried, later.result]))

asyncio.run(main())
"""

DRAMATIQ = """
import json, sys
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

url = "redis://127.0.0.1:" + sys.argv[1]
broker = RedisBroker(url=url)
broker.add_middleware(Results(backend=RedisBackend(url=url)))
dramatiq.set_broker(broker)
tries = []

@dramatiq.actor(store_results=True)
def add(a, b):
    return a + b

@dramatiq.actor(store_results=True, min_backoff=1, max_backoff=10, max_retries=3)
def twice():
    tries.append(1)
    if len(tries) < 2:
        raise ValueError("again")
    return len(tries)

worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=100)
worker.start()
messages = [add.send(n, 1) for n in range(20)]
found = [message.get_result(block=True, timeout=20000) for message in messages]
again = twice.send().get_result(block=True, timeout=20000)
later = add.send_with_options(args=(1, 2), delay=100).get_result(block=True, timeout=20000)
worker.stop()
print(json.dumps([sum(found), again, later]))
"""

STREAQ = """
import asyncio, json, sys
from datetime import timedelta
from streaq import Worker

def make():
    worker = Worker(redis_url="redis://127.0.0.1:" + sys.argv[1], concurrency=5, handle_signals=False)

    @worker.task(name="add")
    async def add(a: int, b: int) -> int:
        return a + b

    return worker, add

async def main():
    running = asyncio.create_task(make()[0].run_async())
    client, add = make()
    async with client:
        jobs = [await add.enqueue(n, 1) for n in range(20)]
        found = [(await job.result(20)).result for job in jobs]
        later = await add.enqueue(1, 2).start(delay=timedelta(milliseconds=200))
        found.append((await later.result(20)).result)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    print(json.dumps(sum(found)))

asyncio.run(main())
"""

RQ = """
import json, sys
from redis import Redis
from rq import Queue, Retry, SimpleWorker

connection = Redis(port=int(sys.argv[1]))
queue = Queue(connection=connection)
jobs = [queue.enqueue("operator.add", n, 1) for n in range(20)]
first = queue.enqueue("operator.add", 1, 1)
second = queue.enqueue("operator.mul", 3, 4, depends_on=first)
failing = queue.enqueue("operator.truediv", 1, 0, retry=Retry(max=2))
SimpleWorker([queue], connection=connection).work(burst=True, logging_level="ERROR")
print(json.dumps([sum(job.return_value() for job in jobs), second.return_value(), failing.get_status(refresh=True)]))
"""

BULLMQ = """
const { Queue, QueueEvents, Worker, FlowProducer } = require("bullmq");
const connection = { host: "127.0.0.1", port: PORT };
(async () => {
  const queue = new Queue("q", { connection });
  const events = new QueueEvents("q", { connection });
  await events.waitUntilReady();
  let tries = 0;
  const worker = new Worker("q", async (job) => {
    if (job.name === "twice" && ++tries < 2) throw new Error("again");
    if (job.name === "parent") return Object.values(await job.getChildrenValues()).reduce((a, b) => a + b);
    return job.name === "twice" ? tries : job.data.a + job.data.b;
  }, { connection, concurrency: 5 });
  const jobs = await queue.addBulk([...Array(20).keys()].map((n) => ({ name: "add", data: { a: n, b: 1 } })));
  const found = await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 20000)));
  const again = await queue.add("twice", {}, { attempts: 3, backoff: { type: "fixed", delay: 50 } });
  const later = await queue.add("add", { a: 1, b: 2 }, { delay: 200, priority: 2 });
  const flow = await new FlowProducer({ connection }).add({
    name: "parent", queueName: "q", children: [1, 2].map((a) => ({ name: "add", queueName: "q", data: { a, b: 10 } })),
  });
  const results = [
    found.reduce((a, b) => a + b),
    await again.waitUntilFinished(events, 20000),
    await later.waitUntilFinished(events, 20000),
    await flow.job.waitUntilFinished(events, 20000),
    (await queue.getJobCounts("completed", "failed", "waiting", "active", "delayed")),
  ];
  console.log(JSON.stringify(results));
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
"""


def outcome(command: list[str]) -> object:
    """What the program printed last, as JSON."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "module,source,expected",
    [
        ("taskiq_redis", TASKIQ, [[210, True], [210, True]]),
        ("saq", SAQ, [210, 2, 3]),
        ("dramatiq", DRAMATIQ, [210, 2, 3]),
        ("streaq", STREAQ, 213),
        ("rq", RQ, [210, 12, "failed"]),
    ],
    ids=["taskiq-redis", "saq", "dramatiq", "streaq", "rq"],
)
def test_queue_of_a_python_library_does_its_jobs(bundled: Peer, module: str, source: str, expected: object) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install 'coordkit[peers]'")
    assert outcome([sys.executable, "-c", source, str(bundled.port)]) == expected


def test_bullmq_does_its_jobs(bundled: Peer) -> None:
    directory = os.environ.get("COORDKIT_NODE_MODULES", "")
    if not Path(directory, "bullmq").is_dir():
        pytest.skip(f"bullmq is not in COORDKIT_NODE_MODULES={directory}: npm install bullmq")
    source = f"module.paths.push({json.dumps(directory)});" + BULLMQ.replace("PORT", str(bundled.port))
    counts = {"completed": 25, "failed": 0, "waiting": 0, "active": 0, "delayed": 0}
    assert outcome([program("node"), "-e", source]) == [210, 2, 3, 23, counts]
