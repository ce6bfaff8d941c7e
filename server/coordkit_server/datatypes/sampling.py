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
    return random.sample(range(size), count)
