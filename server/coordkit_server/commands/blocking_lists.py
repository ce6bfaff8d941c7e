"""The list commands that wait (group "list"): BLPOP, BRPOP, BLMOVE, BRPOPLPUSH, BLMPOP.

Each tries first and blocks if there is nothing; when a key is ready the same handler runs again.
"""

from coordkit_server.commands.args import timeout_us
from coordkit_server.commands.lists import MultiPop, as_list, move_element, pop_one, side
from coordkit_server.context import (
    BLOCKING,
    DENYOOM,
    KEYS12,
    KEYS_TIMEOUT,
    NUMKEYS2,
    WRITE,
    Command,
    Context,
)
from coordkit_server.resp.reply import NULL_ARRAY


def _blocking_pop(cx: Context, at_head: bool) -> object:
    """Pop from the first key with elements, or wait."""
    argv = cx.argv
    wait_us = timeout_us(argv[-1], cx.state.now_ms)
    for i in range(1, len(argv) - 1):
        entry = cx.db.lookup_write(argv[i])
        value = as_list(entry)
        if value is not None and entry is not None:
            cx.rewrite([b"LPOP" if at_head else b"RPOP", argv[i]])
            return [argv[i], pop_one(cx, entry, value, at_head)]
    return cx.block(b"list", argv[1:-1], wait_us, NULL_ARRAY)


def blpop(cx: Context) -> object:
    """BLPOP key [key ...] timeout -> [key, first element], null after the timeout."""
    return _blocking_pop(cx, True)


def brpop(cx: Context) -> object:
    """BRPOP key [key ...] timeout -> [key, last element], null after the timeout."""
    return _blocking_pop(cx, False)


def _blocking_move(cx: Context, from_head: bool, to_head: bool) -> object:
    """Move an element from the first key to the second, or wait."""
    argv = cx.argv
    wait_us = timeout_us(argv[-1], cx.state.now_ms)
    element = move_element(cx, argv[1], argv[2], from_head, to_head)
    if element is not None:
        cx.rewrite([b"RPOPLPUSH", argv[1], argv[2]] if len(argv) == 4 else [b"LMOVE", *argv[1:5]])
        return element
    if cx.session.deny_blocking:
        return None
    return cx.block(b"list", [argv[1]], wait_us, NULL_ARRAY)


def blmove(cx: Context) -> object:
    """BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout -> the element moved, null after the timeout."""
    return _blocking_move(cx, side(cx.argv[3]), side(cx.argv[4]))


def brpoplpush(cx: Context) -> object:
    """BRPOPLPUSH source destination timeout -> the element moved, null after the timeout."""
    return _blocking_move(cx, False, True)


def blmpop(cx: Context) -> object:
    """BLMPOP timeout numkeys key [key ...] LEFT|RIGHT [COUNT count] -> [key, elements], null after the timeout."""
    request = MultiPop(cx.argv, 2)
    wait_us = timeout_us(cx.argv[1], cx.state.now_ms)
    elements = request.run(cx)
    if elements is not None:
        return elements
    return cx.block(b"list", request.keys, wait_us, NULL_ARRAY)


def commands() -> list[Command]:
    """Return the rows of this group that block."""
    write = WRITE | BLOCKING
    return [
        Command(b"BLMOVE", 6, write | DENYOOM, blmove, KEYS12, since=b"6.2.0", summary=b"LMOVE that waits."),
        Command(b"BLMPOP", -5, write, blmpop, NUMKEYS2, since=b"7.0.0", summary=b"LMPOP that waits."),
        Command(b"BLPOP", -3, write, blpop, KEYS_TIMEOUT, since=b"2.0.0", summary=b"LPOP that waits."),
        Command(b"BRPOP", -3, write, brpop, KEYS_TIMEOUT, since=b"2.0.0", summary=b"RPOP that waits."),
        Command(
            b"BRPOPLPUSH", 4, write | DENYOOM, brpoplpush, KEYS12, since=b"2.2.0", summary=b"RPOPLPUSH that waits."
        ),
    ]
