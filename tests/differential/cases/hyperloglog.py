"""HyperLogLog: the estimates, and the strings they are kept in."""

from tests.differential.case import Case

MANY = [f"element:{i}" for i in range(3000)]
FEW = [f"element:{i}" for i in range(40)]
# one run of 2**14 zeros, cached cardinality 0
EMPTY = b"HYLL\x01" + bytes(11) + b"\x7f\xff"

CASES = [
    Case(
        "pfadd-string-of-each-step",
        [step for i in range(60) for step in (["PFADD", "k", f"v{i}"], ["GET", "k"])],
    ),
    Case(
        "pfadd-return-values",
        [
            ["PFADD", "k"],
            ["GET", "k"],
            ["PFADD", "k"],
            ["PFADD", "k", ""],
            ["PFADD", "k", ""],
            ["PFADD", "k", "a", "b", "a"],
            ["PFADD", "k", "a"],
            ["TYPE", "k"],
            ["OBJECT", "ENCODING", "k"],
            ["STRLEN", "k"],
        ],
    ),
    Case(
        "pfadd-lengths-of-elements",
        [["PFADD", "k", *("x" * size for size in range(40))], ["GET", "k"], ["PFCOUNT", "k"], ["GET", "k"]],
    ),
    Case(
        "pfcount-caches",
        [
            ["PFADD", "k", *FEW],
            ["GET", "k"],
            ["PFCOUNT", "k"],
            ["GET", "k"],
            ["PFADD", "k", "element:1"],
            ["GET", "k"],
            ["PFADD", "k", "other"],
            ["GET", "k"],
            ["PFCOUNT", "none"],
            ["PFCOUNT", "k", "none"],
            ["PFCOUNT", "none", "none2"],
        ],
    ),
    Case(
        "pfcount-sizes",
        [
            step
            for size in (1, 10, 100, 500, 1000, 2000, 3000)
            for step in (["DEL", "k"], ["PFADD", "k", *MANY[:size]], ["PFCOUNT", "k"], ["GET", "k"])
        ],
    ),
    Case(
        "pfadd-promotes-when-long",
        [
            step
            for start in range(0, 3000, 100)
            for step in (["PFADD", "k", *MANY[start : start + 100]], ["PFDEBUG", "ENCODING", "k"], ["STRLEN", "k"])
        ]
        + [["PFCOUNT", "k"], ["GET", "k"]],
    ),
    Case(
        "pfmerge",
        [
            ["PFADD", "a", *FEW[:20]],
            ["PFADD", "b", *FEW[10:]],
            ["PFMERGE", "c", "a", "b"],
            ["GET", "c"],
            ["PFCOUNT", "c"],
            ["PFCOUNT", "a", "b"],
            ["PFMERGE", "new"],
            ["GET", "new"],
            ["PFMERGE", "a", "none"],
            ["GET", "a"],
            ["PFADD", "big", *MANY],
            ["PFMERGE", "c", "big"],
            ["PFDEBUG", "ENCODING", "c"],
            ["PFCOUNT", "c", "a", "big"],
            ["PFMERGE", "big", "a"],
            ["GET", "big"],
        ],
    ),
    Case(
        "pfdebug",
        [
            ["PFADD", "k", *FEW],
            ["PFDEBUG", "ENCODING", "k"],
            ["PFDEBUG", "DECODE", "k"],
            ["PFDEBUG", "GETREG", "k"],
            ["PFDEBUG", "ENCODING", "k"],
            ["PFDEBUG", "DECODE", "k"],
            ["PFDEBUG", "TODENSE", "k"],
            ["PFADD", "j", *FEW],
            ["PFDEBUG", "TODENSE", "j"],
            ["GET", "j"],
            ["PFDEBUG", "nothing", "k"],
            ["PFDEBUG", "ENCODING", "none"],
            ["PFDEBUG", "ENCODING"],
            ["PFDEBUG", "ENCODING", "k", "x"],
        ],
    ),
    Case(
        "pf-wrong-strings",
        [
            ["SET", "s", "text"],
            ["PFADD", "s", "a"],
            ["PFCOUNT", "s"],
            ["PFMERGE", "d", "s"],
            ["PFMERGE", "s", "d"],
            ["SET", "n", 12345],
            ["PFADD", "n", "a"],
            ["LPUSH", "l", "x"],
            ["PFADD", "l", "a"],
            ["PFCOUNT", "l"],
            ["PFCOUNT", "none", "l"],
            ["PFMERGE", "d", "l"],
            ["PFDEBUG", "ENCODING", "l"],
            ["SET", "s", b"HYLL\x02" + bytes(13)],
            ["PFADD", "s", "a"],
            ["SET", "s", b"HYLL\x00" + bytes(12298)],
            ["PFCOUNT", "s"],
            ["SET", "s", b"HYLL\x00" + bytes(12299)],
            ["PFCOUNT", "s"],
            ["PFADD"],
            ["PFCOUNT"],
            ["PFMERGE"],
        ],
    ),
    Case(
        "pf-corrupt-runs",
        [
            ["SET", "k", EMPTY],
            ["PFCOUNT", "k"],
            ["APPEND", "k", b"\x00"],
            ["PFADD", "k", "a"],
            ["PFCOUNT", "k"],
            ["SET", "k", EMPTY[:16]],
            ["PFADD", "k", "a"],
            ["PFCOUNT", "k"],
            ["SETRANGE", "k", 15, b"\x80"],
            ["PFCOUNT", "k"],
            ["PFCOUNT", "k", "none"],
            ["PFMERGE", "d", "k"],
            ["PFDEBUG", "TODENSE", "k"],
            ["PFDEBUG", "GETREG", "k"],
        ],
    ),
    Case(
        "pfadd-from-foreign-string",
        [["SET", "k", EMPTY], ["PFADD", "k", "a"], ["GET", "k"], ["PFCOUNT", "k"], ["GET", "k"]],
    ),
]
