"""Clients that wait for keys (BLPOP and the like): who waits for what, in order of arrival, and until when.

A blocked client keeps its command; when one of its keys becomes ready, dispatch runs that command again (as Redis 7.2
does), so blocking needs no second implementation of any command.
"""

from heapq import heapify, heappop, heappush
from typing import Final

from coordkit_server.keyspace.database import Database
from coordkit_server.keyspace.waiter import Waiter

# deadlines of waiters that were served are swept out when there are so many, and more than of those who still wait
_SWEEP: Final = 64


class Blocking:
    """All waiters of one server."""

    def __init__(self) -> None:
        self._deadlines: list[tuple[int, int, Waiter]] = []
        self._served: int = 0  # how many of the deadlines belong to waiters that wait no more
        self._serial: int = 0
        self.count: int = 0
        self.missing_count: int = 0  # waiters that a missing key may wake

    def add(self, waiter: Waiter, database: Database) -> None:
        """Enter `waiter` at the end of the queue of each of its keys."""
        for key in waiter.keys:
            queue = database.waiting.get(key)
            if queue is None:
                database.waiting[key] = {waiter: None}
            else:
                queue[waiter] = None
        waiter.active = True
        self.count += 1
        if waiter.wakes_on_missing:
            self.missing_count += 1
        if waiter.deadline_us > 0:
            self._serial += 1
            heappush(self._deadlines, (waiter.deadline_us, self._serial, waiter))
            waiter.timed = True

    def remove(self, waiter: Waiter, database: Database) -> None:
        """Take `waiter` out of all queues."""
        if not waiter.active:
            return
        waiter.active = False
        self.count -= 1
        if waiter.wakes_on_missing:
            self.missing_count -= 1
        for key in waiter.keys:
            queue = database.waiting.get(key)
            if queue is not None and waiter in queue:
                del queue[waiter]
                if not queue:
                    del database.waiting[key]
        if waiter.timed:
            self._served += 1
            if self._served > _SWEEP and self._served * 2 > len(self._deadlines):
                self._sweep()

    def _sweep(self) -> None:
        """Drop the deadlines of waiters that wait no more."""
        kept: list[tuple[int, int, Waiter]] = []
        for deadline in self._deadlines:
            if deadline[2].active:
                kept.append(deadline)
        heapify(kept)
        self._deadlines = kept
        self._served = 0

    def timed_count(self) -> int:
        """Return the number of waiters with a timeout."""
        return len(self._deadlines) - self._served

    def deadlines_kept(self) -> int:
        """Return how many deadlines take up memory: less than twice those of clients that wait, and a few."""
        return len(self._deadlines)

    def next_deadline_us(self) -> int:
        """Return the earliest deadline (monotonic us), 0 if there is none."""
        deadlines = self._deadlines
        while deadlines and not deadlines[0][2].active:
            heappop(deadlines)
            self._served -= 1
        return deadlines[0][0] if deadlines else 0

    def pop_due(self, now_us: int) -> Waiter | None:
        """Return a waiter whose deadline has passed (it stays registered), None if there is none."""
        due = self.next_deadline_us()
        if due == 0 or due > now_us:
            return None
        waiter = heappop(self._deadlines)[2]
        waiter.timed = False
        return waiter
