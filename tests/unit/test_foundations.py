"""Durations, codecs, key builders, clocks."""

import math
from datetime import timedelta
from typing import Any

import pytest

from coordkit.clock import ManualClock, SystemClock
from coordkit.codec import JsonCodec
from coordkit.durations import MAX_S, Duration, to_ms, to_seconds
from coordkit.errors import ConfigurationError
from coordkit.keys import Keys


@pytest.mark.parametrize(
    "value, expected_ms",
    [(30, 30_000), (0.003, 3), (0.0001, 1), (1.0005, 1001), (timedelta(minutes=1), 60_000), (2.5, 2500)],
)
def test_to_ms_rounds_up_to_whole_milliseconds(value: Duration, expected_ms: int) -> None:
    assert to_ms(value, name="ttl") == expected_ms


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, timedelta(0), True, "5"])
def test_to_ms_refuses_what_is_no_duration_and_names_the_argument(value: Duration) -> None:
    with pytest.raises(ConfigurationError, match="ttl must be"):
        to_ms(value, name="ttl")


def test_to_seconds_accepts_zero() -> None:
    assert to_seconds(0, name="timeout") == 0.0


@pytest.mark.parametrize("value", [None, 1, "ä", [1, {"a": None}], 1.5, True])
def test_json_codec_gives_back_what_it_got(value: object) -> None:
    codec = JsonCodec()
    assert codec.decode(codec.encode(value)) == value


@pytest.mark.parametrize("value", [object(), {1, 2}, math.nan, b"x"])
def test_json_codec_refuses_what_does_not_fit(value: object) -> None:
    with pytest.raises(ConfigurationError, match="JSON"):
        JsonCodec().encode(value)


class Shy:
    """Nothing that can be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def nested(depth: int) -> object:
    """Lists in lists."""
    value: object = None
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [Shy(), "\ud800", {"k\udcff": 1}, 10**5000, nested(100_000), ["x" * 1_000_000, {1}]],
    ids=["shy", "surrogate", "key", "number", "deep", "long"],
)
def test_json_codec_tells_of_what_cannot_even_be_shown(value: object) -> None:
    with pytest.raises(ConfigurationError, match="does not fit into JSON") as caught:
        JsonCodec().encode(value)
    assert len(str(caught.value)) < 1000


def hash_tag(key: bytes) -> bytes:
    """The part of the key a cluster hashes."""
    return key[key.index(b"{") + 1 : key.index(b"}")]


@pytest.mark.parametrize("name", ["report", "a}b{c", "ä/ö", "{x}"])
def test_keys_of_a_lock_share_their_hash_tag(name: str) -> None:
    assert len({hash_tag(key) for key in Keys.of("ck").lock(name)}) == 1


def test_keys_of_locks_with_different_names_differ() -> None:
    keys = Keys.of("ck")
    assert not set(keys.lock("a")) & set(keys.lock("b"))


def test_keys_start_with_the_prefix() -> None:
    assert Keys.of("app").lock("a")[0] == b"app:{lock:a}"
    assert Keys.of("app").inbox(b"1").startswith(b"app:")


@pytest.mark.parametrize("prefix", ["", "a{b", "}"])
def test_keys_refuse_a_prefix_that_breaks_hash_tags(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="prefix"):
        Keys.of(prefix)


@pytest.mark.parametrize("name", ["", None, 5, b"bytes", "\ud800"])
def test_keys_refuse_what_is_no_name_and_say_whose(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="name of a lock"):
        Keys.of("ck").lock(name)


def test_to_seconds_refuses_more_than_a_hundred_years() -> None:
    assert to_seconds(MAX_S, name="ttl") == MAX_S
    for value in (MAX_S * 1.001, 1e300, 10**400):
        with pytest.raises(ConfigurationError, match="ttl must be a hundred years"):
            to_ms(value, name="ttl")


def test_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(5.0)
    assert clock.monotonic() == clock.monotonic() == 5.0
    clock.advance(1.5)
    assert clock.monotonic() == 6.5


def test_system_clock_does_not_go_back() -> None:
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
