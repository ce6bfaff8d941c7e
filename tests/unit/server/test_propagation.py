"""The stream of changes: who gets which command, and what is wrapped in MULTI and EXEC."""

from coordkit_server.keyspace.database import Database, KeyspaceState
from coordkit_server.keyspace.propagation import (
    TO_ALL,
    TO_AOF,
    TO_REPLICAS,
    Propagation,
    command_bytes,
    select_bytes,
)
from coordkit_server.testing import RecordedChanges, RecordedEvents, RecordedStream


def test_command_bytes_of_any_size_is_an_array_of_bulk_strings() -> None:
    assert command_bytes([b"SET", b"", b"\r\n"]) == b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n"
    assert command_bytes([b"x" * 5000]) == b"*1\r\n$5000\r\n" + b"x" * 5000 + b"\r\n"
    assert select_bytes(12) == b"*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n"


def test_deliver_of_one_command_sends_it_alone() -> None:
    propagation, stream = Propagation(), RecordedStream()
    propagation.listen_aof(stream)
    propagation.add(3, [b"DEL", b"k"], TO_ALL)
    propagation.deliver()
    assert stream.seen == [(3, command_bytes([b"DEL", b"k"]))]
    assert propagation.aof_position == stream.position
    assert propagation.replica_position == 0


def test_deliver_of_two_commands_wraps_them_in_a_transaction() -> None:
    propagation, stream = Propagation(), RecordedStream()
    propagation.listen_replicas(stream)
    propagation.add(0, [b"DEL", b"k"], TO_ALL)
    propagation.add(1, [b"DEL", b"l"], TO_ALL)
    propagation.deliver()
    assert stream.seen == [
        (-1, command_bytes([b"MULTI"])),
        (0, command_bytes([b"DEL", b"k"])),
        (1, command_bytes([b"DEL", b"l"])),
        (-1, command_bytes([b"EXEC"])),
    ]


def test_deliver_of_removals_that_belong_to_nothing_wraps_nothing() -> None:
    propagation, stream = Propagation(), RecordedStream()
    propagation.listen_replicas(stream)
    propagation.add(0, [b"DEL", b"k"], TO_ALL)
    propagation.add(0, [b"DEL", b"l"], TO_ALL)
    propagation.deliver(as_unit=False)
    assert [wire for _, wire in stream.seen] == [command_bytes([b"DEL", b"k"]), command_bytes([b"DEL", b"l"])]


def test_deliver_with_targets_sends_only_to_them() -> None:
    propagation, aof, replicas = Propagation(), RecordedStream(), RecordedStream()
    propagation.listen(aof=aof, replicas=replicas)
    propagation.add(0, [b"A"], TO_AOF)
    propagation.deliver()
    propagation.add(0, [b"R"], TO_REPLICAS)
    propagation.deliver()
    assert aof.seen == [(0, command_bytes([b"A"]))]
    assert replicas.seen == [(0, command_bytes([b"R"]))]


def test_listen_with_nobody_is_not_active() -> None:
    propagation = Propagation()
    assert not propagation.active
    propagation.listen_aof(RecordedStream())
    assert propagation.active
    propagation.listen_aof(None)
    assert not propagation.active


def test_expire_now_outside_of_a_command_is_sent_at_once() -> None:
    state = KeyspaceState(RecordedEvents(), RecordedChanges())
    stream = RecordedStream()
    state.propagation.listen_aof(stream)
    database = Database(2, state)
    entry = database.add(b"k", b"v")
    database.set_expiry(entry, 10)
    state.set_time(11 * 1000)
    assert database.peek(b"k") is None
    assert stream.seen == [(2, command_bytes([b"DEL", b"k"]))]


def test_expire_now_within_a_command_waits_for_its_end_and_honours_lazyfree() -> None:
    state = KeyspaceState(RecordedEvents(), RecordedChanges())
    stream = RecordedStream()
    state.propagation.listen_aof(stream)
    state.propagation.lazy_expire = True
    state.propagation.depth = 1
    database = Database(0, state)
    database.set_expiry(database.add(b"k", b"v"), 10)
    state.set_time(11 * 1000)
    assert database.peek(b"k") is None
    assert stream.seen == []
    state.propagation.deliver()
    assert stream.seen == [(0, command_bytes([b"UNLINK", b"k"]))]
