"""The request parser: any split of the bytes gives the same requests; every broken request gives Redis's error."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.errors import ProtocolError
from coordkit_server.resp.request import RequestParser, split_args


def parse_all(chunks: list[bytes]) -> list[list[bytes]]:
    parser = RequestParser(512 * 1024 * 1024)
    requests = []
    for chunk in chunks:
        parser.feed(chunk)
        while (argv := parser.next_request()) is not None:
            requests.append(argv)
    return requests


def pack(argv: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in argv)


@given(
    requests=st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=5), max_size=6),
    cuts=st.lists(st.integers(min_value=0, max_value=400), max_size=12),
)
def test_parser_any_split_gives_the_same_requests(requests: list[list[bytes]], cuts: list[int]) -> None:
    stream = b"".join(pack(argv) for argv in requests)
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    chunks = [stream[a:b] for a, b in pairwise(edges)]
    assert parse_all(chunks) == requests


def test_parser_byte_by_byte_gives_the_same_requests() -> None:
    stream = pack([b"SET", b"k", b"v\r\nw"]) + b"PING  x\r\n" + pack([b"GET", b""])
    assert parse_all([stream[i : i + 1] for i in range(len(stream))]) == [
        [b"SET", b"k", b"v\r\nw"],
        [b"PING", b"x"],
        [b"GET", b""],
    ]


@given(
    requests=st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=5), max_size=8),
    cuts=st.lists(st.integers(min_value=0, max_value=400), max_size=12),
    looks=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=12),
)
def test_parser_look_ahead_gives_the_same_requests(
    requests: list[list[bytes]], cuts: list[int], looks: list[tuple[int, int]]
) -> None:
    stream = b"".join(pack(argv) for argv in requests)
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    parser = RequestParser(512 * 1024 * 1024)
    got: list[list[bytes]] = []
    plan = iter(looks)
    for a, b in pairwise(edges):
        parser.feed(stream[a:b])
        most, taken = next(plan, (0, 0))
        if most and parser.may_read_ahead():
            seen = parser.read_ahead(most)
            assert seen[::-1] == requests[len(got) :][: len(seen)]
            assert len(seen) <= most
        while taken and (argv := parser.next_request()) is not None:
            got.append(argv)
            taken -= 1
        parser.put_back()
    while (argv := parser.next_request()) is not None:
        got.append(argv)
    assert got == requests


def test_parser_look_ahead_keeps_an_error_for_its_turn() -> None:
    parser = RequestParser(512 * 1024 * 1024)
    parser.feed(pack([b"GET", b"a"]) + pack([b"GET", b"b"]) + b"*1\r\n$x\r\n")
    assert parser.next_request() == [b"GET", b"a"]
    assert parser.read_ahead(16) == [[b"GET", b"b"]]
    assert parser.next_request() == [b"GET", b"b"]
    with pytest.raises(ProtocolError, match="invalid bulk length"):
        parser.next_request()


@pytest.mark.parametrize(
    "stream, message",
    [
        pytest.param(b"*abc\r\n", b"invalid multibulk length", id="count-no-number"),
        pytest.param(b"*2147483648\r\n", b"invalid multibulk length", id="count-too-large"),
        pytest.param(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", b"expected '$', got 'f'", id="no-dollar"),
        pytest.param(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$-10\r\n", b"invalid bulk length", id="bulk-negative"),
        pytest.param(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n", b"invalid bulk length", id="bulk-too-large"),
        pytest.param(b"*1\r\n$blabla\r\n", b"invalid bulk length", id="bulk-no-number"),
        pytest.param(b'SET "a b\r\n', b"unbalanced quotes in request", id="inline-quotes"),
        pytest.param(b"x" * (64 * 1024 + 1), b"too big inline request", id="inline-too-big"),
        pytest.param(b"*" + b"1" * (64 * 1024 + 1), b"too big mbulk count string", id="count-endless"),
        pytest.param(b"*1\r\n$" + b"1" * (64 * 1024 + 1), b"too big bulk count string", id="bulk-endless"),
    ],
)
def test_parser_broken_request_raises(stream: bytes, message: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_all([stream])
    assert caught.value.message == message


@pytest.mark.parametrize("stream", [b"*0\r\n", b"*-1\r\n", b"\r\n", b"*-10\r\n"])
def test_parser_empty_request_is_empty(stream: bytes) -> None:
    assert parse_all([stream]) == [[]]


@pytest.mark.parametrize(
    "stream, message",
    [
        (b"*11\r\n", b"unauthenticated multibulk length"),
        (b"*1\r\n$16385\r\n", b"unauthenticated bulk length"),
    ],
)
def test_parser_before_auth_has_small_limits(stream: bytes, message: bytes) -> None:
    parser = RequestParser(512 * 1024 * 1024)
    parser.authenticated = False
    parser.feed(stream)
    with pytest.raises(ProtocolError) as caught:
        parser.next_request()
    assert caught.value.message == message


@pytest.mark.parametrize(
    "line, words",
    [
        (b"", []),
        (b"  a  b ", [b"a", b"b"]),
        (rb'"a b" c', [b"a b", b"c"]),
        (rb'"\x41\n\"\z"', [b'A\n"z']),
        (rb"'a\'b'", [b"a'b"]),
        (rb"'a\nb'", [rb"a\nb"]),
        (b'""', [b""]),
        (b'"a"b', None),
        (b'"a', None),
        (b"'a", None),
    ],
)
def test_split_args_reads_quotes_as_redis_does(line: bytes, words: list[bytes] | None) -> None:
    assert split_args(line) == words


def test_parser_tells_how_much_of_a_large_argument_is_missing() -> None:
    parser = RequestParser(1 << 20)
    parser.feed(b"*2\r\n$4\r\nECHO\r\n$1000\r\n")
    assert parser.next_request() is None
    assert parser.missing() == 1002
    parser.feed(b"x" * 600)
    assert parser.next_request() is None
    assert parser.missing() == 402
    parser.feed(b"x" * 400 + b"\r\n")
    assert parser.next_request() == [b"ECHO", b"x" * 1000]


def test_parser_forgets_only_what_was_parsed() -> None:
    parser = RequestParser(1 << 20)
    parser.feed(b"PING\r\n")
    assert parser.next_request() == [b"PING"]
    parser.forget_parsed()
    assert parser.received() == 0
    parser.feed(b"PI")
    assert parser.next_request() is None
    parser.forget_parsed()
    parser.feed(b"NG\r\n")
    assert parser.next_request() == [b"PING"]


def wires(chunks: list[bytes], ahead: int) -> list[tuple[bytes, bytes | None]]:
    """Each request as bytes of our own, and as the parser says that it came."""
    parser = RequestParser(512 * 1024 * 1024)
    found = []
    for chunk in chunks:
        parser.feed(chunk)
        while (argv := parser.next_request()) is not None:
            if ahead and parser.may_read_ahead():
                parser.read_ahead(ahead)
            if argv:
                found.append((pack(argv), parser.wire_of(argv)))
        parser.put_back()
    return found


@given(
    requests=st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=5), max_size=6),
    cuts=st.lists(st.integers(min_value=0, max_value=400), max_size=12),
    ahead=st.integers(min_value=0, max_value=4),
)
def test_wire_of_a_request_is_what_came_or_unknown(requests: list[list[bytes]], cuts: list[int], ahead: int) -> None:
    stream = b"".join(pack(argv) for argv in requests)
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    found = wires([stream[a:b] for a, b in pairwise(edges)], ahead)
    assert [own for own, _ in found] == [pack(argv) for argv in requests]
    assert all(came in (own, None) for own, came in found)


@pytest.mark.parametrize("ahead", [0, 1, 2, 10])
def test_wire_of_requests_that_came_together_is_known_of_all(ahead: int) -> None:
    stream = [pack([b"SET", b"k", b"%d" % number]) for number in range(5)]
    assert wires([b"".join(stream)], ahead) == [(wire, wire) for wire in stream]


@pytest.mark.parametrize(
    "data",
    [
        b"SET k v\r\n",
        b"*1\r\n$4\r\nPINGxx",
        b"*1\r\n$4\r\nPING\rx",
        b"*1\r\n$4\rxPING\r\n",
        b"*1\rx$4\r\nPING\r\n",
    ],
)
def test_wire_of_a_request_in_another_form_is_unknown(data: bytes) -> None:
    ((_, came),) = wires([data], 0)
    assert came is None
    assert wires([pack([b"GET", b"k"]) + data], 3)[1][1] is None


def test_wire_of_another_request_is_unknown() -> None:
    parser = RequestParser(1024)
    parser.feed(pack([b"GET", b"a"]) + pack([b"GET", b"b"]))
    first = parser.next_request()
    assert first is not None
    assert parser.next_request() == [b"GET", b"b"]
    assert parser.wire_of(first) is None
