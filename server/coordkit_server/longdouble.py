"""Sums of INCRBYFLOAT and HINCRBYFLOAT: computed in the 80-bit long double that Redis uses on x86, printed as it does.

A number is an exact Fraction; after parsing and after adding it is rounded to a significand of 64 bits, half to even.
"""

from fractions import Fraction
from typing import Final

SIGNIFICAND_BITS: Final = 64
DECIMALS: Final = 17


def add_long_doubles(first: bytes, second: bytes) -> bytes | None:
    """Return the sum of two decimal texts in plain notation, up to 17 decimals; None for text that is no number."""
    a = _parse(first)
    b = _parse(second)
    if a is None or b is None:
        return None
    return _format(_round(a + b))


def _parse(text: bytes) -> Fraction | None:
    """Return the number `text` spells, rounded; None if it is not finite or no number."""
    try:
        return _round(Fraction(text.decode("ascii")))
    except (ValueError, ZeroDivisionError, UnicodeDecodeError):
        return None


def _round(value: Fraction) -> Fraction:
    """Return the nearest number with a significand of 64 bits."""
    if value == 0:
        return value
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if Fraction(2) ** exponent > size:
        exponent -= 1
    unit = Fraction(2) ** (exponent - SIGNIFICAND_BITS + 1)
    return round(value / unit) * unit


def _format(value: Fraction) -> bytes:
    """Return `value` with 17 decimals, trailing zeros dropped."""
    scaled = round(value * 10**DECIMALS)
    sign = b"-" if scaled < 0 else b""
    whole, part = divmod(abs(scaled), 10**DECIMALS)
    digits = (b"%017d" % part).rstrip(b"0")
    if not whole and not digits:
        return b"0"
    return sign + b"%d" % whole + (b"." + digits if digits else b"")
