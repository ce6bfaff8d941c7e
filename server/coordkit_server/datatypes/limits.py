"""Sizes up to which a collection counts as packed (`listpack`, `intset`), set by CONFIG SET at run time, and what the
packed ones share."""

from typing import Final

from coordkit_server.datatypes.shared_names import SharedNames


class Limits:
    """The encoding thresholds, with Redis 7.2's defaults."""

    def __init__(self) -> None:
        self.field_names: Final = SharedNames()
        self.hash_max_listpack_entries: int = 512
        self.hash_max_listpack_value: int = 64
        self.list_max_listpack_size: int = -2
        self.list_compress_depth: int = 0
        self.set_max_intset_entries: int = 512
        self.set_max_listpack_entries: int = 128
        self.set_max_listpack_value: int = 64
        self.zset_max_listpack_entries: int = 128
        self.zset_max_listpack_value: int = 64
        self.hll_sparse_max_bytes: int = 3000
        self.stream_node_max_bytes: int = 4096
        self.stream_node_max_entries: int = 100
