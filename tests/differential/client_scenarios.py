"""Clients that cache (CLIENT TRACKING), that are paused, that listen to MONITOR, or that get no replies."""

from tests.differential.scenario import Scenario

TRACKING = [
    Scenario(
        "a key that was read is told once",
        """
        a CLIENT TRACKING ON
        a GET k
        b SET k 1
        a?
        b SET k 2
        a PING
        a GET k
        b DEL k
        a?
        """,
        protocols=(3,),
    ),
    Scenario(
        "own changes are told after the reply",
        """
        a CLIENT TRACKING ON
        a MGET k l
        a SET k 1
        a?
        a MULTI
        a SET l 1
        a GET l
        a EXEC
        a?
        a SET l 2
        a?
        """,
        protocols=(3,),
    ),
    Scenario(
        "noloop leaves own changes out",
        """
        a CLIENT TRACKING ON NOLOOP
        a GET k
        a SET k 1
        a PING
        a GET k
        b SET k 2
        a?
        """,
        protocols=(3,),
    ),
    Scenario(
        "optin tracks what caching yes announces",
        """
        a CLIENT TRACKING ON OPTIN
        a GET k
        a CLIENT CACHING YES
        a GET l
        b MSET k 1 l 1
        a?
        a CLIENT CACHING YES
        a CLIENT TRACKINGINFO
        a MULTI
        a GET k
        a GET l
        a EXEC
        b DEL k
        a?
        b DEL l
        a?
        a CLIENT CACHING NO
        """,
        protocols=(3,),
    ),
    Scenario(
        "optout tracks all but what caching no announces",
        """
        a CLIENT TRACKING ON OPTOUT
        a CLIENT CACHING NO
        a GET k
        a GET l
        b MSET k 1 l 1
        a?
        a CLIENT CACHING YES
        a PING
        """,
        protocols=(3,),
    ),
    Scenario(
        "broadcast tells of prefixes",
        """
        a CLIENT TRACKING ON BCAST PREFIX user: PREFIX job:
        b SET user:1 x
        a?
        b SET other x
        b LPUSH job:1 x
        a?
        a SET user:2 x
        a?
        a CLIENT TRACKINGINFO
        """,
        protocols=(3,),
    ),
    Scenario(
        "broadcast with noloop",
        """
        a CLIENT TRACKING ON BCAST NOLOOP
        a SET k 1
        a PING
        b SET k 2
        a?
        """,
        protocols=(3,),
    ),
    Scenario(
        "one turn's changes come in one broadcast",
        """
        a CLIENT TRACKING ON BCAST
        b MULTI
        b SET k1 1
        b SET k1 2
        b EXEC
        a?
        """,
        protocols=(3,),
    ),
    Scenario(
        "a redirected subscriber is told",
        """
        r SUBSCRIBE __redis__:invalidate
        a CLIENT TRACKING ON REDIRECT @r
        a GET k
        b SET k 1
        r?
        a GET k
        b FLUSHALL
        r?
        """,
    ),
    Scenario(
        "flushes tell everything",
        """
        a CLIENT TRACKING ON
        b FLUSHALL
        a?
        b FLUSHDB
        a?
        a FLUSHDB
        a?
        """,
        protocols=(3,),
    ),
    Scenario(
        "reads of scripts are tracked for the caller",
        """
        a CLIENT TRACKING ON
        a EVAL "return redis.call('get', KEYS[1])" 1 k
        b SET k 1
        a?
        a EVAL "redis.call('get', KEYS[1]) return redis.call('set', KEYS[1], 2)" 1 k
        a?
        """,
        protocols=(3,),
    ),
    Scenario(
        "a blocked client is told after what it waited for",
        """
        a CLIENT TRACKING ON
        a LRANGE k 0 -1
        a~ BLPOP k 0
        b RPUSH k 1
        a?
        a?
        """,
        protocols=(3,),
    ),
    Scenario(
        "tracking ends with off and reset",
        """
        a CLIENT TRACKING ON
        a GET k
        a CLIENT TRACKING OFF
        b SET k 1
        a PING
        a CLIENT GETREDIR
        a CLIENT TRACKING ON BCAST
        a RESET
        a CLIENT TRACKINGINFO
        b SET k 2
        a PING
        """,
        protocols=(3,),
    ),
    Scenario(
        "options that contradict",
        """
        a CLIENT CACHING YES
        a CLIENT GETREDIR
        a CLIENT TRACKINGINFO
        a CLIENT TRACKING ON PREFIX a
        a CLIENT TRACKING ON OPTIN OPTOUT
        a CLIENT TRACKING ON BCAST OPTIN
        a CLIENT TRACKING ON REDIRECT 9999999
        a CLIENT TRACKING ON REDIRECT x
        a CLIENT TRACKING ON NOPE
        a CLIENT TRACKING MAYBE
        a CLIENT TRACKING ON BCAST PREFIX ab PREFIX abc
        a CLIENT TRACKING ON BCAST PREFIX ab
        a CLIENT TRACKING ON BCAST PREFIX a
        a CLIENT TRACKING ON
        a CLIENT TRACKING OFF
        a CLIENT TRACKING ON OPTIN
        a CLIENT CACHING MAYBE
        a CLIENT TRACKING ON OPTOUT
        a CLIENT TRACKINGINFO
        """,
    ),
]

OTHERS = [
    Scenario(
        "writes wait while paused",
        """
        a CLIENT PAUSE 60000 WRITE
        b GET k
        c~ SET k 1
        d~ PUBLISH ch x
        b GET k
        e~ EVAL 'return 1' 0
        a CLIENT UNPAUSE
        c?
        d?
        e?
        b GET k
        """,
    ),
    Scenario(
        "a transaction that writes waits at its end",
        """
        c MULTI
        c SET k 1
        d MULTI
        d GET k
        a CLIENT PAUSE 60000 WRITE
        d EXEC
        c~ EXEC
        a CLIENT UNPAUSE
        c?
        """,
    ),
    Scenario(
        "what was pipelined behind a paused command follows it",
        """
        a CLIENT PAUSE 60000 WRITE
        c| SET k 1 | GET k | INCR k
        = 1
        a CLIENT UNPAUSE
        c?
        c?
        c?
        """,
    ),
    Scenario(
        "pause arguments",
        """
        a CLIENT PAUSE x
        a CLIENT PAUSE -1
        a CLIENT PAUSE 1 NOPE
        a CLIENT PAUSE
        a CLIENT UNPAUSE x
        a CLIENT UNPAUSE
        """,
    ),
    Scenario(
        "a short pause ends by itself",
        """
        a CLIENT PAUSE 20 ALL
        a PING
        """,
    ),
    Scenario(
        "replies off, skip and on",
        """
        a| CLIENT REPLY OFF | SET k 1 | CLIENT REPLY ON | GET k
        a?
        a?
        a| CLIENT REPLY SKIP | SET k 2 | GET k
        a?
        a CLIENT REPLY NOPE
        """,
    ),
    Scenario(
        "a monitoring client only listens",
        """
        a MONITOR
        a GET k
        a SET k 1
        a RESET
        a GET k
        """,
        protocols=(2,),
    ),
]
