"""Places on the earth as 52-bit geohashes, the areas that cover a search, and distances.

A hash interleaves the bits of the scaled latitude (even bits) and longitude (odd bits); places near each other mostly
share a prefix, so an area is a range of scores of a sorted set.  The ranges are those of web mercator: +-180 and
+-85.05112878 degrees.

Map: encoding, areas and their neighbours, distances, `Shape` (what is searched), `covering` (where to look for it).
Source: Niemeyer, geohash.org; EPSG:3857; the haversine formula.  Every operation is a double's and stands in the order
in which Redis does it: results equal Redis's to the last bit.
"""

from math import asin, cos, isinf, nan, pi, sin, sqrt
from typing import Final

from mypy_extensions import i64

from coordkit_server.datatypes.sorted_members import ScoreTest

LONGITUDE_MAX: Final = 180.0
LATITUDE_MAX: Final = 85.05112878
STANDARD_LATITUDE_MAX: Final = 90.0  # of geohash.org
STEPS: Final = 26  # bits of each coordinate in a score
EARTH_RADIUS_M: Final = 6372797.560856
_SCALE: Final = 67108864.0  # cells of a coordinate in a score, 2 ** STEPS
_HEIGHT: Final = LATITUDE_MAX + LATITUDE_MAX
_WIDTH: Final = LONGITUDE_MAX + LONGITUDE_MAX
# what rounding can make of a distance is far less than this part of it
_DOUBT: Final = 1e-9
_LEAST_DOUBT: Final = 1e-18
_NEAR: Final = 0.02  # radians: up to half of an arc twice as wide, `_sine_of` is exact to a part of 1e-12
_MERCATOR_MAX_M: Final = 20037726.37
_RADIANS: Final = pi / 180.0
_ALPHABET: Final = b"0123456789bcdefghjkmnpqrstuvwxyz"
_STRING_CHARS: Final = 11
_WORD: Final = 1 << 64
_WORD_END: Final = 18446744073709551616.0
_WORD_HALF: Final = 9223372036854775808.0
_LEAST_WORD: Final = -(1 << 63)
_COORDINATE: Final[i64] = 0xFFFFFFFF
_EVEN: Final = 0x1555555555555555  # as many bits as fit into a small integer; hashes have 54 at most
_ODD: Final = 0x2AAAAAAAAAAAAAAA
# masks and shifts that spread the bits of a coordinate to every second place, and gather them
_SPREAD_1: Final[i64] = 0x5555555555555555
_SPREAD_2: Final[i64] = 0x3333333333333333
_SPREAD_4: Final[i64] = 0x0F0F0F0F0F0F0F0F
_SPREAD_8: Final[i64] = 0x00FF00FF00FF00FF
_SPREAD_16: Final[i64] = 0x0000FFFF0000FFFF
_NORTH: Final = 1
_SOUTH: Final = -1
_EAST: Final = 1
_WEST: Final = -1


def _spread(value: int) -> int:
    """Return `value` (below 2 ** 28) with a zero bit between any two bits."""
    x: i64 = value
    x = (x | (x << 16)) & _SPREAD_16
    x = (x | (x << 8)) & _SPREAD_8
    x = (x | (x << 4)) & _SPREAD_4
    x = (x | (x << 2)) & _SPREAD_2
    return (x | (x << 1)) & _SPREAD_1


def _gather(value: i64) -> i64:
    """Return the even bits of `value`, next to each other."""
    x = value & _SPREAD_1
    x = (x | (x >> 1)) & _SPREAD_2
    x = (x | (x >> 2)) & _SPREAD_4
    x = (x | (x >> 4)) & _SPREAD_8
    x = (x | (x >> 8)) & _SPREAD_16
    return (x | (x >> 16)) & _COORDINATE


def encode(longitude: float, latitude: float, steps: int, latitude_max: float = LATITUDE_MAX) -> int:
    """Return the hash of a place within the ranges, with `steps` bits of each coordinate."""
    scale = float(1 << steps)
    north = (latitude + latitude_max) / (latitude_max + latitude_max) * scale
    east = (longitude + LONGITUDE_MAX) / (LONGITUDE_MAX + LONGITUDE_MAX) * scale
    return _spread(int(north)) | (_spread(int(east)) << 1)


class Place:
    """A longitude and a latitude, in degrees."""

    def __init__(self, longitude: float, latitude: float) -> None:
        self.longitude: Final = longitude
        self.latitude: Final = latitude


class Area:
    """The cell of a hash, in degrees."""

    def __init__(self, bits: int, steps: int) -> None:
        north = _gather(bits)
        east = _gather(bits >> 1)
        scale = float(1 << steps)
        width = LONGITUDE_MAX + LONGITUDE_MAX
        height = LATITUDE_MAX + LATITUDE_MAX
        self.south: Final = -LATITUDE_MAX + float(north) / scale * height
        self.north: Final = -LATITUDE_MAX + float((north + 1) & _COORDINATE) / scale * height
        self.west: Final = -LONGITUDE_MAX + float(east) / scale * width
        self.east: Final = -LONGITUDE_MAX + float((east + 1) & _COORDINATE) / scale * width


def decode(score: float) -> Place:
    """Return the middle of the cell that a score stands for; any score is taken, cut to 64 bits."""
    bits = _word(score)
    return Place(_longitude(bits), _latitude(bits))


def _latitude(bits: i64) -> float:
    """Return the latitude in the middle of the cell of a score."""
    number = _gather(bits)
    south = -LATITUDE_MAX + float(number) / _SCALE * _HEIGHT
    north = -LATITUDE_MAX + float((number + 1) & _COORDINATE) / _SCALE * _HEIGHT
    middle = (south + north) / 2
    return LATITUDE_MAX if middle > LATITUDE_MAX else -LATITUDE_MAX if middle < -LATITUDE_MAX else middle


def _longitude(bits: i64) -> float:
    """Return the longitude in the middle of the cell of a score."""
    number = _gather(bits >> 1)
    west = -LONGITUDE_MAX + float(number) / _SCALE * _WIDTH
    east = -LONGITUDE_MAX + float((number + 1) & _COORDINATE) / _SCALE * _WIDTH
    middle = (west + east) / 2
    return LONGITUDE_MAX if middle > LONGITUDE_MAX else -LONGITUDE_MAX if middle < -LONGITUDE_MAX else middle


def _word(score: float) -> i64:
    """Return `score` as the signed 64-bit integer with the bits of C's cast to uint64_t on x86."""
    if -9.2e18 < score < 9.2e18:
        return int(score)
    if not -_WORD_HALF <= score < _WORD_END:
        return _LEAST_WORD if score < 0 else 0
    whole = int(score)
    return whole - _WORD if score >= _WORD_HALF else whole


def geohash_string(score: float) -> bytes:
    """Return the geohash of geohash.org: eleven characters, of which the last has no bits left and is `0`."""
    place = decode(score)
    bits = encode(place.longitude, place.latitude, STEPS, STANDARD_LATITUDE_MAX)
    text = bytearray()
    for i in range(1, _STRING_CHARS):
        text.append(_ALPHABET[(bits >> (2 * STEPS - 5 * i)) & 31])
    text.append(_ALPHABET[0])
    return bytes(text)


# -- distances ---------------------------------------------------------------------------------------------------------


def _north_south_m(first: float, second: float) -> float:
    """Return the metres between two latitudes."""
    return EARTH_RADIUS_M * abs(second * _RADIANS - first * _RADIANS)


def distance_m(longitude: float, latitude: float, other_longitude: float, other_latitude: float) -> float:
    """Return the metres between two places on a sphere; NaN for opposite ones that rounding puts beyond it."""
    v = sin((other_longitude * _RADIANS - longitude * _RADIANS) / 2)
    if v == 0.0:
        return _north_south_m(latitude, other_latitude)
    here = latitude * _RADIANS
    there = other_latitude * _RADIANS
    u = sin((there - here) / 2)
    a = u * u + cos(here) * cos(there) * v * v
    return 2.0 * EARTH_RADIUS_M * asin(sqrt(a)) if a <= 1.0 else nan


# -- searching ---------------------------------------------------------------------------------------------------------


def _sine_of(angle: float) -> float:
    """Return the sine of an angle of at most 2 * _NEAR radians, to a part of 1e-12: the first terms of its series."""
    square = angle * angle
    return angle * (1.0 - square / 6.0 * (1.0 - square / 20.0))


class Shape(ScoreTest):
    """A circle, or a box whose sides run along the compass, around `place`; sizes in a unit of `unit_m` metres."""

    def __init__(self) -> None:
        self.longitude: float = 0.0
        self.latitude: float = 0.0
        self.unit_m: float = 1.0
        self.is_box: bool = False
        self.radius: float = 0.0
        self.width: float = 0.0
        self.height: float = 0.0
        # of a circle, what every place is compared with: see `prepare`
        self._radius_m: float = 0.0
        self._east: float = 0.0
        self._north: float = 0.0
        self._cosine: float = 1.0
        self._sine: float = 0.0
        self._band: float = 0.0
        self._inside: float = -1.0
        self._outside: float = 1.0

    def prepare(self) -> None:
        """Work out what all places are compared with, before the first `distance_within_m`.

        `_band` is how far north or south a place can be, in radians; below `_inside` and above `_outside` the square of
        half a chord leaves no doubt where its end is, and the arc need not be known."""
        self._radius_m = self.radius * self.unit_m
        self._east = self.longitude * _RADIANS
        self._north = self.latitude * _RADIANS
        self._cosine = cos(self._north)
        self._sine = sin(self._north)
        half = self._radius_m / EARTH_RADIUS_M / 2
        self._band = 2 * half * (1 + _DOUBT) + _DOUBT
        if half < pi / 2:
            chord = sin(half) * sin(half)
            self._inside = chord * (1 - _DOUBT) - _LEAST_DOUBT
            self._outside = chord * (1 + _DOUBT) + _LEAST_DOUBT

    def holds(self, score: float) -> bool:
        """Return True if the place of a score is inside."""
        return self.distance_within_m(score, False) != -1.0

    def distance_within_m(self, score: float, exact: bool) -> float:
        """Return the metres from the middle to the place of a score, -1 if it is outside.

        Not `exact`: any number that is not -1 stands for a place inside."""
        bits = _word(score)
        latitude = _latitude(bits)
        if self.is_box:
            return self._distance_in_box_m(_longitude(bits), latitude)
        north = latitude * _RADIANS
        climb = north - self._north
        if climb > self._band or -climb > self._band:
            return -1.0
        longitude = _longitude(bits)
        aside = (longitude * _RADIANS - self._east) / 2
        if aside != 0.0:
            chord = self._chord(climb, aside)
            if self._outside < chord <= 1.0:
                return -1.0
            if chord < self._inside and not exact:
                return 0.0
        distance = distance_m(self.longitude, self.latitude, longitude, latitude)
        return -1.0 if distance > self._radius_m else distance

    def _chord(self, climb: float, aside: float) -> float:
        """Return the square of half a chord to a place `climb` farther north and twice `aside` farther east."""
        if self._band > 2 * _NEAR or aside > _NEAR or -aside > _NEAR:
            u = sin(climb / 2)
            v = sin(aside)
            return u * u + self._cosine * cos(self._north + climb) * v * v
        u = _sine_of(climb / 2)
        v = _sine_of(aside)
        # the cosine of a sum: cos(climb) is 1 - 2 * sin(climb / 2) ** 2
        cosine = self._cosine * (1.0 - 2.0 * u * u) - self._sine * _sine_of(climb)
        return u * u + self._cosine * cosine * v * v

    def _distance_in_box_m(self, longitude: float, latitude: float) -> float:
        """Return the metres from the middle to a place in the box, -1 for one outside."""
        if _north_south_m(latitude, self.latitude) > self.height * self.unit_m / 2:
            return -1.0
        if distance_m(longitude, latitude, self.longitude, latitude) > self.width * self.unit_m / 2:
            return -1.0
        return distance_m(self.longitude, self.latitude, longitude, latitude)

    def reach_m(self) -> float:
        """Return the metres from the middle to the farthest point."""
        if not self.is_box:
            return self.radius * self.unit_m
        half_width = self.width / 2
        half_height = self.height / 2
        return sqrt(half_width * half_width + half_height * half_height) * self.unit_m


class Bounds:
    """The degrees between which a shape lies."""

    def __init__(self, shape: Shape) -> None:
        height_m = shape.unit_m * (shape.height / 2 if shape.is_box else shape.radius)
        width_m = shape.unit_m * (shape.width / 2 if shape.is_box else shape.radius)
        up = height_m / EARTH_RADIUS_M / _RADIANS
        # the wider of its two ends: a degree of longitude is shorter towards the poles
        edge = shape.latitude - up if shape.latitude < 0 else shape.latitude + up
        aside = width_m / EARTH_RADIUS_M / _cosine(edge * _RADIANS) / _RADIANS
        self.west: Final = shape.longitude - aside
        self.east: Final = shape.longitude + aside
        self.south: Final = shape.latitude - up
        self.north: Final = shape.latitude + up


def _cosine(angle: float) -> float:
    """Return the cosine, NaN for infinity as in C."""
    return nan if isinf(angle) else cos(angle)


def _steps_for(reach_m: float, latitude: float) -> int:
    """Return with how many steps a cell and its neighbours are about as large as the search."""
    if reach_m == 0:
        return STEPS
    steps = -1  # two less than would just fit: a search may lie across the border of its cell
    while reach_m < _MERCATOR_MAX_M:
        reach_m *= 2
        steps += 1
    if abs(latitude) > 66:  # cells are narrower towards the poles
        steps -= 1
        if abs(latitude) > 80:
            steps -= 1
    return min(max(steps, 1), STEPS)


def _moved(bits: int, steps: int, east: int, north: int) -> int:
    """Return the hash of a cell next to `bits`, east or west (1, -1) and north or south (1, -1), around the end."""
    if east == 0 and north == 0:
        return bits
    x = bits & _ODD
    y = bits & _EVEN
    mask = (1 << (2 * steps)) - 1
    x_mask = mask & _ODD
    y_mask = mask & _EVEN
    if east > 0:
        x = (x + y_mask + 1) & x_mask
    elif east < 0:
        x = ((x | y_mask) - y_mask - 1) & x_mask
    if north > 0:
        y = (y + x_mask + 1) & y_mask
    elif north < 0:
        y = ((y | x_mask) - x_mask - 1) & y_mask
    return x | y


# the cell itself and its neighbours (east, north), in the order in which they are searched
_AROUND: Final[list[tuple[int, int]]] = [
    (0, 0),
    (0, _NORTH),
    (0, _SOUTH),
    (_EAST, 0),
    (_WEST, 0),
    (_EAST, _NORTH),
    (_WEST, _NORTH),
    (_EAST, _SOUTH),
    (_WEST, _SOUTH),
]


class ScoreSpan:
    """Scores of a cell: from `low` up to `high`, exclusive."""

    def __init__(self, bits: int, steps: int) -> None:
        shift = 2 * (STEPS - steps)
        self.low: Final = float(bits << shift)
        self.high: Final = float((bits + 1) << shift)


def _is_covered(bits: int, steps: int, bounds: Bounds) -> bool:
    """Return True if the cell and its neighbours reach as far as `bounds`."""
    return not (
        Area(_moved(bits, steps, 0, _NORTH), steps).north < bounds.north
        or Area(_moved(bits, steps, 0, _SOUTH), steps).south > bounds.south
        or Area(_moved(bits, steps, _EAST, 0), steps).east < bounds.east
        or Area(_moved(bits, steps, _WEST, 0), steps).west > bounds.west
    )


def covering(shape: Shape) -> list[ScoreSpan]:
    """Return the spans of scores in which all places of `shape` are, its own cell first."""
    bounds = Bounds(shape)
    steps = _steps_for(shape.reach_m(), shape.latitude)
    bits = encode(shape.longitude, shape.latitude, steps)
    if steps > 1 and not _is_covered(bits, steps, bounds):
        steps -= 1
        bits = encode(shape.longitude, shape.latitude, steps)
    area = Area(bits, steps)
    spans: list[ScoreSpan] = []
    last = -1
    for number, (east, north) in enumerate(_AROUND):
        if steps >= 2 and (
            (north < 0 and area.south < bounds.south)
            or (north > 0 and area.north > bounds.north)
            or (east < 0 and area.west < bounds.west)
            or (east > 0 and area.east > bounds.east)
        ):
            continue
        moved = _moved(bits, steps, east, north)
        if moved == last:  # around a small earth two neighbours can be one
            continue
        spans.append(ScoreSpan(moved, steps))
        if number > 0:
            last = moved
    return spans


UNITS_M: Final[dict[bytes, float]] = {b"m": 1.0, b"km": 1000.0, b"ft": 0.3048, b"mi": 1609.34}
