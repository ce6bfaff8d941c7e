"""What becomes of clients that wait: their ends, UNBLOCK, timeouts, what they sent behind, what they are told."""

from tests.differential.scenario import Scenario

SCENARIOS = [
    Scenario(
        "commands behind a blocking one wait with it",
        """
        a| BLPOP k 0 | PING | BLPOP k 0 | SET s v
        = 1
        d EXISTS s
        d RPUSH k 1
        a?
        a?
        = 1
        d RPUSH k 2
        a?
        a?
        d GET s
        """,
    ),
    Scenario(
        "clients are served before the next command of a pipeline",
        """
        a~ BLPOP k 0
        d| RPUSH k x | EXISTS k | RPUSH k y | LLEN k
        d?
        d?
        d?
        d?
        a?
        """,
    ),
    Scenario(
        "a client that has gone is passed over",
        """
        a~ BLPOP k 0
        b~ BLPOP k 0
        a!
        = 1
        d RPUSH k x
        b?
        """,
    ),
    Scenario(
        "a client that is killed while it waits is passed over",
        """
        a~ BLPOP k 0
        b~ BLPOP k 0
        d CLIENT KILL ID @a
        = 1
        d RPUSH k x
        b?
        """,
    ),
    Scenario(
        "CLIENT UNBLOCK ends a wait as its timeout would",
        """
        a~ BLPOP k 0
        d CLIENT UNBLOCK @a
        a?
        a~ BLMOVE k l LEFT LEFT 0
        d CLIENT UNBLOCK @a TIMEOUT
        a?
        a~ BRPOPLPUSH k l 0
        d CLIENT UNBLOCK @a timeout
        a?
        a~ BLMPOP 0 1 k LEFT
        d CLIENT UNBLOCK @a
        a?
        a~ BZMPOP 0 1 k MIN
        d CLIENT UNBLOCK @a
        a?
        a PING
        d RPUSH k x
        d LLEN k
        """,
    ),
    Scenario(
        "CLIENT UNBLOCK with ERROR ends a wait with an error",
        """
        a~ BLPOP k 0
        b~ BLPOP k 0
        d CLIENT UNBLOCK @a ERROR
        a?
        d RPUSH k x
        b?
        """,
    ),
    Scenario(
        "CLIENT UNBLOCK of a client that does not wait",
        """
        a PING
        d CLIENT UNBLOCK @a
        d CLIENT UNBLOCK 999999999
        d CLIENT UNBLOCK @d
        d CLIENT UNBLOCK x
        d CLIENT UNBLOCK @a NOPE
        d CLIENT UNBLOCK x NOPE
        d CLIENT UNBLOCK
        """,
    ),
    Scenario(
        "CLIENT UNBLOCK lets what was sent behind run",
        """
        a| BLPOP k 0 | PING
        = 1
        d CLIENT UNBLOCK @a ERROR
        a?
        a?
        """,
    ),
    Scenario(
        "timeouts reply null",
        """
        a BLPOP k 0.01
        a BRPOP k l 0.01
        a BLMOVE k l LEFT LEFT 0.01
        a BRPOPLPUSH k l 0.01
        a BLMPOP 0.01 1 k LEFT
        a BZPOPMIN k 0.01
        a BLPOP k 0.0001
        a PING
        """,
    ),
    Scenario(
        "after its timeout a client is passed over",
        """
        a| BLPOP k 0.02
        b~ BLPOP k 0
        a?
        = 1
        d RPUSH k x
        b?
        """,
    ),
    Scenario(
        "shorter timeouts end first",
        """
        a| BLPOP k 1
        b| BLPOP k 0.05
        c| BLPOP k 0
        b?
        = 2
        a?
        = 1
        d RPUSH k x
        c?
        """,
    ),
    Scenario(
        "CLIENT REPLY OFF keeps the reply of a wait back",
        """
        a| CLIENT REPLY OFF | BLPOP k 0
        = 1
        d RPUSH k x
        = 0
        a| CLIENT REPLY ON
        a?
        """,
    ),
    Scenario(
        "CLIENT REPLY SKIP keeps the reply of a wait back",
        """
        a| CLIENT REPLY SKIP | BLPOP k 0 | PING
        = 1
        d RPUSH k x
        a?
        """,
    ),
    Scenario(
        "messages reach a RESP3 client that waits",
        """
        a SUBSCRIBE news
        a~ BLPOP k 0
        d PUBLISH news hello
        a?
        d RPUSH k x
        a?
        """,
        protocols=(3,),
    ),
    Scenario(
        "a waiting client is shown as such",
        """
        a~ BLPOP k1 k2 0
        b~ BLPOP k1 0
        d CLIENT KILL TYPE pubsub
        d RPUSH k1 x y
        a?
        b?
        = 0
        """,
    ),
    Scenario(
        "bad timeouts",
        """
        a BLPOP k -1
        a BLPOP k x
        a BLPOP k ''
        a BLPOP k inf
        a BLPOP k nan
        a BLPOP k 1e30
        a BLPOP k 9223372036854775
        a BLPOP k 9223372036854775807
        a BLPOP k 9223372036854776
        a BLMOVE k l LEFT LEFT -0.1
        a BLMPOP -1 1 k LEFT
        a BRPOPLPUSH k l x
        """,
    ),
    Scenario(
        "confirmations of subscribing stand in a transaction's replies",
        """
        a SUBSCRIBE foo
        a MULTI
        a PING abc
        a SUBSCRIBE bar
        a UNSUBSCRIBE foo
        a PING def
        a EXEC
        d PUBLISH bar x
        a?
        """,
        protocols=(3,),
    ),
]
