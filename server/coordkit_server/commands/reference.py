"""Facts of the command table that only clients and proxies need: key specifications and tips, by full name.

Each row is (what, the commands that have it).  A key specification is `flags@begin:last,step,limit` (a range of
keys) or `flags@begin#count,first,step` (a number of keys stands in front of them); `begin` is an argument's index, or
`KEYWORD/where the search for it starts`, or `?` where only the command itself knows.
"""

from typing import Final

KEY_SPECS: Final[list[tuple[bytes, bytes]]] = [
    (b"RW,insert@1:0,1,0", b"append hsetnx linsert lpush lpushx pfadd rpush rpushx sadd"),
    (
        b"RO,access@1:0,1,0",
        (
            b"bitcount bitfield_ro bitpos dump expiretime geodist geohash geopos georadius_ro "
            b"georadiusbymember_ro geosearch get getbit getrange hget hgetall hkeys hmget hrandfield hscan "
            b"hvals lindex lpos lrange pexpiretime pttl smembers smismember srandmember sscan substr ttl "
            b"xpending xrange xrevrange zcount zlexcount zmscore zrandmember zrange zrangebylex zrangebyscore "
            b"zrank zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore"
        ),
    ),
    (b"RW,access,update,variable_flags@1:0,1,0", b"bitfield set"),
    (b"OW,update@2:0,1,0 RO,access@3:-1,1,0", b"bitop"),
    (b"RW,access,delete@1:0,1,0 RW,insert@2:0,1,0", b"blmove brpoplpush lmove rpoplpush smove"),
    (b"RW,access,delete@2#0,1,1", b"blmpop bzmpop"),
    (b"RW,access,delete@1:-2,1,0", b"blpop brpop bzpopmax bzpopmin"),
    (b"RO,access@1:0,1,0 OW,update@2:0,1,0", b"copy"),
    (
        b"RW,access,update@1:0,1,0",
        (b"decr decrby getex getset hincrby hincrbyfloat incr incrby incrbyfloat move setbit zincrby"),
    ),
    (b"RM,delete@1:-1,1,0", b"del unlink"),
    (b"RW,access,update@2#0,1,1", b"eval evalsha fcall"),
    (b"RO,access@2#0,1,1", b"eval_ro evalsha_ro fcall_ro"),
    (b"RO@1:-1,1,0", b"exists touch watch"),
    (
        b"RW,update@1:0,1,0",
        (b"expire expireat geoadd hmset hset lset persist pexpire pexpireat setrange xack xadd xclaim xsetid zadd"),
    ),
    (b"RO,access@1:0,1,0 OW,update@STORE/6:0,1,0 OW,update@STOREDIST/6:0,1,0", b"georadius"),
    (b"RO,access@1:0,1,0 OW,update@STORE/5:0,1,0 OW,update@STOREDIST/5:0,1,0", b"georadiusbymember"),
    (b"OW,update@1:0,1,0 RO,access@2:0,1,0", b"geosearchstore zrangestore"),
    (b"RW,access,delete@1:0,1,0", b"getdel lpop rpop spop zpopmax zpopmin"),
    (
        b"RW,delete@1:0,1,0",
        (b"hdel lrem ltrim srem xautoclaim xdel xtrim zrem zremrangebylex zremrangebyrank zremrangebyscore"),
    ),
    (b"RO@1:0,1,0", b"hexists hlen hstrlen llen scard sismember strlen type xlen zcard"),
    (b"RO,access@1:1,1,0", b"lcs"),
    (b"RW,access,delete@1#0,1,1", b"lmpop zmpop"),
    (b"RO@2:0,1,0", b"memory|usage object|encoding object|freq object|idletime object|refcount"),
    (b"RO,access@1:-1,1,0", b"mget sdiff sinter sunion"),
    (b"RW,access,delete@3:0,1,0 RW,access,delete,incomplete@KEYS/-2:-1,1,0", b"migrate"),
    (b"OW,update@1:-1,2,0", b"mset"),
    (b"OW,insert@1:-1,2,0", b"msetnx"),
    (b"RW,access@1:-1,1,0", b"pfcount"),
    (b"RW,access@2:0,1,0", b"pfdebug"),
    (b"RW,access,insert@1:0,1,0 RO,access@2:-1,1,0", b"pfmerge"),
    (b"OW,update@1:0,1,0", b"psetex restore restore-asking setex"),
    (b"RW,access,delete@1:0,1,0 OW,update@2:0,1,0", b"rename"),
    (b"RW,access,delete@1:0,1,0 OW,insert@2:0,1,0", b"renamenx"),
    (b"OW,update@1:0,1,0 RO,access@2:-1,1,0", b"sdiffstore sunionstore"),
    (b"OW,insert@1:0,1,0", b"setnx"),
    (b"RO,access@1#0,1,1", b"sintercard zdiff zinter zintercard zunion"),
    (b"RW,update@1:0,1,0 RO,access@2:-1,1,0", b"sinterstore"),
    (b"RO,access@1:0,1,0 RO,access@?:? OW,update@?:?", b"sort"),
    (b"RO,access@1:0,1,0 RO,access@?:?", b"sort_ro"),
    (b"not_key@1:0,1,0", b"spublish"),
    (b"not_key@1:-1,1,0", b"ssubscribe sunsubscribe"),
    (b"RW,insert@2:0,1,0", b"xgroup|create xgroup|createconsumer"),
    (b"RW,delete@2:0,1,0", b"xgroup|delconsumer xgroup|destroy"),
    (b"RW,update@2:0,1,0", b"xgroup|setid"),
    (b"RO,access@2:0,1,0", b"xinfo|consumers xinfo|groups xinfo|stream"),
    (b"RO,access@STREAMS/1:-1,1,2", b"xread"),
    (b"RO,access@STREAMS/4:-1,1,2", b"xreadgroup"),
    (b"OW,update@1:0,1,0 RO,access@2#0,1,1", b"zdiffstore zinterstore zunionstore"),
]

TIPS: Final[list[tuple[bytes, bytes]]] = [
    (
        b"request_policy:all_nodes response_policy:all_succeeded",
        (
            b"acl|deluser acl|save acl|setuser client|setinfo client|setname config|resetstat config|rewrite "
            b"config|set script|flush script|load slowlog|reset"
        ),
    ),
    (
        b"nondeterministic_output",
        (
            b"client|info client|list cluster|bumpepoch cluster|count-failure-reports cluster|getkeysinslot "
            b"cluster|info cluster|links cluster|myshardid cluster|nodes cluster|replicas cluster|shards "
            b"cluster|slaves cluster|slots dump hrandfield hscan lastsave migrate object|encoding object|freq "
            b"object|idletime object|refcount pttl spop srandmember sscan time ttl xadd xautoclaim xclaim "
            b"xinfo|consumers xpending xtrim zrandmember zscan"
        ),
    ),
    (
        b"nondeterministic_output_order",
        (
            b"command command|docs command|info command|list function|list hgetall hkeys hvals module|list "
            b"sdiff sinter smembers sunion"
        ),
    ),
    (b"request_policy:all_shards response_policy:agg_sum", b"dbsize"),
    (b"request_policy:multi_shard response_policy:agg_sum", b"del exists touch unlink"),
    (
        b"request_policy:all_shards response_policy:all_succeeded",
        (b"flushall flushdb function|delete function|flush function|load function|restore memory|purge ping"),
    ),
    (b"request_policy:all_shards response_policy:one_succeeded", b"function|kill script|kill"),
    (
        b"nondeterministic_output request_policy:all_shards response_policy:special",
        (b"function|stats info memory|doctor memory|malloc-stats memory|stats"),
    ),
    (b"request_policy:all_shards nondeterministic_output_order", b"keys"),
    (
        b"nondeterministic_output request_policy:all_nodes response_policy:special",
        (b"latency|doctor latency|graph latency|histogram latency|history latency|latest"),
    ),
    (b"request_policy:all_nodes response_policy:agg_sum", b"latency|reset"),
    (b"request_policy:multi_shard", b"mget"),
    (b"request_policy:multi_shard response_policy:all_succeeded", b"mset"),
    (b"request_policy:all_shards response_policy:special nondeterministic_output", b"randomkey"),
    (b"nondeterministic_output request_policy:special response_policy:special", b"scan"),
    (b"request_policy:all_shards response_policy:agg_logical_and", b"script|exists"),
    (b"request_policy:all_nodes nondeterministic_output", b"slowlog|get"),
    (b"request_policy:all_nodes response_policy:agg_sum nondeterministic_output", b"slowlog|len"),
    (b"request_policy:all_shards response_policy:agg_min", b"wait waitaof"),
]
