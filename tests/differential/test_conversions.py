"""Values on their way between commands and scripts, at random: both servers make the same of them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.differential.client import RawClient
from tests.differential.harness import normalise
from tests.peers import Peer

EXAMPLES = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

texts = st.binary(max_size=12)
integers = st.one_of(
    st.integers(-40, 300), st.integers(-(1 << 53), 1 << 53), st.sampled_from([1 << 31, 1 << 32, -(1 << 31), 1 << 52])
)
# what 17 digits and the fewest digits print alike: the rest, and exponents, are left to the tables of cases
doubles = st.one_of(
    st.integers(-10000, 10000).map(lambda n: n / 8), st.sampled_from([0.5, 1.5, -2.75, 1e15, 123456.75])
)


@pytest.fixture(params=["redis", "valkey"])
def both(request: pytest.FixtureRequest, running: Callable[[str], Peer]) -> Iterator[tuple[RawClient, RawClient]]:
    """Clients of a real server and of ours."""
    reference, bundled = running(request.param), running("bundled")
    with RawClient(reference.host, reference.port) as one, RawClient(bundled.host, bundled.port) as other:
        for client in (one, other):
            client.call("FLUSHALL")
        yield one, other


def lua(value: Any) -> str:
    """The Lua expression for a value; a tuple is what is written as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nil"
    if isinstance(value, bytes):
        return '"' + "".join(f"\\{byte:03}" for byte in value) + '"'
    if isinstance(value, list):
        return "{" + ", ".join(lua(item) for item in value) + "}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{lua(key)}] = {lua(item)}" for key, item in value.items()) + "}"
    return f"({value!r})"


def same(both: tuple[RawClient, RawClient], script: str, *arguments: bytes, protocol: int = 2) -> None:
    """Fail unless both servers reply the same."""
    replies = []
    for client in both:
        client.call("HELLO", protocol)
        replies.append(normalise(client.call("EVAL", script, 0, *arguments), unordered=False))
    assert replies[1] == replies[0], script


scalars = st.one_of(st.none(), st.booleans(), texts, integers, doubles)
fields = st.sampled_from([b"ok", b"err", b"double", b"big_number", b"map", b"set", b"verbatim_string", b"x"])


def nested(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.lists(children, max_size=5), st.dictionaries(fields, children, min_size=1, max_size=1))


lines = st.text("abc xyz", max_size=8).map(str.encode)
typed = st.one_of(
    lines.map(lambda text: {b"ok": text}),
    lines.map(lambda text: {b"err": b"MINE " + text}),
    st.integers(-10000, 10000).map(lambda n: {b"double": n / 8}),
    st.integers(0, 10**30).map(lambda number: {b"big_number": b"%d" % number}),
    lines.map(lambda text: {b"verbatim_string": {b"format": b"txt", b"string": text}}),
    st.one_of(integers, texts).map(lambda item: {b"map": {item: 1}}),
    st.one_of(integers, texts).map(lambda item: {b"set": {item: True}}),
)
results = st.recursive(st.one_of(scalars, typed), nested, max_leaves=12)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("seen", [2, 3])
@EXAMPLES
@given(value=results)
@example(value=[1, None, 2])
@example(value={b"err": b"a"})
def test_returned_values_become_the_same_replies(
    both: tuple[RawClient, RawClient], protocol: int, seen: int, value: Any
) -> None:
    same(both, f"redis.setresp({seen}) return {lua(value)}", protocol=protocol)


PREPARE = (
    "redis.call('del', 'l', 'h', 's', 'z', 'k') redis.call('set', 'k', ARGV[1]) redis.call('rpush', 'l', unpack(ARGV)) "
)
LOOKS = [
    "redis.call('get', 'k')",
    "redis.call('get', 'none')",
    "redis.call('lrange', 'l', 0, -1)",
    "redis.call('hgetall', 'h')",
    "redis.call('smembers', 's')",
    "redis.call('zrange', 'z', 0, -1, 'WITHSCORES')",
    "redis.call('zscore', 'z', ARGV[1])",
    "redis.call('mget', 'k', 'none', 'l')",
    "redis.call('exists', 'k', 'k')",
    "redis.call('type', 'h')",
    "redis.pcall('get', 'l')",
    "redis.call('zmscore', 'z', ARGV[1], 'none')",
]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("seen", [2, 3])
@settings(EXAMPLES, max_examples=25)
@given(words=st.lists(texts, min_size=1, max_size=6))
def test_replies_of_commands_arrive_and_leave_the_same(
    both: tuple[RawClient, RawClient], look: str, seen: int, words: list[bytes]
) -> None:
    fill = (
        "redis.call('hset', 'h', ARGV[1], ARGV[#ARGV]) redis.call('sadd', 's', ARGV[1]) "
        f"for i, word in ipairs(ARGV) do redis.call('zadd', 'z', i / 4, word) end redis.setresp({seen}) "
    )
    same(both, f"{PREPARE}{fill} return {look}", *words, protocol=3)
    same(both, f"{PREPARE}{fill} local r = {look} return {{type(r), r}}", *words, protocol=2)


json_values = st.recursive(
    st.one_of(st.booleans(), texts, integers, doubles),
    lambda children: st.one_of(
        st.lists(children, max_size=5), st.dictionaries(texts, children, min_size=1, max_size=1)
    ),
    max_leaves=15,
)


@EXAMPLES
@given(value=json_values)
def test_json_is_written_and_read_the_same(both: tuple[RawClient, RawClient], value: Any) -> None:
    same(both, f"local text = cjson.encode({lua(value)}) return {{text, cjson.encode(cjson.decode(text))}}")


@EXAMPLES
@given(document=st.text('[]{}",:0123456789.eE+-ntrufalse\\ ', max_size=20), value=json_values)
@example(document="1e5", value=1)
@example(document="-0", value=1)
@example(document='"\\u00e9\\ud83d\\ude00"', value=1)
def test_json_of_any_form_is_read_the_same(both: tuple[RawClient, RawClient], document: str, value: Any) -> None:
    script = "local ok, found = pcall(cjson.decode, ARGV[1]) if not ok then return {err = 'E ' .. found} end "
    same(
        both,
        script + "return {type(found), type(found) == 'table' and cjson.encode(found) or tostring(found)}",
        document.encode(),
    )


@EXAMPLES
@given(values=st.lists(st.one_of(st.none(), json_values), min_size=1, max_size=4))
def test_message_pack_is_written_and_read_the_same(both: tuple[RawClient, RawClient], values: list[Any]) -> None:
    listed = ", ".join(lua(value) for value in values)
    same(both, f"local data = cmsgpack.pack({listed}) return {{data, cmsgpack.pack(cmsgpack.unpack(data))}}")


@EXAMPLES
@given(data=st.binary(min_size=1, max_size=10))
def test_any_bytes_are_read_as_message_pack_the_same(both: tuple[RawClient, RawClient], data: bytes) -> None:
    script = "local ok, found = pcall(cmsgpack.unpack, ARGV[1]) if ok then found = cmsgpack.pack(found) end "
    same(both, script + "return {ok, type(found), found}", data)


structs = st.lists(st.tuples(st.sampled_from("bBhHlLiIfds"), integers), min_size=1, max_size=6)


@EXAMPLES
@given(order=st.sampled_from(["", "<", ">", "!4", ">!8"]), items=structs)
def test_structures_are_packed_and_unpacked_the_same(
    both: tuple[RawClient, RawClient], order: str, items: list[tuple[str, int]]
) -> None:
    shape = order + "".join(option for option, _ in items)
    values = ", ".join(f"'{number}'" if option == "s" else str(number) for option, number in items)
    script = f"local data = struct.pack('{shape}', {values}) local t = {{struct.unpack('{shape}', data)}} "
    same(both, script + "for i = 1, #t do t[i] = tostring(t[i]) end return {data, t}")


@EXAMPLES
@given(first=integers, second=integers)
def test_bit_operations_give_the_same(both: tuple[RawClient, RawClient], first: int, second: int) -> None:
    calls = [
        f"bit.{name}({first}, {second})"
        for name in ("band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror")
    ]
    calls += [f"bit.{name}({first})" for name in ("tobit", "bnot", "bswap", "tohex")]
    same(both, f"return {{{', '.join(calls)}}}")
