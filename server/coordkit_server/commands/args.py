"""Reading arguments: integers, floats, timeouts, options, each with the error Redis gives."""

from math import ceil, inf, isinf
from typing import Final

from coordkit_server.errors import (
    INVALID_TIMEOUT,
    NEGATIVE_TIMEOUT,
    NOT_FLOAT,
    NOT_IN_LONG_RANGE,
    NOT_INTEGER,
    TIMEOUT_NOT_INTEGER,
    TIMEOUT_OUT_OF_RANGE,
    CommandError,
    syntax_error,
)
from coordkit_server.longdouble import LongDouble, parse_long_double
from coordkit_server.numeric import INT64_MAX, parse_float, parse_int

_LEAST_DOUBLE: Final = 5e-324
_INT64_END: Final = (
    9223372036854775808.0  # a float: compared with the integer INT64_MAX, compiled code would round that
)


def integer(text: bytes, error: bytes = NOT_INTEGER) -> int:
    """Return the 64-bit integer `text`; raises `error`."""
    value = parse_int(text)
    if value is None:
        raise CommandError(error)
    return value


def integer_between(text: bytes, low: int, high: int, error: bytes) -> int:
    """Return the integer `text` if low <= it <= high; raises `error`."""
    value = parse_int(text)
    if value is None or not low <= value <= high:
        raise CommandError(error)
    return value


def symmetric_integer(text: bytes) -> int:
    """Return the integer `text`; raises for one that has no 64-bit negative (counts whose sign has a meaning)."""
    value = integer(text)
    if value < -INT64_MAX:
        raise CommandError(NOT_IN_LONG_RANGE)
    return value


def number(text: bytes, error: bytes = NOT_FLOAT) -> float:
    """Return the double `text` (not NaN); raises `error`."""
    value = parse_float(text)
    if value is None:
        raise CommandError(error)
    return value


def long_double(text: bytes, error: bytes = NOT_FLOAT) -> LongDouble | None:
    """Return the long double `text`, None for an infinity; raises `error`."""
    value = parse_long_double(text)
    if value is None:
        as_double = parse_float(text)
        if as_double is None or not isinf(as_double):
            raise CommandError(error)
    return value


def timeout_us(text: bytes, now_ms: int) -> int:
    """Return a blocking timeout given in seconds as microseconds, 0 for no limit; raises the timeout errors."""
    value = parse_float(text)
    if value is None:
        value = _beyond_doubles(text)
    scaled = value * 1000
    if scaled >= _INT64_END:
        raise CommandError(TIMEOUT_OUT_OF_RANGE)
    if scaled <= -1:
        raise CommandError(NEGATIVE_TIMEOUT)
    ms = ceil(scaled)  # 0.0001 waits 1 ms and not for ever
    if ms > INT64_MAX - now_ms:
        raise CommandError(TIMEOUT_OUT_OF_RANGE)
    return ms * 1000


def _beyond_doubles(text: bytes) -> float:
    """Return the nearest double to a timeout that only a long double holds, such as 1e400; raises for no number."""
    value = parse_long_double(text)
    if value is None:
        raise CommandError(INVALID_TIMEOUT)
    size = inf if value.significand.bit_length() + value.exponent > 0 else _LEAST_DOUBLE
    return size if value.significand > 0 else -size


def timeout_ms_us(text: bytes, now_ms: int) -> int:
    """Return a blocking timeout given in whole milliseconds as microseconds, 0 for no limit."""
    ms = integer(text, TIMEOUT_NOT_INTEGER)
    if ms < 0:
        raise CommandError(NEGATIVE_TIMEOUT)
    if ms > INT64_MAX - now_ms:
        raise CommandError(TIMEOUT_OUT_OF_RANGE)
    return ms * 1000


def option_value(argv: list[bytes], at: int) -> bytes:
    """Return the argument after the option at `at`; raises a syntax error if it is missing."""
    if at + 1 >= len(argv):
        raise syntax_error()
    return argv[at + 1]
