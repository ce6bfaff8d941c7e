"""The stream structure: against a plain model, nodes and trimming, what is kept for serialisation."""

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from coordkit_server.datatypes.limits import Limits
from coordkit_server.datatypes.radix import node_count
from coordkit_server.datatypes.stream import StreamValue
from coordkit_server.datatypes.stream_entry import ID_MAX, ID_SEQ_BITS, id_text, pack, unpack
from coordkit_server.datatypes.stream_group import Group, Nack, Pending

IDS = st.integers(0, 60)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 3), st.integers(0, 2)),
        st.tuples(st.just("add"), st.integers(1, 3), st.integers(0, 2)),
        st.tuples(st.just("remove"), IDS, IDS),
        st.tuples(st.just("keep"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("from"), IDS, st.just(0)),
    ),
    max_size=80,
)


def ident_of(number: int) -> int:
    return (number // 4 << ID_SEQ_BITS) | number % 4


def small_nodes(entries: int = 3) -> Limits:
    limits = Limits()
    limits.stream_node_max_entries = entries
    return limits


def content(stream: StreamValue) -> list[tuple[int, list[bytes]]]:
    return [entry for node in stream.nodes for entry in node.entries()]


def filled(count: int, entries: int = 3) -> StreamValue:
    stream = StreamValue()
    for number in range(1, count + 1):
        assert stream.append(number, [b"f", b"%d" % number], 0, small_nodes(entries)) == b"0-%d" % number
    return stream


@settings(max_examples=100)
@given(STEPS)
def test_stream_agrees_with_a_dictionary(steps: list[tuple[str, int, int]]) -> None:
    stream, model, last, limits = StreamValue(), dict[int, list[bytes]](), 0, small_nodes()
    for name, number, other in steps:
        if name == "add":
            last += number
            words = [b"f%d" % other, b"v" * last] * (1 + other)
            assert stream.append(ident_of(last), words, 0, limits) == id_text(ident_of(last))
            model[ident_of(last)] = words
        elif name == "remove":
            idents = [ident_of(number), ident_of(other)]
            assert stream.remove(idents) == sum(model.pop(ident, None) is not None for ident in idents)
        elif name == "keep":
            gone = sorted(model)[: max(len(model) - number, 0)]
            assert stream.trim_to_length(number, approximately=False, limit=0) == len(gone)
            model = {ident: words for ident, words in model.items() if ident not in gone}
        else:
            gone = [ident for ident in model if ident < ident_of(number)]
            assert stream.trim_below(ident_of(number), approximately=False, limit=0) == len(gone)
            model = {ident: words for ident, words in model.items() if ident not in gone}
        assert stream.length() == len(model)
        assert stream.first_id == min(model, default=0)
        assert stream.last_entry_id() == max(model, default=0)
    assert content(stream) == sorted(model.items())
    twin = stream.copy()
    assert isinstance(twin, StreamValue)
    assert content(twin) == content(stream)
    for start in range(0, 64, 7):
        for end in range(0, 64, 5):
            within = [ident for ident in sorted(model) if ident_of(start) <= ident <= ident_of(end)]
            for limit in (0, 1, 4):
                wanted = within[:limit] if limit else within
                parts: list[bytes] = []
                assert stream.read(ident_of(start), ident_of(end), limit, parts) == len(wanted)
                assert b"".join(parts) == b"".join(pack(id_text(ident), model[ident], 0) for ident in wanted)
                wanted = within[::-1][:limit] if limit else within[::-1]
                parts = []
                assert stream.read_back(ident_of(start), ident_of(end), limit, parts) == len(wanted)
                assert parts == [pack(id_text(ident), model[ident], 0) for ident in wanted]
        assert stream.entry(ident_of(start)) == (
            pack(id_text(ident_of(start)), model[ident_of(start)], 0) if ident_of(start) in model else None
        )
        assert stream.ids_from(ident_of(start), 5) == [ident for ident in sorted(model) if ident >= ident_of(start)][:5]


@given(st.lists(st.binary(max_size=300), min_size=2, max_size=12).filter(lambda words: len(words) % 2 == 0))
def test_unpack_entry_returns_its_words(words: list[bytes]) -> None:
    assert unpack(pack(id_text(ID_MAX), [b"XADD", *words], 1)) == words


def test_append_entry_of_more_than_a_gibibyte_is_refused() -> None:
    stream = StreamValue()
    assert stream.append(1, [b"f", bytes(1 << 30)], 0, Limits()) is None
    assert (stream.length(), stream.nodes) == (0, [])


def test_append_starts_a_node_after_so_many_entries_removed_ones_included() -> None:
    stream = filled(3)
    stream.remove([2])
    assert stream.append(4, [b"f", b"4"], 0, small_nodes()) == b"0-4"
    assert [node.key for node in stream.nodes] == [1, 4]


def test_append_starts_a_node_when_the_listpack_is_full() -> None:
    limits = Limits()
    limits.stream_node_max_bytes = 100
    stream = StreamValue()
    for number in range(1, 9):
        stream.append(number, [b"field", b"x" * 20], 0, limits)
    assert [node.size() for node in stream.nodes] == [2, 2, 2, 2]


def test_append_after_close_node_starts_a_node() -> None:
    stream = filled(1)
    stream.close_node()
    stream.append(2, [b"f", b"2"], 0, small_nodes())
    assert [node.key for node in stream.nodes] == [1, 2]


def test_trim_approximately_removes_whole_nodes_only() -> None:
    stream = filled(10)
    assert stream.trim_to_length(5, approximately=True, limit=0) == 3
    assert stream.trim_below(6, approximately=True, limit=0) == 0
    assert stream.trim_below(7, approximately=True, limit=0) == 3
    assert stream.first_id == 7


def test_trim_approximately_stays_within_its_limit() -> None:
    stream = filled(10)
    assert stream.trim_to_length(0, approximately=True, limit=5) == 3
    assert stream.trim_below(100, approximately=True, limit=2) == 0


def test_trim_below_keeps_a_node_that_ends_in_a_removed_entry() -> None:
    stream = filled(3)
    stream.remove([3])
    assert stream.trim_below(3, approximately=False, limit=0) == 2
    assert (stream.length(), [node.size() for node in stream.nodes], stream.oldest_id()) == (0, [0], 1)
    assert stream.trim_to_length(0, approximately=False, limit=0) == 0


def test_copy_of_a_stream_is_independent() -> None:
    stream = filled(2)
    group = stream.groups[b"g"] = Group(2, 2)
    group.deliver(1, group.add_consumer(b"c", 7), 8)
    twin = stream.copy()
    assert isinstance(twin, StreamValue)
    group.forget(1)
    stream.remove([1])
    twin_group = twin.groups[b"g"]
    assert [nack.ident for nack in twin_group.pending.nacks()] == [1]
    assert [nack.ident for nack in twin_group.consumers[b"c"].pending.nacks()] == [1]
    assert (twin_group.consumers[b"c"].seen_ms, twin.length(), twin.max_deleted_id) == (7, 2, 0)


@given(st.lists(st.tuples(st.sampled_from(["add", "add", "remove"]), st.integers(0, 700)), max_size=900))
def test_pending_agrees_with_a_dictionary(steps: list[tuple[str, int]]) -> None:
    pending, model = Pending(), dict[int, Nack]()
    for name, number in steps:
        if name == "remove":
            assert pending.remove(number) is model.pop(number, None)
        elif number not in model:
            model[number] = Nack(number, None, 0, 1)
            pending.add(model[number])
    ordered = [model[number] for number in sorted(model)]
    assert pending.nacks() == ordered
    assert pending.size == len(model)
    assert pending.last() is (ordered[-1] if ordered else None)
    for number in range(0, 701, 50):
        behind = [nack for nack in ordered if nack.ident >= number]
        assert pending.get(number) is model.get(number)
        assert pending.first_from(number) is (behind[0] if behind else None)
        assert pending.take_from(number, 9) == behind[:9]


def test_pending_with_many_inserts_between_keeps_its_order() -> None:
    pending = Pending()
    numbers = [*range(0, 2000, 2), *range(1999, 0, -2)]
    for number in numbers:
        pending.add(Nack(number, None, 0, 1))
    assert [nack.ident for nack in pending.nacks()] == list(range(2000))


def test_deliver_an_entry_again_moves_it_to_the_new_consumer() -> None:
    group = Group(0, 0)
    first, second = group.add_consumer(b"a", 1), group.add_consumer(b"b", 1)
    nack = group.deliver(5, first, 10)
    nack.count = 3
    assert group.deliver(5, second, 20) is nack
    assert (nack.consumer, nack.delivered_ms, nack.count) == (second, 20, 1)
    assert (first.pending.size, second.pending.size, group.pending.size) == (0, 1, 1)


def test_remove_consumer_forgets_what_it_had() -> None:
    group = Group(0, 0)
    first, second = group.add_consumer(b"a", 1), group.add_consumer(b"b", 1)
    group.deliver(5, first, 10)
    group.deliver(6, second, 10)
    group.remove_consumer(first)
    assert [nack.ident for nack in group.pending.nacks()] == [6]
    assert group.consumers_by_name() == [second]


def test_lag_after_gaps_is_known_only_at_the_ends() -> None:
    stream = filled(5)
    group = Group(0, 0)
    stream.count_read(group, [1, 2])
    assert (group.entries_read, stream.lag(group)) == (2, 3)
    stream.remove([4])
    assert stream.lag(group) is None
    stream.count_read(group, [3])
    assert group.entries_read == -1
    stream.count_read(group, [5])
    assert (group.entries_read, stream.lag(group)) == (5, 0)


def test_node_count_of_a_radix_tree_with_known_ids() -> None:
    assert node_count([]) == 1
    assert node_count([1]) == 2
    # a common start, the fork, and two leaves
    assert node_count([1, 2]) == 4
    # a common start, a fork, two ends of one node and one leaf each
    assert node_count([1 << 64, 2 << 64]) == 6


WIDE = [
    5,
    (1 << 32) - 1,
    1 << 32,
    (1 << 64) - 1,
    1 << 64,
    (1 << 64) | (1 << 40),
    1 << 96,
    (1 << 96) + 1,
    ID_MAX - 1,
    ID_MAX,
]


@given(st.lists(st.sampled_from(WIDE), unique=True, min_size=1), st.lists(st.sampled_from(WIDE), max_size=3))
def test_ids_far_apart_in_one_node_are_found(idents: list[int], removed: list[int]) -> None:
    stream, limits = StreamValue(), small_nodes(100)
    for ident in sorted(idents):
        stream.append(ident, [b"f", b"v"], 0, limits)
    stream.remove(removed)
    kept = [ident for ident in sorted(idents) if ident not in removed]
    assert len(stream.nodes) == (1 if kept else 0)
    assert stream.ids_from(0, 100) == kept
    assert [ident for ident, _ in content(stream)] == kept
    for start in [0, *WIDE]:
        assert stream.has(start) == (start in kept)
        assert stream.read(start, ID_MAX, 0, []) == sum(ident >= start for ident in kept)
        assert stream.read(0, start, 0, []) == sum(ident <= start for ident in kept)
        assert stream.read(start + 1, ID_MAX, 0, []) == sum(ident > start for ident in kept)


def test_stream_of_many_small_entries_takes_few_bytes_each() -> None:
    tracemalloc.start()
    try:
        stream, limits = StreamValue(), Limits()
        argv = [b"field", b"value-value"]
        for number in range(20_000):
            stream.append((1_700_000_000_000 + number) << ID_SEQ_BITS, argv, 0, limits)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 100 * stream.length()
