"""Glob patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^a]`, `\\x`.

Source: Redis command reference, KEYS; the corner cases (an open class, a trailing backslash) are Redis's.
"""

from typing import Final

STAR: Final = 42
QUESTION: Final = 63
OPEN: Final = 91
CLOSE: Final = 93
CARET: Final = 94
BACKSLASH: Final = 92
DASH: Final = 45
SPECIAL: Final = b"*?[\\"
MAX_STARS: Final = 1000  # Redis recurses at each of them, and gives up at this depth


def is_literal(pattern: bytes) -> bool:
    """Return True if `pattern` has no special character: it matches itself only."""
    for char in pattern:
        if char in SPECIAL:
            return False
    return True


def match(pattern: bytes, text: bytes) -> bool:
    """Return True if the whole of `text` matches `pattern`.

    Linear in practice: a failed `*` resumes at the last one only, so patterns such as `*a*a*a*b` stay cheap.
    A pattern of more than 1000 stars matches nothing once the text has reached the next one, as in Redis."""
    p = 0
    t = 0
    star_p = -1
    star_t = 0
    stars = 0
    plen = len(pattern)
    tlen = len(text)
    while t < tlen:
        advanced = -1
        if p < plen:
            if pattern[p] == STAR:
                while p < plen and pattern[p] == STAR:
                    p += 1
                if p == plen:
                    return True
                stars += 1
                if stars > MAX_STARS:
                    return False
                star_p = p
                star_t = t
                continue
            advanced = _match_one(pattern, p, text[t])
        if advanced >= 0:
            p = advanced
            t += 1
        elif star_p >= 0:
            star_t += 1
            t = star_t
            p = star_p
        else:
            return False
    while p < plen and pattern[p] == STAR:
        p += 1
    return p == plen


def _match_one(pattern: bytes, p: int, char: int) -> int:
    """Return the pattern position after the element at `p` if it matches `char`, else -1."""
    element = pattern[p]
    if element == QUESTION:
        return p + 1
    if element == OPEN:
        return _match_class(pattern, p + 1, char)
    if element == BACKSLASH and p + 1 < len(pattern):
        p += 1
    return p + 1 if pattern[p] == char else -1


def _match_class(pattern: bytes, p: int, char: int) -> int:
    """Return the position after the class whose body starts at `p` if it admits `char`, else -1."""
    plen = len(pattern)
    negate = p < plen and pattern[p] == CARET
    if negate:
        p += 1
    found = False
    while p < plen:
        low = pattern[p]
        if low == BACKSLASH and p + 1 < plen:
            p += 1
            found = found or pattern[p] == char
        elif low == CLOSE:
            break
        elif p + 2 < plen and pattern[p + 1] == DASH:
            high = pattern[p + 2]
            p += 2
            found = found or min(low, high) <= char <= max(low, high)
        else:
            found = found or low == char
        p += 1
    after = p + 1 if p < plen else plen
    return after if found != negate else -1
