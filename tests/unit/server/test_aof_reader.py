"""Commands of an append-only file: whole ones, torn tails at every place, broken middles with their offset."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.keyspace.propagation import command_bytes
from coordkit_server.persistence.aof_reader import Broken, CommandReader, Torn

COMMANDS = st.lists(st.lists(st.binary(max_size=12), min_size=1, max_size=4), max_size=6)


def read_all(data: bytes) -> tuple[list[list[bytes]], int, str]:
    """The commands, the offset up to which all is well, and how it ended."""
    reader = CommandReader(io.BytesIO(data), 0)
    found: list[list[bytes]] = []
    try:
        while (argv := reader.next_command()) is not None:
            found.append(argv)
    except Torn:
        return found, reader.offset, "torn"
    except Broken:
        return found, reader.offset, "broken"
    return found, reader.offset, "end"


@given(COMMANDS)
def test_next_command_reads_back_what_was_written(commands: list[list[bytes]]) -> None:
    data = b"".join(command_bytes(argv) for argv in commands)
    assert read_all(data) == (commands, len(data), "end")


@given(COMMANDS, st.data())
def test_next_command_of_a_cut_file_keeps_the_whole_commands(commands: list[list[bytes]], data: st.DataObject) -> None:
    wires = [command_bytes(argv) for argv in commands]
    whole = b"".join(wires)
    cut = data.draw(st.integers(0, len(whole)))
    kept = 0
    offset = 0
    while kept < len(wires) and offset + len(wires[kept]) <= cut:
        offset += len(wires[kept])
        kept += 1
    assert read_all(whole[:cut]) == (commands[:kept], offset, "end" if offset == cut else "torn")


def test_next_command_skips_annotations_and_notes_the_time() -> None:
    data = b"#TS:1700000000\r\n" + command_bytes([b"A"]) + b"# any text\r\n" + b"#TS:1700000007\r\n"
    reader = CommandReader(io.BytesIO(data), 0)
    assert reader.next_command() == [b"A"]
    assert reader.timestamp_s == 1700000000
    assert reader.next_command() is None
    assert (reader.timestamp_s, reader.offset) == (1700000007, len(data))


@pytest.mark.parametrize("rest", [b"!hello\r\n", b"*0\r\n", b"*-1\r\n", b"*x\r\n", b"*1\r\n:5\r\n", b"*1\r\n$x\r\n"])
def test_next_command_of_a_broken_file_says_up_to_where_it_is_well(rest: bytes) -> None:
    good = command_bytes([b"SET", b"k", b"v"])
    assert read_all(good + rest + good) == ([[b"SET", b"k", b"v"]], len(good), "broken")


def test_next_command_larger_than_a_chunk_is_read_whole() -> None:
    argv = [b"SET", b"k", b"x" * (3 * 1024 * 1024)]
    data = command_bytes(argv)
    assert read_all(data + data[:-1]) == ([argv], len(data), "torn")
