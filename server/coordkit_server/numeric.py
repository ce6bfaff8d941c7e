"""Numbers as Redis reads and writes them: strict 64-bit integers, doubles, and long doubles of INCRBYFLOAT.

Rule of the room: parsers return None for bad input (an exception costs 1 us when compiled); callers choose the error.
"""

from math import inf, isinf, isnan
from typing import Final

INT64_MAX: Final = 9223372036854775807
INT64_MIN: Final = -9223372036854775808
UINT64_MAX: Final = 18446744073709551615
_ZERO: Final = 48
_NINE: Final = 57
_MINUS: Final = 45
_FLOAT_CHARS: Final = b"0123456789+-.eE"
_SPECIAL_FLOATS: Final = {
    b"inf": inf,
    b"+inf": inf,
    b"-inf": -inf,
    b"infinity": inf,
    b"+infinity": inf,
    b"-infinity": -inf,
}


def parse_int(text: bytes) -> int | None:
    """Return the signed 64-bit integer that `text` spells canonically, else None.

    Refused, as Redis's string2ll does: spaces, `+`, leading zeros, `-0`, empty, out of range."""
    size = len(text)
    if size == 0 or size > 20:
        return None
    first = text[0]
    if size == 1:
        return first - _ZERO if _ZERO <= first <= _NINE else None
    start = 1 if first == _MINUS else 0
    if text[start] <= _ZERO:
        return None
    for i in range(start, size):
        char = text[i]
        if char < _ZERO or char > _NINE:
            return None
    value = int(text)
    if value > INT64_MAX or value < INT64_MIN:
        return None
    return value


def parse_float(text: bytes) -> float | None:
    """Return the double that `text` spells (decimal, exponent, `inf`; not NaN, no spaces), else None."""
    for char in text:
        if char not in _FLOAT_CHARS:
            return _parse_special_float(text)
    try:
        value = float(text)
    except ValueError:
        return None
    return None if isinf(value) else value  # 1e400 overflows: strtod reports it


def _parse_special_float(text: bytes) -> float | None:
    """Return infinity or a hexadecimal float, as strtod reads them, else None."""
    lower = text.lower()
    special = _SPECIAL_FLOATS.get(lower)
    if special is not None or b"x" not in lower or lower.strip() != lower:
        return special
    try:
        return float.fromhex(lower.decode("ascii"))
    except (ValueError, UnicodeDecodeError, OverflowError):
        return None


def format_float(value: float) -> bytes:
    """Return `value` as Redis 7.2 prints doubles in replies: shortest form that reads back, `inf`, `-inf`, `nan`."""
    if value == int(value) if not (isinf(value) or isnan(value)) else False:
        if -1e17 < value < 1e17:
            whole = int(value)
            return b"-0" if whole == 0 and str(value)[0] == "-" else b"%d" % whole
    elif isinf(value):
        return b"inf" if value > 0 else b"-inf"
    elif isnan(value):
        return b"nan"
    return _shortest(value)


def _shortest(value: float) -> bytes:
    """Return Python's shortest digits in Redis's (grisu's) layout: exponent from 1e21 on and below 1e-6."""
    text = repr(value)
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text.encode("ascii")
    return _layout(mantissa, int(exponent)).encode("ascii")


def _layout(mantissa: str, exponent: int) -> str:
    """Return digits and decimal exponent as 7.2's fpconv writes them: `1e+300`, `1.5e-7`, plain when short."""
    sign = "-" if mantissa[0] == "-" else ""
    digits = mantissa.lstrip("-").replace(".", "")
    if digits.endswith("0") and len(digits) > 1 and "." in mantissa:
        digits = digits.rstrip("0") or "0"
    if 0 <= exponent < 21:
        return sign + digits + "0" * (exponent + 1 - len(digits))
    if -7 < exponent < 0:
        return sign + "0." + "0" * (-exponent - 1) + digits
    tail = "." + digits[1:] if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if exponent > 0 else '-'}{abs(exponent)}"
