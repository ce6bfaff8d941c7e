"""Says whether a snapshot file is whole, and if not, where it breaks (`coordkit server --check FILE`)."""

from typing import Final

from coordkit_server.datatypes.limits import Limits
from coordkit_server.persistence import rdb_format as rdb
from coordkit_server.persistence.files import FileSystem
from coordkit_server.persistence.packed import BadFormat
from coordkit_server.persistence.rdb import Loader, LoadOptions, NoLibraries
from coordkit_server.persistence.rdb_format import Reader

_KEEP_ALL: Final = -1
_TYPE_NAMES: Final[list[tuple[str, list[int]]]] = [
    ("string", [rdb.STRING]),
    ("list", [rdb.LIST, rdb.LIST_ZIPLIST, rdb.LIST_QUICKLIST, rdb.LIST_QUICKLIST_2]),
    ("set", [rdb.SET, rdb.SET_INTSET, rdb.SET_LISTPACK]),
    ("hash", [rdb.HASH, rdb.HASH_ZIPMAP, rdb.HASH_ZIPLIST, rdb.HASH_LISTPACK]),
    ("zset", [rdb.ZSET, rdb.ZSET_2, rdb.ZSET_ZIPLIST, rdb.ZSET_LISTPACK]),
    ("stream", [rdb.STREAM, rdb.STREAM_2, rdb.STREAM_3]),
]


class Report:
    """What was found: `lines` for the reader, `good` if the whole file can be loaded.

    A file that is whole up to `good_bytes`, its size then, can be cut there; -1: nothing is gained by cutting it."""

    def __init__(self, lines: list[str], good: bool, path: str = "", good_bytes: int = -1) -> None:
        self.lines: Final = lines
        self.good: Final = good
        self.path: Final = path  # of the file that is to be cut
        self.good_bytes: Final = good_bytes


def is_snapshot(head: bytes) -> bool:
    """Return True if a file that starts with `head` is a snapshot."""
    return head.startswith((rdb.MAGIC, b"VALKEY"))


def check_snapshot(path: str, files: FileSystem) -> Report:
    """Return what is to be said of the snapshot file at `path`.  Raises OSError if it cannot be read."""
    file = files.open(path)
    reader = Reader(b"", file, checksums=True)
    loader = Loader(reader, None, LoadOptions(Limits(), NoLibraries(), _KEEP_ALL))
    try:
        loader.run()
    except BadFormat as error:
        lines = _found(loader)
        lines.append(f"offset {loader.item_at}: {error} (reading stopped at offset {reader.offset()})")
        return Report(lines, good=False)
    finally:
        file.close()
    lines = _found(loader)
    behind = file_rest(reader)
    if behind:
        lines.append(f"offset {reader.offset()}: there is more behind the end of the snapshot")
    lines.append("the snapshot is whole" + (", its checksum is right" if loader.checked else ", it has no checksum"))
    return Report(lines, good=not behind)


def file_rest(reader: Reader) -> bool:
    """Return True if anything stands behind what was read."""
    return len(reader.data) > reader.at


def _found(loader: Loader) -> list[str]:
    """Return what has been read, in words."""
    lines: list[str] = []
    if loader.version:
        maker = loader.facts.get(b"redis-ver", loader.facts.get(b"valkey-ver", b"an unnamed server"))
        lines.append(f"version {loader.version} of the format, written by {maker.decode('utf-8', 'replace')}")
    counts: list[str] = []
    for name, kinds in _TYPE_NAMES:
        count = sum([loader.types.get(kind, 0) for kind in kinds])
        if count:
            counts.append(f"{count} of type {name}")
    lines.append(f"{loader.keys} keys" + (": " + ", ".join(counts) if counts else ""))
    if loader.libraries:
        lines.append(f"libraries of functions: {loader.libraries}")
    lines.extend(loader.notes)
    return lines
