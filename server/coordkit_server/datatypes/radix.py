"""How many nodes Redis's radix tree has for given ids: XINFO STREAM tells it.  No tree is built here.

Source: the layout that the comment at the top of Redis's rax.c describes.
"""

from typing import Final

_KEY_BYTES: Final = 16


def node_count(idents: list[int]) -> int:
    """Return the number of nodes of a tree with these ids, in order, as keys of 16 bytes."""
    keys: list[bytes] = []
    for ident in idents:
        keys.append(ident.to_bytes(_KEY_BYTES, "big"))
    return _count(keys, 0, len(keys), 0) if keys else 1


def _count(keys: list[bytes], start: int, stop: int, depth: int) -> int:
    """Return the number of nodes below `depth` bytes that the keys from `start` up to `stop` have in common."""
    if stop - start == 1:
        return 2 if depth < _KEY_BYTES else 1  # the rest of the key in one node, and a leaf
    first = keys[start]
    last = keys[stop - 1]
    fork = depth
    while first[fork] == last[fork]:
        fork += 1
    nodes = 2 if fork > depth else 1  # the common bytes in one node, and the one that forks
    group = start
    for i in range(start + 1, stop + 1):
        if i == stop or keys[i][fork] != keys[group][fork]:
            nodes += _count(keys, group, i, fork + 1)
            group = i
    return nodes
