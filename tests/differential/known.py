"""What is known to differ between the references and Redis 7.2, each with its reason, and how it is evened out."""

import re
from typing import Final, Self

from tests.differential.case import Argument
from tests.differential.client import Reply
from tests.differential.observer import Event
from tests.peers import Peer

# texts of errors in which the references name themselves
_TEXTS: Final[list[tuple[re.Pattern[bytes], bytes]]] = [
    (re.compile(rb"\bValkey\b"), b"Redis"),
    # Valkey 9 leaves out a script's name, and some words
    (re.compile(rb" script: \w+, on "), b" script: on "),
    (re.compile(rb"^(NOSCRIPT No matching script\.) Please use EVAL\.$"), rb"\1"),
    (re.compile(rb"Unknown Redis command called"), b"Unknown command called"),
    (re.compile(rb"calling Redis command from"), b"calling command from"),
    (re.compile(rb"for this redis lib call"), b"for this call"),
    (re.compile(rb"^ERR Lua redis lib command arguments"), b"ERR Command arguments"),
    (re.compile(rb"BYRADIUS, BYBOX and BYPOLYGON"), b"BYRADIUS and BYBOX"),
    (re.compile(rb"^ERR member .* does not exist$"), b"ERR could not decode requested zset member"),
    (re.compile(rb"^ERR Command 'multi' not allowed inside a transaction"), b"ERR MULTI calls can not be nested"),
    (re.compile(rb"^ERR Command 'watch' not allowed inside a transaction"), b"ERR WATCH inside MULTI is not allowed"),
    (re.compile(rb"Unbalanced XREAD list"), b"Unbalanced 'xread' list"),  # in 7.0
    (re.compile(rb"Invalid debug level"), b"Invalid log level"),
    (re.compile(rb"\bserver\.(log|setresp|set_repl|acl_check_cmd|register_function)\b"), rb"redis.\1"),
]

GONE: Final = "7.0 has errors of its own for streams and groups that go away"

# case ids (or `group:` prefixes) -> why the named reference is not asked about them
NOT_ON_VALKEY: Final[dict[str, str]] = {
    "bitmaps:bitcount-absent-key": "Valkey 9 reads the range before it looks the key up",
    "bitmaps:bitcount-start-only": "Valkey 9 takes a start without an end",
    "keys:refcount": "Valkey 9 shares no integers",
    "sorting:number-texts": "Valkey 9 reads numbers with a parser of its own",
    "scripting:globals-environment": "Valkey 9 has no getfenv and setfenv",
    "scripting:globals-os": "Valkey 9 has os.clock",
    "functions:loading": "Valkey 9.1 ends when a library's chunk raises in the server's own functions",
    "functions:register-names": "Valkey 9 has other texts for wrong names of functions",
    "script_libraries:listing": "Valkey 9 names itself in cmsgpack",
    "scripting:shebang-engine": "Valkey 9 has engines to choose from",
    "keys:scan-cursor-forms": "Valkey 9 takes digits only; Redis reads the cursor with strtoul",
    "strings:encoding": "Valkey 9 embeds longer strings",
    "strings:getex": "Valkey 9 checks the expiry of GETEX before it looks the key up",
    "zsets:bounds-as-strtod-reads-them": "Valkey 9 reads numbers with a parser of its own",
    "zsets:scores-beyond-doubles": "Valkey 9 reads numbers with a parser of its own",
    "geo:getkeys-both": "Valkey 9 takes the last of several destinations",
    "stream_groups:lag": "Valkey 9 tells the lag in more cases",
    "streams:xread-in-scripts": "Valkey 9 takes BLOCK in scripts and does not wait",
    "introspection:acl": "Valkey 9 names itself",
    "introspection:client-arguments": "Valkey 9 has more filters, and other texts for wrong ones",
    "introspection:command-info": "Valkey 9 gives CLIENT ID a flag more",
    "introspection:lolwut-arguments": "Valkey 9 draws something else",
    "introspection:modules": "Valkey 9 has Lua as a module",
    "introspection:not-a-cluster": "Valkey 9 lets READONLY pass",
    "core:client-kill-errors": "Valkey 9 takes several ids and says `syntax error` for one that is no number",
    "core:multi-nested": "Valkey 9 has one text for every command that a transaction refuses",
    "core:multi-watch-inside": "Valkey 9 has one text for every command that a transaction refuses",
}
NOT_ON_REDIS: Final[dict[str, str]] = {
    "acl:": "7.0 has other texts for what a user may not do",
    "introspection:getkeys-errors": "the arity of COMMAND GETKEYS is -3 since 7.2",
    "introspection:lolwut-arguments": "7.0 names its own version",
    "introspection:no-touch": "CLIENT NO-TOUCH came with 7.2",
    "blocking:several keys ready at once: the order of the arguments counts": "7.0 serves the key that was ready first",
    "blocking:another type at a key looked at earlier is an error on waking": "7.0 looks at the ready key alone",
    "blocking:blocking commands in a script reply at once": "7.0 does not allow blocking commands in scripts",
    "blocking:XREAD waits for several streams, some of which do not exist": "7.0 replies the ready stream alone",
    "blocking:XREAD is not served by entries that a transaction takes back": "7.0 ends the wait",
    "blocking:XREADGROUP ends with an error when its stream goes": GONE,
    "blocking:XREADGROUP ends with an error when its stream is replaced by one without its group": GONE,
    "blocking:XREADGROUP ends with an error when its group goes": GONE,
    "blocking:XREADGROUP ends with an error when one of its streams expires": GONE,
    "blocking:bad timeouts": "7.0 takes longer timeouts",
    "scripting:globals-environment": "Debian builds it without getfenv and setfenv",
    "scripting:api-errors": "7.0 asks redis.set_repl for two arguments in its error",
    "scripting:call-blocking": "7.0 does not allow blocking commands in scripts",
    "scripting:call-numbers": "7.0 writes numbers with 17 digits",
    "scripting:time-stands-still": "in 7.0 TIME goes on during a script",
    "hashes:encoding-by-number-announced": "the number of arguments counts since 7.2",
    "lists:encodings": "lists can be listpacks since 7.2",
    "sets:encoding-by-number-announced": "sets can be listpacks since 7.2",
    "sets:intset-becomes-listpack": "sets can be listpacks since 7.2",
    "lists:lpos": "7.0 lets RANK overflow",
    "lists:encoding": "lists are packed since 7.2",
    "sets:encoding": "small sets of strings are packed since 7.2",
    "sets:intset-order": "small sets of strings are packed since 7.2",
    "zsets:scores": "7.0 prints 17 digits of a score, 7.2 the shortest that reads back",
    "zsets:encoding-by-number-announced": "the number of arguments counts since 7.2",
    "zsets:pop-timeout-beyond-doubles": "7.0 takes longer timeouts",
    "geo:scripts": "7.0 prints 17 digits of a double, 7.2 the shortest that reads back",
    "zsets:zrank-withscore": "WITHSCORE came with 7.2",
    "core:client-setinfo": "CLIENT SETINFO came with 7.2",
    "core:command-getkeys": "the arity of COMMAND GETKEYS is -3 since 7.2",
    "stream_groups:help": "7.0 has other texts",
    "streams:xadd-last-ids": "7.0 goes on with 0 after the last sequence number",
    "stream_groups:xclaim": "7.0 does not tell how long consumers have been inactive",
    "stream_groups:xinfo-full-of-groups": "7.0 does not tell when consumers were active",
    "streams:xread-errors": "7.0 writes names of commands in capitals",
    "stream_groups:xreadgroup": "7.0 does not tell how long consumers have been inactive",
    "stream_groups:xreadgroup-errors": "7.0 writes names of commands in capitals",
    "stream_groups:xreadgroup-several-streams": "7.0 counts what groups have read otherwise",
    "streams:xsetid": "7.0 goes back behind removed entries",
    "sorting:store-encoding": "lists are packed since 7.2",
    "sorting:store-encoding-large": "lists are packed since 7.2",
}

# case ids, for one reference with its name in front -> why events or counts of changes are not compared
EFFECTS_DIFFER: Final[dict[str, str]] = {
    "redis:stream_groups:xautoclaim": "7.0 does not announce consumers that reading or claiming creates",
    "redis:stream_groups:xautoclaim-tries": "7.0 does not announce consumers that reading or claiming creates",
    "redis:stream_groups:xclaim-errors": "7.0 does not announce consumers that reading or claiming creates",
    "redis:streams:xread-in-a-transaction": "7.0 does not announce consumers that reading or claiming creates",
    "valkey:keys:expire-past": "Valkey 9 says `expired` of a key that a time in the past removes",
    "valkey:strings:set-past": "Valkey 9 does not set what has expired already",
}


def normalise_text(text: bytes) -> bytes:
    """The error text with the server's own name taken out."""
    for pattern, replacement in _TEXTS:
        text = pattern.sub(replacement, text)
    return text


def excused(table: dict[str, str], case_id: str) -> str | None:
    """The reason why a reference is not asked about `case_id`, None if it is."""
    return table.get(case_id) or table.get(case_id.split(":", maxsplit=1)[0] + ":")


READS_REPEATED: Final = "Valkey 9 repeats how far a group has read once more behind its claims"

# case ids (or `group:` prefixes, or `reference:` and a case id) -> why what replicas are sent is not compared
STREAMS_DIFFER: Final[dict[str, str]] = {
    "core:watch-expired": "when a key is found to have expired is left to chance",
    "valkey:strings:set-past": "Valkey 9 stores nothing whose time has passed",
    "valkey:stream_groups:copy-rename-scan": READS_REPEATED,
    "valkey:stream_groups:watch": READS_REPEATED,
    "valkey:stream_groups:xack": READS_REPEATED,
    "valkey:stream_groups:xautoclaim": READS_REPEATED,
    "valkey:stream_groups:xautoclaim-tries": READS_REPEATED,
    "valkey:stream_groups:xclaim": READS_REPEATED,
    "valkey:stream_groups:xgroup": READS_REPEATED,
    "valkey:stream_groups:xinfo-full-of-groups": READS_REPEATED,
    "valkey:stream_groups:xpending": READS_REPEATED,
    "valkey:stream_groups:xreadgroup": READS_REPEATED,
    "valkey:stream_groups:xreadgroup-several-streams": READS_REPEATED,
    "valkey:streams:replies-in-scripts": READS_REPEATED,
}


# commands that streams do not send to a reference, and why; `redis-7.0` is what distributions have
_NOT_STREAMED: Final[dict[str, list[tuple[str, str]]]] = {
    "valkey": [
        ("BITCOUNT|BITPOS", "reads the range before it looks the key up, and takes a start without an end"),
        ("GETEX", "checks the expiry before it looks the key up"),
        ("SET .*(EX|PX)AT (0|1|-1)", "stores nothing whose time has passed"),
        ("SCAN .*TYPE x", "knows the names of types"),
        ("SORT (?!.*ALPHA)", "reads numbers with a parser of its own"),
        ("(ZADD|GEOADD) .*XX", "unpacks for a long member that is not added"),
        ("Z.*LIMIT -", "leaves a negative offset out of account"),
        ("XINFO GROUPS", "tells the lag in more cases"),
    ],
    "redis-7.0": [
        ("ZRANK|ZREVRANK", "has no WITHSCORE"),
        ("XSETID|XINFO|XREADGROUP|XCLAIM|XAUTOCLAIM", "counts entries read and new consumers otherwise"),
    ],
}
# groups of streams -> why the named reference is not asked about them
GROUPS_NOT_STREAMED: Final[dict[str, str]] = {
    "valkey:transactions": "a command that a transaction refuses dooms it since Valkey 9",
}
_DECIMAL: Final = re.compile(rb"-?\d+(\.\d+)?(e[-+]?\d+)?")


class StreamExcuses:
    """What is evened out, or not compared, with one reference in random streams."""

    def __init__(self, name: str) -> None:
        self._name: Final = name
        patterns = [pattern for pattern, _ in _NOT_STREAMED.get(name, [])]
        self._pattern: Final = re.compile("|".join(f"(?:{pattern})" for pattern in patterns) or "$.", re.IGNORECASE)

    @classmethod
    def of(cls, peer: Peer) -> Self:
        """The excuses of the version that runs."""
        info = peer.command("INFO", "server")
        if b"valkey_version" in info:
            return cls("valkey")
        return cls("redis-7.0" if b"redis_version:7.0" in info else "redis-7.2")

    def excuse(self, words: list[Argument]) -> bool:
        """Return True if the command is not sent."""
        line = " ".join(word.decode("latin-1") if isinstance(word, bytes) else str(word) for word in words)
        return self._pattern.match(line) is not None

    def reply(self, words: list[Argument], reply: Reply) -> Reply:
        """The reply to `words`, with what this reference does on its own evened out."""
        if str(words[0]).upper() == "OBJECT":
            return self._encoding(reply)
        # 7.0 prints 17 digits, 7.2 the shortest that reads back
        return _decimals(reply) if self._name == "redis-7.0" else reply

    def _encoding(self, reply: Reply) -> Reply:
        if self._name == "redis-7.0":  # lists and sets are packed since 7.2
            return reply[0], b""
        if self._name == "valkey" and reply[1] in (b"embstr", b"raw"):  # it embeds longer strings
            return "$", b"embstr or raw"
        return reply

    def events(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """The keyspace events; Valkey 9 says `expired` of a key that a time in the past removes."""
        if self._name != "valkey":
            return events
        return tuple((_as_del(channel), _as_del(message)) for channel, message in events)


def _as_del(part: object) -> object:
    """A channel or message in which `expired` is `del`."""
    if part == b"expired":
        return b"del"
    return part.replace(b"__:expired", b"__:del") if isinstance(part, bytes) else part


def _decimals(reply: Reply) -> Reply:
    """The reply with its decimal numbers in one form."""
    kind, value = reply
    if isinstance(value, tuple):
        if kind == "%":  # as `normalise` makes it: pairs
            return kind, tuple((_decimals(field), _decimals(item)) for field, item in value)
        return kind, tuple(_decimals(part) for part in value)
    if kind in "$," and isinstance(value, bytes) and _DECIMAL.fullmatch(value) and (b"." in value or b"e" in value):
        return kind, repr(float(value)).encode()
    return reply
