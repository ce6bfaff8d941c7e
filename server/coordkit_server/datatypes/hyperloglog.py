"""HyperLogLog: an estimate of how many different elements were added, kept in a string that a client can GET.

    string     `HYLL`, encoding (0 dense, 1 sparse), 3 unused bytes, cached cardinality (8 bytes, little endian; its
               top bit says that it is out of date), registers
    registers  2**14 numbers of 6 bits: the longest run of zeros, plus one, in the hashes that chose this register
    dense      the numbers, bit after bit, lowest bits first: 12,288 bytes
    sparse     runs of equal numbers:  00nnnnnn           n + 1 zeros
                                       01nnnnnn nnnnnnnn  n + 1 zeros
                                       1vvvvvnn           n + 1 times the number v + 1

A sparse string becomes dense when a number is over 32 or when it would be longer than hll-sparse-max-bytes.

Source: Flajolet et al., "HyperLogLog" (2007); Ertl, "New cardinality estimation algorithms for HyperLogLog sketches",
arXiv:1702.01284; the hash is MurmurHash64A.
"""

from math import inf, sqrt
from typing import Final

from librt.strings import read_i64_le
from mypy_extensions import i64

HEADER_BYTES: Final = 16
INDEX_BITS: Final = 14
REGISTERS: Final = 1 << INDEX_BITS
DENSE_BYTES: Final = HEADER_BYTES + REGISTERS * 6 // 8
CORRUPT: Final = -1
_MAGIC: Final = b"HYLL"
_DENSE: Final = 0
_SPARSE: Final = 1
_ENCODING: Final = 4  # where the encoding stands
_CACHE: Final = 8
_STALE: Final = 0x80
_HASH_BITS: Final = 64 - INDEX_BITS
_SEED: Final = 0xADC83B19
# the multiplier 0xC6A4A7935BD1E995, lowest sixteen bits first
_M0: Final = 0xE995
_M1: Final = 0x5BD1
_M2: Final = 0xA793
_M3: Final = 0xC6A4
_LOW_16: Final = 0xFFFF
_LOW_17: Final = 0x1FFFF
_LOW_32: Final = 0xFFFFFFFF
_GREATEST_SIGNED: Final = 0x7FFFFFFF
_ALPHA: Final = 0.721347520444481703680
_GREATEST_SPARSE: Final = 32  # the largest number that a run can hold
_LONGEST_RUN: Final = 4
_LONGEST_ZEROS: Final = 64  # in one byte
_MERGED_OPS: Final = 5  # how many runs are looked at for equal neighbours after a change
_XZERO: Final = 0x40
_VALUE: Final = 0x80

Bits = bytes | bytearray


def empty() -> bytearray:
    """Return a HyperLogLog to which nothing was added: sparse, one run of zeros."""
    data = bytearray(HEADER_BYTES)
    data[:_ENCODING] = _MAGIC
    data[_ENCODING] = _SPARSE
    data += _zeros(REGISTERS)
    return data


def is_valid(data: Bits) -> bool:
    """Return True if `data` starts as a HyperLogLog and has a length that its encoding allows."""
    if len(data) < HEADER_BYTES or data[:_ENCODING] != _MAGIC:
        return False
    return data[_ENCODING] == _SPARSE or (data[_ENCODING] == _DENSE and len(data) == DENSE_BYTES)


def is_sparse(data: Bits) -> bool:
    """Return True for the sparse encoding."""
    return data[_ENCODING] == _SPARSE


# -- adding ------------------------------------------------------------------------------------------------------


def add(data: bytearray, element: bytes, sparse_max_bytes: int) -> int:
    """Add `element`; return 1 if a register changed, 0 if none did, CORRUPT if the runs make no sense."""
    hashed = murmur64(element)
    index = hashed & (REGISTERS - 1)
    rest: i64 = (hashed >> INDEX_BITS) & ((1 << _HASH_BITS) - 1) | (1 << _HASH_BITS)  # that bit ends the run of zeros
    number: i64 = 1
    while not rest & 1:
        number += 1
        rest >>= 1
    return _set(data, index, number, sparse_max_bytes)


def _set(data: bytearray, index: int, number: int, sparse_max_bytes: int) -> int:
    """Raise a register to `number`; return 1 if it was lower, 0 if not, CORRUPT if the runs make no sense."""
    if data[_ENCODING] == _SPARSE:
        return _set_sparse(data, index, number, sparse_max_bytes)
    return 1 if _set_dense(data, index, number) else 0


def _set_dense(data: bytearray, index: int, number: int) -> bool:
    """Raise a register of a dense one; return False if it was not lower."""
    bit = index * 6
    at = HEADER_BYTES + (bit >> 3)
    shift = bit & 7
    pair = data[at]
    if shift > 2:
        pair |= data[at + 1] << 8
    if (pair >> shift) & 63 >= number:
        return False
    pair = (pair & ~(63 << shift)) | (number << shift)
    data[at] = pair & 255
    if shift > 2:
        data[at + 1] = pair >> 8
    return True


def _set_sparse(data: bytearray, index: int, number: int, sparse_max_bytes: int) -> int:
    """Raise a register of a sparse one, which may become dense."""
    if number > _GREATEST_SPARSE:
        return _promote(data, index, number)
    at = HEADER_BYTES
    before = -1  # where the run in front of the one found starts
    first = 0  # its first register
    end = len(data)
    run = 0
    size = 1
    while at < end:
        head = data[at]
        size = 1
        if head >= _VALUE:
            run = (head & 3) + 1
        elif head < _XZERO:
            run = head + 1
        else:
            run = _long_zeros(data, at)
            size = 2
        if index < first + run:
            break
        before = at
        at += size
        first += run
    if run == 0 or at >= end:
        return CORRUPT
    head = data[at]
    old = ((head >> 2) & 31) + 1 if head >= _VALUE else 0
    if old >= number:
        return 0
    ops = _fill(old, index - first) + bytes([_value_op(number, 1)]) + _fill(old, first + run - 1 - index)
    if len(ops) > size and len(data) + len(ops) - size > sparse_max_bytes:
        return _promote(data, index, number)
    data[at : at + size] = ops
    _join_runs(data, before if before >= 0 else HEADER_BYTES)
    forget(data)
    return 1


def _join_runs(data: bytearray, at: int) -> None:
    """Join neighbouring runs of one number where they fit into one; looks at few from `at` on."""
    left = _MERGED_OPS
    while at < len(data) and left > 0:
        left -= 1
        head = data[at]
        if head < _VALUE:
            at += 1 if head < _XZERO else 2
            continue
        if at + 1 < len(data) and data[at + 1] >= _VALUE and (data[at + 1] ^ head) < 4:
            run = (head & 3) + (data[at + 1] & 3) + 2
            if run <= _LONGEST_RUN:
                data[at + 1] = (head & ~3) | (run - 1)
                del data[at]
                continue
        at += 1


def _promote(data: bytearray, index: int, number: int) -> int:
    """Become dense and raise a register."""
    if not to_dense(data):
        return CORRUPT
    return 1 if _set_dense(data, index, number) else 0


def _long_zeros(data: Bits, at: int) -> int:
    """Return the length of the two-byte run of zeros at `at`."""
    low = data[at + 1] if at + 1 < len(data) else 0
    return ((data[at] & 63) << 8 | low) + 1


def _value_op(number: int, run: int) -> int:
    """Return the byte of a run of at most four times `number`."""
    return _VALUE | ((number - 1) << 2) | (run - 1)


def _zeros(run: int) -> bytes:
    """Return the bytes of a run of zeros."""
    if run <= _LONGEST_ZEROS:
        return bytes([run - 1])
    return bytes([_XZERO | ((run - 1) >> 8), (run - 1) & 255])


def _fill(number: int, run: int) -> bytes:
    """Return the bytes of a run of `number`, which may be 0; none for a run of no length."""
    if run <= 0:
        return b""
    return bytes([_value_op(number, run)]) if number else _zeros(run)


def to_dense(data: bytearray) -> bool:
    """Make `data` dense if it is not; the cached cardinality stays.  Returns False if the runs make no sense."""
    if data[_ENCODING] == _DENSE:
        return True
    numbers = registers(data)
    if numbers is None:
        return False
    data[_ENCODING] = _DENSE
    del data[HEADER_BYTES:]
    data += _packed(numbers)
    return True


def _packed(numbers: bytearray) -> bytearray:
    """Return registers as dense bytes: four numbers in three bytes."""
    packed = bytearray(DENSE_BYTES - HEADER_BYTES)
    to = 0
    for at in range(0, REGISTERS, 4):
        word = numbers[at] | numbers[at + 1] << 6 | numbers[at + 2] << 12 | numbers[at + 3] << 18
        if word:
            packed[to] = word & 255
            packed[to + 1] = (word >> 8) & 255
            packed[to + 2] = word >> 16
        to += 3
    return packed


# -- reading -----------------------------------------------------------------------------------------------------


def registers(data: Bits) -> bytearray | None:
    """Return all registers, one a byte; None if the runs make no sense."""
    if data[_ENCODING] == _SPARSE:
        return _sparse_registers(data)
    numbers = bytearray(REGISTERS)
    to = 0
    for at in range(HEADER_BYTES, DENSE_BYTES, 3):
        word = data[at] | data[at + 1] << 8 | data[at + 2] << 16
        if word:
            numbers[to] = word & 63
            numbers[to + 1] = (word >> 6) & 63
            numbers[to + 2] = (word >> 12) & 63
            numbers[to + 3] = word >> 18
        to += 4
    return numbers


def _sparse_registers(data: Bits) -> bytearray | None:
    """Return all registers of a sparse one; None if the runs do not add up."""
    numbers = bytearray(REGISTERS)
    at = HEADER_BYTES
    to = 0
    while at < len(data):
        head = data[at]
        if head < _XZERO:
            to += head + 1
        elif head < _VALUE:
            to += _long_zeros(data, at)
            at += 1
        else:
            for _ in range((head & 3) + 1):
                if to < REGISTERS:
                    numbers[to] = ((head >> 2) & 31) + 1
                to += 1
        at += 1
    return numbers if to == REGISTERS else None


def runs(data: Bits) -> bytes:
    """Return the runs of a sparse one as text: `z:n` and `Z:n` for zeros, `v:number,n` (PFDEBUG DECODE)."""
    words: list[bytes] = []
    at = HEADER_BYTES
    while at < len(data):
        head = data[at]
        if head < _XZERO:
            words.append(b"z:%d" % (head + 1))
        elif head < _VALUE:
            words.append(b"Z:%d" % _long_zeros(data, at))
            at += 1
        else:
            words.append(b"v:%d,%d" % (((head >> 2) & 31) + 1, (head & 3) + 1))
        at += 1
    return b" ".join(words)


def cached(data: Bits) -> int:
    """Return the cardinality that was remembered, -1 if it is out of date."""
    if data[_CACHE + 7] & _STALE:
        return -1
    return int.from_bytes(data[_CACHE : _CACHE + 8], "little")


def remember(data: bytearray, cardinality: int) -> None:
    """Keep the cardinality in the string."""
    data[_CACHE : _CACHE + 8] = cardinality.to_bytes(8, "little")


def forget(data: bytearray) -> None:
    """Note that the remembered cardinality is out of date."""
    data[_CACHE + 7] |= _STALE


# -- merging and estimating --------------------------------------------------------------------------------------


def merge(into: bytearray, data: Bits) -> bool:
    """Raise the registers `into`, one a byte, to those of `data`; return False if its runs make no sense."""
    numbers = registers(data)
    if numbers is None:
        return False
    for at in range(REGISTERS):
        number = numbers[at]
        if number and number > into[at]:
            into[at] = number
    return True


def store(data: bytearray, numbers: bytearray, sparse_max_bytes: int) -> None:
    """Raise the registers of `data` to `numbers`."""
    for index in range(REGISTERS):
        if numbers[index]:
            _set(data, index, numbers[index], sparse_max_bytes)
    forget(data)


def cardinality(numbers: bytearray) -> int:
    """Return the estimate for registers, one a byte."""
    total = float(REGISTERS)
    z = total * _tau((total - numbers.count(_HASH_BITS + 1)) / total)
    for number in range(_HASH_BITS, 0, -1):
        z += numbers.count(number)
        z *= 0.5
    z += total * _sigma(numbers.count(0) / total)
    estimate = _ALPHA * total * total / z
    whole = int(estimate)
    return whole + 1 if estimate - whole >= 0.5 else whole  # halves are rounded up


def _sigma(x: float) -> float:
    """Return the correction for registers that are 0 (Ertl's sigma)."""
    if x == 1.0:
        return inf
    y = 1.0
    z = x
    before = -1.0
    while before != z:
        x *= x
        before = z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    """Return the correction for registers that are full (Ertl's tau)."""
    if x in (0.0, 1.0):
        return 0.0
    y = 1.0
    z = 1.0 - x
    before = -1.0
    while before != z:
        x = sqrt(x)
        before = z
        y *= 0.5
        z -= (1.0 - x) ** 2 * y
    return z / 3.0


def murmur64(data: bytes) -> i64:
    """Return the 64-bit hash of `data`, as a signed number."""
    size: i64 = len(data)
    hashed: i64 = _SEED ^ _multiplied(size)
    at: i64 = 0
    while at + 8 <= size:
        hashed = _multiplied(hashed ^ _multiplied(_mixed(_multiplied(read_i64_le(data, at)))))
        at += 8
    if at < size:
        rest: i64 = 0
        shift: i64 = 0
        while at < size:
            rest |= i64(data[at]) << shift  # at most seven bytes
            shift += 8
            at += 1
        hashed = _multiplied(hashed ^ rest)
    return _mixed(_multiplied(_mixed(hashed)))


def _mixed(number: i64) -> i64:
    """Return 64 bits with the upper 17 mixed into the lower ones."""
    return number ^ ((number >> 47) & _LOW_17)


def _multiplied(number: i64) -> i64:
    """Return 64 bits times the multiplier, without those that run over.

    Sixteen bits of one factor at a time: no product leaves 63 bits, so machine and Python integers agree."""
    low = number & _LOW_32
    high = (number >> 32) & _LOW_32
    middle = low * _M1
    total = low * _M0 + ((middle & _LOW_16) << 16)
    upper = (total >> 32) + (middle >> 16)
    upper += low * _M2 + ((low * _M3 & _LOW_16) << 16)
    upper += high * _M0 + ((high * _M1 & _LOW_16) << 16)
    upper &= _LOW_32
    if upper > _GREATEST_SIGNED:
        upper -= 1 << 32
    return (upper << 32) | (total & _LOW_32)
