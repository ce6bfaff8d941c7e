"""Sums of INCRBYFLOAT and HINCRBYFLOAT: computed in the 80-bit long double that Redis uses on x86, printed as it does.

A number is an exact Fraction; after parsing and after adding it is rounded to a significand of 64 bits, half to even.
"""

from fractions import Fraction
from typing import Final

SIGNIFICAND_BITS: Final = 64
DECIMALS: Final = 17
# powers of ten and of two beyond which every number is infinite or zero as a long double
GREATEST_EXPONENT: Final = 4932
LEAST_EXPONENT: Final = -4951
GREATEST_BINARY: Final = 16384
LONGEST_TEXT: Final = 5 * 1024
MOST_DIGITS: Final = 4000  # Python refuses to read more than 4300
_DECIMAL_CHARS: Final = b"0123456789+-.eE"
_HEX_DIGITS: Final = "0123456789abcdef"


def parse_long_double(text: bytes) -> Fraction | None:
    """Return the number `text` spells, rounded; None if it is no number, infinite, or out of range.

    An exponent is looked at before anything is computed with it: a short text can't ask for a long computation."""
    if not 0 < len(text) < LONGEST_TEXT:
        return None
    for char in text:
        if char not in _DECIMAL_CHARS:
            return _parse_hexadecimal(text)
    digits, _, exponent = text.decode("ascii").lower().partition("e")
    mantissa = digits.lstrip("+-")
    whole, _, part = mantissa.partition(".")
    if not (whole + part).isdigit() or len(digits) - len(mantissa) > 1 or (b"e" in text.lower() and not exponent):
        return None
    power = _parse_exponent(exponent)
    if power is None:
        return None
    significant = (whole + part).lstrip("0")
    if not significant:
        return Fraction(0)
    magnitude = len(significant) - len(part) + power - 1
    if not LEAST_EXPONENT <= magnitude <= GREATEST_EXPONENT:
        return None
    power -= len(part)
    if len(significant) > MOST_DIGITS:  # what follows can only break a tie
        power += len(significant) - MOST_DIGITS - 1
        significant = significant[:MOST_DIGITS] + "1"
    return _sign(digits, _in_range(_round(Fraction(int(significant)) * Fraction(10) ** power)))


def _parse_exponent(text: str) -> int | None:
    """Return the exponent, cut to what any number can have; None if it is no integer."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not text:
        return 0
    if not digits.isdigit():
        return None
    power = int(digits) if len(digits.lstrip("0")) < 7 else 10**7
    return -power if text[0] == "-" else power


def _parse_hexadecimal(text: bytes) -> Fraction | None:
    """Return the number that `[sign]0x<digits>[.<digits>][p<exponent>]` spells, None for anything else."""
    try:
        lower = text.decode("ascii").lower()
    except UnicodeDecodeError:
        return None
    unsigned = lower[1:] if lower[0] in "+-" else lower
    if not unsigned.startswith("0x"):
        return None
    mantissa, mark, exponent = unsigned[2:].partition("p")
    whole, _, part = mantissa.partition(".")
    power = _parse_exponent(exponent)
    if power is None or (mark and not exponent) or not whole + part:
        return None
    for char in whole + part:
        if char not in _HEX_DIGITS:
            return None
    significand = int(whole + part, 16)
    if significand == 0:
        return Fraction(0)
    power -= 4 * len(part)
    if abs(power + significand.bit_length()) > GREATEST_BINARY + SIGNIFICAND_BITS:
        return None
    return _sign(lower, _in_range(_round(Fraction(significand) * Fraction(2) ** power)))


def _sign(text: str, size: Fraction | None) -> Fraction | None:
    """Return `size` with the sign that `text` starts with."""
    return -size if size is not None and text[0] == "-" else size


def sum_text(first: Fraction, second: Fraction) -> bytes | None:
    """Return the sum in plain notation, up to 17 decimals; None if it is infinite as a long double."""
    total = _in_range(_round(first + second))
    return None if total is None else _format(total)


def _in_range(value: Fraction) -> Fraction | None:
    """Return `value`, None if its size is beyond the greatest long double."""
    size = abs(value)
    return None if size.numerator >= size.denominator << GREATEST_BINARY else value


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
    return sign + _decimal(whole) + (b"." + digits if digits else b"")


def _decimal(whole: int) -> bytes:
    """Return the digits of `whole`, in pieces: Python refuses to write more than 4300 digits at once."""
    if whole.bit_length() < GREATEST_BINARY // 2:
        return b"%d" % whole
    high, low = divmod(whole, 10**2000)
    return _decimal(high) + b"%02000d" % low
