"""What of the stream of changes is kept for replicas that come back."""

from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.replication.backlog import Backlog


def test_backlog_holds_from_its_first_byte_to_the_next_one() -> None:
    backlog = Backlog(101, 1000)
    backlog.append(b"abc")
    assert not backlog.holds(100)
    assert backlog.holds(101)
    assert backlog.holds(104)
    assert not backlog.holds(105)
    assert backlog.since(102) == [b"bc"]
    assert backlog.since(104) == []


def test_backlog_over_its_limit_forgets_whole_chunks() -> None:
    backlog = Backlog(1, 5)
    for _ in range(10):
        backlog.append(b"abc")
    assert backlog.length() == 6
    assert backlog.first == 25
    backlog.append(b"0123456789")
    assert backlog.since(backlog.first) == [b"0123456789"]


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=30), st.integers(1, 40))
def test_backlog_since_any_held_offset_is_the_end_of_the_stream(chunks: list[bytes], limit: int) -> None:
    backlog = Backlog(1, limit)
    for chunk in chunks:
        backlog.append(chunk)
    stream = b"".join(chunks)
    assert backlog.end == len(stream) + 1
    assert backlog.length() >= min(limit, len(stream))
    for offset in range(backlog.first, backlog.end + 1):
        assert b"".join(backlog.since(offset)) == stream[offset - 1 :]
