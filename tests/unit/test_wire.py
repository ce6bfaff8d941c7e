"""The sans-IO connection: bytes in any pieces give the same replies, in the order of the slots."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit.errors import ServerError
from coordkit.wire import Pipeline, ProtocolError, Replies, pack

REPLIES = [
    (b"+OK\r\n", b"OK"),
    (b":-7\r\n", -7),
    (b"$-1\r\n", None),
    (b"_\r\n", None),
    (b"$5\r\na\r\nb\n\r\n", b"a\r\nb\n"),
    (b"*0\r\n", []),
    (b"*3\r\n:1\r\n$1\r\nx\r\n*1\r\n:2\r\n", [1, b"x", [2]]),
    (b"*-1\r\n", None),
]


@given(st.lists(st.sampled_from(REPLIES), min_size=1), st.data())
def test_pipeline_gives_every_slot_its_reply_however_the_bytes_are_cut(
    replies: list[tuple[bytes, object]], data: st.DataObject
) -> None:
    pipeline: Pipeline[int] = Pipeline()
    pipeline.slots.extend(range(len(replies)))
    stream = b"".join(wire for wire, _ in replies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    answered: list[tuple[int, object]] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        answered += pipeline.receive(stream[start:end])
    assert answered == list(enumerate(value for _, value in replies))
    assert not pipeline.slots


def test_pipeline_puts_pushes_apart() -> None:
    pipeline: Pipeline[str] = Pipeline()
    pipeline.slots.append("slot")
    answered = pipeline.receive(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n:1\r\n")
    assert answered == [("slot", 1)]
    assert pipeline.pushes == [[b"invalidate", [b"k"]]]


def test_pipeline_gives_server_errors_as_values() -> None:
    pipeline: Pipeline[str] = Pipeline()
    pipeline.slots.append("slot")
    [(_, reply)] = pipeline.receive(b"-WRONGTYPE Operation against a key\r\n")
    assert isinstance(reply, ServerError)
    assert reply.code == "WRONGTYPE"


def test_pipeline_refuses_a_reply_to_no_request() -> None:
    pipeline: Pipeline[str] = Pipeline()
    with pytest.raises(ProtocolError, match="reply to no request"):
        pipeline.receive(b"+OK\r\n")


def test_pipeline_refuses_what_is_not_resp() -> None:
    pipeline: Pipeline[str] = Pipeline()
    pipeline.slots.append("slot")
    with pytest.raises(ProtocolError, match="not RESP"):
        pipeline.receive(b"HTTP/1.1 400 Bad Request\r\n")


def test_pipeline_abandon_gives_the_unanswered_slots_in_order() -> None:
    pipeline: Pipeline[int] = Pipeline()
    pipeline.slots.extend([1, 2, 3])
    assert pipeline.receive(b"+OK\r\n") == [(1, b"OK")]
    assert pipeline.abandon() == [2, 3]
    assert not pipeline.slots


def test_replies_keep_what_is_incomplete_for_later() -> None:
    replies = Replies()
    assert replies.feed(b"$3\r\nab") == []
    assert replies.feed(b"c\r\n") == [b"abc"]


def test_pack_writes_bytes_text_and_numbers_as_bulk_strings() -> None:
    assert pack(("SET", b"k", 12)) == b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n12\r\n"
