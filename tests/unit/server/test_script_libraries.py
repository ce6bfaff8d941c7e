"""The libraries of scripts: what goes in comes out again, and large or deep values do."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit_server.scripting.engine import Engine, Failure
from coordkit_server.testing import RecordedScriptServer

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False, width=32),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


@pytest.fixture(name="engine", scope="module")
def engine_fixture() -> Engine:
    return Engine(RecordedScriptServer())


def run(engine: Engine, script: str, *arguments: bytes) -> Any:
    entry = engine.compile(script.encode())
    assert isinstance(entry, int), entry
    reply = engine.run(entry, 0, list(arguments))
    assert not isinstance(reply, Failure), (reply.text, reply.line)
    return reply


def without_empty(value: Any) -> Any:
    """`value` as Lua keeps it: an empty table is an object, numbers are doubles printed with 14 digits."""
    if isinstance(value, list):
        return [without_empty(item) for item in value] or {}
    if isinstance(value, dict):
        return {key: without_empty(item) for key, item in value.items()}
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(f"{value:.14g}")
    return value


@given(value=JSON)
def test_cjson_document_decoded_and_encoded_is_the_same(engine: Engine, value: Any) -> None:
    script = "return cjson.encode(cjson.decode(ARGV[1]))"
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False), json.dumps(value, indent=1)):
        assert json.loads(run(engine, script, text.encode())) == without_empty(value)


@given(value=JSON)
def test_cjson_both_readers_agree(engine: Engine, value: Any) -> None:
    script = """
    local quick = cjson.encode(cjson.decode(ARGV[1]))
    cjson.decode_max_depth(999)
    local slow = cjson.encode(cjson.decode(ARGV[1]))
    cjson.decode_max_depth(1000)
    return {quick, slow}
    """
    quick, slow = run(engine, script, json.dumps(value).encode())
    assert json.loads(quick) == json.loads(slow)


@given(
    document=st.binary(max_size=30)
    | st.text(alphabet='{}[],:"\\u0123456789abcdefntrl .-+eE', max_size=30).map(str.encode)
)
def test_cjson_any_document_is_read_or_refused_alike_by_both_readers(engine: Engine, document: bytes) -> None:
    script = """
    local ok, quick = pcall(cjson.decode, ARGV[1])
    cjson.decode_max_depth(999)
    local ok_too, slow = pcall(cjson.decode, ARGV[1])
    cjson.decode_max_depth(1000)
    if not ok then return {tostring(ok_too), tostring(quick == slow)} end
    cjson.encode_invalid_numbers(true)
    local same = ok_too and cjson.encode(quick) == cjson.encode(slow)
    cjson.encode_invalid_numbers(false)
    return {tostring(not same), 'true'}
    """
    assert run(engine, script, document) == [b"false", b"true"]


@pytest.mark.parametrize("text", ["-0", "[-0]", "[1,-0]", '{"a":-0}', '["2024-01-05"]', "-0.0", "-0e1", "[-0 ]"])
def test_cjson_minus_zero_keeps_its_sign(engine: Engine, text: str) -> None:
    reply = run(engine, "return cjson.encode(cjson.decode(ARGV[1]))", text.encode())
    assert reply == text.replace("-0.0", "-0").replace("-0e1", "-0").replace(" ", "").encode()


def test_cjson_bytes_that_are_no_text_are_kept(engine: Engine) -> None:
    document = b'["\xff\xfe\x80"]'
    assert run(engine, "return cjson.decode(ARGV[1])[1]", document) == b"\xff\xfe\x80"
    assert run(engine, "return cjson.encode({cjson.decode(ARGV[1])[1]})", document) == document


def test_cjson_large_document_arrives_whole(engine: Engine) -> None:
    values = [{"n": i, "s": f"v{i}"} for i in range(6000)]
    script = "local t = cjson.decode(ARGV[1]) return {#t, t[1].s, t[6000].s, t[2001].n, cjson.encode(t[3])}"
    reply = run(engine, script, json.dumps(values).encode())
    assert reply[:4] == [6000, b"v0", b"v5999", 2000]
    assert json.loads(reply[4]) == {"n": 2, "s": "v2"}


def packed(value: Any) -> bytes:
    """`value` in MessagePack, written the long way."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return b"\xdb" + struct.pack(">I", len(value)) + value
    if isinstance(value, list):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(packed(item) for item in value)
    return b"\xdf" + struct.pack(">I", len(value)) + b"".join(packed(x) for pair in value.items() for x in pair)


MESSAGES = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.binary(max_size=40) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.binary(max_size=5), inner, max_size=20),
    max_leaves=30,
)
SAME = """
local function same(a, b)
  if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end
local value = cmsgpack.unpack(ARGV[1])
local again = cmsgpack.unpack(cmsgpack.pack(value))
return {tostring(same(value, again)), #cmsgpack.pack(value) <= #ARGV[1] and 1 or 0}
"""


@given(value=MESSAGES)
def test_cmsgpack_value_packed_and_unpacked_is_the_same_and_not_longer(engine: Engine, value: Any) -> None:
    assert run(engine, SAME, packed(value)) == [b"true", 1]


@given(data=st.binary(max_size=40))
def test_cmsgpack_any_data_is_read_or_refused(engine: Engine, data: bytes) -> None:
    texts = (b"Missing bytes in input.", b"Bad data format in input.", b"table index is nil", b"table index is NaN")
    reply = run(engine, "local ok, e = pcall(cmsgpack.unpack, ARGV[1]) return ok and 'read' or e", data)
    assert reply == b"read" or reply.endswith(texts)


@given(
    numbers=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=5),
    count=st.integers(0, 40),
)
def test_bit_operations_work_on_32_bits(engine: Engine, numbers: list[int], count: int) -> None:
    def signed(word: int) -> int:
        return ((word & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000

    band = bor = bxor = numbers[0]
    for number in numbers[1:]:
        band, bor, bxor = band & number, bor | number, bxor ^ number
    word, shift = numbers[0] & 0xFFFFFFFF, count & 31
    script = """
    local n, rest = tonumber(ARGV[1]), {}
    local count = tonumber(table.remove(ARGV))
    return {bit.band(unpack(ARGV)), bit.bor(unpack(ARGV)), bit.bxor(unpack(ARGV)), bit.bnot(n), bit.lshift(n, count),
      bit.rshift(n, count), bit.arshift(n, count), bit.rol(n, count), bit.ror(n, count), bit.bswap(bit.bswap(n)),
      bit.tohex(n)}
    """
    assert run(engine, script, *[b"%d" % number for number in numbers], b"%d" % count) == [
        band,
        bor,
        bxor,
        ~numbers[0],
        signed(word << shift),
        signed(word >> shift),
        numbers[0] >> shift,
        signed(word << shift | word >> (32 - shift)),
        signed(word >> shift | word << (32 - shift)),
        numbers[0],
        b"%08x" % word,
    ]


@given(
    order=st.sampled_from("<>"),
    values=st.tuples(
        st.integers(-128, 127), st.integers(0, 65535), st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**53)
    ),
    text=st.binary(max_size=9),
    number=st.floats(allow_nan=False),
)
def test_struct_layout_is_that_of_c(
    engine: Engine, order: str, values: tuple[int, ...], text: bytes, number: float
) -> None:
    expected = struct.pack(f"{order}bHiQd", *values, number) + struct.pack("B", len(text)) + text
    script = f"""
    local packed = struct.pack('{order}bHiLdBc0', ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], #ARGV[6], ARGV[6])
    local a, b, c, d, e, f, position = struct.unpack('{order}bHiLdBc0', packed)
    return {{packed, a, b, c, d, tostring(e == tonumber(ARGV[5])), f, position}}
    """
    arguments = [b"%d" % value for value in values] + [repr(number).encode(), text]
    assert run(engine, script, *arguments) == [expected, *values, b"true", text, len(expected) + 1]


# where functions that build values go over to another: after batches of elements, where registers or constants run out
SIZES = [0, 1, 2, 7, 8, 9, 49, 50, 51, 100, 255, 256, 257, 1000]


@pytest.mark.parametrize("size", [*SIZES, 26_000, 210_000])
def test_cjson_array_of_any_size_arrives_whole_and_in_order(engine: Engine, size: int) -> None:
    script = """
    local t = cjson.decode(ARGV[1])
    for i = 1, #t do if t[i] ~= i then return {i, t[i]} end end
    return #t
    """
    assert run(engine, script, json.dumps(list(range(1, size + 1))).encode()) == size


@pytest.mark.parametrize("size", [*SIZES, 110_000])
def test_cjson_object_of_any_size_arrives_whole(engine: Engine, size: int) -> None:
    script = """
    local t, count = cjson.decode(ARGV[1]), 0
    for key, value in pairs(t) do
      count = count + 1
      if type(value) == 'table' then value = value[1] end
      if key ~= 'k' .. value then return {key, value} end
    end
    return count
    """
    document = {f"k{i}": [str(i)] if i % 3 == 0 else str(i) for i in range(size)}
    assert run(engine, script, json.dumps(document).encode()) == size


@pytest.mark.parametrize("depth", [1, 60, 100, 200, 300, 999, 1000])
@pytest.mark.parametrize("inner", ["[", '{"k":', '[1,{"k":', "[" + "7," * 49])
def test_cjson_nested_value_is_written_as_it_was_read(engine: Engine, depth: int, inner: str) -> None:
    levels = depth // inner.count(":") // 2 if inner.startswith("[1") else depth
    closing = {"[1": "}]", '{"': "}"}.get(inner[:2], "]")
    document = (inner * levels + "true" + closing * levels).encode()
    assert run(engine, "return cjson.encode(cjson.decode(ARGV[1]))", document) == document


def test_cjson_many_tables_at_a_depth_without_registers_arrive(engine: Engine) -> None:
    document = b"[" * 200 + b"%b" % b",".join([b'[1,{"a":[2]}]'] * 2000) + b"]" * 200
    assert run(engine, "return cjson.encode(cjson.decode(ARGV[1]))", document) == document


@pytest.mark.parametrize("count", [1, 15, 16, 50, 51, 1000])
@pytest.mark.parametrize("depth", [1, 7])
def test_cmsgpack_collections_of_any_size_arrive(engine: Engine, count: int, depth: int) -> None:
    value: Any = [{b"n": i, b"s": b"x" * (i % 300)} for i in range(count)]
    for _ in range(depth - 1):
        value = {b"in": [value]}
    assert run(engine, SAME, packed(value)) == [b"true", 1]


@given(items=st.lists(st.none() | st.just(True), max_size=140))
def test_cmsgpack_array_with_nil_has_the_length_of_one_that_was_set_one_by_one(
    engine: Engine, items: list[bool | None]
) -> None:
    script = """
    local read, set = cmsgpack.unpack(ARGV[1]), {}
    for i = 1, #ARGV[2] do
      if ARGV[2]:byte(i) == 49 then set[i] = true else set[i] = nil end
    end
    return {#read, #set}
    """
    plain = "".join("1" if item else "0" for item in items).encode()
    length, expected = run(engine, script, packed(items), plain)
    assert length == expected


@pytest.mark.parametrize("key", [b"\xc0", b"\xca\x7f\xc0\x00\x00", b"\xcb\x7f\xf8" + bytes(6)])
def test_cmsgpack_key_that_no_table_can_have_is_refused(engine: Engine, key: bytes) -> None:
    reply = run(engine, "local ok, e = pcall(cmsgpack.unpack, ARGV[1]) return e", b"\x82\xa1a\x01" + key + b"\x02")
    assert reply.endswith(b"table index is nil" if key == b"\xc0" else b"table index is NaN")


@pytest.mark.parametrize("count", [7900, 7901, 300_000])
def test_cmsgpack_values_beside_each_other_are_read_while_the_stack_has_room(engine: Engine, count: int) -> None:
    script = "local found = {pcall(cmsgpack.unpack, ARGV[1])} return {#found, tostring(found[2])}"
    found, first = run(engine, script, b"\x05" * count)
    assert (found, first) == (count + 1, b"5") if count == 7900 else b"too many return values at once" in first


def test_cmsgpack_any_number_of_values_is_read_in_parts(engine: Engine) -> None:
    script = """
    local offset, sum, parts = 0, 0, 0
    while offset >= 0 do
      local values = {cmsgpack.unpack_limit(ARGV[1], 5000, offset)}
      offset = values[1]
      parts = parts + 1
      for i = 2, #values do sum = sum + values[i] end
    end
    return {parts, sum}
    """
    assert run(engine, script, b"\x02" * 12_001) == [3, 24_002]


@pytest.mark.parametrize(
    "value, text",
    [
        ("{'plain', 'a/b'}", rb'["plain","a\/b"]'),
        ("{a = 'say \"so\"'}", rb'{"a":"say \"so\""}'),
        ("{['say \"so\"'] = 1}", rb'{"say \"so\"":1}'),
        ("{'tab\\t', '\\127', '\\0'}", rb'["tab\t","\u007f","\u0000"]'),
        ("{'c:\\\\', {x = 'y'}}", rb'["c:\\",{"x":"y"}]'),
        ("{'a', 1, 'b', {'c'}, true, 'd'}", b'["a",1,"b",["c"],true,"d"]'),
        ("{{}, {{}}, 'x'}", b'[{},[{}],"x"]'),
        ("{'a\\1b'}", rb'["a\u0001b"]'),
        ("{'\\1', {x = '\\1\"'}, 'y/'}", rb'["\u0001",{"x":"\u0001\""},"y\/"]'),
        ("{{['\\1'] = 1}, {[1.5] = '\\1'}, {a = 1}}", rb'[{"\u0001":1},{"1.5":"\u0001"},{"a":1}]'),
    ],
)
def test_cjson_quotes_what_has_to_be_quoted(engine: Engine, value: str, text: bytes) -> None:
    assert run(engine, "return cjson.encode({a = 'b', 'c'})")  # names are kept from one document to the next
    assert run(engine, f"return cjson.encode({value})") == text


@given(
    texts=st.lists(st.binary(max_size=6) | st.text('\x00\x01"\\\\/\\n\x7fa', max_size=6).map(str.encode), max_size=6),
    names=st.lists(st.sampled_from([b"", b"a", b"\x01", b'"', b"/", b"\\", b"\n", b"\x7f"]), max_size=6),
)
def test_cjson_strings_of_any_bytes_are_escaped_one_by_one_and_together_alike(
    engine: Engine, texts: list[bytes], names: list[bytes]
) -> None:
    script = """
    local count = tonumber(ARGV[1])
    local texts, alone = {unpack(ARGV, 2, count + 1)}, {}
    for i, text in ipairs(texts) do alone[i] = cjson.encode(text) end
    local named, parts = {}, {}
    for i = count + 2, #ARGV do named[ARGV[i]] = ARGV[i] end
    for name, text in pairs(named) do parts[#parts + 1] = cjson.encode(name) .. ':' .. cjson.encode(text) end
    local list = count == 0 and '{}' or '[' .. table.concat(alone, ',') .. ']'
    return {cjson.encode({texts, 1, {named}}), '[' .. list .. ',1,[{' .. table.concat(parts, ',') .. '}]]'}
    """
    together, alone = run(engine, script, b"%d" % len(texts), *texts, *names)
    assert together == alone


def test_cjson_names_of_many_documents_stay_right(engine: Engine) -> None:
    script = """
    for i = 1, 9000 do
      local name = ('n%d'):format(i)
      local text = cjson.encode({[name] = name})
      if text ~= '{"' .. name .. '":"' .. name .. '"}' then return text end
    end
    return cjson.encode({n1 = 1, [2] = {n1 = 'x'}})
    """
    assert json.loads(run(engine, script)) == {"n1": 1, "2": {"n1": "x"}}


@pytest.mark.parametrize("table", ["t.t = t", "t[1] = t"])
@pytest.mark.parametrize("depth", [1000, 100_000, 2_000_000_000])
def test_cjson_table_that_contains_itself_is_refused(engine: Engine, table: str, depth: int) -> None:
    script = f"""
    local t = {{}}
    {table}
    cjson.encode_max_depth({depth})
    local ok, message = pcall(cjson.encode, t)
    cjson.encode_max_depth(1000)
    return message
    """
    assert b"Cannot serialise, excessive nesting" in run(engine, script)


def test_cjson_document_deeper_than_the_stack_is_refused(engine: Engine) -> None:
    script = """
    cjson.decode_max_depth(100000)
    local ok, message = pcall(cjson.decode, ARGV[1])
    cjson.decode_max_depth(1000)
    return message
    """
    reply = run(engine, script, b"[" * 30_000 + b"]" * 30_000)
    assert b"Found too many nested data structures (7999) at character 7999" in reply
