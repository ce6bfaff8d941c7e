"""Random choice of positions, as SRANDMEMBER, HRANDFIELD and ZRANDMEMBER make it."""

from random import Random


def positions(random: Random, size: int, count: int) -> list[int]:
    """Return positions below `size`: |count| with repetition if `count` is negative, else min(count, size) distinct."""
    if size == 0 or count == 0:
        return []
    if count < 0:
        chosen: list[int] = []
        for _ in range(-count):
            chosen.append(int(random.random() * size))
        return chosen
    if count >= size:
        return list(range(size))
    if count == 1:
        return [int(random.random() * size)]
    return random.sample(range(size), count)


def choose(random: Random, members: list[bytes], count: int, *, in_order: bool = False) -> list[bytes]:
    """Return |count| of `members`, with repetition if `count` is negative; `in_order` keeps distinct ones in order.

    Redis goes through a listpack once and so keeps its order."""
    if count >= len(members):
        return members[:]
    chosen = positions(random, len(members), count)
    if in_order and count > 0:
        chosen.sort()
    return [members[position] for position in chosen]
