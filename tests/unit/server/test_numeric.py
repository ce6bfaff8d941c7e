"""Numbers: strict integers, doubles in and out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.numeric import INT64_MAX, INT64_MIN, format_float, parse_c_float, parse_float, parse_int


@pytest.mark.parametrize("value", [0, 1, -1, 10, INT64_MAX, INT64_MIN])
def test_parse_int_canonical_text_is_read(value: int) -> None:
    assert parse_int(b"%d" % value) == value


@pytest.mark.parametrize(
    "text",
    [b"", b"-", b"+1", b" 1", b"1 ", b"01", b"-0", b"-01", b"1.0", b"1e3", b"abc", b"9223372036854775808", b"1_0"],
)
def test_parse_int_other_text_is_refused(text: bytes) -> None:
    assert parse_int(text) is None


@given(st.integers())
def test_parse_int_range_is_64_bits(value: int) -> None:
    assert parse_int(b"%d" % value) == (value if INT64_MIN <= value <= INT64_MAX else None)


@pytest.mark.parametrize(
    "text, value",
    [
        (b"1", 1.0),
        (b"-1.5", -1.5),
        (b"1e3", 1000.0),
        (b"inf", math.inf),
        (b"-Inf", -math.inf),
        (b"+inf", math.inf),
        (b".5", 0.5),
    ],
)
def test_parse_float_number_is_read(text: bytes, value: float) -> None:
    assert parse_float(text) == value


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nan",
        b"1 ",
        b" 1",
        b"abc",
        b"1_0",
        b"--1",
        b"1e",
        b"infinit",
        b"1e400",
        b"1e-400",
        b"-1e-400",
        b"0x1p-9999",
    ],
)
def test_parse_float_other_text_is_refused(text: bytes) -> None:
    assert parse_float(text) is None


@pytest.mark.parametrize(
    "text, value",
    [
        (b"1.5", 1.5),
        (b"", 0.0),
        (b" 1", 1.0),
        (b"\t-2", -2.0),
        (b"1\x005", 1.0),
        (b"\x00", 0.0),
        (b"1e400", math.inf),
        (b"-1e400", -math.inf),
        (b"1e-400", 0.0),
        (b"0x1p3", 8.0),
        (b"-0x1p5000", -math.inf),
        (b"0x1p-9999", 0.0),
        (b" INF", math.inf),
        (b"0e-999", 0.0),
    ],
)
def test_parse_c_float_reads_what_strtod_reads(text: bytes, value: float) -> None:
    assert parse_c_float(text) == value


@pytest.mark.parametrize(
    "text", [b" ", b"1 ", b"nan", b"x", b"1_0", b"0x", b"0x1p", b"0x1 ", b"1\x00".replace(b"\x00", b"x")]
)
def test_parse_c_float_what_strtod_leaves_over_is_refused(text: bytes) -> None:
    assert parse_c_float(text) is None


@pytest.mark.parametrize(
    "value, text",
    [
        (0.1, b"0.1"),
        (3.0, b"3"),
        (-0.0, b"-0"),
        (1e16, b"10000000000000000"),
        (1.5e300, b"1.5e+300"),
        (1e300, b"1e+300"),
        (1e-7, b"1e-7"),
        (math.inf, b"inf"),
        (-math.inf, b"-inf"),
        (3.14, b"3.14"),
    ],
)
def test_format_float_is_the_shortest_form(value: float, text: bytes) -> None:
    assert format_float(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_format_float_reads_back(value: float) -> None:
    assert float(format_float(value)) == value
