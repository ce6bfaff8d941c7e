"""Numbers of INCRBYFLOAT and HINCRBYFLOAT: what is read, what is refused, how sums are printed."""

from fractions import Fraction
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.longdouble import LongDouble, parse_long_double, sum_text

SIGNIFICANDS = st.integers(-(2**64), 2**64)


def exact(value: LongDouble) -> Fraction:
    return value.significand * Fraction(2) ** value.exponent


def nearest(value: Fraction) -> Fraction:
    """The nearest number with a significand of 64 bits, half to even."""
    if value == 0:
        return value
    exponent = 0
    while abs(value) >= Fraction(2) ** (exponent + 64):
        exponent += 1
    while abs(value) < Fraction(2) ** (exponent + 63):
        exponent -= 1
    return round(value / Fraction(2) ** exponent) * Fraction(2) ** exponent


def plain(value: Fraction) -> bytes:
    """The number with 17 decimals, trailing zeros dropped."""
    scaled = round(value * 10**17)
    whole, part = divmod(abs(scaled), 10**17)
    text = f"{whole}.{part:017d}".rstrip("0").rstrip(".")
    return (f"-{text}" if scaled < 0 else text).encode()


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
    read = parse_long_double(text)
    assert read is not None
    assert exact(read) == value


@given(digits=st.integers(-(10**30), 10**30), power=st.integers(-60, 60))
def test_parse_any_decimal_returns_the_nearest_number(digits: int, power: int) -> None:
    read = parse_long_double(b"%de%d" % (digits, power))
    assert read is not None
    assert exact(read) == nearest(digits * Fraction(10) ** power)


@given(first=SIGNIFICANDS, second=SIGNIFICANDS, scale=st.integers(-90, 90), other=st.integers(-90, 90))
def test_sum_text_any_numbers_is_the_rounded_sum(first: int, second: int, scale: int, other: int) -> None:
    a, b = LongDouble(first, scale), LongDouble(second, other)
    assert sum_text(a, b) == plain(nearest(exact(a) + exact(b)))


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
    assert perf_counter() - start < 30  # to work any of them out would take longer than anybody waits


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
    text = sum_text(greatest, LongDouble(0, 0))
    assert text is not None
    assert len(text) == 4933
    assert sum_text(greatest, greatest) is None
