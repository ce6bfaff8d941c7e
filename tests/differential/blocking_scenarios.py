"""Which waiting clients a key serves, with what: order, types, transactions, scripts, chains, renames, expiry."""

from tests.differential.scenario import Scenario

SCENARIOS = [
    Scenario(
        "clients are served in order of arrival",
        """
        a~ BLPOP k 0
        b~ BLPOP k 0
        c~ BRPOP k 0
        d RPUSH k 1 2 3
        a?
        b?
        c?
        d EXISTS k
        """,
    ),
    Scenario(
        "one element serves one client",
        """
        a~ BLPOP k 0
        b~ BLPOP k 0
        d RPUSH k 1
        a?
        = 1
        d LPUSH k 2
        b?
        = 0
        """,
    ),
    Scenario(
        "a client that was served queues at the end again",
        """
        a~ BLPOP k 0
        b~ BLPOP k 0
        d RPUSH k 1
        a?
        a~ BLPOP k 0
        d RPUSH k 2
        b?
        d RPUSH k 3
        a?
        """,
    ),
    Scenario(
        "all elements of one push are there before a client is served",
        """
        a~ BLPOP k 0
        d LPUSH k x y z
        a?
        d LRANGE k 0 -1
        """,
    ),
    Scenario(
        "several keys: the first ready one serves",
        """
        a~ BLPOP k1 k2 k3 0
        d RPUSH k2 x
        a?
        a~ BRPOP k1 k2 k2 k1 0
        d RPUSH k1 x y
        a?
        d LRANGE k1 0 -1
        """,
    ),
    Scenario(
        "several keys ready at once: the order of the arguments counts",
        """
        a~ BLPOP k1 k2 0
        d MULTI
        d RPUSH k2 two
        d RPUSH k1 one
        d EXEC
        a?
        d LLEN k1
        d LLEN k2
        """,
    ),
    Scenario(
        "several keys and clients: keys in the order in which they became ready",
        """
        a~ BLPOP k1 0
        b~ BLPOP k2 k1 0
        c~ BLPOP k2 0
        d MULTI
        d RPUSH k2 two
        d RPUSH k1 one
        d EXEC
        b?
        a?
        = 1
        """,
    ),
    Scenario(
        "another type does not wake",
        """
        a~ BLPOP k 0
        d SET k v
        d HSET h f v
        d RENAME h k
        d SADD k2 x
        = 1
        d DEL k
        d RPUSH k x
        a?
        """,
    ),
    Scenario(
        "another type at a key looked at earlier is an error on waking",
        """
        a~ BLPOP k1 k2 0
        d SET k1 v
        = 1
        d RPUSH k2 x
        a?
        d LRANGE k2 0 -1
        """,
    ),
    Scenario(
        "kinds of waiting clients are kept apart",
        """
        a~ BLPOP k 0
        b~ BZPOPMIN k 0
        c~ BLPOP k 0
        d ZADD k 1 m
        b?
        d RPUSH k x
        a?
        = 1
        """,
    ),
    Scenario(
        "a transaction serves when it has ended",
        """
        a~ BLPOP k 0
        d MULTI
        d LPUSH k 1
        d LPUSH k 2
        d LRANGE k 0 -1
        d EXEC
        a?
        d LRANGE k 0 -1
        """,
    ),
    Scenario(
        "a transaction that takes back what it pushed does not serve",
        """
        a~ BLPOP k 0
        d MULTI
        d RPUSH k x
        d DEL k
        d EXEC
        d MULTI
        d RPUSH k x
        d LPOP k
        d EXEC
        d MULTI
        d RPUSH k x
        d SET k v
        d EXEC
        = 1
        d DEL k
        d RPUSH k y
        a?
        """,
    ),
    Scenario(
        "a transaction that is thrown away does not serve",
        """
        a~ BLPOP k 0
        d MULTI
        d RPUSH k x
        d DISCARD
        = 1
        e WATCH w
        d SET w 1
        e MULTI
        e RPUSH k x
        e EXEC
        = 1
        """,
    ),
    Scenario(
        "blocking commands in a transaction reply at once",
        """
        a MULTI
        a BLPOP k 0
        a BRPOP k 0
        a BLMOVE k l LEFT RIGHT 0
        a BRPOPLPUSH k l 0
        a BLMPOP 0 1 k LEFT
        a RPUSH k x
        a BLPOP k 0
        a EXEC
        """,
    ),
    Scenario(
        "a push in a script serves after the script",
        """
        a~ BLPOP k 0
        d EVAL "redis.call('rpush', KEYS[1], '1'); return redis.call('rpush', KEYS[1], '2')" 1 k
        a?
        d DEL k
        b~ BLPOP k 0
        d EVAL "redis.call('rpush', KEYS[1], '3'); error('late')" 1 k
        b?
        """,
        protocols=(2,),
    ),
    Scenario(
        "a script that adds to a sorted set serves after the script, in order of arrival",
        """
        a~ BZPOPMIN z 0
        b~ BZPOPMAX z 0
        c~ BZMPOP 0 2 y z MIN COUNT 2
        d EVAL "redis.call('zadd', KEYS[1], 1, 'a', 2, 'b'); return redis.call('zadd', KEYS[1], 3, 'c')" 1 z
        a?
        b?
        c?
        = 0
        d EXISTS z
        """,
    ),
    Scenario(
        "a script that takes back what it added to a sorted set does not serve",
        """
        a~ BZPOPMIN z 0
        d EVAL "redis.call('zadd', KEYS[1], 1, 'a'); return redis.call('zrem', KEYS[1], 'a')" 1 z
        = 1
        d EVAL "redis.call('zadd', KEYS[1], 1.5, 'b'); return redis.call('zadd', KEYS[1], 0.5, 'c')" 1 z
        a?
        d ZRANGE z 0 -1 WITHSCORES
        """,
    ),
    Scenario(
        "a list, then a sorted set at the key: the client that waits for a sorted set is served by the second",
        """
        a~ BZPOPMIN k 0
        d RPUSH k x
        = 1
        d DEL k
        d SADD k x
        d DEL k
        d ZUNIONSTORE k 1 none
        = 1
        d ZADD src 2 m
        d ZUNIONSTORE k 1 src
        a?
        """,
    ),
    Scenario(
        "blocking commands in a script reply at once",
        """
        d RPUSH k x
        d EVAL "return redis.call('blpop', KEYS[1], 0)" 1 k
        d EVAL "return redis.call('blpop', KEYS[1], 0) == false" 1 k
        d EVAL "return redis.call('blmove', KEYS[1], KEYS[1], 'left', 'left', 0) == false" 1 k
        """,
        protocols=(2,),
    ),
    Scenario(
        "BLMOVE moves on to clients that wait for its target",
        """
        a~ BLMOVE k1 k2 LEFT RIGHT 0
        b~ BLMOVE k2 k3 RIGHT LEFT 0
        c~ BRPOPLPUSH k3 k4 0
        d~ BLPOP k4 0
        e RPUSH k1 x
        a?
        b?
        c?
        d?
        e DBSIZE
        = 0
        """,
    ),
    Scenario(
        "BLMOVE in a circle ends",
        """
        a~ BLMOVE k1 k2 LEFT LEFT 0
        b~ BLMOVE k2 k1 LEFT LEFT 0
        e RPUSH k1 x
        a?
        b?
        e LRANGE k1 0 -1
        e LRANGE k2 0 -1
        """,
    ),
    Scenario(
        "BLMOVE onto itself turns the list",
        """
        a~ BLMOVE k k LEFT RIGHT 0
        e RPUSH k x y z
        a?
        e LRANGE k 0 -1
        """,
    ),
    Scenario(
        "BLMOVE to a target of another type is an error on waking and moves nothing",
        """
        e SET t v
        a~ BLMOVE k t LEFT RIGHT 0
        b~ BRPOPLPUSH k t 0
        e RPUSH k x
        a?
        b?
        e LRANGE k 0 -1
        e GET t
        """,
    ),
    Scenario(
        "BLMOVE with a target that becomes another type while it waits",
        """
        a~ BLMOVE k t LEFT RIGHT 0
        b~ BLPOP k 0
        e SET t v
        e RPUSH k x
        a?
        b?
        """,
    ),
    Scenario(
        "BLMPOP takes up to its count",
        """
        a~ BLMPOP 0 2 k1 k2 LEFT COUNT 2
        b~ BLMPOP 0 2 k1 k2 RIGHT COUNT 10
        c~ BLMPOP 0 1 k2 RIGHT
        e RPUSH k2 1 2 3 4 5
        a?
        b?
        = 1
        e RPUSH k2 6 7
        c?
        e LRANGE k2 0 -1
        """,
    ),
    Scenario(
        "a list that gets its name by RENAME serves",
        """
        a~ BLPOP k 0
        d RPUSH other x
        d RENAME other k
        a?
        d EXISTS k
        b~ BLPOP k 0
        d RPUSH other y
        d COPY other k
        b?
        d LRANGE other 0 -1
        """,
    ),
    Scenario(
        "a list that comes from another database serves",
        """
        a~ BLPOP k 0
        d SELECT 1
        d RPUSH k x
        = 1
        d MOVE k 0
        a?
        d RPUSH k y
        b~ BLPOP k 0
        d SWAPDB 0 1
        b?
        d SELECT 0
        d FLUSHALL
        """,
    ),
    Scenario(
        "databases are kept apart",
        """
        a SELECT 3
        a~ BLPOP k 0
        b~ BLPOP k 0
        d RPUSH k x
        b?
        = 1
        d SELECT 3
        d RPUSH k y
        a?
        """,
    ),
    Scenario(
        "flushing wakes nobody",
        """
        a~ BLPOP k 0
        d RPUSH other x
        d FLUSHALL
        d FLUSHDB
        = 1
        d RPUSH k x
        a?
        """,
    ),
    Scenario(
        "a list that has expired when its turn comes does not serve",
        """
        a~ BLPOP k 0
        d MULTI
        d RPUSH k x
        d PEXPIREAT k 1
        d EXEC
        = 1
        d RPUSH k y
        a?
        """,
    ),
    Scenario(
        "a pop by a served client is a change for those who watch",
        """
        w WATCH k
        a~ BLPOP k 0
        d RPUSH k x
        a?
        w MULTI
        w PING
        w EXEC
        """,
    ),
    Scenario(
        "events come in the order of what happened",
        """
        d CONFIG SET notify-keyspace-events KEA
        s PSUBSCRIBE __keyevent@0__:*
        a~ BLPOP k 0
        b~ BLMOVE l m LEFT RIGHT 0
        d RPUSH k x
        a?
        d RPUSH l y z
        b?
        s?
        s?
        s?
        s?
        s?
        s?
        d PUBLISH __keyevent@0__:end .
        s?
        """,
    ),
    Scenario(
        "a served client may take from a list that another one left over",
        """
        a~ BLMPOP 0 1 k LEFT COUNT 3
        b~ BRPOP k 0
        c~ BLMOVE k k LEFT RIGHT 0
        e~ BLPOP k 0
        d RPUSH k 1 2 3 4 5 6
        a?
        b?
        c?
        e?
        d LRANGE k 0 -1
        """,
    ),
    Scenario(
        "a list that is there already never blocks",
        """
        d RPUSH k 1 2 3 4 5 6
        a BLPOP none k 0
        a BRPOP k none 0
        a BLMOVE k l LEFT RIGHT 0
        a BRPOPLPUSH k l 0
        a BLMPOP 0 2 none k RIGHT COUNT 5
        d DEL l
        d SET s v
        a BLPOP s 0
        a BLPOP none s 0
        a BLMOVE s l LEFT LEFT 0
        a BLMPOP 0 1 s LEFT
        """,
    ),
]
