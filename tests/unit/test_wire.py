"""The sans-IO connection: bytes in any pieces give the same replies, in the order of the slots."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit import resp
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


@pytest.mark.parametrize("damage", [b"+OK\r\n", b"HTTP/1.1 400\r\n"], ids=["too many", "no RESP"])
def test_pipeline_gives_what_was_answered_before_the_damage(damage: bytes) -> None:
    pipeline: Pipeline[int] = Pipeline()
    pipeline.slots.extend([1, 2] if damage.startswith(b"+") else [1, 2, 3])
    with pytest.raises(ProtocolError) as caught:
        pipeline.receive(b":7\r\n:8\r\n" + damage)
    assert caught.value.answered == [(1, 7), (2, 8)]


# -- in plain Python, where hiredis is missing ---------------------------------------------------------------------

WORDS = st.binary(max_size=20)
LINES = st.binary(max_size=12).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b""))
SIMPLE = st.one_of(
    LINES.map(lambda line: b"+%b\r\n" % line),
    LINES.map(lambda line: b"-ERR %b\r\n" % line),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: b":%d\r\n" % number),
    WORDS.map(lambda word: b"$%d\r\n%b\r\n" % (len(word), word)),
    st.floats(allow_nan=False).map(lambda number: b",%b\r\n" % repr(number).encode()),
    st.sampled_from(
        [b"$-1\r\n", b"*-1\r\n", b"_\r\n", b"#t\r\n", b"#f\r\n", b"(123456789012345678901\r\n", b"=7\r\ntxt:abc\r\n"]
    ),
)


def nested(kind: bytes) -> Callable[[list[bytes]], bytes]:
    return lambda items: b"%b%d\r\n%b" % (kind, len(items), b"".join(items))


def mapped(items: list[bytes]) -> bytes:
    keys = [b"$1\r\n%c\r\n" % (97 + number) for number in range(len(items))]
    return b"%%%d\r\n%b" % (len(items), b"".join(key + item for key, item in zip(keys, items, strict=True)))


ANY_REPLY = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        *(st.lists(inner, max_size=4).map(nested(kind)) for kind in (b"*", b"~")),
        st.lists(inner, max_size=4).map(mapped),
    ),
    max_leaves=12,
)


def plain(reply: object) -> object:
    """The reply with errors as text, so that it can be compared."""
    if isinstance(reply, list):
        return [type(reply).__name__, *map(plain, reply)]
    if isinstance(reply, dict):
        return {key: plain(value) for key, value in reply.items()}
    return ("error", str(reply)) if isinstance(reply, ServerError) else reply


@given(
    st.lists(st.one_of(ANY_REPLY, st.lists(SIMPLE, max_size=3).map(nested(b">"))), min_size=1, max_size=5), st.data()
)
def test_replies_in_plain_python_are_those_of_hiredis_however_the_bytes_are_cut(
    parts: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    slow, fast = Replies(fast=False), Replies(fast=True)
    expected = [plain(reply) for reply in fast.feed(stream)]
    found: list[object] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += map(plain, slow.feed(stream[start:end]))
    assert found == expected


@pytest.mark.parametrize(
    "bad",
    [
        b"?\r\n",
        b"$x\r\n",
        b"$-2\r\n",
        b":x\r\n",
        b"*x\r\n",
        b"*-2\r\n",
        b"#x\r\n",
        b",x\r\n",
        b"_x\r\n",
        b"HTTP/1.1\r\n",
    ],
)
def test_replies_in_plain_python_refuse_what_hiredis_refuses(bad: bytes) -> None:
    for fast in (True, False):
        with pytest.raises(ProtocolError, match="not RESP"):
            Replies(fast=fast).feed(bad)


@given(st.lists(st.one_of(WORDS, st.text(max_size=9), st.integers(), st.floats(allow_nan=False)), min_size=1))
def test_commands_in_plain_python_are_packed_as_by_hiredis(words: list[bytes | str | int | float]) -> None:
    assert resp.pack_command(tuple(words)) == pack(words)


@given(st.lists(st.sampled_from(["ask", "cancel", "answer"]), max_size=60), st.randoms(use_true_random=False))
def test_pipeline_gives_nobody_anothers_reply_in_any_order_of_cancellations(
    moves: list[str], rng: random.Random
) -> None:
    pipeline: Pipeline[int] = Pipeline()
    asked, waiting, sent, got = 0, set[int](), b"", dict[int, object]()
    for move in moves:
        if move == "ask":
            pipeline.slots.append(asked)
            waiting.add(asked)
            sent += b":%d\r\n" % asked
            asked += 1
        elif move == "cancel" and waiting:
            waiting.discard(rng.choice(sorted(waiting)))  # leaves its slot behind
        elif move == "answer":
            cut = rng.randint(0, len(sent))
            got |= {slot: reply for slot, reply in pipeline.receive(sent[:cut]) if slot in waiting}
            sent = sent[cut:]
    got |= {slot: reply for slot, reply in pipeline.receive(sent) if slot in waiting}
    assert all(reply == slot for slot, reply in got.items())
    assert waiting <= got.keys()
    assert not pipeline.slots
