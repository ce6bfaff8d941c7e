"""Numbers of INCRBYFLOAT and HINCRBYFLOAT: what is read, what is refused, how sums are printed."""

from fractions import Fraction
from time import perf_counter

import pytest

from coordkit_server.longdouble import parse_long_double, sum_text


@pytest.mark.parametrize(
    "text, value",
    [
        (b"0", Fraction(0)),
        (b"+1.50", Fraction(3, 2)),
        (b"-.5", Fraction(-1, 2)),
        (b"5.", Fraction(5)),
        (b"3.0e3", Fraction(3000)),
        (b"0e99999999", Fraction(0)),
        (b"0x10", Fraction(16)),
        (b"-0X1.8p3", Fraction(-12)),
        (b"0x0p999999999", Fraction(0)),
        (b"18446744073709551617", Fraction(2**64)),
    ],
)
def test_parse_number_returns_it_rounded(text: bytes, value: Fraction) -> None:
    assert parse_long_double(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *[b"", b" 1", b"1 ", b".", b"e5", b"1e", b"1e+", b"1e1.5", b"+-1", b"--1", b"1_0", b"1/3", b"1.2.3"],
        *[b"abc", b"\xff", b"inf", b"nan", b"0x", b"0xp1", b"0x1p", b"0xg", b"-", b"0x1p999999999"],
        *[b"1e4933", b"1e-4960", b"9" * 5000, b"1" * 5120, b"1e999999999999", b"1e-999999999999"],
    ],
)
def test_parse_what_is_no_finite_number_is_refused(text: bytes) -> None:
    assert parse_long_double(text) is None


def test_parse_long_exponent_takes_no_time() -> None:
    start = perf_counter()
    for text in (b"1e-999999999", b"1e999999999", b"0x1p999999999", b"0x1p-999999999"):
        assert parse_long_double(text) is None
    assert perf_counter() - start < 0.5


@pytest.mark.parametrize(
    "first, second, text",
    [
        (b"10.5", b"0.1", b"10.6"),
        (b"5.0e3", b"200", b"5200"),
        (b"3", b"-3", b"0"),
        (b"1", b"-1e-18", b"1"),
        (b"0.1", b"0.2", b"0.3"),
        (b"1e19", b"1", b"10000000000000000001"),
    ],
)
def test_sum_text_is_plain_with_zeros_dropped(first: bytes, second: bytes, text: bytes) -> None:
    a, b = parse_long_double(first), parse_long_double(second)
    assert a is not None
    assert b is not None
    assert sum_text(a, b) == text


def test_sum_text_beyond_the_greatest_long_double_is_none() -> None:
    greatest = parse_long_double(b"1.18e4932")
    assert greatest is not None
    text = sum_text(greatest, Fraction(0))
    assert text is not None
    assert len(text) == 4933
    assert sum_text(greatest, greatest) is None
