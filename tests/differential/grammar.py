"""A grammar of commands, from which hypothesis makes streams of them.

A line is a command: upper-case words stand for themselves, lower-case words for an argument of a kind, `[a b]` may be
left out, `(a|b)` is one of them, `a...` comes one to three times.  A line behind `?` replies in no order.
"""

import re
from typing import Final

from hypothesis import strategies as st

from tests.differential.case import Argument

Words = list[Argument]

# few keys, so that commands meet each other's values
KINDS: Final[dict[str, st.SearchStrategy[Argument]]] = {
    "key": st.sampled_from(["a", "b", "c", "d", "e"]),
    "value": st.one_of(
        st.sampled_from(["", "0", "1", "-1", "10", "3.5", "007", "x", "foobar", "9223372036854775807", " 1", "1 "]),
        st.binary(max_size=12),
        st.integers(-(2**63), 2**63 - 1).map(str),
        st.sampled_from(["long" * 20, b"\xff" * 30, b"\0" * 9]),
    ),
    "member": st.sampled_from(["1", "2", "3", "4", "x", "y", "z", "17", "-5", "member"]),
    "int": st.one_of(st.integers(-7, 7), st.sampled_from([0, 1, -1, 100, -100, 2**63 - 1, -(2**63), "x", "1.5", ""])),
    "index": st.one_of(st.integers(-40, 90), st.sampled_from([0, -1, 2**63 - 1, -(2**63)])),
    "small": st.integers(-3, 12),
    "offset": st.one_of(st.integers(0, 90), st.sampled_from([-1, "x", "#1", "#3"])),
    "count": st.sampled_from([0, 1, 2, 3, -1, -2, 10, "x"]),
    "bit": st.sampled_from([0, 1, 1, 0, 2, "x"]),
    "width": st.sampled_from(["u1", "u4", "u8", "i8", "i5", "u16", "i64", "u63", "i1", "u64", "x"]),
    "score": st.sampled_from(["0", "1", "2", "-3", "1.5", "-0.5", "inf", "-inf", "x"]),
    "bound": st.sampled_from(["0", "1", "(1", "-inf", "+inf", "(2", "-3", "1.5", "x"]),
    "lexbound": st.sampled_from(["-", "+", "[x", "(x", "[2", "(member", "x"]),
    "float": st.sampled_from(["0", "1", "-1", "0.5", "-2.25", "1e2", "x", "inf"]),
    "seconds": st.sampled_from([100, 1000, 100000, 0, -1, "x", 2**63 - 1]),
    "at": st.sampled_from([33177117420, 1, 0, -1, 33177117500, "x"]),
    "at_ms": st.sampled_from([33177117420000, 1, 0, -1, 33177117500123, "x"]),
    "pattern": st.sampled_from(["*", "a", "[a-c]", "?", "x*", "[^a]", "\\a", "*1*"]),
    "get": st.sampled_from(["#", "*", "*->x", "a", "nokey_*"]),
    "newid": st.sampled_from(["5-*"] * 5 + ["1-1", "5", "6-*", "6-3", "7", "0-*", "0-0", "x", "5-x", "-"]),
    "id": st.sampled_from(["5-1", "5-2", "5-3", "5-4", "5-0", "6-3", "0", "5", "6", "1-1", "7-0", "x", "0-0"]),
    "idbound": st.sampled_from(["-", "+", "5-2", "5-3", "5", "(5-2", "(5-3", "(5", "6", "0", "(-", "(0-0", "x"]),
    "groupid": st.sampled_from(["$", "0", "5-1", "5-2", "6", "5-3", "x", "-"]),
    "group": st.sampled_from(["g", "g", "g", "h"]),
    "consumer": st.sampled_from(["al", "bo", "cy"]),
    "nacks": st.just(
        "local r = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 100) "
        "for _, nack in ipairs(r) do nack[3] = nack[3] > 50000 end return r"
    ),
}

COMMANDS: Final = """
SET key value
SET key value [(NX|XX)] [GET] [(EX seconds|PXAT 33177117420000|EXAT 33177117420|KEEPTTL)]
SETNX key value
SETEX key seconds value
GET key
GETSET key value
GETDEL key
GETEX key [(EXAT 33177117420|PXAT 33177117420000|PERSIST|EX 1000)]
MGET key...
MSET key value key value
MSETNX key value key value
INCR key
DECR key
INCRBY key int
DECRBY key int
INCRBYFLOAT key float
APPEND key value
STRLEN key
GETRANGE key int int
SETRANGE key small value
LCS key key [(LEN|IDX [MINMATCHLEN count] [WITHMATCHLEN])]
SETBIT key offset bit
GETBIT key offset
BITCOUNT key [index index [(BIT|BYTE)]]
BITPOS key bit [index [index [(BIT|BYTE)]]]
BITOP (AND|OR|XOR) key key...
BITOP NOT key key
BITFIELD key (GET width offset|SET width offset int|INCRBY width offset int|OVERFLOW (WRAP|SAT|FAIL))...
BITFIELD key [OVERFLOW (WRAP|SAT|FAIL)] (SET width offset int|INCRBY width offset int)...
BITFIELD_RO key (GET width offset)...
DEL key...
UNLINK key...
EXISTS key...
TOUCH key...
TYPE key
EXPIRE key seconds [(NX|XX|GT|LT)] [(NX|XX|GT|LT)]
EXPIREAT key at [(NX|XX|GT|LT)]
PEXPIREAT key at_ms [(NX|XX|GT|LT)]
PERSIST key
RENAME key key
RENAMENX key key
COPY key key [REPLACE]
OBJECT ENCODING none
?KEYS pattern
SORT key ALPHA [(ASC|DESC)] [LIMIT count count]
SORT key BY (nosort|#) [ALPHA] [DESC] [LIMIT small small] (GET get)... STORE key
?SORT key BY * ALPHA (GET get)...
?SORT_RO key BY *->x ALPHA [GET get]
LPUSH key value...
RPUSH key value...
LPUSHX key value...
RPUSHX key value...
LPOP key [count]
RPOP key [count]
LLEN key
LINDEX key small
LRANGE key int int
LSET key small value
LREM key count value
LTRIM key small small
LINSERT key (BEFORE|AFTER) value value
LPOS key value [RANK count] [COUNT count] [MAXLEN count]
LMOVE key key (LEFT|RIGHT) (LEFT|RIGHT)
RPOPLPUSH key key
LMPOP small key... (LEFT|RIGHT)
LMPOP 2 key key (LEFT|RIGHT) [COUNT count]
SADD key member...
SREM key member...
SMOVE key key member
SISMEMBER key member
SMISMEMBER key member...
SCARD key
?SPOP key (0|100|x)
?SRANDMEMBER key (0|100|x)
?SSCAN key (0|x) [MATCH pattern] COUNT (1000|0|x)
?SMEMBERS key
?SINTER key...
?SUNION key...
?SDIFF key...
SINTERSTORE key key...
SUNIONSTORE key key...
SDIFFSTORE key key...
SINTERCARD small key...
SINTERCARD 2 key key [LIMIT count]
HSET key member value
HSET key member value member value
HMSET key member value member value
HSETNX key member value
HGET key member
HMGET key member...
HDEL key member...
HEXISTS key member
HLEN key
HSTRLEN key member
?HGETALL key
?HKEYS key
?HVALS key
HINCRBY key member int
HINCRBYFLOAT key member float
?HSCAN key (0|x) [MATCH pattern] COUNT (1000|0|x)
?HRANDFIELD key (0|100|x) [(WITHVALUES|x)]
ZADD key [(NX|XX)] [(GT|LT)] [CH] [INCR] score member
ZADD key [(NX|XX|GT|LT)] [CH] score member score member
ZINCRBY key score member
ZSCORE key member
ZMSCORE key member...
ZREM key member...
ZCARD key
ZCOUNT key bound bound
ZRANK key member
ZREVRANK key member
ZRANGE key int int [REV] [WITHSCORES]
ZRANGE key bound bound BYSCORE [REV] [LIMIT count count] [WITHSCORES]
ZRANGE key lexbound lexbound BYLEX [REV] [LIMIT count count]
ZRANGESTORE key key int int [REV]
ZREMRANGEBYSCORE key bound bound
ZREMRANGEBYRANK key small small
ZPOPMIN key [count]
ZPOPMAX key [count]
ZUNIONSTORE key 2 key key [WEIGHTS score score] [AGGREGATE (SUM|MIN|MAX)]
ZINTERSTORE key 2 key key [AGGREGATE (SUM|MIN|MAX)]
ZDIFF 2 key key [WITHSCORES]
XADD key newid member value
XADD key newid member value member value
XADD key [NOMKSTREAM] [MAXLEN [(=|~)] small] [LIMIT count] newid member value
XADD key [MINID [(=|~)] id] [LIMIT count] [NOMKSTREAM] newid member value
XLEN key
XRANGE key idbound idbound [COUNT count]
XREVRANGE key idbound idbound [COUNT count]
XDEL key id...
XTRIM key MAXLEN [(=|~)] small [LIMIT count]
XTRIM key MINID [(=|~)] id [LIMIT count]
XSETID key id [ENTRIESADDED small] [MAXDELETEDID id]
XREAD [COUNT count] STREAMS key (id|$|>)
XREAD [COUNT count] STREAMS key key id id
XGROUP CREATE key group groupid [MKSTREAM] [ENTRIESREAD small]
XGROUP CREATE key g 0 MKSTREAM
XGROUP SETID key group groupid [ENTRIESREAD small]
XGROUP DESTROY key h
XGROUP CREATECONSUMER key group consumer
XGROUP DELCONSUMER key group consumer
XREADGROUP GROUP group consumer [COUNT small] [NOACK] STREAMS key >
XREADGROUP GROUP g consumer COUNT 1 STREAMS key >
XREADGROUP GROUP group consumer [COUNT count] [NOACK] STREAMS key (id|$)
XREADGROUP GROUP g consumer [COUNT small] STREAMS key key > >
XACK key group id...
XPENDING key group
XPENDING key group [IDLE 60000] idbound idbound 0 [consumer]
EVAL nacks 1 key group
XCLAIM key group consumer (0|60000|x) id... [(IDLE|TIME) (0|100000)] [RETRYCOUNT small] [FORCE] [JUSTID] [LASTID id]
XCLAIM key g consumer 0 id id id FORCE
XAUTOCLAIM key group consumer (0|60000) idbound [COUNT small] [JUSTID]
XINFO STREAM key
XINFO GROUPS key
"""

# one command in three is spoilt
SPOILERS: Final = ["none"] * 8 + ["leave out", "repeat", "another", "lower"]
# commands of which some spoilt forms cannot be compared, and why
NOT_SPOILT: Final[dict[str, str]] = {
    "BITCOUNT": "Valkey 9 takes a start without an end, and reads the range first",
    "BITPOS": "Valkey 9 reads the range before it looks the key up",
    "GETEX": "Valkey 9 checks the expiry before it looks the key up",
    "HRANDFIELD": "without a count it is chance that answers",
    "SPOP": "without a count it is chance that answers",
    "SRANDMEMBER": "without a count it is chance that answers",
    "HSCAN": "without a count a part comes, in an order of the server's own",
    "SSCAN": "without a count a part comes, in an order of the server's own",
    "SORT": "a set without an order comes in one of the server's own",
    "SORT_RO": "a set without an order comes in one of the server's own",
    "ZRANK": "7.0 has no WITHSCORE",
    "ZREVRANK": "7.0 has no WITHSCORE",
}

# lines that a reference replies in another way than 7.2
NOT_COMPARED: Final[dict[str, str]] = {
    "redis": "XSETID|XINFO|XREADGROUP|XCLAIM|XAUTOCLAIM",  # 7.0 counts entries read and new consumers otherwise
    "valkey": "XINFO GROUPS",  # 9 tells the lag in more cases
}

_TOKEN: Final = re.compile(r"\.\.\.|[][()|]|[^][()|\s.]+|\.")


class _Parser:
    """Reads one line into a strategy for its words."""

    def __init__(self, line: str, kinds: dict[str, st.SearchStrategy[Argument]]) -> None:
        self._tokens = _TOKEN.findall(line)
        self._kinds = kinds
        self._at = 0

    def sequence(self, until: str) -> st.SearchStrategy[Words]:
        """What stands before one of the tokens in `until`, or before the end."""
        parts: list[st.SearchStrategy[Words]] = []
        while self._at < len(self._tokens) and self._tokens[self._at] not in until:
            parts.append(self._repeated(self._part()))
        return st.tuples(*parts).map(_joined)

    def _part(self) -> st.SearchStrategy[Words]:
        token = self._tokens[self._at]
        self._at += 1
        if token == "[":
            inner = self.sequence("]")
            self._at += 1
            return st.one_of(st.just([]), inner)
        if token == "(":
            choices = [self.sequence("|)")]
            while self._tokens[self._at] == "|":
                self._at += 1
                choices.append(self.sequence("|)"))
            self._at += 1
            return st.one_of(choices)
        kind = self._kinds.get(token)
        return kind.map(_alone) if kind is not None else st.just([token])

    def _repeated(self, part: st.SearchStrategy[Words]) -> st.SearchStrategy[Words]:
        if self._at < len(self._tokens) and self._tokens[self._at] == "...":
            self._at += 1
            return st.lists(part, min_size=1, max_size=3).map(_joined)
        return part


def _alone(word: Argument) -> Words:
    return [word]


def _joined(parts: list[Words] | tuple[Words, ...]) -> Words:
    return [word for part in parts for word in part]


# names of the commands of a group; a stream of one group goes deeper than one of all commands
GROUPS: Final[dict[str, str]] = {
    "all": "[A-Z]",
    "hashes": "H|(DEL|TYPE|RENAME|COPY) ",
    "lists": "[LR](PUSH|POP|LEN|INDEX|RANGE|SET|REM|TRIM|INSERT|POS|MOVE|MPOP)|(DEL|TYPE|RENAME|COPY) ",
    "streams": "X|EVAL nacks|(DEL|TYPE|RENAME|COPY) ",
    "sets": "S(ADD|REM|MOVE|ISM|MISM|CARD|MEM|POP|RAND|SCAN|INTER|UNION|DIFF)|(DEL|TYPE|RENAME|COPY) ",
}
GROWTH: Final = 6
# in a stream of one group values meet each other often
NARROW: Final[dict[str, st.SearchStrategy[Argument]]] = {
    "key": st.sampled_from(["a", "b"]),
    "value": st.sampled_from(["x", "y", "1", "2", "x", "y", "", "long" * 20]),
    "member": st.sampled_from(["x", "y", "1", "2", "-3", "3", "long" * 20]),
}


def commands(group: str, reference: str) -> st.SearchStrategy[tuple[bool, Words]]:
    """Commands of `group` that `reference` replies as 7.2, each with whether its reply has no order."""
    kinds = KINDS if group == "all" else {**KINDS, **NARROW}
    lines = [
        line
        for line in COMMANDS.splitlines()
        if line and re.match(GROUPS[group], line.lstrip("?")) and not re.match(NOT_COMPARED[reference], line)
    ]
    if group != "all":  # more is to be there than is taken away
        lines += [
            line
            for line in lines
            if re.match("SADD|HSET |[LR]PUSH |XADD key newid|XREADGROUP GROUP g |XGROUP CREATE key g ", line)
        ] * GROWTH
    words = {line: _Parser(line.lstrip("?"), kinds).sequence("") for line in lines}
    if group == "all":
        words = {line: _sometimes_spoilt(line, whole) for line, whole in words.items()}
    return st.one_of([st.tuples(st.just(line[0] == "?"), words[line]) for line in lines])


def _sometimes_spoilt(line: str, whole: st.SearchStrategy[Words]) -> st.SearchStrategy[Words]:
    """The commands of a line; of some, a word is gone, is there twice or is another one, or all are in lower case."""
    if line.lstrip("?").split(maxsplit=1)[0] in NOT_SPOILT:
        return whole
    return st.tuples(whole, st.sampled_from(SPOILERS), st.integers(1, 8)).map(_spoilt)


def _spoilt(drawn: tuple[Words, str, int]) -> Words:
    words, spoiler, place = drawn
    place = 1 + place % (len(words) - 1) if len(words) > 1 else 1
    before, word, after = words[:place], words[place : place + 1], words[place + 1 :]
    match spoiler:
        case "leave out":
            return [*before, *after]
        case "repeat":
            return [*before, *word, *word, *after]
        case "another":
            return [*before, "zzz", *after]
        case "lower":
            return [words[0], *(part.lower() if isinstance(part, str) else part for part in words[1:])]
        case _:
            return words
