"""What has to be forgotten in a forked child."""

import os
import weakref
from collections.abc import Callable


def forget_in_child(method: Callable[[], None]) -> None:
    """Call the bound `method` in every child that this process forks, as long as its object lives."""
    reference = weakref.WeakMethod(method)

    def after_in_child() -> None:
        living = reference()
        if living is not None:
            living()

    os.register_at_fork(after_in_child=after_in_child)
