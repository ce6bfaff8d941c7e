"""A hash: fields to values, in order of insertion."""

from random import Random
from typing import Final

from mypy_extensions import mypyc_attr

from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.member_index import MemberIndex
from coordkit_server.datatypes.sampling import choose
from coordkit_server.datatypes.value import Value


@mypyc_attr(acyclic=True)
class HashValue(Value):
    """The value of a hash key."""

    def __init__(self) -> None:
        self.fields: Final[dict[bytes, bytes]] = {}
        self.packed: bool = True
        self._index: MemberIndex | None = None

    def type_name(self) -> bytes:
        """Return `hash`."""
        return b"hash"

    def encoding(self) -> bytes:
        """Return `listpack` or `hashtable`."""
        return b"listpack" if self.packed else b"hashtable"

    def length(self) -> int:
        """Return the number of fields."""
        return len(self.fields)

    def copy(self) -> Value:
        """Return an independent copy."""
        twin = HashValue()
        twin.fields.update(self.fields)
        twin.packed = self.packed
        return twin

    def set(self, field: bytes, value: bytes, limits: Limits) -> bool:
        """Set a field; return True if it is new."""
        fields = self.fields
        is_new = field not in fields
        if is_new and self.packed:
            field = limits.field_names.shared(field)
        fields[field] = value
        if is_new and self._index is not None:
            self._index.add(field)
        if self.packed and (
            len(fields) > limits.hash_max_listpack_entries
            or len(value) > limits.hash_max_listpack_value
            or len(field) > limits.hash_max_listpack_value
        ):
            self.packed = False
        return is_new

    def remove(self, field: bytes) -> bool:
        """Remove a field; return False if it was not there."""
        if field not in self.fields:
            return False
        del self.fields[field]
        if self._index is not None:
            self._index.remove(field)
        return True

    def random_fields(self, random: Random, count: int) -> list[bytes]:
        """Return random fields of a hash that is not empty: |count|, repeated for a negative `count`, else distinct."""
        if self.packed:
            return choose(random, list(self.fields), count, in_order=True)
        return self._dense().choose(random, count)

    def _dense(self) -> MemberIndex:
        """Return the dense index of the fields of a hash that is not packed."""
        index = self._index
        if index is None:
            index = MemberIndex(self.fields)
            self._index = index
        return index

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Return (next cursor, fields); a packed hash comes in one piece."""
        if self.packed:
            return 0, list(self.fields)
        return self._dense().scan(cursor, count)
