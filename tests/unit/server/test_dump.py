"""Payloads of DUMP: what is written reads back, what was changed on its way is refused, nothing crashes."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordkit_server.datatypes.hash import HashValue
from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.list import ListValue
from coordkit_server.datatypes.set import SetValue
from coordkit_server.datatypes.zset import ZSetValue
from coordkit_server.persistence.crc64 import crc64
from coordkit_server.persistence.dump import BadChecksum, dump, restore, seal
from coordkit_server.persistence.lzf import Compressor, decompress
from coordkit_server.persistence.packed import (
    BadFormat,
    decode_intset,
    decode_listpack,
    decode_ziplist,
    decode_zipmap,
    encode_intset,
    encode_listpack,
)
from coordkit_server.persistence.rdb_format import Reader, Writer
from coordkit_server.persistence.rdb_values import EmptyValue, load_value

steady = settings(max_examples=60, deadline=None)  # other work on the machine slows single examples down
texts = st.one_of(
    st.binary(max_size=100),
    st.integers(-(2**63), 2**63 - 1).map(lambda n: b"%d" % n),
    st.integers(0, 20000).map(lambda n: b"ab" * n),
)


def content(value: object) -> object:
    """What a value holds, comparable."""
    if isinstance(value, ListValue):
        return value.range(0, value.length())
    if isinstance(value, SetValue):
        return set(value.members)
    if isinstance(value, HashValue):
        return value.fields
    return value.scores() if isinstance(value, ZSetValue) else value


def made(kind: str, words: list[bytes]) -> object:
    """A value of `kind` with `words` in it."""
    limits = Limits()
    if kind == "list":
        listed = ListValue()
        for word in words:
            listed.push_right(word)
        listed.settle(limits)
        return listed
    if kind == "set":
        members = SetValue()
        for word in words:
            members.add(word, limits)
        return members
    if kind == "hash":
        fields = HashValue()
        for word in words:
            fields.set(word, word * 2, limits)
        return fields
    if kind == "zset":
        ranked = ZSetValue()
        for word in words:
            ranked.set(word, len(word) / 3, limits)
        return ranked
    return words[0]


def outcome(run: Callable[[], object]) -> object:
    """What `run` returns, or the reason why it was refused."""
    try:
        return run()
    except BadFormat as reason:
        return str(reason)


def test_crc64_of_the_check_string_is_the_published_one() -> None:
    assert crc64(0, b"123456789") == 0xE9C6D914C4B8D9CA
    assert crc64(crc64(0, b"1234"), b"56789") == 0xE9C6D914C4B8D9CA
    assert crc64(0, b"") == 0


@steady
@given(st.one_of(texts, st.lists(st.sampled_from([b"abc", b"xyzw", b"\0"]), max_size=3000).map(b"".join)))
def test_compress_reads_back(data: bytes) -> None:
    compressor = Compressor()
    for _ in range(2):  # the second finds the table as the first left it
        packed = compressor.compress(data, len(data) + 200)
        if len(data) > 2:
            assert packed is not None
            assert decompress(packed, len(data)) == data


@steady
@given(st.binary(max_size=60), st.integers(0, 300))
def test_decompress_of_anything_gives_the_size_or_nothing(data: bytes, size: int) -> None:
    out = decompress(data, size)
    assert out is None or len(out) == size


def test_compress_without_room_gives_nothing() -> None:
    assert Compressor().compress(bytes(range(200)), 196) is None
    assert Compressor().compress(b"a" * 200, 3) is None


@steady
@given(st.lists(texts, max_size=30))
def test_listpack_reads_back(elements: list[bytes]) -> None:
    assert decode_listpack(encode_listpack(elements)) == elements


def test_listpack_with_more_elements_than_its_header_counts_reads_back() -> None:
    elements = [b"%d" % n for n in range(70000)]
    packed = encode_listpack(elements)
    assert packed[4:6] == b"\xff\xff"
    assert decode_listpack(packed) == elements


@steady
@given(st.sets(st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-40000, 40000)), min_size=1))
def test_intset_reads_back(numbers: set[int]) -> None:
    members = [b"%d" % n for n in sorted(numbers)]
    assert decode_intset(encode_intset(members)) == members


def test_decode_ziplist_knows_every_encoding() -> None:
    entries = [
        b"\x03abc",
        b"\x40\x03abc",
        b"\x80\0\0\0\x03abc",
        b"\xc0\x00\x80",
        b"\xd0\xff\xff\xff\x7f",
        b"\xe0" + b"\xff" * 8,
        b"\xf0\x00\x00\x80",
        b"\xfe\x80",
        b"\xf1",
        b"\xfd",
    ]
    body, before = b"", 0
    for entry in entries:
        whole = bytes([before]) + entry
        body += whole
        before = len(whole)
    size = 10 + len(body) + 1
    packed = size.to_bytes(4, "little") + (size - 1 - before).to_bytes(4, "little") + len(entries).to_bytes(2, "little")
    numbers = [b"-32768", b"2147483647", b"-1", b"-8388608", b"-128", b"0", b"12"]
    assert decode_ziplist(packed + body + b"\xff") == [b"abc", b"abc", b"abc", *numbers]


def test_decode_zipmap_skips_unused_bytes() -> None:
    packed = b"\x02\x03foo\x03\x02bar..\x01a\xfe\x02\0\0\0\x00vv\xff"
    assert decode_zipmap(packed) == [b"foo", b"bar", b"a", b"vv"]


@pytest.mark.parametrize("decode", [decode_listpack, decode_ziplist, decode_zipmap, decode_intset])
@steady
@given(st.binary(max_size=40), st.booleans())
def test_decode_of_anything_is_refused_or_read(decode: object, data: bytes, framed: bool) -> None:
    if framed:  # so that the checks behind the first are reached
        data = (len(data) + 5).to_bytes(4, "little") + data + b"\xff"
    assert callable(decode)
    assert isinstance(outcome(lambda: decode(data)), (list, str))


@pytest.mark.parametrize("kind", ["string", "list", "set", "hash", "zset"])
@steady
@given(words=st.lists(texts, min_size=1, max_size=40))
def test_dump_restores(kind: str, words: list[bytes]) -> None:
    value = made(kind, words)
    again = restore(dump(value, Limits()), Limits())
    assert type(again) is type(value)
    assert content(again) == content(value)
    assert content(restore(dump(value, Limits(), compress=False), Limits())) == content(value)


@pytest.mark.parametrize("kind", ["string", "list", "set", "hash", "zset"])
@steady
@given(at=st.integers(0, 400), bit=st.integers(0, 7))
def test_restore_of_a_changed_payload_is_refused(kind: str, at: int, bit: int) -> None:
    payload = bytearray(dump(made(kind, [b"%d" % n for n in range(40)] + [b"text"] * 4), Limits()))
    payload[at % len(payload)] ^= 1 << bit
    with pytest.raises(BadChecksum):
        restore(bytes(payload), Limits())


@pytest.mark.parametrize("kind", ["string", "list", "set", "hash", "zset"])
@steady
@given(changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_restore_of_hostile_content_is_read_or_refused(kind: str, changes: list[tuple[int, int]]) -> None:
    payload = bytearray(dump(made(kind, [b"%d" % n for n in range(40)] + [b"text"] * 4), Limits(), compress=False))
    for at, byte in changes:
        payload[at % (len(payload) - 10)] = byte
    assert outcome(lambda: restore(seal(bytes(payload[:-10])), Limits())) is not None


@steady
@given(st.integers(0, 30), st.binary(max_size=60))
def test_load_value_of_anything_is_read_or_refused(kind: int, data: bytes) -> None:
    assert outcome(lambda: load_value(Reader(data), kind, Limits())) is not None


def test_restore_of_a_newer_version_or_too_few_bytes_is_refused() -> None:
    body = dump(b"v", Limits())[:-10]
    newer = body + (13).to_bytes(2, "little")
    with pytest.raises(BadChecksum):
        restore(newer + crc64(0, newer).to_bytes(8, "little"), Limits())
    with pytest.raises(BadChecksum):
        restore(b"123456789", Limits())


@pytest.mark.parametrize("kind", [1, 2, 4, 5, 14, 18])
def test_load_value_of_no_elements_is_an_empty_value(kind: int) -> None:
    with pytest.raises(EmptyValue):
        load_value(Reader(b"\0"), kind, Limits())


def test_load_value_of_a_plain_node_needs_content() -> None:
    assert content(load_value(Reader(b"\x01\x01\x01a"), 18, Limits())) == [b"a"]
    with pytest.raises(BadFormat):
        load_value(Reader(b"\x01\x01\x00"), 18, Limits())


def test_load_value_of_an_empty_zipmap_is_broken_not_empty() -> None:
    with pytest.raises(BadFormat, match="Zipmap integrity check failed") as refusal:
        load_value(Reader(b"\x02\x00\xff"), 9, Limits())
    assert not isinstance(refusal.value, EmptyValue)


def test_load_value_reads_scores_as_text() -> None:
    value = load_value(Reader(b"\x03\x01a\x031.5\x01b\xfe\x01c\xff"), 3, Limits())
    assert content(value) == {b"a": 1.5, b"b": float("inf"), b"c": float("-inf")}
    with pytest.raises(BadFormat):
        load_value(Reader(b"\x01\x01a\xfd"), 3, Limits())


@steady
@given(st.integers(0, 2**64 - 1))
def test_length_reads_back(value: int) -> None:
    writer = Writer()
    writer.length(value)
    assert Reader(writer.collected()).length() == value
