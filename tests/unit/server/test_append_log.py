"""The append-only file on a disk that fails and forgets: every failure at every operation, then the power."""

import errno

import pytest

from coordkit_server.clock import ManualClock
from coordkit_server.config import Config
from coordkit_server.keyspace.database import KeyspaceState
from coordkit_server.keyspace.propagation import command_bytes, select_bytes
from coordkit_server.log import Log
from coordkit_server.persistence.aof import OFF, ON, AppendOnly
from coordkit_server.persistence.append_log import ALWAYS, EVERY_SECOND, NEVER, AppendLog
from coordkit_server.persistence.manifest import parse_manifest
from coordkit_server.testing import (
    Disk,
    IdleChild,
    InlineChildren,
    InlineSyncer,
    PowerFailure,
    RecordedBase,
    RecordedChanges,
    RecordedEvents,
)

TURNS = 8
FILE = "appendonlydir/log"
FAILURES: list[str | int] = ["short", errno.ENOSPC, errno.EIO]
REFUSALS = {errno.ENOSPC: b"No space left on device", errno.EIO: b"Input/output error"}


def command(turn: int) -> bytes:
    return command_bytes([b"SET", b"key", b"%d" % turn])


class Bench:
    """A log on a disk, with what a server around it would know."""

    def __init__(self, policy: int, disk: Disk, *, fsync_turns: int = 1) -> None:
        self.disk = disk
        self.fsync_turns = fsync_turns  # how many turns an fsync in the background takes
        self.clock = ManualClock(1_700_000_000_000)
        self.state = KeyspaceState(RecordedEvents(), RecordedChanges())
        self.syncer = InlineSyncer()
        self.children = InlineChildren()
        self.log = AppendLog(self.state, self.clock, Log("", "nothing"), self.syncer, self.children)
        self.log.policy = policy
        self.stream = select_bytes(0)
        self.acknowledged = 0  # bytes of the stream behind which a client was told OK

    def open(self) -> None:
        self.disk.names.clear()
        file = self.disk.open_append(FILE)
        self.disk.fsync_directory("appendonlydir")
        self.log.open(file, 0)

    def turn(self, number: int) -> None:
        """A command, unless writes are refused, and the end of the turn; half a second passes."""
        position = 0
        if not self.state.writes_refused:
            self.stream += command(number)
            position = self.log.feed(0, command(number))
        self.log.flush()
        if position and self.log.is_durable(position):
            self.acknowledged = max(self.acknowledged, position)
        self.clock.advance_ms(500)
        if number % self.fsync_turns == 0:
            self.syncer.run()

    def settle(self) -> None:
        """Turns until nothing fails any more."""
        for _ in range(8):
            self.log.flush()
            self.clock.advance_ms(600)
            self.syncer.run()
        self.log.flush()


def on_disk(disk: Disk) -> bytes:
    """What the machine finds in the log after a power failure."""
    return disk.after_power_failure().read(FILE)


def operations_of(policy: int) -> int:
    """How many operations a run without failures takes."""
    bench = Bench(policy, Disk())
    bench.open()
    for number in range(TURNS):
        bench.turn(number)
    bench.settle()
    return bench.disk.operations


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("policy, fsync_turns", [(ALWAYS, 1), (EVERY_SECOND, 1), (EVERY_SECOND, 9), (NEVER, 1)])
def test_log_after_any_failure_loses_and_repeats_nothing(
    policy: int, fsync_turns: int, times: int, failure: str | int
) -> None:
    turns = TURNS * fsync_turns
    for fail_at in range(2, operations_of(policy) * 2):
        disk = Disk()
        bench = Bench(policy, disk, fsync_turns=fsync_turns)
        bench.open()
        disk.fail_at, disk.failure, disk.fail_times = fail_at, failure, times
        for number in range(turns):
            bench.turn(number)
        bench.settle()
        assert not bench.state.writes_refused
        assert not bench.log.failed
        assert bytes(disk.names[FILE].data) == bench.stream, fail_at
        if policy != NEVER:
            assert on_disk(disk) == bench.stream, fail_at


@pytest.mark.parametrize("failure", FAILURES)
def test_log_with_always_keeps_every_acknowledged_change_through_failure_and_power_loss(failure: str | int) -> None:
    for fail_at in range(2, operations_of(ALWAYS)):
        for turns in range(1, TURNS + 1):
            disk = Disk()
            bench = Bench(ALWAYS, disk)
            bench.open()
            disk.fail_at, disk.failure, disk.fail_times = fail_at, failure, 2
            for number in range(turns):
                bench.turn(number)
            found = on_disk(disk)
            assert len(found) >= bench.acknowledged
            assert bench.stream.startswith(found), (fail_at, turns)


def live(bench: Bench, acknowledged_before: list[int]) -> None:
    """Many turns; what was acknowledged before each is noted."""
    for number in range(TURNS + 8):
        acknowledged_before.append(bench.acknowledged)
        bench.turn(number)


@pytest.mark.parametrize("policy", [ALWAYS, EVERY_SECOND])
def test_log_after_power_loss_at_any_operation_holds_a_beginning_of_the_stream(policy: int) -> None:
    for fail_at in range(2, operations_of(policy)):
        disk = Disk()
        bench = Bench(policy, disk)
        bench.open()
        disk.fail_at, disk.failure = fail_at, "power"
        acknowledged_before: list[int] = []
        with pytest.raises(PowerFailure):
            live(bench, acknowledged_before)
        found = on_disk(disk)
        assert bench.stream.startswith(found)
        if policy == ALWAYS:
            assert len(found) >= bench.acknowledged
        else:  # two turns are a second; one more has just begun
            assert len(found) >= acknowledged_before[-4:][0]


@pytest.mark.parametrize("number", sorted(REFUSALS))
def test_log_that_cannot_write_refuses_writes_until_it_can(number: int) -> None:
    disk = Disk()
    bench = Bench(ALWAYS, disk)
    bench.open()
    disk.fail_at, disk.failure, disk.fail_times = disk.operations, number, 100
    bench.turn(0)
    assert bench.state.disk_error == b"MISCONF Errors writing to the AOF file: " + REFUSALS[number]
    assert bench.acknowledged == 0
    bench.turn(1)
    disk.fail_at = -1
    bench.settle()
    assert bench.state.disk_error == b""
    bench.turn(2)
    assert bench.acknowledged == len(bench.stream)
    assert on_disk(disk) == select_bytes(0) + command(0) + command(2)


def test_log_with_everysec_waits_two_seconds_for_a_slow_fsync_then_writes() -> None:
    bench = Bench(EVERY_SECOND, Disk())
    bench.open()
    bench.log.feed(0, command(0))
    bench.log.flush()
    bench.clock.advance_ms(1100)
    bench.log.flush()
    assert bench.log.syncing()  # and the test does not let it end
    bench.log.feed(0, command(1))
    for waited_ms in (0, 900, 900):
        bench.clock.advance_ms(waited_ms)
        bench.log.flush()
        assert bench.log.buffered_bytes() == len(command(1))
    bench.clock.advance_ms(300)
    bench.log.flush()
    assert bench.log.buffered_bytes() == 0
    assert bench.log.delayed_fsyncs == 1


@pytest.mark.parametrize("policy", [ALWAYS, EVERY_SECOND])
@pytest.mark.parametrize("yields", [True, False])
def test_log_leaves_the_disk_to_a_child_if_told_so(policy: int, yields: bool) -> None:
    bench = Bench(policy, Disk())
    bench.open()
    bench.log.yields_to_children = yields
    bench.turn(0)
    bench.settle()
    before = bench.stream
    assert on_disk(bench.disk) == before
    bench.children.start_child(IdleChild())
    for number in range(1, 5):
        bench.turn(number)
        assert bench.acknowledged == len(bench.stream)  # written, which is enough meanwhile
    bench.settle()
    assert on_disk(bench.disk) == (before if yields else bench.stream)
    bench.children.end()
    bench.settle()
    assert on_disk(bench.disk) == bench.stream


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("policy", [ALWAYS, EVERY_SECOND])
def test_log_that_left_the_disk_to_a_child_repeats_nothing_after_a_failure(policy: int, failure: str | int) -> None:
    for fail_at in range(2, operations_of(policy) * 2):
        disk = Disk()
        bench = Bench(policy, disk)
        bench.open()
        bench.log.yields_to_children = True
        disk.fail_at, disk.failure = fail_at, failure
        for number in range(TURNS * 2):
            if number == 3:
                bench.children.start_child(IdleChild())
            if number == 9:
                bench.children.end()
            bench.turn(number)
        bench.settle()
        assert not bench.state.writes_refused
        assert bytes(disk.names[FILE].data) == bench.stream, fail_at


def test_log_with_annotations_notes_each_second_once() -> None:
    bench = Bench(NEVER, Disk())
    bench.open()
    bench.log.annotate = True
    bench.log.feed(0, b"a")
    bench.log.feed(0, b"b")
    bench.clock.advance_ms(1000)
    bench.log.feed(0, b"c")
    bench.log.flush()
    assert bytes(bench.disk.names[FILE].data) == (
        b"#TS:1700000000\r\n" + select_bytes(0) + b"ab" + b"#TS:1700000001\r\n" + b"c"
    )


class Server:
    """An append-only file as a whole on a disk: commands, rewrites, and what a restart would read."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.clock = ManualClock(1_700_000_000_000)
        self.state = KeyspaceState(RecordedEvents(), RecordedChanges())
        config = Config()
        config.set("appendfsync", "always")
        self.children = InlineChildren()
        self.base = RecordedBase(disk)
        log = Log("", "nothing")
        self.aof = AppendOnly(config, self.clock, log, self.state, disk, InlineSyncer(), self.children, self.base)
        self.aof.apply_config()
        self.acknowledged = 0

    def write(self, number: int) -> None:
        """A command; it counts as acknowledged if a client would have been told so."""
        self.base.lines.append(b"%d" % number)
        wire = b"*1\r\n$1\r\n%d\r\n" % number
        position = self.aof.appender.feed(-1, wire)
        self.aof.appender.flush()
        if self.aof.appender.is_durable(position):
            self.acknowledged = number + 1

    def live(self) -> None:
        """Start, write, rewrite, write during and after it, rewrite again."""
        self.aof.read_manifest()
        self.aof.open_at_start()
        self.write(0)
        self.write(1)
        for first in (2, 5):
            self.aof.start_rewrite()
            self.write(first)
            self.children.end()
            self.write(first + 1)
            self.write(first + 2)


def read_back(disk: Disk) -> list[int]:
    """The numbers that a server would load from the disk."""
    manifest = parse_manifest("appendonly.aof", disk.read("appendonlydir/appendonly.aof.manifest"))
    numbers: list[int] = []
    for part in manifest.parts():
        data = disk.read("appendonlydir/" + part.name)
        words = data.split(b"\r\n") if part is not manifest.base else data.splitlines()
        numbers.extend(int(word) for word in words if word.isdigit())
    return numbers


def test_append_only_that_lives_through_rewrites_reads_back_everything() -> None:
    disk = Disk()
    Server(disk).live()
    assert read_back(disk) == list(range(8))
    assert read_back(disk.after_power_failure()) == list(range(8))
    assert sorted(disk.names) == [
        "appendonlydir/appendonly.aof.3.base.aof",
        "appendonlydir/appendonly.aof.3.incr.aof",
        "appendonlydir/appendonly.aof.manifest",
    ]


@pytest.mark.parametrize("renames_last", [False, True])
def test_append_only_after_power_loss_at_any_operation_reads_back_all_acknowledged(renames_last: bool) -> None:
    whole = Disk()
    Server(whole).live()
    for fail_at in range(whole.operations):
        disk = Disk()
        server = Server(disk)
        disk.fail_at, disk.failure, disk.renames_last = fail_at, "power", renames_last
        with pytest.raises(PowerFailure):
            server.live()
        after = disk.after_power_failure()
        if server.acknowledged or after.exists("appendonlydir/appendonly.aof.manifest"):
            numbers = read_back(after)
            assert numbers == list(range(len(numbers))), fail_at
            assert len(numbers) >= server.acknowledged, fail_at


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_append_only_after_a_failure_at_any_operation_of_a_rewrite_goes_on_with_the_old_files(number: int) -> None:
    whole = Disk()
    server = Server(whole)
    server.aof.open_at_start()
    start = whole.operations
    for fail_at in range(start, start + 25):
        disk = Disk()
        server = Server(disk)
        server.aof.open_at_start()
        server.write(0)
        disk.fail_at, disk.failure = fail_at, number
        server.aof.start_rewrite()
        server.children.end()
        disk.fail_at = -1
        server.clock.advance_ms(2000)
        server.aof.appender.flush()
        server.write(1)
        assert server.acknowledged == 2
        assert read_back(disk) == [0, 1]
        assert read_back(disk.after_power_failure()) == [0, 1]


def test_append_only_turned_on_while_running_logs_once_there_is_a_base() -> None:
    disk = Disk()
    server = Server(disk)
    server.base.lines.append(b"0")
    assert server.aof.turn_on()
    server.write(1)
    assert not disk.exists("appendonlydir/appendonly.aof.manifest")
    server.children.end()
    assert server.aof.state == ON
    server.write(2)
    assert read_back(disk.after_power_failure()) == [0, 1, 2]
    server.aof.turn_off()
    assert server.aof.state == OFF
    assert not server.state.propagation.active


def test_append_only_whose_first_base_fails_tries_again() -> None:
    disk = Disk()
    server = Server(disk)
    server.base.fails = True
    assert server.aof.turn_on()
    server.children.end()
    assert server.aof.scheduled
    assert server.aof.last_rewrite_failed
    server.base.fails = False
    server.aof.run_cron()
    server.children.end()
    assert server.aof.state == ON


def test_append_only_whose_rewrites_keep_failing_waits_before_the_next_automatic_one() -> None:
    disk = Disk()
    server = Server(disk)
    server.aof.open_at_start()
    server.base.fails = True
    for _ in range(3):
        assert server.aof.start_rewrite()
        server.children.end()
    assert server.aof.rewrite_limited()
    server.clock.advance_ms(61_000)
    assert not server.aof.rewrite_limited()
    server.base.fails = False
    server.aof.start_rewrite()
    server.children.end()
    assert not server.aof.rewrite_limited()
