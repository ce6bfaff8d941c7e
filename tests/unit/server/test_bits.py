"""Bits of a string, against a model that spells them out as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.datatypes import bits

DATA = st.binary(min_size=1, max_size=40)
LONG = b"\0" * 20000 + b"\x08" + b"\0" * 20000  # longer than the chunks in which bits are worked on


def spelled(data: bytes | bytearray) -> str:
    return "".join(f"{byte:08b}" for byte in data)


@given(data=DATA, position=st.integers(0, 400))
def test_get_bit_any_position_is_the_spelled_one(data: bytes, position: int) -> None:
    assert bits.get_bit(data, position) == int((spelled(data) + "0" * 400)[position])


@given(data=DATA, position=st.integers(0, 7), bit=st.integers(0, 1))
def test_set_bit_inside_changes_only_it(data: bytes, position: int, bit: int) -> None:
    expected = list(spelled(data))
    expected[position] = str(bit)
    changed = bytearray(data)
    bits.set_bit(changed, position, bit)
    assert spelled(changed) == "".join(expected)


@given(data=DATA, first=st.integers(0, 319), last=st.integers(0, 319))
def test_count_bits_any_range_counts_the_spelled_ones(data: bytes, first: int, last: int) -> None:
    first, last = sorted((first % (len(data) * 8), last % (len(data) * 8)))
    assert bits.count_bits(data, first, last) == spelled(data)[first : last + 1].count("1")


@given(words=st.lists(st.one_of(st.binary(min_size=8, max_size=8), st.just(b"\xff" * 8)), max_size=70))
def test_ones_in_words_counts_the_spelled_ones(words: list[bytes]) -> None:
    data = b"".join(words)
    assert bits.ones_in_words(data, len(words)) == spelled(data).count("1")


@given(
    data=st.lists(st.sampled_from([0, 255, 1, 16, 254]), min_size=1, max_size=30).map(bytes),
    first=st.integers(0, 239),
    last=st.integers(0, 239),
    bit=st.integers(0, 1),
)
def test_find_bit_any_range_finds_the_first(data: bytes, first: int, last: int, bit: int) -> None:
    first, last = sorted((first % (len(data) * 8), last % (len(data) * 8)))
    assert bits.find_bit(data, first, last, bit) == spelled(data).find(str(bit), first, last + 1)


def test_find_and_count_string_of_several_chunks() -> None:
    last = len(LONG) * 8 - 1
    assert bits.find_bit(LONG, 0, last, 1) == 160004
    assert bits.find_bit(LONG, 160005, last, 1) == -1
    assert bits.find_bit(bytes(255 - byte for byte in LONG), 3, last, 0) == 160004
    assert bits.count_bits(LONG, 0, last) == 1
    assert bits.combine(bits.NOT, [LONG]) == bytes(255 - byte for byte in LONG)


@given(operation=st.sampled_from([bits.AND, bits.OR, bits.XOR]), sources=st.lists(st.binary(max_size=9), min_size=1))
def test_combine_sources_of_any_length_goes_byte_by_byte(operation: int, sources: list[bytes]) -> None:
    size = max(len(source) for source in sources)
    expected = bytearray()
    for i in range(size):
        column = [source[i] if i < len(source) else 0 for source in sources]
        byte = column[0]
        for other in column[1:]:
            byte = {bits.AND: byte & other, bits.OR: byte | other, bits.XOR: byte ^ other}[operation]
        expected.append(byte)
    assert bits.combine(operation, list(sources)) == expected


@given(data=DATA, offset=st.integers(0, 400), width=st.integers(1, 64))
def test_get_field_any_width_is_the_spelled_number(data: bytes, offset: int, width: int) -> None:
    digits = (spelled(data) + "0" * 500)[offset : offset + width]
    unsigned = int(digits, 2)
    assert bits.get_field(data, offset, width, False) == unsigned
    assert bits.get_field(data, offset, width, True) == unsigned - (int(digits[0]) << width)


@given(
    data=st.binary(min_size=17, max_size=20), offset=st.integers(0, 72), width=st.integers(1, 64), value=st.integers()
)
def test_set_field_any_width_changes_only_the_field(data: bytes, offset: int, width: int, value: int) -> None:
    changed = bytearray(data)
    bits.set_field(changed, offset, width, value)
    before, after = spelled(data), spelled(changed)
    assert (after[:offset], after[offset + width :]) == (before[:offset], before[offset + width :])
    assert int(after[offset : offset + width], 2) == value % (1 << width)


@pytest.mark.parametrize(
    "value, width, signed, overflow, expected",
    [
        (127, 8, True, bits.FAIL, 127),
        (128, 8, True, bits.FAIL, None),
        (128, 8, True, bits.WRAP, -128),
        (-129, 8, True, bits.WRAP, 127),
        (128, 8, True, bits.SATURATE, 127),
        (-129, 8, True, bits.SATURATE, -128),
        (256, 8, False, bits.WRAP, 0),
        (-1, 8, False, bits.WRAP, 255),
        (256, 8, False, bits.SATURATE, 255),
        (-1, 8, False, bits.SATURATE, 0),
        (-1, 8, False, bits.FAIL, None),
        (1 << 63, 64, True, bits.WRAP, -(1 << 63)),
    ],
)
def test_fit_field_value_out_of_range(
    value: int, width: int, signed: bool, overflow: int, expected: int | None
) -> None:
    assert bits.fit_field(value, width, signed, overflow) == expected


def test_as_unsigned_negative_is_read_as_64_bits() -> None:
    assert bits.as_unsigned(-1) == (1 << 64) - 1
