"""Geohashes: known places, the way there and back, distances, and that a search looks everywhere it has to."""

from math import inf, isnan

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from coordkit_server.datatypes.geohash import (
    LATITUDE_MAX,
    STEPS,
    Shape,
    covering,
    decode,
    distance_m,
    encode,
    geohash_string,
)
from coordkit_server.numeric import format_fixed, format_plain

# the places of Redis's documentation of GEOADD, with what it shows for them
PALERMO, CATANIA = (13.361389, 38.115556), (15.087269, 37.502669)
PALERMO_SCORE, CATANIA_SCORE = 3479099956230698, 3479447370796909

LONGITUDES = st.floats(-180, 180)
LATITUDES = st.floats(-LATITUDE_MAX, LATITUDE_MAX)


def test_encode_known_places_have_the_documented_scores() -> None:
    assert encode(*PALERMO, STEPS) == PALERMO_SCORE
    assert encode(*CATANIA, STEPS) == CATANIA_SCORE


def test_geohash_string_known_places_have_the_documented_text() -> None:
    assert geohash_string(float(PALERMO_SCORE)) == b"sqc8b49rny0"
    assert geohash_string(float(CATANIA_SCORE)) == b"sqdtr74hyu0"


def test_decode_known_place_prints_as_documented() -> None:
    place = decode(float(PALERMO_SCORE))
    assert format_plain(place.longitude) == b"13.36138933897018433"
    assert format_plain(place.latitude) == b"38.11555639549629859"


def test_distance_m_known_places_are_as_far_as_documented() -> None:
    here, there = decode(float(PALERMO_SCORE)), decode(float(CATANIA_SCORE))
    assert format_fixed(distance_m(here.longitude, here.latitude, there.longitude, there.latitude)) == b"166274.1516"


@given(LONGITUDES, LATITUDES)
def test_decode_an_encoded_place_is_less_than_a_metre_away(longitude: float, latitude: float) -> None:
    place = decode(float(encode(longitude, latitude, STEPS)))
    assert distance_m(longitude, latitude, place.longitude, place.latitude) < 1.0


@pytest.mark.parametrize("score", [inf, -inf, -1.0, -3.7, 1e300, -1e300, 2.0**63, 2.0**64, 9.3e18, 0.5])
def test_decode_any_score_is_a_place_on_the_map(score: float) -> None:
    place = decode(score)
    assert -180 <= place.longitude <= 180
    assert -LATITUDE_MAX <= place.latitude <= LATITUDE_MAX


@given(LONGITUDES, LATITUDES, LONGITUDES, LATITUDES)
def test_distance_m_is_symmetric_and_at_most_half_around(x: float, y: float, other_x: float, other_y: float) -> None:
    there, back = distance_m(x, y, other_x, other_y), distance_m(other_x, other_y, x, y)
    assert isnan(there) or (there == pytest.approx(back) and 0 <= there < 20_100_000)


NEARLY = [-1e-3, -1e-6, -1e-9, -1e-12, 0.0, 1e-12, 1e-9, 1e-6, 1e-3]


def circle(longitude: float, latitude: float, radius_m: float) -> Shape:
    shape = Shape()
    shape.longitude, shape.latitude, shape.radius = longitude, latitude, radius_m
    shape.prepare()
    return shape


@given(
    st.floats(-90, 90), st.floats(-60, 60), st.floats(1, 2_000_000), st.floats(-1, 1), st.floats(-1, 1), st.booleans()
)
def test_covering_has_every_place_of_the_shape(
    longitude: float, latitude: float, size_m: float, aside: float, up: float, box: bool
) -> None:
    shape = circle(longitude, latitude, size_m)
    if box:
        shape.is_box, shape.width, shape.height = True, 2 * size_m, size_m
    degrees = size_m / 111_000
    other_latitude = latitude + up * degrees
    assume(abs(other_latitude) < 80)
    score = float(encode(longitude + aside * degrees, other_latitude, STEPS))
    assume(shape.distance_within_m(score, False) != -1.0)
    assert any(span.low <= score < span.high for span in covering(shape))


@pytest.mark.parametrize("radius_m", [0.0, 0.001, 20_000_000.0, 1e300, inf])
def test_covering_any_size_is_at_most_nine_different_spans(radius_m: float) -> None:
    spans = [(span.low, span.high) for span in covering(circle(-122.4, 84.9, radius_m))]
    assert 1 <= len(spans) == len(set(spans)) <= 9


def test_covering_tiny_circle_is_the_place_itself() -> None:
    score = encode(*PALERMO, STEPS)
    assert any(span.low <= score < span.high for span in covering(circle(*PALERMO, 0.0)))


def test_distance_within_outside_is_minus_one() -> None:
    shape = circle(*PALERMO, 100_000.0)
    assert shape.distance_within_m(CATANIA_SCORE, True) == -1.0
    shape.unit_m = 2.0
    shape.prepare()
    assert 166_000 < shape.distance_within_m(CATANIA_SCORE, True) < 167_000


@given(
    *(LONGITUDES, LATITUDES, LONGITUDES, LATITUDES),
    st.one_of(st.floats(0, 21_000_000), st.just(inf), st.sampled_from(NEARLY)),
)
def test_distance_within_circle_is_what_comparing_with_the_radius_tells(
    longitude: float, latitude: float, other_longitude: float, other_latitude: float, radius_m: float
) -> None:
    compare(longitude, latitude, other_longitude, other_latitude, radius_m)


@given(
    *(LONGITUDES, LATITUDES, st.floats(-1, 1), st.floats(-1, 1), st.floats(-6, 1)),
    st.one_of(st.floats(1, 400_000), st.sampled_from(NEARLY)),
)
def test_distance_within_circle_of_places_near_each_other_is_as_exact(
    longitude: float, latitude: float, aside: float, up: float, decade: float, radius_m: float
) -> None:
    degrees = 10**decade
    other_longitude, other_latitude = longitude + aside * degrees, latitude + up * degrees
    assume(abs(other_longitude) <= 180 and abs(other_latitude) <= LATITUDE_MAX)
    compare(longitude, latitude, other_longitude, other_latitude, radius_m)


def compare(longitude: float, latitude: float, other_longitude: float, other_latitude: float, radius_m: float) -> None:
    """Search a circle for one place; a radius below 1 is as much more or less than the distance."""
    score = float(encode(other_longitude, other_latitude, STEPS))
    place = decode(score)
    distance = distance_m(longitude, latitude, place.longitude, place.latitude)
    if radius_m < 1 and not isnan(distance):  # a radius that is nearly, or exactly, the distance
        radius_m = distance * (1 + radius_m)
    shape = circle(longitude, latitude, radius_m)
    expected = -1.0 if distance > radius_m else distance
    assert shape.distance_within_m(score, True) == expected or isnan(expected)
    assert shape.holds(score) == (expected != -1.0)


@pytest.mark.parametrize(
    "value, text",
    [
        (0.0, b"0"),
        (-0.0, b"0"),
        (180.0, b"180"),
        (100.0, b"100"),
        (-0.5, b"-0.5"),
        (1e-18, b"0"),
        (-1e-18, b"0"),
        (0.1, b"0.10000000000000001"),
    ],
)
def test_format_plain_drops_what_is_not_needed(value: float, text: bytes) -> None:
    assert format_plain(value) == text


@pytest.mark.parametrize(
    "value, text",
    [
        (0.0, b"0.0000"),
        (0.00005, b"0.0000"),
        (0.00025, b"0.0002"),
        (0.775, b"0.7750"),
        (12.34567, b"12.3457"),
        (-1.5, b"-1.5000"),
        (inf, b"-922337203685477.5808"),
        (1e300, b"-922337203685477.5808"),
    ],
)
def test_format_fixed_has_four_decimals(value: float, text: bytes) -> None:
    assert format_fixed(value) == text
