"""What happens to clients that wait for entries of streams."""

from tests.differential.scenario import Scenario

SCENARIOS = [
    Scenario(
        "XREAD waits for what follows, for all who wait",
        """
        d XADD x 1-1 f v
        a~ XREAD BLOCK 0 STREAMS x $
        b~ XREAD BLOCK 0 STREAMS x 1-1
        c~ XREAD COUNT 1 BLOCK 0 STREAMS x 5
        d XADD x 2-1 f v g w
        a?
        b?
        = 1
        d XADD x 5-0 f v
        = 1
        d XADD x 6-0 f v
        c?
        """,
    ),
    Scenario(
        "XREAD waits for several streams, some of which do not exist",
        """
        d XADD y 1-1 f v
        a~ XREAD BLOCK 0 STREAMS x y z $ $ 0
        d XADD z 1-1 f v
        a?
        a~ XREAD BLOCK 0 STREAMS x y z $ $ $
        d MULTI
        d XADD y 2-1 f v
        d XADD x 2-1 f v
        d EXEC
        a?
        """,
    ),
    Scenario(
        "XREAD waits on when the stream goes, and goes on behind its last id",
        """
        d XADD x 1-1 f v
        a~ XREAD BLOCK 0 STREAMS x $
        d DEL x
        d SET x v
        = 1
        d DEL x
        d XADD x 1-0 f v
        = 1
        d XADD x 1-2 f v
        a?
        """,
    ),
    Scenario(
        "XREAD is not served by entries that a transaction takes back",
        """
        a~ XREAD BLOCK 0 STREAMS x $
        d MULTI
        d XADD x 1-1 f v
        d XDEL x 1-1
        d EXEC
        d MULTI
        d XADD x 1-2 f v
        d DEL x
        d EXEC
        = 1
        d XADD x 1-3 f v
        a?
        """,
    ),
    Scenario(
        "XREAD is served by a stream that is renamed or copied",
        """
        a~ XREAD BLOCK 0 STREAMS x 0
        d XADD y 1-1 f v
        d RENAME y x
        a?
        a~ XREAD BLOCK 0 STREAMS z 0
        d COPY x z
        a?
        """,
    ),
    Scenario(
        "XREAD is served by a script after the script",
        """
        a~ XREAD BLOCK 0 STREAMS x $
        d EVAL "redis.call('XADD', KEYS[1], '1-1', 'f', 'v') return redis.call('XADD', KEYS[1], '1-2', 'f', 'w')" 1 x
        a?
        """,
    ),
    Scenario(
        "XREAD times out",
        """
        a XREAD BLOCK 5 STREAMS x $
        d XGROUP CREATE x g $ MKSTREAM
        a XREADGROUP GROUP g c BLOCK 5 STREAMS x >
        a~ XREAD BLOCK 60000 STREAMS x $
        d CLIENT UNBLOCK @a
        a?
        a~ XREADGROUP GROUP g c BLOCK 0 STREAMS x >
        d CLIENT UNBLOCK @a ERROR
        a?
        """,
    ),
    Scenario(
        "XREADGROUP serves consumers in order of arrival, each entry once",
        """
        d XGROUP CREATE x g $ MKSTREAM
        a~ XREADGROUP GROUP g a BLOCK 0 STREAMS x >
        b~ XREADGROUP GROUP g b BLOCK 0 STREAMS x >
        d XADD x 1-1 f v
        a?
        = 1
        d XADD x 1-2 f v
        b?
        d XPENDING x g
        """,
    ),
    Scenario(
        "XREADGROUP serves entries of one transaction to several consumers by their counts",
        """
        d XGROUP CREATE x g $ MKSTREAM
        a~ XREADGROUP GROUP g a COUNT 1 BLOCK 0 STREAMS x >
        b~ XREADGROUP GROUP g b COUNT 2 BLOCK 0 NOACK STREAMS x >
        c~ XREADGROUP GROUP g c BLOCK 0 STREAMS x >
        d MULTI
        d XADD x 1-1 f v
        d XADD x 1-2 f v
        d XADD x 1-3 f v
        d XADD x 1-4 f v
        d EXEC
        a?
        b?
        c?
        d XPENDING x g
        """,
    ),
    Scenario(
        "XREADGROUP and XREAD wait side by side",
        """
        d XGROUP CREATE x g $ MKSTREAM
        a~ XREAD BLOCK 0 STREAMS x $
        b~ XREADGROUP GROUP g b BLOCK 0 STREAMS x >
        d XADD x 1-1 f v
        a?
        b?
        """,
    ),
    Scenario(
        "XREADGROUP does not wait for its history",
        """
        d XGROUP CREATE x g $ MKSTREAM
        a XREADGROUP GROUP g a BLOCK 0 STREAMS x 0
        a XREADGROUP GROUP g a BLOCK 0 STREAMS x x > 0
        """,
    ),
    Scenario(
        "XREADGROUP ends with an error when its stream goes",
        """
        d XGROUP CREATE x g $ MKSTREAM
        a~ XREADGROUP GROUP g a BLOCK 0 STREAMS x >
        d DEL x
        a?
        d XGROUP CREATE x g $ MKSTREAM
        a~ XREADGROUP GROUP g a BLOCK 0 STREAMS x >
        d SET x v
        a?
        d DEL x
        d XGROUP CREATE x g $ MKSTREAM
        a~ XREADGROUP GROUP g a BLOCK 0 STREAMS x >
        d RENAME x y
        a?
        d RENAME y x
        a~ XREADGROUP GROUP g a BLOCK 0 STREAMS x >
        d FLUSHALL
        a?
        d XGROUP CREATE x g $ MKSTREAM
        a~ XREADGROUP GROUP g a BLOCK 0 STREAMS x >
        d SWAPDB 0 1
        a?
        d SWAPDB 0 1
        """,
    ),
    Scenario(
        "XREADGROUP ends with an error when its stream is replaced by one without its group",
        """
        d XGROUP CREATE x g $ MKSTREAM
        a~ XREADGROUP GROUP g a BLOCK 0 STREAMS x >
        d MULTI
        d DEL x
        d XADD x 1-1 f v
        d EXEC
        a?
        """,
    ),
    Scenario(
        "XREADGROUP goes on when its stream is replaced by one with its group",
        """
        d XGROUP CREATE x g $ MKSTREAM
        a~ XREADGROUP GROUP g a BLOCK 0 STREAMS x >
        d MULTI
        d DEL x
        d XGROUP CREATE x g $ MKSTREAM
        d EXEC
        = 1
        d XADD x 1-1 f v
        a?
        """,
    ),
    Scenario(
        "XREADGROUP ends with an error when its group goes",
        """
        d XGROUP CREATE x g $ MKSTREAM
        d XGROUP CREATE x h $
        a~ XREADGROUP GROUP g a BLOCK 0 STREAMS x >
        b~ XREADGROUP GROUP h b BLOCK 0 STREAMS x >
        c~ XREAD BLOCK 0 STREAMS x $
        d XGROUP DESTROY x g
        a?
        = 2
        d XADD x 1-1 f v
        b?
        c?
        """,
    ),
    Scenario(
        "XREADGROUP ends with an error when one of its streams expires",
        """
        d XGROUP CREATE x g $ MKSTREAM
        d XGROUP CREATE y g $ MKSTREAM
        a~ XREADGROUP GROUP g a BLOCK 0 STREAMS y x > >
        d PEXPIRE x 20
        a?
        """,
    ),
    Scenario(
        "XREADGROUP is woken by XGROUP SETID only when something is added",
        """
        d XADD x 1-1 f v
        d XGROUP CREATE x g $
        a~ XREADGROUP GROUP g a BLOCK 0 STREAMS x >
        d XGROUP SETID x g 0
        = 1
        d XADD x 2-1 f v
        a?
        """,
    ),
]
