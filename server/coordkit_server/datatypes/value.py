"""What every stored value but a string is: a `Value` with a type name and an encoding.

A string is stored as `bytes`, or as a `bytearray` once it has been changed in place.
"""

from mypy_extensions import trait


@trait
class Value:
    """A collection stored under a key."""

    def type_name(self) -> bytes:
        """Return the name TYPE replies: `list`, `hash`, `set`, `zset` or `stream`."""
        raise NotImplementedError

    def encoding(self) -> bytes:
        """Return the name OBJECT ENCODING replies."""
        raise NotImplementedError

    def length(self) -> int:
        """Return the number of elements."""
        raise NotImplementedError

    def copy(self) -> "Value":
        """Return an independent copy (COPY)."""
        raise NotImplementedError
