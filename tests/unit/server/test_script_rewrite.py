"""What is changed in a compiled script: reading and writing chunks, and which script gets what."""

from typing import cast

import pytest
from lupa.lua51 import LuaRuntime

from coordkit_server.scripting.bytecode import read_chunk, read_format, write_chunk
from coordkit_server.scripting.rewrite import CALLS_BACK, SETS_GLOBALS, rewrite
from coordkit_server.scripting.sites import (
    CHECKED,
    CONSTANT_TEXT,
    DYNAMIC,
    RETURNED,
    UNUSED,
    USES_NONE,
    USES_READ,
    USES_UNKNOWN,
    USES_WALKED,
)


def dumped(source: str) -> bytes:
    lua = LuaRuntime(encoding=None)
    return cast("bytes", lua.execute(b"return string.dump(loadstring((...)))", source.encode()))


SCRIPTS = [
    "return 1",
    "local a, b, c = 1.5, 'text', nil return {a, b, c, true, ...}",
    "local x = 1 local function f(y) return function() x = x + y return x end end return f(2)()",
    "for i = 1, 10 do for k, v in pairs({}) do if v then break end end end",
    "local t = {" + ", ".join(f"'k{i}'" for i in range(400)) + "} return t",
    "return redis.call('get', KEYS[1])",
]


@pytest.mark.parametrize("source", SCRIPTS)
def test_write_chunk_gives_back_what_was_read(source: str) -> None:
    data = dumped(source)
    fmt = read_format(data)
    assert fmt is not None
    assert write_chunk(read_chunk(data, fmt), fmt) == data


@pytest.mark.parametrize("data", [b"", b"return 1", b"\x1bLua\x52\x00\x01\x04\x08\x04\x08\x00", b"\x1bLua\x51\x00\x00"])
def test_rewrite_of_an_unknown_format_changes_nothing_and_assumes_the_worst(data: bytes) -> None:
    found = rewrite(data, is_script=True)
    assert (found.code, found.flags, found.uses) == (data, CALLS_BACK | SETS_GLOBALS, USES_UNKNOWN)


@pytest.mark.parametrize(
    "source",
    [
        "return 1",
        "return redis.pcall('get', KEYS[1])",
        "local r = redis.pcall('get', KEYS[1]) if r.err then return r end return 1",
        "for k, v in pairs({}) do end for i, v in ipairs({}) do end for w in ('a b'):gmatch('%a') do end",
        "for w in string.gmatch('a b', '%a') do end",
        "local t = {} t.x = 1 t[1] = 2 table.insert(t, 3) return t",
        "local function f() return f() end return f",
    ],
)
def test_rewrite_plain_script_needs_nothing(source: str) -> None:
    assert rewrite(dumped(source), is_script=True).flags == 0


@pytest.mark.parametrize(
    "source",
    [
        "return pcall(f)",
        "local p = pcall",
        "local r = redis local x = 1 local p = r.pcall",
        "return t.pcall",
        "t.pcall = 1",
        "return xpcall(f, g)",
        "table.sort(t)",
        "return (s:gsub('a', f))",
        "return string.gsub(s, 'a', f)",
        "return setmetatable({}, {})",
        "return coroutine.wrap(f)",
        "return loadstring('x')",
        "return _G",
        "for x in f do end",
        "for k, v in next, t do end",
        "for k, v in t.pairs2(t) do end",
        "local f = function() return pcall(g) end",
    ],
)
def test_rewrite_script_whose_functions_may_be_run_by_the_interpreter_calls_back(source: str) -> None:
    assert rewrite(dumped(source), is_script=True).flags & CALLS_BACK


@pytest.mark.parametrize("source", ["x = 1", "function f() end", "local f = function() x = 1 end"])
def test_rewrite_script_that_assigns_to_a_global_is_told(source: str) -> None:
    assert rewrite(dumped(source), is_script=True).flags == SETS_GLOBALS


@pytest.mark.parametrize(
    "source,names",
    [
        ("return redis.call('get', 'k')", [b"redis.call returned"]),
        ("return redis.pcall('get', 'k')", [b"redis.pcall checked"]),
        ("local x = redis.call('get', 'k') return x", [b"redis.call checked"]),
        ("redis.call('set', 'k', 'v')", [b"redis.call unused"]),
        ("redis.pcall('set', 'k', 'v')", [b"redis.pcall unused"]),
        ("return {redis.call('get', 'k')}", [b"redis.call checked"]),
        ("return redis.call('get', 'k'), 1", [b"redis.call checked"]),
        ("return redis.call('set', 'k', (redis.call('get', 'l')))", [b"redis.call returned", b"redis.call checked"]),
        ("return redis.call('set', 'k', redis.call('get', 'l'))", [b"redis.call checked"]),
        ("return redis.call('set', 'k', x and 1 or 2)", [b"redis.call returned"]),
        ("return redis.call('del', unpack(KEYS))", []),
        ("return redis.call(KEYS[1], 'k')", []),
        ("return redis.call()", []),
        ("local call = redis.call return call('get', 'k')", []),
        ("local r = redis return r.call('get', 'k')", []),
        ("redis.log(1, 'x')", []),
        ("return redis.call(" + ", ".join(["'a'"] * 24) + ")", [b"redis.call returned"]),
        ("return redis.call(" + ", ".join(["'a'"] * 25) + ")", []),
    ],
)
def test_rewrite_calls_of_known_form_get_their_function(source: str, names: list[bytes]) -> None:
    data = rewrite(dumped(source), is_script=True).code
    fmt = read_format(data)
    assert fmt is not None
    assert [name for name in read_chunk(data, fmt).names if name.startswith(b"redis.")] == names


@pytest.mark.parametrize(
    "source,uses",
    [
        ("return 1", USES_NONE),
        ("return redis.call('get', KEYS[1])", USES_NONE),
        ("return redis.call('get', KEYS[1] or ARGV[2])", USES_READ),
        ("return redis.call('get', KEYS[1] .. ARGV[2])", USES_READ),
        ("return redis.call('get', KEYS[0])", USES_READ),
        ("return redis.call('get', KEYS[1.5])", USES_READ),
        ("return redis.call('get', KEYS.x)", USES_READ),
        ("return #ARGV", USES_READ),
        ("return ARGV[#ARGV]", USES_READ),
        ("return redis.call('del', unpack(KEYS))", USES_READ),
        ("return ARGV[tonumber(ARGV[1]) + 1]", USES_READ),
        ("local t = {} t[ARGV] = 1", USES_UNKNOWN),
        ("local t = {} return t[ARGV]", USES_UNKNOWN),
        ("return {unpack(ARGV, 2)}", USES_READ),
        ("for _, key in ipairs(KEYS) do redis.call('del', KEYS[1]) end", USES_WALKED),
        ("for _, key in pairs(KEYS) do end return #ARGV", USES_WALKED),
        ("local _, keys = ipairs(KEYS) keys[1] = 'x'", USES_UNKNOWN),
        ("local t = {unpack, KEYS} t[2][1] = 'x'", USES_UNKNOWN),
        ("KEYS[1] = 'x' return redis.call('get', KEYS[1])", USES_UNKNOWN),
        ("local keys = KEYS return redis.call('get', KEYS[1])", USES_UNKNOWN),
        ("table.insert(ARGV, 'x') return redis.call('get', ARGV[1])", USES_UNKNOWN),
        ("local function f() return KEYS end f()[1] = 'x' return redis.call('get', KEYS[1])", USES_UNKNOWN),
    ],
)
def test_rewrite_knows_how_keys_and_arguments_are_used(source: str, uses: int) -> None:
    assert rewrite(dumped(source), is_script=True).uses == uses


@pytest.mark.parametrize(
    "source,name,use,sources",
    [
        (
            "return redis.call('set', KEYS[2], ARGV[3], 'NX', 5, 1.5)",
            b"set",
            RETURNED,
            ["K1", "A2", b"NX", b"5", b"1.5"],
        ),
        ("redis.call('get', KEYS[1])", b"get", UNUSED, ["K0"]),
        ("return redis.pcall('get', KEYS[1])", b"get", CHECKED, ["K0"]),
        ("redis.call('set', KEYS[1], x, ARGV[1])", b"set", UNUSED, ["K0", None, "A0"]),
        ("redis.call('set', KEYS[1] .. ':x', 'v')", b"set", UNUSED, [None, None]),
        ("redis.call('set', KEYS[1] or 'x', 'v')", b"set", UNUSED, [None, b"v"]),
        ("local x redis.call('set', x and KEYS[1], 'v')", b"set", UNUSED, [None, b"v"]),
        ("redis.call('set', KEYS[1], ARGV[1] == '1' and 'a' or 'b')", b"set", UNUSED, ["K0", None]),
        ("redis.call('set', KEYS[i], #ARGV, -ARGV[1])", b"set", UNUSED, [None, None, None]),
        ("redis.call('set', tostring(KEYS[1]), ARGV[1])", b"set", UNUSED, [None, None]),
        ("redis.call('set', nil, true, '')", b"set", UNUSED, [None, None, b""]),
        ("KEYS[1] = 'x' redis.call('get', KEYS[1], 'y')", b"get", UNUSED, [None, b"y"]),
        ("redis.call('ping')", b"ping", UNUSED, []),
    ],
)
def test_rewrite_keeps_what_is_known_of_a_call(
    source: str, name: bytes, use: int, sources: list[str | bytes | None]
) -> None:
    (site,) = rewrite(dumped(source), is_script=True).sites
    found: list[str | bytes | None] = []
    for origin, text in zip(site.sources, site.texts, strict=True):
        if origin == CONSTANT_TEXT:
            found.append(text)
        elif origin == DYNAMIC:
            found.append(None)
        else:
            found.append(f"K{origin}" if origin >= 0 else f"A{-3 - origin}")
    assert (site.name, site.use, found) == (name, use, sources)


@pytest.mark.parametrize(
    "source", ["return redis.call('GE' .. 'T', KEYS[1])", "return redis.call(('get'):upper(), 'k')"]
)
def test_rewrite_computed_name_is_left_alone(source: str) -> None:
    assert rewrite(dumped(source), is_script=True).sites == []


def test_rewrite_numbers_sites_on() -> None:
    data = rewrite(dumped("redis.call('a') redis.call('b')"), 7, is_script=True).code
    fmt = read_format(data)
    assert fmt is not None
    assert sorted(read_chunk(data, fmt).numbers.values()) == [7, 8]


def test_rewrite_only_the_main_chunk_ends_with_a_command() -> None:
    data = rewrite(dumped("local function f() return redis.call('get', 'k') end return f()"), is_script=True).code
    fmt = read_format(data)
    assert fmt is not None
    assert b"redis.call checked" in read_chunk(data, fmt).functions[0].names
