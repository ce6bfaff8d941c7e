"""Calls of scripts as bytes: the same bytes whether they are packed word by word or put into what was packed before."""

from hypothesis import given
from hypothesis import strategies as st

from coordkit.lock import INFO as LOOK
from coordkit.ratelimit.gcra import CHECK
from coordkit.scripts import Arg
from coordkit.transports.packing import MOST_HEADS, ScriptCalls
from coordkit.wire import pack

WORDS = st.one_of(st.binary(), st.sampled_from([b"%", b"%d", b"%%b\r\n"]), st.integers())
LAST = st.one_of(WORDS, st.text(), st.floats(allow_nan=False))


@given(st.lists(st.tuples(st.binary(), st.tuples(*[WORDS] * 5), LAST), min_size=1))
def test_script_calls_are_the_bytes_of_the_whole_command(calls: list[tuple[bytes, tuple[Arg, ...], Arg]]) -> None:
    packer = ScriptCalls()
    for key, steady, last in [*calls, *calls]:
        whole = pack(("EVALSHA", CHECK.sha1, 1, key, *steady, last))
        assert packer.pack(CHECK, (key,), (*steady, last)) == whole


def test_script_call_of_another_shape_is_packed_word_by_word() -> None:
    packer = ScriptCalls()
    for keys, args in (((b"k",), (1, 2, 3, 4, 5, 6, 7)), ((b"k", b"l"), (1, 2, 3, 4, 5, 6)), ((), ())):
        assert packer.pack(CHECK, keys, args) == pack(("EVALSHA", CHECK.sha1, len(keys), *keys, *args))


def test_script_call_without_arguments_is_packed_word_by_word() -> None:
    assert ScriptCalls().pack(LOOK, (b"k",), ()) == pack(("EVALSHA", LOOK.sha1, 1, b"k"))


def test_script_calls_of_many_limits_keep_a_bounded_number_of_heads() -> None:
    packer = ScriptCalls()
    for number in range(2 * MOST_HEADS + 1):
        request = packer.pack(CHECK, (b"k",), (number, 1, 1, 1, 1, b"r"))
        assert request == pack(("EVALSHA", CHECK.sha1, 1, b"k", number, 1, 1, 1, 1, b"r"))
    assert len(packer._heads) <= MOST_HEADS
