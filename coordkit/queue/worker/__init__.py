"""Workers: a process leases jobs, runs their handlers and settles them.

    context      JobContext: what a handler gets as its first argument
    processor    runs one handler; knows nothing of the server
    fetcher      the loop that takes turns with the server: settlements out, leases in
    heartbeater  a thread of its own that extends the leases of running jobs: a busy event loop does not lose them
    worker       puts them together: start, drain, release
    reporter     what a worker tells while it works

Due and lost jobs need no loop: every turn of any worker moves a bounded number of them in the same script, and the
server tells idle workers when the next look is worth it, each a little later than the one before.
"""

from coordkit.queue.worker.context import JobContext
from coordkit.queue.worker.reporter import Attempt, LogReporter, Reporter
from coordkit.queue.worker.worker import Worker, WorkerReport

__all__ = ["Attempt", "JobContext", "LogReporter", "Reporter", "Worker", "WorkerReport"]
