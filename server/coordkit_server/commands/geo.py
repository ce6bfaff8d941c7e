"""Geo commands (group "geo"): places as scores of a sorted set, and searches around a place.

Map: reading arguments, GEOADD, single members, the search (`Search`: its options, running it, replying, storing), the
commands that make one, rows.
"""

from typing import Final

from coordkit_server.commands.args import integer, number, option_value
from coordkit_server.commands.zset_ranges import store_result
from coordkit_server.commands.zsets import ADD_CH, ADD_NX, ADD_XX, add_scores, lookup_zset
from coordkit_server.context import (
    DENYOOM,
    KEY1,
    KEYS12,
    READONLY,
    WRITE,
    Command,
    Context,
    KeySpec,
)
from coordkit_server.datatypes.geohash import (
    LATITUDE_MAX,
    LONGITUDE_MAX,
    STEPS,
    UNITS_M,
    Place,
    Shape,
    covering,
    decode,
    distance_m,
    encode,
    geohash_string,
)
from coordkit_server.datatypes.zset import ZSetValue
from coordkit_server.errors import CommandError, syntax_error
from coordkit_server.numeric import format_fixed
from coordkit_server.resp.reply import NULL_ARRAY, PlainDouble

_OPTIONS: Final = {b"NX": ADD_NX, b"XX": ADD_XX, b"CH": ADD_CH}


def _place(longitude: bytes, latitude: bytes) -> Place:
    """Return the place that two arguments spell; raises outside the ranges."""
    place = Place(number(longitude), number(latitude))
    if abs(place.longitude) > LONGITUDE_MAX or abs(place.latitude) > LATITUDE_MAX:
        raise CommandError(b"ERR invalid longitude,latitude pair %f,%f" % (place.longitude, place.latitude))
    return place


def _unit_m(text: bytes) -> float:
    """Return the metres of a unit."""
    unit = UNITS_M.get(text.lower())
    if unit is None:
        raise CommandError(b"ERR unsupported unit provided. please use M, KM, FT, MI")
    return unit


def _member_place(value: ZSetValue, member: bytes) -> Place:
    """Return where a member is; raises if it is not there."""
    score = value.score(member)
    if score is None:
        raise CommandError(b"ERR could not decode requested zset member")
    return decode(score)


def geoadd(cx: Context) -> object:
    """GEOADD key [NX|XX] [CH] longitude latitude member [...] -> number added (CH: changed)."""
    argv = cx.argv
    flags = 0
    at = 2
    while at < len(argv):
        option = _OPTIONS.get(argv[at].upper(), 0)
        if not option:
            break
        flags |= option
        at += 1
    if (len(argv) - at) % 3 or at == len(argv) or (flags & ADD_NX and flags & ADD_XX):
        raise syntax_error()
    scores: list[float] = []
    for i in range(at, len(argv), 3):
        place = _place(argv[i], argv[i + 1])
        scores.append(float(encode(place.longitude, place.latitude, STEPS)))
    if cx.propagates():
        _propagate_as_zadd(cx, scores, at)
    return add_scores(cx, scores, at + 2, 3, flags)


def _propagate_as_zadd(cx: Context, scores: list[float], at: int) -> None:
    """Let a GEOADD whose places start at `at` be repeated as ZADD, free of any rounding."""
    argv = [b"zadd", *cx.argv[1:at]]
    for i in range(len(scores)):
        argv.append(b"%d" % int(scores[i]))
        argv.append(cx.argv[at + 2 + 3 * i])
    cx.rewrite(argv)


def geopos(cx: Context) -> object:
    """GEOPOS key [member ...] -> [longitude, latitude] of each, null for absent ones."""
    value = lookup_zset(cx, cx.argv[1])
    found: list[object] = []
    for member in cx.argv[2:]:
        score = None if value is None else value.score(member)
        if score is None:
            found.append(NULL_ARRAY)
        else:
            found.append(_coordinates(decode(score)))
    return found


def _coordinates(place: Place) -> list[object]:
    """Return a place as replies show it."""
    return [PlainDouble(place.longitude), PlainDouble(place.latitude)]


def geohash(cx: Context) -> object:
    """GEOHASH key [member ...] -> the geohash of each, null for absent ones."""
    value = lookup_zset(cx, cx.argv[1])
    found: list[object] = []
    for member in cx.argv[2:]:
        score = None if value is None else value.score(member)
        found.append(None if score is None else geohash_string(score))
    return found


def geodist(cx: Context) -> object:
    """GEODIST key member1 member2 [M|KM|FT|MI] -> the distance, null if one is absent."""
    argv = cx.argv
    unit_m = _unit_m(argv[4]) if len(argv) == 5 else 1.0
    if len(argv) > 5:
        raise syntax_error()
    value = lookup_zset(cx, argv[1])
    if value is None:
        return None
    first = value.score(argv[2])
    second = value.score(argv[3])
    if first is None or second is None:
        return None
    here = decode(first)
    there = decode(second)
    return format_fixed(distance_m(here.longitude, here.latitude, there.longitude, there.latitude) / unit_m)


# -- searching ---------------------------------------------------------------------------------------------------------


class Found:
    """A member in the shape."""

    def __init__(self, member: bytes, score: float, distance: float) -> None:
        self.member: Final = member
        self.score: Final = score
        self.distance: Final = distance


def _distance_of(found: Found) -> float:
    """Return what results are sorted by."""
    return found.distance


class Search:
    """A search: its shape, options and destination.  `modern`: GEOSEARCH and GEOSEARCHSTORE, which name everything."""

    def __init__(self, cx: Context, value: ZSetValue | None, *, modern: bool, may_store: bool) -> None:
        self.cx: Final = cx
        self.value: Final = value
        self.modern: Final = modern
        self.may_store: Final = may_store
        self.shape: Final = Shape()
        self.destination: bytes | None = None
        self.by_distance: bool = False  # what is stored as scores
        self.with_distance: bool = False
        self.with_hash: bool = False
        self.with_coordinates: bool = False
        self.order: int = 0  # 1 nearest first, -1 farthest first, 0 as they come
        self.count: int = 0  # 0: all
        self.any: bool = False
        self.from_member: bool = False
        self.from_place: bool = False
        self.by_radius: bool = False
        self.by_box: bool = False

    def centre_on(self, place: Place) -> None:
        """Search around `place`."""
        self.shape.longitude = place.longitude
        self.shape.latitude = place.latitude

    def parse_radius(self, radius: bytes, unit: bytes) -> None:
        """Read the size of a circle."""
        self.shape.radius = number(radius, b"ERR need numeric radius")
        if self.shape.radius < 0:
            raise CommandError(b"ERR radius cannot be negative")
        self.shape.unit_m = _unit_m(unit)

    def _parse_box(self, width: bytes, height: bytes, unit: bytes) -> None:
        """Read the size of a box."""
        self.shape.width = number(width, b"ERR need numeric width")
        self.shape.height = number(height, b"ERR need numeric height")
        if self.shape.width < 0 or self.shape.height < 0:
            raise CommandError(b"ERR height or width cannot be negative")
        self.shape.unit_m = _unit_m(unit)
        self.shape.is_box = True

    def parse_options(self, at: int) -> None:
        """Read all options from `at` on, then refuse what does not go together."""
        argv = self.cx.argv
        while at < len(argv):
            word = argv[at].upper()
            if self._parse_word(word):
                at += 1
            else:
                at += self._parse_shape(word, at) if self.modern else self._parse_destination(word, at)
        self._check()

    def _parse_word(self, word: bytes) -> bool:
        """Read an option without a value; return False if it is none."""
        if word == b"WITHDIST":
            self.with_distance = True
        elif word == b"WITHHASH":
            self.with_hash = True
        elif word == b"WITHCOORD":
            self.with_coordinates = True
        elif word == b"ANY":
            self.any = True
        elif word == b"ASC":
            self.order = 1
        elif word == b"DESC":
            self.order = -1
        elif word == b"STOREDIST" and self.modern and self.may_store:
            self.by_distance = True
        else:
            return False
        return True

    def _parse_count(self, at: int) -> int:
        """Read COUNT at `at`; return how many arguments it takes."""
        self.count = integer(option_value(self.cx.argv, at))
        if self.count <= 0:
            raise CommandError(b"ERR COUNT must be > 0")
        return 2

    def _parse_destination(self, word: bytes, at: int) -> int:
        """Read COUNT, STORE or STOREDIST of the older commands; return how many arguments the option takes."""
        if word == b"COUNT":
            return self._parse_count(at)
        if word not in (b"STORE", b"STOREDIST") or not self.may_store:
            raise syntax_error()
        self.destination = option_value(self.cx.argv, at)
        self.by_distance = word == b"STOREDIST"
        return 2

    def _parse_shape(self, word: bytes, at: int) -> int:
        """Read COUNT or where to search at `at`; return how many arguments the option takes."""
        argv = self.cx.argv
        left = len(argv) - at - 1
        if word == b"COUNT":
            return self._parse_count(at)
        if word == b"FROMMEMBER" and left >= 1 and not self.from_place:
            if self.value is not None:
                self.centre_on(_member_place(self.value, argv[at + 1]))
            self.from_member = True
            return 2
        if word == b"FROMLONLAT" and left >= 2 and not self.from_member:
            self.centre_on(_place(argv[at + 1], argv[at + 2]))
            self.from_place = True
            return 3
        if word == b"BYRADIUS" and left >= 2 and not self.by_box:
            self.parse_radius(argv[at + 1], argv[at + 2])
            self.by_radius = True
            return 3
        if word == b"BYBOX" and left >= 3 and not self.by_radius:
            self._parse_box(argv[at + 1], argv[at + 2], argv[at + 3])
            self.by_box = True
            return 4
        raise syntax_error()

    def _check(self) -> None:
        """Refuse options that do not go together, or are missing."""
        name = self.cx.argv[0]
        if self.destination is not None and (self.with_distance or self.with_hash or self.with_coordinates):
            what = b"GEOSEARCHSTORE" if self.modern else b"STORE option in GEORADIUS"
            raise CommandError(b"ERR " + what + b" is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
        if self.modern and not (self.from_member or self.from_place):
            raise CommandError(b"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for " + name)
        if self.modern and not (self.by_radius or self.by_box):
            raise CommandError(b"ERR exactly one of BYRADIUS and BYBOX can be specified for " + name)
        if self.any and not self.count:
            raise CommandError(b"ERR the ANY argument requires COUNT argument")

    def run(self) -> object:
        """Search, then reply or store."""
        if self.value is not None and self._wants_members():
            return self._members(self.value)
        found = [] if self.value is None else self._sorted(self._collect(self.value))
        return self._reply(found) if self.destination is None else self._store(self.destination, found)

    def _wants_members(self) -> bool:
        """Return True if all that are found are replied, as they come, with nothing else."""
        return not (self.order or self.count or self._wants_more() or self.destination is not None)

    def _wants_more(self) -> bool:
        """Return True if a reply tells more than members."""
        return self.with_distance or self.with_hash or self.with_coordinates

    def _members(self, value: ZSetValue) -> list[bytes]:
        """Return the members in the shape, as they come."""
        self.shape.prepare()
        found: list[bytes] = []
        for span in covering(self.shape):
            found.extend(value.wanted(span.low, span.high, self.shape))
        return found

    def _collect(self, value: ZSetValue) -> list[Found]:
        """Return the members in the shape, as they come; with ANY no more than COUNT."""
        limit = self.count if self.any else 0
        found: list[Found] = []
        self.shape.prepare()
        for span in covering(self.shape):
            if limit and len(found) >= limit:
                break
            first = value.count_below(span.low, False)
            scores, members = value.range(first, max(first, value.count_below(span.high, False)))
            for i in range(len(scores)):
                distance = self.shape.distance_within_m(scores[i], True)
                if distance != -1.0:
                    found.append(Found(members[i], scores[i], distance / self.shape.unit_m))
                if limit and len(found) >= limit:
                    break
        return found

    def _sorted(self, found: list[Found]) -> list[Found]:
        """Return the results in the order and number asked for; COUNT without ANY means the nearest."""
        order = self.order
        if self.count and not order and not self.any:
            order = 1
        if order:
            found.sort(key=_distance_of, reverse=order < 0)
        return found[: self.count] if self.count else found

    def _reply(self, results: list[Found]) -> list[object]:
        """Return the members, each with what was asked for."""
        replies: list[object] = []
        plain = not self._wants_more()
        for found in results:
            if plain:
                replies.append(found.member)
                continue
            row: list[object] = [found.member]
            if self.with_distance:
                row.append(format_fixed(found.distance))
            if self.with_hash:
                row.append(int(found.score))
            if self.with_coordinates:
                row.append(_coordinates(decode(found.score)))
            replies.append(row)
        return replies

    def _store(self, destination: bytes, results: list[Found]) -> int:
        """Store the members with their scores or distances; each counts as a change."""
        members: list[bytes] = []
        scores: list[float] = []
        for found in results:
            members.append(found.member)
            scores.append(found.distance if self.by_distance else found.score)
        event = b"geosearchstore" if self.modern else b"georadiusstore"
        stored = store_result(self.cx, destination, members, scores, event)
        if stored:
            self.cx.state.dirty += stored - 1
        return stored


def _around_place(cx: Context, may_store: bool) -> object:
    """Run GEORADIUS."""
    argv = cx.argv
    search = Search(cx, lookup_zset(cx, argv[1]), modern=False, may_store=may_store)
    search.centre_on(_place(argv[2], argv[3]))
    search.parse_radius(argv[4], argv[5])
    search.parse_options(6)
    return search.run()


def _around_member(cx: Context, may_store: bool) -> object:
    """Run GEORADIUSBYMEMBER; without the sorted set neither member nor radius are looked at."""
    argv = cx.argv
    value = lookup_zset(cx, argv[1])
    search = Search(cx, value, modern=False, may_store=may_store)
    if value is not None:
        search.centre_on(_member_place(value, argv[2]))
        search.parse_radius(argv[3], argv[4])
    search.parse_options(5)
    return search.run()


def georadius(cx: Context) -> object:
    """GEORADIUS key longitude latitude radius unit [WITH...] [COUNT n [ANY]] [ASC|DESC] [STORE|STOREDIST key]."""
    return _around_place(cx, True)


def georadius_ro(cx: Context) -> object:
    """GEORADIUS_RO key longitude latitude radius unit [WITH...] [COUNT n [ANY]] [ASC|DESC] -> members."""
    return _around_place(cx, False)


def georadiusbymember(cx: Context) -> object:
    """GEORADIUSBYMEMBER key member radius unit [WITH...] [COUNT n [ANY]] [ASC|DESC] [STORE|STOREDIST key]."""
    return _around_member(cx, True)


def georadiusbymember_ro(cx: Context) -> object:
    """GEORADIUSBYMEMBER_RO key member radius unit [WITH...] [COUNT n [ANY]] [ASC|DESC] -> members."""
    return _around_member(cx, False)


def geosearch(cx: Context) -> object:
    """GEOSEARCH key FROMMEMBER m|FROMLONLAT x y BYRADIUS r unit|BYBOX w h unit [...] -> members."""
    search = Search(cx, lookup_zset(cx, cx.argv[1]), modern=True, may_store=False)
    search.parse_options(2)
    return search.run()


def geosearchstore(cx: Context) -> object:
    """GEOSEARCHSTORE destination source FROM... BY... [ASC|DESC] [COUNT n [ANY]] [STOREDIST] -> number stored."""
    search = Search(cx, lookup_zset(cx, cx.argv[2]), modern=True, may_store=True)
    search.destination = cx.argv[1]
    search.parse_options(3)
    return search.run()


def _radius_keys(argv: list[bytes]) -> list[int] | None:
    """Return where GEORADIUS names keys: the first argument, and behind STORE and STOREDIST."""
    return [1, *_behind(argv, b"STORE", 6), *_behind(argv, b"STOREDIST", 6)]


def _by_member_keys(argv: list[bytes]) -> list[int] | None:
    """Return where GEORADIUSBYMEMBER names keys."""
    return [1, *_behind(argv, b"STORE", 5), *_behind(argv, b"STOREDIST", 5)]


def _behind(argv: list[bytes], keyword: bytes, start: int) -> list[int]:
    """Return the position behind the first `keyword` from `start` on, if there is one."""
    for i in range(start, len(argv) - 1):
        if argv[i].upper() == keyword:
            return [i + 1]
    return []


def commands() -> list[Command]:
    """Return the rows of the group."""
    add = WRITE | DENYOOM
    radius = KeySpec(1, 1, 1, _radius_keys)
    around = KeySpec(1, 1, 1, _by_member_keys)
    by_member = b"Searches around a member."
    return [
        Command(b"GEOADD", -5, add, geoadd, KEY1, since=b"3.2.0", summary=b"Adds places or moves them."),
        Command(b"GEODIST", -4, READONLY, geodist, KEY1, since=b"3.2.0", summary=b"Measures between two members."),
        Command(b"GEOHASH", -2, READONLY, geohash, KEY1, since=b"3.2.0", summary=b"Spells places as geohashes."),
        Command(b"GEOPOS", -2, READONLY, geopos, KEY1, since=b"3.2.0", summary=b"Tells where members are."),
        Command(b"GEORADIUS", -6, add, georadius, radius, since=b"3.2.0", summary=b"Searches around a place."),
        Command(b"GEORADIUSBYMEMBER", -5, add, georadiusbymember, around, since=b"3.2.0", summary=by_member),
        Command(b"GEORADIUSBYMEMBER_RO", -5, READONLY, georadiusbymember_ro, KEY1, since=b"3.2.10", summary=by_member),
        Command(
            b"GEORADIUS_RO", -6, READONLY, georadius_ro, KEY1, since=b"3.2.10", summary=b"Searches around a place."
        ),
        Command(b"GEOSEARCH", -7, READONLY, geosearch, KEY1, since=b"6.2.0", summary=b"Searches a circle or a box."),
        Command(b"GEOSEARCHSTORE", -8, add, geosearchstore, KEYS12, since=b"6.2.0", summary=b"Stores a search."),
    ]
