"""The commands of random streams by type, in the notation of grammar.py, and the kinds of their arguments.

A group is the lines of a type and those of `GENERIC` that any value meets; lines behind `+` make values grow and are
drawn more often.
"""

from typing import Final

from hypothesis import strategies as st

from tests.differential.case import Argument

Kind = st.SearchStrategy[Argument]

# few keys and members, so that commands meet each other's values
KINDS: Final[dict[str, Kind]] = {
    "key": st.sampled_from(["a", "b", "c"]),
    "value": st.sampled_from(["x", "y", "1", "2", "", "-3", "long" * 20]),
    "text": st.one_of(
        st.sampled_from(["", "0", "1", "-1", "10", "3.5", "007", "x", "foobar", "9223372036854775807", " 1", "1 "]),
        st.binary(max_size=12),
        st.integers(-(2**63), 2**63 - 1).map(str),
        st.sampled_from(["long" * 20, b"\xff" * 30, b"\0" * 9, "0.1", "1e3", "12345678901234567890"]),
    ),
    "member": st.sampled_from(["x", "y", "z", "1", "2", "3", "-5", "17", "70000", "member", "long" * 20]),
    "int": st.one_of(st.integers(-7, 7), st.sampled_from([0, 1, -1, 100, -100, 2**63 - 1, -(2**63), "x", "1.5", ""])),
    "index": st.one_of(st.integers(-40, 90), st.sampled_from([0, -1, 2**63 - 1, -(2**63)])),
    "small": st.integers(-3, 12),
    "offset": st.one_of(st.integers(0, 90), st.sampled_from([-1, "x", "#1", "#3"])),
    "count": st.sampled_from([0, 1, 2, 3, -1, -2, 10, "x"]),
    "bit": st.sampled_from([0, 1, 1, 0, 2, "x"]),
    "width": st.sampled_from(["u1", "u4", "u8", "i8", "i5", "u16", "i64", "u63", "i1", "u64", "x"]),
    "score": st.sampled_from(["0", "1", "2", "-3", "1.5", "-0.5", "inf", "-inf", "x", "3", "4", "1e20", "0.1"]),
    "bound": st.sampled_from(["0", "1", "(1", "-inf", "+inf", "(2", "-3", "1.5", "x", "(inf", "4"]),
    "lexbound": st.sampled_from(["-", "+", "[x", "(x", "[2", "(member", "x", "[z", "(", "["]),
    "float": st.sampled_from(["0", "1", "-1", "0.5", "-2.25", "1e2", "x", "inf", "3.0e-3", "1e17"]),
    "seconds": st.sampled_from([100, 1000, 100000, 0, -1, "x", 2**63 - 1]),
    "ms": st.sampled_from([100_000, 1_000_000, 0, -1, "x", 2**63 - 1]),
    "at": st.sampled_from([33177117420, 1, 0, -1, 33177117500, "x"]),
    "at_ms": st.sampled_from([33177117420000, 1, 0, -1, 33177117500123, "x"]),
    "pattern": st.sampled_from(["*", "a", "[a-c]", "?", "x*", "[^a]", "\\a", "*1*"]),
    "get": st.sampled_from(["#", "*", "*->x", "a", "nokey_*"]),
    "lon": st.sampled_from(["0", "13.361389", "15.087269", "-180", "180", "181", "2.35", "13.4", "x", "-0.0001"]),
    "lat": st.sampled_from(["0", "38.115556", "37.502669", "85.05112878", "-85", "86", "48.85", "38.1", "x"]),
    "length": st.sampled_from(["0", "1", "200", "1000.5", "20000", "-1", "x", "100000"]),
    "unit": st.sampled_from(["m", "km", "KM", "ft", "mi", "x", "km"]),
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

GENERIC: Final = """
DEL key...
UNLINK key
EXISTS key...
TYPE key
OBJECT ENCODING key
RENAME key key
RENAMENX key key
COPY key key [REPLACE]
EXPIRE key seconds
PERSIST key
"""

STRINGS: Final = """
+SET key text
SET key text [(NX|XX)] [GET] [(EX seconds|PX ms|PXAT at_ms|EXAT at|KEEPTTL)]
SETNX key text
SETEX key seconds text
PSETEX key ms text
GET key
GETSET key text
GETDEL key
GETEX key [(EXAT at|PXAT at_ms|PERSIST|EX seconds|PX ms)]
MGET key...
MSET key text key text
MSETNX key text key text
INCR key
DECR key
INCRBY key int
DECRBY key int
INCRBYFLOAT key float
APPEND key text
STRLEN key
GETRANGE key int int
SUBSTR key int int
SETRANGE key small text
LCS key key [(LEN|IDX [MINMATCHLEN count] [WITHMATCHLEN])]
"""

BITMAPS: Final = """
+SET key text
+SETBIT key offset bit
GETBIT key offset
BITCOUNT key [index index [(BIT|BYTE)]]
BITPOS key bit [index [index [(BIT|BYTE)]]]
BITOP (AND|OR|XOR) key key...
BITOP NOT key key
BITFIELD key (GET width offset|SET width offset int|INCRBY width offset int|OVERFLOW (WRAP|SAT|FAIL))...
BITFIELD key [OVERFLOW (WRAP|SAT|FAIL)] (SET width offset int|INCRBY width offset int)...
BITFIELD_RO key (GET width offset)...
APPEND key text
INCR key
"""

KEYS: Final = """
+SET key text
+RPUSH key value...
+SADD key member...
+HSET key member value
+ZADD key score member
DEL key...
UNLINK key...
EXISTS key...
TOUCH key...
TYPE key
EXPIRE key seconds [(NX|XX)] [(NX|XX)]
PEXPIRE key ms [(NX|XX)]
EXPIREAT key at [(NX|XX|GT|LT)] [(NX|XX|GT|LT)]
PEXPIREAT key at_ms [(NX|XX|GT|LT)]
PERSIST key
RENAME key key
RENAMENX key key
COPY key key [DB (1|2|x)] [REPLACE]
MOVE key (1|2|x)
SELECT (0|0|1|x)
SWAPDB (0|1|x) (1|2|x)
OBJECT ENCODING key
?KEYS pattern
DBSIZE
?SCAN (0|x) [MATCH pattern] [TYPE (string|list|hash|x)] COUNT 1000
SORT key ALPHA [(ASC|DESC)] [LIMIT count count]
SORT key BY (nosort|#) [ALPHA] [DESC] [LIMIT small small] (GET get)... STORE key
?SORT key BY * ALPHA (GET get)...
?SORT_RO key BY *->x ALPHA [GET get]
"""

LISTS: Final = """
+LPUSH key value...
+RPUSH key value...
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
SORT key [ALPHA] [(ASC|DESC)] [LIMIT count count] [STORE key]
"""

SETS: Final = """
+SADD key member...
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
"""

HASHES: Final = """
+HSET key member value
+HSET key member value member value
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
"""

ZSETS: Final = """
+ZADD key score member score member
ZADD key [(NX|XX)] [(GT|LT)] [CH] [INCR] score member
ZADD key [(NX|XX|GT|LT)] [CH] score member score member
ZINCRBY key score member
ZSCORE key member
ZMSCORE key member...
ZREM key member...
ZCARD key
ZCOUNT key bound bound
ZRANK key member [WITHSCORE]
ZREVRANK key member [WITHSCORE]
ZRANGE key int int [REV] [WITHSCORES]
ZRANGE key bound bound BYSCORE [REV] [LIMIT count count] [WITHSCORES]
ZREVRANGE key int int [WITHSCORES]
ZRANGEBYSCORE key bound bound [WITHSCORES] [LIMIT count count]
ZREVRANGEBYSCORE key bound bound [LIMIT count count]
ZRANGESTORE key key int int [REV]
ZRANGESTORE key key bound bound BYSCORE [REV] [LIMIT count count]
ZREMRANGEBYSCORE key bound bound
ZREMRANGEBYRANK key small small
ZPOPMIN key [count]
ZPOPMAX key [count]
ZMPOP small key... (MIN|MAX)
ZMPOP 2 key key (MIN|MAX) [COUNT count]
ZUNIONSTORE key 2 key key [WEIGHTS score score] [AGGREGATE (SUM|MIN|MAX)]
ZINTERSTORE key 2 key key [AGGREGATE (SUM|MIN|MAX)] [WEIGHTS score score]
ZDIFFSTORE key 2 key key
ZUNION 2 key key [WEIGHTS score score] [AGGREGATE (SUM|MIN|MAX)] [WITHSCORES]
ZINTER 2 key key [WITHSCORES]
ZINTERCARD 2 key key [LIMIT count]
ZDIFF 2 key key [WITHSCORES]
?ZRANDMEMBER key (0|100|x) [(WITHSCORES|x)]
?ZSCAN key (0|x) [MATCH pattern] COUNT (1000|0|x)
SADD key member
"""

# ranges by member mean something only where all scores are equal
LEXICAL: Final = """
+ZADD key 0 member 0 member
ZREM key member
ZLEXCOUNT key lexbound lexbound
ZRANGE key lexbound lexbound BYLEX [REV] [LIMIT count count]
ZRANGESTORE key key lexbound lexbound BYLEX [LIMIT count count]
ZRANGEBYLEX key lexbound lexbound [LIMIT count count]
ZREVRANGEBYLEX key lexbound lexbound [LIMIT count count]
ZREMRANGEBYLEX key lexbound lexbound
ZPOPMIN key [count]
ZUNIONSTORE key 2 key key AGGREGATE MAX
"""

GEO: Final = """
+GEOADD key [(NX|XX)] [CH] lon lat member
+GEOADD key lon lat member lon lat member
GEOPOS key member...
GEOHASH key member...
GEODIST key member member [unit]
GEOSEARCH key FROMLONLAT lon lat BYRADIUS length unit (ASC|DESC) [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]
GEOSEARCH key FROMMEMBER member BYBOX length length unit (ASC|DESC) [COUNT count] [WITHDIST]
GEOSEARCHSTORE key key FROMLONLAT lon lat (BYRADIUS length unit|BYBOX length length unit) [(ASC|DESC)] [STOREDIST]
GEORADIUS key lon lat length unit [WITHDIST] [COUNT count] ASC [(STORE|STOREDIST) key]
GEORADIUSBYMEMBER key member length unit [WITHHASH] [COUNT count] DESC [(STORE|STOREDIST) key]
GEORADIUS_RO key lon lat length unit ASC [WITHCOORD]
ZADD key score member
ZREM key member
ZRANGE key 0 -1 WITHSCORES
"""

STREAMS: Final = """
+XADD key newid member value
+XADD key newid member value member value
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
+XGROUP CREATE key g 0 MKSTREAM
XGROUP SETID key group groupid [ENTRIESREAD small]
XGROUP DESTROY key h
XGROUP CREATECONSUMER key group consumer
XGROUP DELCONSUMER key group consumer
XREADGROUP GROUP group consumer [COUNT small] [NOACK] STREAMS key >
+XREADGROUP GROUP g consumer COUNT 1 STREAMS key >
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

HYPERLOGLOG: Final = """
+PFADD key value...
PFADD key
PFCOUNT key...
PFMERGE key key...
SET key text
GETRANGE key 0 15
STRLEN key
"""

TRANSACTIONS: Final = """
MULTI
+EXEC
DISCARD
WATCH key...
UNWATCH
+SET key text
INCR key
RPUSH key value
LPOP key
GET key
SADD key member
NOSUCH key
GET key key
"""

GROUPS: Final[dict[str, str]] = {
    "bitmaps": BITMAPS + GENERIC,
    "geo": GEO + GENERIC,
    "hashes": HASHES + GENERIC,
    "hyperloglog": HYPERLOGLOG + GENERIC,
    "keys": KEYS,
    "lexical": LEXICAL + GENERIC,
    "lists": LISTS + GENERIC,
    "sets": SETS + GENERIC,
    "streams": STREAMS + GENERIC,
    "strings": STRINGS + GENERIC,
    "transactions": TRANSACTIONS,
    "zsets": ZSETS + GENERIC,
}
