"""What every stored value but a string is: a `Value` with a type name and an encoding.

A string is stored as `bytes`, or as a `bytearray` once it has been changed in place, or as a `Text`.
"""

from mypy_extensions import mypyc_attr, trait


@mypyc_attr(native_class=False)
class Text(bytes):
    """A string that reads as an integer and yet is not kept as one: what INCRBYFLOAT leaves."""


@mypyc_attr(acyclic=True)  # no value leads back to itself: without the collector's header small ones take less
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
