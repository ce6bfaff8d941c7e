"""Numbers as Redis reads and writes them: strict 64-bit integers, doubles, and long doubles of INCRBYFLOAT.

Rule of the room: parsers return None for bad input (an exception costs 1 us when compiled); callers choose the error.
"""

from math import copysign, inf, isinf, isnan
from typing import Final

INT64_MAX: Final = 9223372036854775807
INT64_MIN: Final = -9223372036854775808
UINT64_MAX: Final = 18446744073709551615
_SHARED: Final = 10_000
_DECIMALS: Final[list[bytes]] = [b"%d" % n for n in range(_SHARED)]
_EXACT: Final = float(1 << 62)  # doubles up to here are printed as integers if they have no fraction
_WORD_DIGITS: Final = 18  # with so many characters a sum of digits needs no big integer
_ZERO: Final = 48
_NINE: Final = 57
_MINUS: Final = 45
_FLOAT_CHARS: Final = b"0123456789+-.eE"
_INT64_END: Final = 9223372036854775808.0
_ZERO_CHARS: Final = b"+-.0"
_C_SPACES: Final = b" \t\n\v\f\r"
_SPECIAL_FLOATS: Final = {
    b"inf": inf,
    b"+inf": inf,
    b"-inf": -inf,
    b"infinity": inf,
    b"+infinity": inf,
    b"-infinity": -inf,
}


def decimal(number: int) -> bytes:
    """Return `number` as text; small ones, as counters are, share one object each."""
    return _DECIMALS[number] if 0 <= number < _SHARED else b"%d" % number


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
    if size > _WORD_DIGITS:
        return _parse_long_int(text, start)
    value = 0
    for i in range(start, size):
        char = text[i]
        if char < _ZERO or char > _NINE:
            return None
        value = value * 10 + char - _ZERO
    return -value if start else value


def _parse_long_int(text: bytes, start: int) -> int | None:
    """Return the integer of so many digits that it may leave 64 bits, else None."""
    for i in range(start, len(text)):
        char = text[i]
        if char < _ZERO or char > _NINE:
            return None
    value = int(text)
    return value if INT64_MIN <= value <= INT64_MAX else None


def parse_float(text: bytes) -> float | None:
    """Return the double that `text` spells (decimal, exponent, `inf`; not NaN, no spaces), else None."""
    whole = parse_int(text)
    if whole is not None:
        return float(whole)
    if text.translate(None, _FLOAT_CHARS):
        return _parse_special_float(text)
    try:
        value = float(text)
    except ValueError:
        return None
    if value == 0.0 and text.lower().partition(b"e")[0].strip(_ZERO_CHARS):
        return None  # 1e-400 is no zero: strtod reports the underflow
    return None if isinf(value) else value  # 1e400 overflows: strtod reports it


def _parse_special_float(text: bytes) -> float | None:
    """Return infinity or a hexadecimal float, as strtod reads them, else None."""
    lower = text.lower()
    special = _SPECIAL_FLOATS.get(lower)
    if special is not None or b"x" not in lower or lower.strip() != lower:
        return special
    try:
        value = float.fromhex(lower.decode("ascii"))
    except (ValueError, UnicodeDecodeError, OverflowError):
        return None
    if value == 0.0 and lower.partition(b"x")[2].partition(b"p")[0].strip(_ZERO_CHARS):
        return None
    return value


def parse_c_float(text: bytes) -> float | None:
    """Return what plain strtod makes of `text` as a C string, None for NaN and for what it does not read to the end.

    Unlike `parse_float` it takes space in front, nothing at all (0), numbers beyond the range of doubles (infinity, 0),
    and it sees nothing behind a zero byte."""
    value = parse_float(text)
    if value is not None:
        return value
    lower = text.partition(b"\0")[0].lower()
    if not lower:
        return 0.0
    stripped = lower.lstrip(_C_SPACES)
    value = parse_float(stripped)
    if value is not None or b"_" in stripped or stripped.rstrip() != stripped:
        return value
    negative = stripped[:1] == b"-"
    try:
        value = float.fromhex(stripped.decode("ascii")) if b"x" in stripped else float(stripped)
    except OverflowError:
        return -inf if negative else inf
    except ValueError:  # UnicodeDecodeError is one
        return None
    return None if isnan(value) else value


def format_float(value: float) -> bytes:
    """Return `value` as Redis 7.2 prints doubles in replies: shortest form that reads back, `inf`, `-inf`, `nan`."""
    if -_EXACT <= value <= _EXACT:
        whole = int(value)
        if whole != value:
            return _shortest(value)
        return b"-0" if whole == 0 and copysign(1.0, value) < 0 else b"%d" % whole
    if isnan(value):
        return b"nan"
    if isinf(value):
        return b"inf" if value > 0 else b"-inf"
    return _shortest(value)


def format_plain(value: float) -> bytes:
    """Return a finite `value` with up to 17 decimals and without an exponent, as Redis prints coordinates."""
    text = (b"%.17f" % value).rstrip(b"0").rstrip(b".")
    return b"0" if text == b"-0" else text


def format_fixed(value: float) -> bytes:
    """Return `value` with 4 decimals, as Redis prints distances: by way of a 64-bit integer."""
    scaled = value * 10000.0
    # what does not fit becomes the least integer, as in C
    whole = round(scaled) if -_INT64_END <= scaled < _INT64_END else INT64_MIN
    digits = b"%05d" % abs(whole)
    return (b"-" if whole < 0 else b"") + digits[:-4] + b"." + digits[-4:]


def _shortest(value: float) -> bytes:
    """Return the shortest digits that read back as `value`, laid out as Redis's fpconv does."""
    text = repr(abs(value))
    mantissa, _, power = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    exponent = (int(power) if power else 0) - len(fraction)
    digits = (whole + fraction).lstrip("0")
    kept = digits.rstrip("0")
    laid_out = _layout(kept, exponent + len(digits) - len(kept))
    return (("-" if value < 0 else "") + laid_out).encode("ascii")


def _layout(digits: str, exponent: int) -> str:
    """Return `digits` times ten to the `exponent`: plain if it has few zeros, else as `1.5e-7` or `1e+300`."""
    size = len(digits)
    power = exponent + size - 1  # of the first digit
    if exponent >= 0 and power < size + 7:
        return digits + "0" * exponent
    if exponent < 0 and (exponent > -7 or abs(power) < 4):
        point = size + exponent
        if point <= 0:
            return "0." + "0" * -point + digits
        return digits[:point] + "." + digits[point:]
    tail = "." + digits[1:] if size > 1 else ""
    return f"{digits[0]}{tail}e{'-' if power < 0 else '+'}{abs(power)}"
