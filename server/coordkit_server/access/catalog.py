"""What rules need to know of the commands: which there are, and which belong to a category."""

from mypy_extensions import trait


@trait
class Catalog:
    """The commands, by the names that rules use: `get`, `config`, `config|get`, all in lower case."""

    def has(self, name: bytes) -> bool:
        """Return True if there is a command, container or subcommand called `name`."""
        raise NotImplementedError

    def subcommands(self, name: bytes) -> list[bytes]:
        """Return the full names of the subcommands of `name`, none if it is no container."""
        raise NotImplementedError

    def category(self, name: bytes) -> list[bytes] | None:
        """Return the full names of the commands of the category `name` (without `@`), None if there is none."""
        raise NotImplementedError
