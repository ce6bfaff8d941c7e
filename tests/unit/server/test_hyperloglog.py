"""HyperLogLog: both encodings of it hold the same numbers, and the estimate is as good as theory says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordkit_server.datatypes import hyperloglog as hll

steady = settings(max_examples=60, deadline=None)  # other work on the machine slows single examples down
SPARSE = 1 << 30
DENSE = 0


def made(elements: list[bytes], limit: int) -> bytearray:
    data = hll.empty()
    for element in elements:
        assert hll.add(data, element, limit) in {0, 1}
    return data


def test_empty_is_one_run_of_zeros() -> None:
    assert hll.empty() == b"HYLL\x01" + bytes(11) + b"\x7f\xff"


def plain_murmur64(data: bytes) -> int:
    """MurmurHash64A with integers of any size."""
    multiplier, mask = 0xC6A4A7935BD1E995, (1 << 64) - 1
    hashed = 0xADC83B19 ^ (len(data) * multiplier & mask)
    for at in range(0, len(data), 8):
        word = int.from_bytes(data[at : at + 8], "little")
        if at + 8 <= len(data):
            word = word * multiplier & mask
            word = (word ^ (word >> 47)) * multiplier & mask
        hashed = (hashed ^ word) * multiplier & mask
    hashed = (hashed ^ (hashed >> 47)) * multiplier & mask
    return hashed ^ (hashed >> 47)


@given(st.binary(max_size=40))
def test_murmur64_is_that_of_integers_of_any_size(data: bytes) -> None:
    assert hll.murmur64(data) & ((1 << 64) - 1) == plain_murmur64(data)


@steady
@given(st.lists(st.binary(max_size=12), max_size=200))
def test_add_gives_both_encodings_the_same_registers(elements: list[bytes]) -> None:
    sparse, dense = made(elements, SPARSE), made(elements, DENSE)
    assert hll.registers(sparse) == hll.registers(dense)
    assert hll.to_dense(sparse)
    assert len(sparse) == hll.DENSE_BYTES
    assert hll.registers(sparse) == hll.registers(dense)


@steady
@given(st.lists(st.binary(max_size=3), max_size=60), st.lists(st.binary(max_size=3), max_size=60))
def test_merge_equals_adding_everything_to_one(first: list[bytes], second: list[bytes]) -> None:
    numbers = bytearray(hll.REGISTERS)
    assert hll.merge(numbers, made(first, SPARSE))
    assert hll.merge(numbers, made(second, DENSE))
    assert numbers == hll.registers(made(first + second, SPARSE))


@pytest.mark.parametrize("limit", [SPARSE, DENSE])
@pytest.mark.parametrize("count", [0, 1, 100, 5000])
def test_cardinality_stays_near_the_truth(count: int, limit: int) -> None:
    numbers = hll.registers(made([b"%d" % i for i in range(count)], limit))
    assert numbers is not None
    assert abs(hll.cardinality(numbers) - count) <= 0.03 * count


def test_store_takes_every_number_in_the_sparse_encoding() -> None:
    numbers = bytearray(bytes(range(33)) * 10).ljust(hll.REGISTERS, b"\0")
    data = hll.empty()
    hll.store(data, numbers, SPARSE)
    assert hll.is_sparse(data)
    assert hll.registers(data) == numbers


def test_add_with_a_long_run_of_zeros_becomes_dense() -> None:
    numbers = bytearray(hll.REGISTERS)
    numbers[7] = 33
    data = hll.empty()
    hll.store(data, numbers, SPARSE)
    assert not hll.is_sparse(data)
    assert hll.registers(data) == numbers


@steady
@given(st.binary(max_size=40))
def test_registers_of_any_runs_are_whole_or_refused(tail: bytes) -> None:
    data = hll.empty()[: hll.HEADER_BYTES] + tail
    numbers = hll.registers(data)
    assert numbers is None or len(numbers) == hll.REGISTERS
    assert hll.add(data, b"x", SPARSE) in {hll.CORRUPT, 0, 1}


def test_cached_is_forgotten_and_remembered() -> None:
    data = hll.empty()
    assert hll.cached(data) == 0
    hll.forget(data)
    assert hll.cached(data) == -1
    hll.remember(data, 1234567)
    assert hll.cached(data) == 1234567
