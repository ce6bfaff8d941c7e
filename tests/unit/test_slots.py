"""Hash slots, cluster URLs, and the map that redirections correct."""

import pytest

from coordkit.errors import ConfigurationError, ServerUnavailable
from coordkit.keys import Keys
from coordkit.lock import LockPlans
from coordkit.transports.address import Address
from coordkit.transports.slots import SlotMap, parse_cluster_url, slot_of

SEED = Address(host="a", port=1, password="p")
REPLY = [[0, 8191, [b"b", 2, b"id", []], [b"c", 3, b"id", []]], [8192, 16383, [b"", 4, b"id", []]]]


@pytest.mark.parametrize(
    "key, slot",
    [(b"", 0), (b"123456789", 12739), (b"foo", 12182), (b"{foo}bar", 12182), (b"{}foo", 9500), (b"a{foo}{bar}", 12182)],
)
def test_slot_of_a_key_is_that_of_its_hash_tag(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot


def test_all_keys_of_a_primitive_are_in_one_slot() -> None:
    keys = Keys.of("ck")
    for group in (keys.lock("a}b"), keys.queue("q"), (keys.queue("q").meta, keys.queue("q").turn("w"))):
        assert len({slot_of(key) for key in group}) == 1
    assert LockPlans.renewal.keys == ("*records",)


def test_cluster_url_names_nodes_and_login() -> None:
    login = {"username": "u", "password": "p"}
    assert parse_cluster_url("redis+cluster://u:p@a:1,b") == (Address("a", 1, **login), Address("b", **login))  # type: ignore[arg-type]  # text only


@pytest.mark.parametrize("url", ["redis+cluster://", "redis+cluster://a:1/2"])
def test_cluster_url_without_nodes_or_with_a_database_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="must name nodes and nothing more"):
        parse_cluster_url(url)


def test_slot_map_is_learnt_and_corrected() -> None:
    slots = SlotMap((SEED,))
    assert slots.stale
    slots.learn(REPLY, SEED)
    assert not slots.stale
    assert [(node.host, node.port, node.password) for node in slots.nodes] == [("b", 2, "p"), ("a", 4, "p")]
    assert slots.owner(8191).host == "b"
    assert slots.redirected("ASK 8191 d:5", SEED).host == "d"
    assert (slots.owner(8191).host, slots.stale) == ("b", False)
    assert slots.redirected("MOVED 8191 d:5", SEED).port == 5
    assert (slots.owner(8191).host, slots.owner(8190).host, slots.stale) == ("d", "b", True)


def test_slot_map_with_a_hole_is_an_outage() -> None:
    slots = SlotMap((SEED,))
    with pytest.raises(ServerUnavailable, match="does not serve slot 8192"):
        slots.learn(REPLY[:1], SEED)
    with pytest.raises(ServerUnavailable, match="no node of the cluster is known"):
        slots.owner(0)
