"""Reply values to bytes, in both protocols."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.resp.encoder import encode
from coordkit_server.resp.reply import (
    NO_REPLY,
    NULL_ARRAY,
    OK,
    AttributeReply,
    BigNumber,
    ErrorReply,
    JoinedReply,
    MapReply,
    NamedReply,
    PairsReply,
    PushReply,
    SetReply,
    VerbatimReply,
    WireReply,
)


def wire(reply: object, *, resp3: bool) -> bytes:
    out: list[bytes] = []
    encode(out, reply, resp3)
    return b"".join(out)


@pytest.mark.parametrize(
    "reply, resp2, resp3",
    [
        pytest.param(OK, b"+OK\r\n", b"+OK\r\n", id="simple"),
        pytest.param(b"ab", b"$2\r\nab\r\n", b"$2\r\nab\r\n", id="bulk"),
        pytest.param(b"x" * 2000, b"$2000\r\n" + b"x" * 2000 + b"\r\n", None, id="long-bulk"),
        pytest.param(7, b":7\r\n", b":7\r\n", id="integer"),
        pytest.param(-70000, b":-70000\r\n", b":-70000\r\n", id="big-integer"),
        pytest.param(None, b"$-1\r\n", b"_\r\n", id="null"),
        pytest.param(NULL_ARRAY, b"*-1\r\n", b"_\r\n", id="null-array"),
        pytest.param(True, b":1\r\n", b"#t\r\n", id="true"),
        pytest.param(0.5, b"$3\r\n0.5\r\n", b",0.5\r\n", id="double"),
        pytest.param([1, [b"a"]], b"*2\r\n:1\r\n*1\r\n$1\r\na\r\n", None, id="nested"),
        pytest.param(MapReply([b"k", 1]), b"*2\r\n$1\r\nk\r\n:1\r\n", b"%1\r\n$1\r\nk\r\n:1\r\n", id="map"),
        pytest.param(SetReply([1]), b"*1\r\n:1\r\n", b"~1\r\n:1\r\n", id="set"),
        pytest.param(PushReply([1]), b"*1\r\n:1\r\n", b">1\r\n:1\r\n", id="push"),
        pytest.param(PairsReply([1, 2]), b"*2\r\n:1\r\n:2\r\n", b"*1\r\n*2\r\n:1\r\n:2\r\n", id="pairs"),
        pytest.param(
            NamedReply([b"k", None]), b"*1\r\n*2\r\n$1\r\nk\r\n$-1\r\n", b"%1\r\n$1\r\nk\r\n_\r\n", id="named"
        ),
        pytest.param(WireReply([b"*1\r\n", b"$1\r\na\r\n"]), b"*1\r\n$1\r\na\r\n", None, id="wire"),
        pytest.param(VerbatimReply(b"txt", b"hi"), b"$2\r\nhi\r\n", b"=6\r\ntxt:hi\r\n", id="verbatim"),
        pytest.param(BigNumber(b"123"), b"$3\r\n123\r\n", b"(123\r\n", id="big-number"),
        pytest.param(AttributeReply([b"a", 1], 2), b":2\r\n", b"|1\r\n$1\r\na\r\n:1\r\n:2\r\n", id="attribute"),
        pytest.param(ErrorReply(b"ERR no"), b"-ERR no\r\n", b"-ERR no\r\n", id="error"),
    ],
)
def test_encode_reply_in_both_protocols(reply: object, resp2: bytes, resp3: bytes | None) -> None:
    assert wire(reply, resp3=False) == resp2
    assert wire(reply, resp3=True) == (resp2 if resp3 is None else resp3)


ELEMENTS = [
    b"",
    b"ab",
    b"x" * 1023,
    b"x" * 1024,
    7,
    None,
    OK,
    NULL_ARRAY,
    [b"in", [], b"ner"],
    ErrorReply(b"ERR no"),
    1.5,
]


@given(st.lists(st.sampled_from(ELEMENTS), max_size=6), st.booleans())
def test_encode_array_is_its_head_and_each_element(elements: list[object], resp3: bool) -> None:
    alone = [wire(element, resp3=resp3) for element in elements]
    assert wire(elements, resp3=resp3) == b"*%d\r\n" % len(elements) + b"".join(alone)
    assert wire(SetReply(elements), resp3=resp3) == b"%c%d\r\n" % (b"~" if resp3 else b"*", len(elements)) + b"".join(
        alone
    )


@given(
    st.sampled_from([0, 1, 9, 1023, 1024]),
    st.integers(0, 9),
    st.lists(st.sampled_from(ELEMENTS), max_size=1),
    st.booleans(),
)
def test_encode_array_of_strings_as_long_as_each_other(
    length: int, count: int, other: list[object], resp3: bool
) -> None:
    elements: list[object] = [b"%d" % (number % 10) * length for number in range(count)]
    for at in (0, count // 2, count):
        mixed = [*elements[:at], *other, *elements[at:]]
        alone = b"".join(wire(element, resp3=resp3) for element in mixed)
        assert wire(mixed, resp3=resp3) == b"*%d\r\n" % len(mixed) + alone


def test_wire_reply_decoded_returns_lists_and_bytes() -> None:
    reply: list[object] = [b"1-1", [b"field", b"a\r\nb", b"", b"$3\r\n"], []]
    assert WireReply([wire(reply, resp3=False)]).decoded() == reply


def test_encode_value_that_is_no_reply_raises() -> None:
    with pytest.raises(TypeError, match="no reply value"):
        wire(object(), resp3=False)


def test_encode_joined_replies_have_no_frame_and_no_reply_is_nothing() -> None:
    out: list[bytes] = []
    encode(out, [JoinedReply([1, b"a"]), NO_REPLY, 2], True)
    assert b"".join(out) == b"*3\r\n:1\r\n$1\r\na\r\n:2\r\n"
