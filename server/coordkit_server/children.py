"""Work in a forked child, which sees the data as they were at that moment while the parent goes on.

Rule of the room: a child runs its task and ends with `os._exit`; it touches no socket and no event loop.
"""

from mypy_extensions import trait


@trait
class ChildTask:
    """What a child does, and what follows from it."""

    def purpose(self) -> str:
        """Return what is not done if no child can be forked, in the words of the log."""
        raise NotImplementedError

    def run_in_child(self) -> None:
        """Do the work; an exception makes the child fail.  Raises OSError for what is in the log already."""
        raise NotImplementedError

    def child_ended(self, succeeded: bool) -> None:
        """Take over the result, in the parent."""
        raise NotImplementedError


@trait
class ChildRunner:
    """Forks; one child at a time."""

    def child_running(self) -> bool:
        """Return True while a child is at work."""
        raise NotImplementedError

    def start_child(self, task: ChildTask) -> bool:
        """Fork a child for `task`; return False if the system has no room for one.  None may be running."""
        raise NotImplementedError

    def last_fork_us(self) -> int:
        """Return how long the last fork took."""
        raise NotImplementedError

    def fork_count(self) -> int:
        """Return how many children there have been."""
        raise NotImplementedError

    def child_pid(self) -> int:
        """Return the process ID of the child, 0 if there is none."""
        raise NotImplementedError

    def kill_child(self) -> None:
        """End the child that runs, if there is one; its task hears of a failure."""
        raise NotImplementedError
