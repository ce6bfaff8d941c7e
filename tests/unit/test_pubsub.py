"""The buffer of a subscription and the book of channels, with no server."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit.codec import JsonCodec
from coordkit.errors import ConfigurationError, SubscriptionOverflow
from coordkit.pubsub.buffer import OVERFLOWS, Buffer, Overflow
from coordkit.pubsub.message import Gap, Message
from coordkit.transports.subscriptions import LINGER_S, Subscriptions


def buffer(size: int = 3, overflow: Overflow = "drop_oldest") -> Buffer:
    return Buffer("news", size=size, overflow=overflow, codec=JsonCodec())


def put(into: Buffer, *numbers: int | None) -> None:
    """Put messages in; None is a lost connection."""
    for number in numbers:
        if number is None:
            into.put_gap()
        else:
            into.put(b"%d" % number)


def taken(out_of: Buffer) -> list[object]:
    """What comes out until there is nothing: the data of messages, gaps as a list of what they miss."""
    items: list[object] = []
    while (item := out_of.take()) is not None:
        assert item.channel == "news"
        items.append(item.data if isinstance(item, Message) else [item.missed])
    return items


def test_buffer_with_room_keeps_the_order() -> None:
    held = buffer()
    put(held, 1, 2, 3)
    assert taken(held) == [1, 2, 3]
    assert held.take() is None


@pytest.mark.parametrize(
    "overflow, arriving, expected",
    [
        ("drop_oldest", (1, 2, 3, 4, 5), [[2], 3, 4, 5]),
        ("drop_newest", (1, 2, 3, 4, 5), [1, 2, 3, [2]]),
        ("drop_oldest", (1, None, 2, 3, 4), [[None], 2, 3, 4]),
        ("drop_oldest", (1, 2, None, 3, 4, 5), [[None], 3, 4, 5]),
        ("drop_oldest", (1, 2, 3, None, 4), [[1], 2, 3, [None], 4]),
        ("drop_newest", (1, 2, 3, 4, None, 5), [1, 2, 3, [None]]),
        ("drop_newest", (None, None, 1), [[None], 1]),
    ],
)
def test_full_buffer_leaves_gaps_where_messages_were_dropped(
    overflow: Overflow, arriving: tuple[int | None, ...], expected: list[object]
) -> None:
    held = buffer(overflow=overflow)
    put(held, *arriving)
    assert taken(held) == expected


def test_full_buffer_with_policy_error_raises_after_what_it_holds() -> None:
    held = buffer(overflow="error")
    put(held, 1, 2, 3, 4, 5)
    assert held.ended
    assert [held.take() for _ in range(3)] == [Message("news", number) for number in (1, 2, 3)]
    with pytest.raises(SubscriptionOverflow, match="'news' came faster than they were read: more than 3 were waiting"):
        held.take()


@given(
    overflow=st.sampled_from(["drop_oldest", "drop_newest"]),
    size=st.integers(1, 4),
    steps=st.lists(st.sampled_from(["put", "gap", "take"]), max_size=60),
)
def test_buffer_accounts_for_every_message(overflow: Overflow, size: int, steps: list[str]) -> None:
    held, sent, missed, unknown = buffer(size, overflow), 0, 0, 0
    numbers: list[int] = []
    for step in [*steps, *["take"] * 20]:
        if step == "put":
            put(held, sent)
            sent += 1
        elif step == "gap":
            put(held, None)
        else:
            item = held.take()
            if isinstance(item, Message):
                assert isinstance(item.data, int)
                numbers.append(item.data)
            elif isinstance(item, Gap):
                missed += item.missed or 0
                unknown += item.missed is None
        assert held.statistics().buffered <= size
    counted = held.statistics()
    assert numbers == sorted(numbers)
    assert counted.received == sent == len(numbers) + counted.dropped
    assert missed == counted.dropped if not counted.gaps else missed <= counted.dropped
    assert unknown <= counted.gaps
    assert bool(unknown) == bool(counted.gaps)


def test_ended_buffer_takes_no_more_and_gives_what_it_has() -> None:
    held = buffer()
    put(held, 1)
    held.end()
    put(held, 2, None)
    assert taken(held) == [1]


def test_undecodable_message_is_left_out_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    held = buffer()
    for payload in (b"{", b"1", b"\xff"):
        held.put(payload)
    assert taken(held) == [1]
    assert held.statistics().undecodable == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_buffer_with_settings_that_cannot_work_raises() -> None:
    with pytest.raises(ConfigurationError, match="buffer must be 1 message or more, not 0"):
        buffer(0)
    with pytest.raises(ConfigurationError, match=f"overflow must be one of {', '.join(OVERFLOWS)}, not 'block'"):
        buffer(1, "block")  # type: ignore[arg-type]  # what a caller without a type checker may pass


class Recorder:
    """A listener that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_message(self, channel: bytes, payload: bytes) -> None:
        self.heard.append(f"{channel.decode()} {payload.decode()}")

    def on_gap(self) -> None:
        self.heard.append("gap")

    def on_close(self) -> None:
        self.heard.append("close")


class Failing(Recorder):
    """A listener that must not deafen the others."""

    def on_message(self, channel: bytes, payload: bytes) -> None:
        raise RuntimeError("a bug in a listener")


def test_channel_listened_to_as_a_whole_is_dropped_with_its_last_listener() -> None:
    book, one, two = Subscriptions(), Recorder(), Recorder()
    assert book.add(b"news", one, None)[1]
    assert not book.add(b"news", two, None)[1]
    book.confirm(b"news")
    assert not book.remove(b"news", one, None, now_s=0.0)
    assert book.remove(b"news", two, None, now_s=0.0)
    assert book.drop_idle(now_s=0.0) == [b"news"]


def test_channel_shared_by_waiters_lingers() -> None:
    book, waiter = Subscriptions(), Recorder()
    book.add(b"inbox", waiter, b"me")
    book.confirm(b"inbox")
    assert book.remove(b"inbox", waiter, b"me", now_s=1.0)
    assert book.drop_idle(now_s=LINGER_S) == []
    assert book.drop_idle(now_s=1.0 + LINGER_S) == [b"inbox"]


def test_channel_that_is_not_confirmed_yet_lingers() -> None:
    book, one = Subscriptions(), Recorder()
    book.add(b"news", one, None)
    book.remove(b"news", one, None, now_s=0.0)
    assert book.drop_idle(now_s=0.0) == []


def test_listeners_hear_gaps_after_a_loss_and_the_end() -> None:
    book, one = Subscriptions(), Recorder()
    book.add(b"news", Failing(), None)
    book.add(b"news", one, None)
    book.confirm(b"news")
    book.dispatch(b"news", b"a")
    book.lost()
    book.confirm(b"news")
    book.dispatch(b"news", b"b")
    book.close()
    book.dispatch(b"news", b"c")
    assert one.heard == ["news a", "gap", "news b", "close"]
