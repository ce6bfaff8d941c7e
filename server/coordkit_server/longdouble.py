"""Sums of INCRBYFLOAT and HINCRBYFLOAT: computed in the 80-bit long double that Redis uses on x86, printed as it does.

A number is a significand times a power of two; after reading and after adding, the significand is rounded to 64 bits,
half to even.  Only Python's integers are used: a Fraction costs ten times as much.
"""

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
_SHORT_TEXT: Final = 18  # so many digits fit into the significand
_SIGNS: Final = b"+-"
_MINUS: Final = 45
_POINT: Final = 46
_ZERO: Final = 48
_NINE: Final = 57


class LongDouble:
    """The number significand * 2 ** exponent."""

    def __init__(self, significand: int, exponent: int) -> None:
        self.significand: Final = significand
        self.exponent: Final = exponent


def parse_long_double(text: bytes) -> LongDouble | None:
    """Return the number `text` spells, rounded; None if it is no number, infinite, or out of range.

    An exponent is looked at before anything is computed with it: a short text can't ask for a long computation."""
    if not 0 < len(text) < LONGEST_TEXT:
        return None
    if len(text) <= _SHORT_TEXT:
        short = _parse_short(text)
        if short is not None:
            return short
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
        return LongDouble(0, 0)
    magnitude = len(significant) - len(part) + power - 1
    if not LEAST_EXPONENT <= magnitude <= GREATEST_EXPONENT:
        return None
    power -= len(part)
    if len(significant) > MOST_DIGITS:  # what follows can only break a tie
        power += len(significant) - MOST_DIGITS - 1
        significant = significant[:MOST_DIGITS] + "1"
    number = int(significant)
    size = _rounded(number * 10**power, 0) if power >= 0 else _quotient(number, 10**-power)
    return _sign(digits, _in_range(size))


def _parse_short(text: bytes) -> LongDouble | None:
    """Return the number that a sign, digits and a point spell, None for anything else: the common case, in one pass."""
    at = 1 if text[0] in _SIGNS else 0
    digits = 0
    number = 0
    decimals = -1
    for i in range(at, len(text)):
        char = text[i]
        if _ZERO <= char <= _NINE:
            digits += 1
            number = number * 10 + char - _ZERO
            if decimals >= 0:
                decimals += 1
        elif char == _POINT and decimals < 0:
            decimals = 0
        else:
            return None
    if digits == 0:
        return None
    size = _quotient(number, 10**decimals) if number and decimals > 0 else LongDouble(number, 0)
    return LongDouble(-size.significand, size.exponent) if text[0] == _MINUS else size


def _parse_exponent(text: str) -> int | None:
    """Return the exponent, cut to what any number can have; None if it is no integer."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not text:
        return 0
    if not digits.isdigit():
        return None
    power = int(digits) if len(digits.lstrip("0")) < 7 else 10**7
    return -power if text[0] == "-" else power


def _parse_hexadecimal(text: bytes) -> LongDouble | None:
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
        return LongDouble(0, 0)
    power -= 4 * len(part)
    if abs(power + significand.bit_length()) > GREATEST_BINARY + SIGNIFICAND_BITS:
        return None
    return _sign(lower, _in_range(_rounded(significand, power)))


def _sign(text: str, size: LongDouble | None) -> LongDouble | None:
    """Return `size` with the sign that `text` starts with."""
    if size is None or text[0] != "-":
        return size
    return LongDouble(-size.significand, size.exponent)


def sum_text(first: LongDouble, second: LongDouble) -> bytes | None:
    """Return the sum in plain notation, up to 17 decimals; None if it is infinite as a long double."""
    exponent = min(first.exponent, second.exponent)
    total = (first.significand << (first.exponent - exponent)) + (second.significand << (second.exponent - exponent))
    rounded = _in_range(_rounded(total, exponent))
    return None if rounded is None else _format(rounded)


def _in_range(value: LongDouble) -> LongDouble | None:
    """Return `value`, None if its size is beyond the greatest long double."""
    return None if value.significand.bit_length() + value.exponent > GREATEST_BINARY else value


def _rounded(significand: int, exponent: int) -> LongDouble:
    """Return the nearest number with a significand of 64 bits."""
    size = abs(significand)
    extra = size.bit_length() - SIGNIFICAND_BITS
    if extra <= 0:
        return LongDouble(significand, exponent)
    size = _shifted(size, extra)
    return LongDouble(size if significand > 0 else -size, exponent + extra)


def _shifted(size: int, bits: int) -> int:
    """Return size / 2 ** bits as the nearest integer, half to even."""
    half = 1 << (bits - 1)
    low = size & ((1 << bits) - 1)
    size >>= bits
    return size + 1 if low > half or (low == half and size & 1) else size


def _quotient(dividend: int, divisor: int) -> LongDouble:
    """Return the nearest number to dividend / divisor, both positive."""
    shift = max(SIGNIFICAND_BITS + 2 - dividend.bit_length() + divisor.bit_length(), 0)
    size, rest = divmod(dividend << shift, divisor)
    # one more bit says whether there is a rest: it keeps a half from looking exact
    return _rounded(size << 1 | (1 if rest else 0), -shift - 1)


def _format(value: LongDouble) -> bytes:
    """Return `value` with 17 decimals, trailing zeros dropped."""
    size = abs(value.significand)
    if value.exponent >= 0:
        whole = size << value.exponent
        part = 0
    else:
        whole, part = divmod(_shifted(size * 10**DECIMALS, -value.exponent), 10**DECIMALS)
    if not whole and not part:
        return b"0"
    sign = b"-" if value.significand < 0 else b""
    return sign + _decimal(whole) + (b"." + (b"%017d" % part).rstrip(b"0") if part else b"")


def _decimal(whole: int) -> bytes:
    """Return the digits of `whole`, in pieces: Python refuses to write more than 4300 digits at once."""
    if whole.bit_length() < GREATEST_BINARY // 2:
        return b"%d" % whole
    high, low = divmod(whole, 10**2000)
    return _decimal(high) + b"%02000d" % low
