"""WATCH: who is told when a key changes."""

from mypy_extensions import trait


@trait
class Watcher:
    """A client that watches keys; told once is enough."""

    def key_changed(self) -> None:
        """Note that a watched key was modified: the next EXEC replies null."""
        raise NotImplementedError


@trait
class Tracker:
    """Told of every modified key while at least one client tracks keys (client-side caching)."""

    def key_modified(self, key: bytes, db_index: int) -> None:
        """Send invalidations for `key`."""
        raise NotImplementedError

    def key_removed(self, key: bytes, db_index: int) -> None:
        """Send invalidations for `key`, which expired or was evicted: no client's change."""
        raise NotImplementedError

    def flushed(self) -> None:
        """Send invalidations of everything: a database was emptied."""
        raise NotImplementedError
