"""How a part that knows no commands runs one: scripts and log replay see only this trait."""

from mypy_extensions import trait


@trait
class Executor:
    """Runs one command and returns its reply value (an `ErrorReply` for an error; it does not raise)."""

    def call(self, argv: list[bytes]) -> object:
        """Return the reply of the command `argv` (name first)."""
        raise NotImplementedError
