"""Names that small hashes have in common."""

from coordkit_server.datatypes.hash import HashValue
from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.shared_names import LONGEST, MOST, SharedNames


def test_shared_equal_names_are_one_object() -> None:
    names = SharedNames()
    first, second = bytes(bytearray(b"email")), bytes(bytearray(b"email"))
    assert first is not second
    assert names.shared(first) is first
    assert names.shared(second) is first


def test_shared_long_name_is_itself() -> None:
    names = SharedNames()
    for _ in range(2):
        name = bytes(bytearray(b"x" * (LONGEST + 1)))
        assert names.shared(name) is name


def test_shared_full_table_starts_anew() -> None:
    names = SharedNames()
    first = names.shared(b"first")
    for number in range(MOST):
        names.shared(b"%d" % number)
    again = bytes(bytearray(b"first"))
    assert names.shared(again) is again is not first


def test_hashes_share_the_names_of_their_fields_while_they_are_small() -> None:
    limits = Limits()
    limits.hash_max_listpack_entries = 2
    hashes = [HashValue(), HashValue()]
    for number in range(4):
        for value in hashes:
            value.set(bytes(bytearray(b"field%d" % number)), b"v", limits)
    one, other = (list(value.fields) for value in hashes)
    assert one == other
    assert [mine is yours for mine, yours in zip(one, other, strict=True)] == [True, True, True, False]
