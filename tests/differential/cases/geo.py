"""Geo commands."""

from tests.differential.case import Argument, Case, CommandLine

STRING = ["SET", "s", "v"]
SICILY: CommandLine = ["GEOADD", "g", "13.361389", "38.115556", "Palermo", "15.087269", "37.502669", "Catania"]
AROUND: CommandLine = ["GEOADD", "g", "12.758489", "38.788135", "edge1", "17.241510", "38.788135", "edge2"]
DOLPHINS: CommandLine = ["GEOADD", "g", "13.583333", "37.316667", "Agrigento"]
MIDDLE: CommandLine = ["FROMLONLAT", 15, 37]
NEAR: CommandLine = ["BYRADIUS", 200, "km"]
WITH_ALL: CommandLine = ["WITHCOORD", "WITHDIST", "WITHHASH"]


def search(*words: str | float | CommandLine) -> CommandLine:
    """GEOSEARCH of `g`; groups of words are joined."""
    line: list[Argument] = ["GEOSEARCH", "g"]
    for word in words:
        if isinstance(word, str | int | float):
            line.append(word)
        else:
            line.extend(word)
    return line


CASES = [
    Case(
        "geoadd",
        [
            SICILY,
            ["GEOADD", "g", "13.361389", "38.115556", "Palermo"],
            ["GEOADD", "g", "CH", "13.4", "38.1", "Palermo", "2.35", "48.85", "Paris"],
            ["GEOADD", "g", "NX", "CH", 1, 1, "Palermo"],
            ["GEOADD", "g", "XX", 1, 1, "London"],
            ["GEOADD", "g", "XX", "CH", 1, 1, "Palermo"],
            ["GEOADD", "g", -180, "-85.05112878", "corner", 180, "85.05112878", "opposite"],
            ["ZRANGE", "g", 0, -1, "WITHSCORES"],
        ],
    ),
    Case(
        "geoadd-errors",
        [
            ["GEOADD", "g", 181, 0, "a"],
            ["GEOADD", "g", 0, 86, "a"],
            ["GEOADD", "g", 1, 1, "a", "-180.5", "-85.06", "b"],
            ["EXISTS", "g"],
            ["GEOADD", "g", "inf", 1, "a"],
            ["GEOADD", "g", "x", 1, "a"],
            ["GEOADD", "g", 1, "nan", "a"],
            ["GEOADD", "g", 1, 1, "a", 2],
            ["GEOADD", "g", "NX", "XX", 1, 1, "a"],
            ["GEOADD", "g", "NX", "NX", "CH"],
            ["GEOADD", "g", "GT", 1, 1, "a"],
            ["GEOADD", "g", "NX", 1, 1],
        ],
    ),
    Case(
        "members",
        [
            SICILY,
            ["GEOPOS", "g", "Palermo", "none", "Catania"],
            ["GEOPOS", "g"],
            ["GEOPOS", "none", "a", "b"],
            ["GEOHASH", "g", "Palermo", "none", "Catania"],
            ["GEOHASH", "g"],
            ["GEOHASH", "none", "a"],
            ["GEODIST", "g", "Palermo", "Catania"],
            *[["GEODIST", "g", "Palermo", "Catania", unit] for unit in ("m", "KM", "ft", "mi", "x")],
            ["GEODIST", "g", "Palermo", "Palermo"],
            ["GEODIST", "g", "Palermo", "none"],
            ["GEODIST", "none", "a", "b"],
            ["GEODIST", "none", "a", "b", "x"],
            ["GEODIST", "g", "a", "b", "km", "more"],
        ],
    ),
    Case(
        "scores-that-are-no-places",
        [
            ["ZADD", "g", "-1", "a", "inf", "b", "1e300", "c", "0.5", "d", "4503599627370496", "e"],
            ["GEOPOS", "g", "a", "b", "c", "d", "e"],
            ["GEOHASH", "g", "a", "b", "c", "d", "e"],
            ["GEODIST", "g", "a", "b"],
        ],
    ),
    Case(
        "search",
        [
            SICILY,
            AROUND,
            DOLPHINS,
            search(MIDDLE, NEAR, "ASC"),
            search(MIDDLE, NEAR, "DESC", WITH_ALL),
            search(MIDDLE, "BYBOX", 400, 400, "km", "ASC", WITH_ALL),
            search(MIDDLE, NEAR, "ASC", "WITHDIST"),
            search(MIDDLE, NEAR, "COUNT", 1),
            search(MIDDLE, NEAR, "COUNT", 1, "ANY"),
            search(MIDDLE, NEAR, "COUNT", 2, "DESC", "WITHHASH"),
            search(["FROMMEMBER", "Palermo"], NEAR, "ASC", "WITHCOORD"),
            search(MIDDLE, "BYRADIUS", 0, "m"),
            search(MIDDLE, "BYRADIUS", 20000000, "km", "ASC"),
            search("FROMLONLAT", -180, 85, "BYRADIUS", 5000, "km", "ASC"),
            search("FROMLONLAT", -180, 85, "BYBOX", 40000, 5000, "km", "ASC"),
            ["GEOSEARCH", "none", *MIDDLE, *NEAR],
            ["GEOSEARCH", "none", "FROMMEMBER", "a", *NEAR],
        ],
    ),
    Case(
        "search-errors",
        [
            SICILY,
            search(MIDDLE, "ASC"),
            search(NEAR, "ASC", "ASC"),
            search(MIDDLE, NEAR, "FROMMEMBER", "Palermo"),
            search(MIDDLE, NEAR, "BYBOX", 1, 1, "m"),
            search(MIDDLE, NEAR, "COUNT", 0),
            search(MIDDLE, NEAR, "COUNT", "x"),
            search(MIDDLE, NEAR, "COUNT"),
            search(MIDDLE, NEAR, "ANY"),
            search(MIDDLE, NEAR, "STORE", "d"),
            search(MIDDLE, NEAR, "STOREDIST"),
            search(MIDDLE, NEAR, "NOPE"),
            search("FROMLONLAT", 200, 1, NEAR),
            search(MIDDLE, "BYRADIUS", "x", "km"),
            search(MIDDLE, "BYRADIUS", -1, "km"),
            search(MIDDLE, "BYRADIUS", 1, "x"),
            search(MIDDLE, "BYBOX", -1, 1, "km"),
            search(MIDDLE, "BYBOX", "x", 1, "km"),
            search(MIDDLE, "BYBOX", 1, "x", "km"),
            search(MIDDLE, "BYBOX", 1, 1),
            ["GEOSEARCH", "none", *MIDDLE, "ASC", "DESC"],
            ["GEOSEARCH", "none", *MIDDLE, *NEAR, "ANY"],
        ],
    ),
    Case(
        "search-around-none",
        [SICILY, search(["FROMMEMBER", "none"], NEAR), ["GEORADIUSBYMEMBER", "g", "none", 200, "km"]],
    ),
    Case("getkeys-both", [["COMMAND", "GETKEYS", "GEORADIUS", "g", 1, 1, 1, "m", "STORE", "d", "STOREDIST", "e"]]),
    Case(
        "searchstore",
        [
            SICILY,
            DOLPHINS,
            ["GEOSEARCHSTORE", "d", "g", *MIDDLE, *NEAR],
            ["ZRANGE", "d", 0, -1, "WITHSCORES"],
            ["GEOSEARCHSTORE", "d", "g", *MIDDLE, *NEAR, "STOREDIST", "COUNT", 2, "DESC"],
            ["ZCARD", "d"],
            ["GEOSEARCHSTORE", "d", "g", *MIDDLE, *NEAR, "WITHDIST"],
            ["GEOSEARCHSTORE", "d", "g", *MIDDLE, "BYRADIUS", 1, "m"],
            ["EXISTS", "d"],
            ["SET", "d", "v"],
            ["GEOSEARCHSTORE", "d", "none", *MIDDLE, *NEAR],
            ["EXISTS", "d"],
            ["GEOSEARCHSTORE", "g", "g", *MIDDLE, *NEAR, "COUNT", 1],
            ["OBJECT", "ENCODING", "g"],
        ],
    ),
    Case(
        "georadius",
        [
            SICILY,
            AROUND,
            ["GEORADIUS", "g", 15, 37, 200, "km", *WITH_ALL, "ASC"],
            ["GEORADIUS", "g", 15, 37, 200, "km", "COUNT", 1, "STORE", "d"],
            ["ZRANGE", "d", 0, -1],
            ["GEORADIUS", "g", 15, 37, 200, "km", "STORE", "d", "STOREDIST", "e"],
            ["EXISTS", "d", "e"],
            ["GEORADIUS", "g", 15, 37, 200, "km", "STORE", "d", "WITHDIST"],
            ["GEORADIUS_RO", "g", 15, 37, 200, "km", "DESC"],
            ["GEORADIUS_RO", "g", 15, 37, 200, "km", "STORE", "d"],
            ["GEORADIUS", "none", 15, 37, 200, "km"],
            ["GEORADIUS", "none", 15, 37, -200, "km"],
            ["GEORADIUS", "none", 15, 37, 200, "km", "STORE", "d"],
            ["GEORADIUS", "g", 15, 37, 200, "km", "BYBOX"],
            ["GEORADIUSBYMEMBER", "g", "Palermo", 200, "km", "ASC", "WITHDIST"],
            ["GEORADIUSBYMEMBER", "none", "Palermo", "x", "y"],
            ["GEORADIUSBYMEMBER", "none", "Palermo", "x", "y", "NOPE"],
            ["GEORADIUSBYMEMBER", "g", "Palermo", 200, "km", "STOREDIST", "d"],
            ["ZCARD", "d"],
            ["GEORADIUSBYMEMBER_RO", "g", "Palermo", 200, "km", "STORE", "d"],
            ["GEORADIUSBYMEMBER_RO", "g", "Palermo", 200, "km", "DESC", "COUNT", 2],
        ],
    ),
    Case(
        "getkeys",
        [
            ["COMMAND", "GETKEYS", "GEORADIUS", "g", 1, 1, 1, "m", "STORE", "d"],
            ["COMMAND", "GETKEYS", "GEORADIUSBYMEMBER", "g", "m", 1, "m", "STOREDIST", "store"],
            ["COMMAND", "GETKEYS", "GEOSEARCHSTORE", "d", "g", *MIDDLE, *NEAR],
        ],
    ),
    Case(
        "scripts",
        [
            SICILY,
            ["EVAL", "return redis.call('GEOPOS', KEYS[1], 'Palermo', 'none')", 1, "g"],
            ["EVAL", "redis.setresp(3) return redis.call('GEOPOS', KEYS[1], 'Palermo')", 1, "g"],
            ["EVAL", "return type(redis.call('GEOPOS', KEYS[1], 'Palermo')[1][1])", 1, "g"],
            ["EVAL", "redis.setresp(3) return redis.call('GEOPOS', KEYS[1], 'Palermo')[1][1].double > 13", 1, "g"],
        ],
    ),
    Case(
        "wrong-type",
        [
            STRING,
            ["GEOADD", "s", 1, 1, "a"],
            ["GEOPOS", "s", "a"],
            ["GEOHASH", "s", "a"],
            ["GEODIST", "s", "a", "b"],
            ["GEODIST", "s", "a", "b", "x"],
            ["GEORADIUS", "s", 200, 1, 1, "m"],
            ["GEORADIUSBYMEMBER", "s", "a", 1, "m"],
            ["GEOSEARCH", "s", *MIDDLE, *NEAR],
            ["GEOSEARCHSTORE", "d", "s", *MIDDLE, *NEAR],
            ["GEOADD", "s", 200, 1, "a"],
        ],
    ),
]
