"""Reading arguments: blocking timeouts."""

import pytest

from coordkit_server.commands.args import timeout_us
from coordkit_server.errors import INVALID_TIMEOUT, NEGATIVE_TIMEOUT, TIMEOUT_OUT_OF_RANGE, CommandError

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    "text, ms",
    [
        (b"0", 0),
        (b"0.0", 0),
        (b"-0", 0),
        (b"-0.0001", 0),
        (b"5", 5000),
        (b"0.1", 100),
        (b"0.29", 290),
        (b"1.0015", 1002),
        (b"0.0001", 1),
        (b"1e-30", 1),
        (b"1e-400", 1),
        (b"-1e-400", 0),
        (b"1e3", 1_000_000),
        (b"9223370000000000", 9_223_370_000_000_000_000),
    ],
)
def test_timeout_us_seconds_are_whole_milliseconds_rounded_up(text: bytes, ms: int) -> None:
    assert timeout_us(text, NOW_MS) == ms * 1000


@pytest.mark.parametrize(
    "text, error",
    [
        (b"", INVALID_TIMEOUT),
        (b"x", INVALID_TIMEOUT),
        (b"nan", INVALID_TIMEOUT),
        (b"-1", NEGATIVE_TIMEOUT),
        (b"-inf", NEGATIVE_TIMEOUT),
        (b"inf", TIMEOUT_OUT_OF_RANGE),
        (b"1e400", TIMEOUT_OUT_OF_RANGE),
        (b"-1e400", NEGATIVE_TIMEOUT),
        (b"9223372036854775", TIMEOUT_OUT_OF_RANGE),
        (b"9223372036854776", TIMEOUT_OUT_OF_RANGE),
        (b"9223372036854775807", TIMEOUT_OUT_OF_RANGE),
    ],
)
def test_timeout_us_what_cannot_be_waited_for_is_refused(text: bytes, error: bytes) -> None:
    with pytest.raises(CommandError) as caught:
        timeout_us(text, NOW_MS)
    assert caught.value.message == error
