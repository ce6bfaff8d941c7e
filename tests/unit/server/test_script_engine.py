"""The Lua engine alone: values over the border, what scripts call, what they cannot reach."""

from typing import Any

import pytest

from coordkit_server.resp.reply import (
    BigNumber,
    ErrorReply,
    MapReply,
    PairsReply,
    SetReply,
    Simple,
    VerbatimReply,
)
from coordkit_server.scripting.engine import Engine, Failure
from coordkit_server.testing import RecordedScriptServer


def plain(reply: object) -> Any:
    """A reply as plain values that compare."""
    if isinstance(reply, list):
        return [plain(item) for item in reply]
    if isinstance(reply, (MapReply, SetReply)):
        return type(reply).__name__, [plain(item) for item in reply.items]
    if isinstance(reply, (Simple, ErrorReply)):
        return type(reply).__name__, reply.text
    if isinstance(reply, VerbatimReply):
        return reply.fmt, reply.text
    return reply.digits if isinstance(reply, BigNumber) else reply


class Runner:
    """An engine and the server below it."""

    def __init__(self) -> None:
        self.server = RecordedScriptServer()
        self.engine = Engine(self.server)

    def __call__(self, source: str, *arguments: bytes, keys: int = 0) -> Any:
        entry = self.engine.compile(source.encode("latin-1"))
        assert isinstance(entry, int), entry
        return plain(self.engine.run(entry, keys, list(arguments)))

    def error(self, source: str) -> tuple[bytes, bytes, int]:
        """What a script that fails says, and where."""
        failure = self(source)
        assert isinstance(failure, Failure)
        return failure.text, failure.source, failure.line


@pytest.fixture(name="lua")
def lua_fixture() -> Runner:
    return Runner()


@pytest.mark.parametrize(
    "reply,script,expected",
    [
        (b"x", "return redis.call('c')", b"x"),
        (b"", "return redis.call('c')", b""),
        (5, "return redis.call('c') + 1", 6),
        (None, "return redis.call('c') == false", 1),
        (True, "return redis.call('c')", 1),
        (Simple(b"OK"), "return redis.call('c').ok", b"OK"),
        (ErrorReply(b"BAD thing"), "return redis.pcall('c').err", b"BAD thing"),
        (ErrorReply(b"BAD"), "return redis.pcall('c').err", b"ERR BAD"),
        ([], "return #redis.call('c')", 0),
        ([b"a", 1, None], "local r = redis.call('c') return {r[1], r[2], tostring(r[3])}", [b"a", 1, b"false"]),
        ([[b"a"], [], b"b"], "local r = redis.call('c') return {r[1][1], #r[2], r[3]}", [b"a", 0, b"b"]),
        (0.1, "return redis.call('c')", b"0.1"),
        (MapReply([b"a", 1]), "return redis.call('c')", [b"a", 1]),
        (SetReply([b"a"]), "return redis.call('c')", [b"a"]),
        (PairsReply([b"a", 1.5]), "return redis.call('c')", [b"a", b"1.5"]),
        (
            list(range(9001)),
            "local r = redis.call('c') return {#r, r[4000], r[4001], r[9001]}",
            [9001, 3999, 4000, 9000],
        ),
        ([[i] for i in range(5000)], "local r = redis.call('c') return {#r, r[4500][1]}", [5000, 4499]),
    ],
)
def test_call_reply_becomes_a_lua_value(lua: Runner, reply: object, script: str, expected: object) -> None:
    lua.server.reply = reply
    assert lua(script) == expected


@pytest.mark.parametrize(
    "reply,script,expected",
    [
        (None, "return redis.call('c') == nil", True),
        (True, "return redis.call('c') == true", True),
        ([True, [False]], "local r = redis.call('c') return {tostring(r[1]), tostring(r[2][1])}", [b"true", b"false"]),
        (0.5, "return redis.call('c').double * 2", 1),
        (MapReply([b"a", 1]), "return redis.call('c').map.a", 1),
        ([True, [False], 0.5], "local r = redis.call('c') return r[1] == true and r[2][1] == false", True),
        (SetReply([b"a"]), "return redis.call('c').set.a", True),
        (PairsReply([b"a", 1.5]), "return redis.call('c')[1][2].double * 2", 3),
        (BigNumber(b"12"), "return redis.call('c').big_number", b"12"),
        (
            VerbatimReply(b"txt", b"hi"),
            "local v = redis.call('c').verbatim_string return v.format .. v.string",
            b"txthi",
        ),
    ],
)
def test_call_after_setresp_3_reply_keeps_its_type(lua: Runner, reply: object, script: str, expected: object) -> None:
    lua.server.reply = reply
    assert lua("redis.setresp(3) " + script) == expected


def test_run_result_of_any_shape_becomes_a_reply(lua: Runner) -> None:
    assert lua("return {1, {2, {ok = 'fine'}, {err = 'BAD x'}}, {map = {a = 1}}, {set = {b = true}}, 'x'}") == [
        1,
        [2, ("Simple", b"fine"), ("ErrorReply", b"BAD x")],
        ("MapReply", [b"a", 1]),
        ("SetReply", [b"b"]),
        b"x",
    ]
    assert lua("return {big_number = '12'}") == b"12"
    assert lua("return {verbatim_string = {format = 'txt', string = 'hi'}}") == (b"txt", b"hi")


def test_run_result_larger_than_one_lot_arrives_whole(lua: Runner) -> None:
    assert lua("local t = {} for i = 1, 9001 do t[i] = i end return t") == list(range(1, 9002))
    assert lua("local t = {} for i = 1, 9001 do t[i] = {i} end return t") == [[i] for i in range(1, 9002)]


def test_run_result_that_contains_itself_ends_with_an_error(lua: Runner) -> None:
    reply = lua("local t = {} t[1] = t return t")
    depth = 0
    while isinstance(reply, list):
        reply = reply[0]
        depth += 1
    assert reply == ("ErrorReply", b"ERR reached lua stack limit")
    assert depth == 200


@pytest.mark.parametrize("count", [0, 1, 2, 5, 9001])
def test_run_keys_and_arguments_are_tables(lua: Runner, count: int) -> None:
    values = [b"%d" % i for i in range(count + 3)]
    assert lua("return {#KEYS, #ARGV, KEYS[#KEYS] or '', ARGV[1]}", *values, keys=count) == [
        count,
        3,
        values[count - 1] if count else b"",
        values[count],
    ]


def test_call_numbers_become_arguments_as_redis_writes_them(lua: Runner) -> None:
    lua("redis.call('c', 1, -0.0, 2^53, 2^62, 1e20, 0.1, 1e-7, 123456.789e-10, 'x\\0y')")
    assert lua.server.called == [
        [
            b"c",
            b"1",
            b"0",
            b"9007199254740992",
            b"4611686018427387904",
            b"1e+20",
            b"0.1",
            b"1e-7",
            b"1.23456789e-5",
            b"x\x00y",
        ]
    ]


@pytest.mark.parametrize("count", [99, 100, 101, 250, 7000])
def test_call_many_arguments_arrive_in_order(lua: Runner, count: int) -> None:
    lua(f"local t = {{}} for i = 1, {count} do t[i] = i end redis.call('c', unpack(t)) redis.pcall('d', unpack(t))")
    numbers = [b"%d" % i for i in range(1, count + 1)]
    assert lua.server.called == [[b"c", *numbers], [b"d", *numbers]]


@pytest.mark.parametrize(
    "script,line",
    [
        ("return redis.call('c')", 1),
        ("local x = 1\nreturn redis.call('c')", 2),
        ("local function f()\n  return redis.call('c')\nend\nreturn f()", 2),
        ("local call = redis.call\nlocal function f()\n  return call('c')\nend\nreturn f()", 3),
        ("local f = function()\n  local rcall = redis.call\n  return rcall('c')\nend\nreturn f()", 3),
        ("local f = function()\n  redis.call('c')\nend\nf()", 2),
    ],
)
def test_call_error_names_the_line_of_the_call(lua: Runner, script: str, line: int) -> None:
    lua.server.reply = ErrorReply(b"BAD thing")
    assert lua.error(script) == (b"BAD thing", b"@user_script", line)


def test_run_tail_calls_of_a_script_do_not_grow_the_stack(lua: Runner) -> None:
    assert lua("local function f(n) if n == 0 then return 'done' end return f(n - 1) end return f(100000)") == b"done"


@pytest.mark.parametrize(
    "reply,expected",
    [
        (b"x", b"x"),
        (5, 5),
        (True, 1),
        (None, None),
        (0.1, b"0.1"),
        (Simple(b"OK"), ("Simple", b"OK")),
        ([b"a", 1, None, [0.5, True]], [b"a", 1, None, [b"0.5", 1]]),
        (MapReply([b"a", 0.5]), [b"a", b"0.5"]),
        (SetReply([b"a"]), [b"a"]),
        (PairsReply([b"a", 1.5]), [b"a", b"1.5"]),
        (VerbatimReply(b"txt", b"hi"), b"hi"),
        (BigNumber(b"12"), b"12"),
    ],
)
@pytest.mark.parametrize(
    "script",
    ["return redis.call('c')", "local r = redis.call('c') return r", "local c = redis.call return c('c')"],
)
def test_call_reply_that_is_the_result_is_as_in_resp2(
    lua: Runner, reply: object, expected: object, script: str
) -> None:
    lua.server.reply = reply
    for _ in range(3):
        assert lua(script) == expected


def test_call_as_the_result_leaves_the_engine_ready(lua: Runner) -> None:
    lua.server.reply = b"5"
    for _ in range(300):
        assert lua("return redis.call('c', KEYS[1], ARGV[1])", b"k", b"v", keys=1) == b"5"
        assert lua("redis.setresp(3) return redis.call('c')") == b"5"
    assert lua("return KEYS[1] == nil") == 1
    lua.server.reply = ErrorReply(b"BAD thing")
    assert lua.error("return redis.call('c')") == (b"BAD thing", b"@user_script", 1)
    assert lua.error("redis.call('c')") == (b"BAD thing", b"@user_script", 1)
    assert lua("redis.pcall('c') return 1") == 1


@pytest.mark.parametrize(
    "script",
    ["return redis.call('c', {})", "redis.call('c', {})", "local x = redis.call('c', nil) return x", "redis.call({})"],
)
def test_call_argument_that_is_no_text_is_an_error(lua: Runner, script: str) -> None:
    assert lua.error(script)[0] == b"ERR Lua redis lib command arguments must be strings or integers"
    assert lua.server.called == []


@pytest.mark.parametrize(
    "script",
    [
        "local ok, r = pcall(redis.call, 'c') return r",
        "local ok, r = xpcall(function() return redis.call('c') end, error) return r",
        "return (string.gsub('x', 'x', function() return redis.call('c') end))",
        "return (('x'):gsub('x', function() return redis.call('c') end))",
        "local r table.sort({1, 2, 3}, function(a, b) r = redis.call('c') return a < b end) return r",
        "return setmetatable({}, {__index = function() return redis.call('c') end}).x",
        "for x in function() return redis.call('c') end do return x end",
        "for x in redis.call, 'c', 'x' do return x end",
        "local f = function() return redis.call('c') end\nfor x in f do return x end",
        "return coroutine.wrap(function() return redis.call('c') end)()",
        "return loadstring(\"return redis.call('c')\")()",
        "return table.foreach({1}, function() return redis.call('c') end)",
        "local pairs = function() return redis.call, 'c', 'x' end\nfor x in pairs() do return x end",
        "return _G.pcall(redis.call, 'c') and redis.call('c')",
    ],
)
def test_call_from_a_function_that_the_interpreter_runs_works(lua: Runner, script: str) -> None:
    lua.server.reply = b"5"
    assert lua(script) == b"5"


def test_call_through_a_name_put_together_at_run_time_is_an_error_and_no_more(lua: Runner) -> None:
    lua.server.reply = b"5"
    text = lua.error("string['gs' .. 'ub']('x', 'x', function() return redis.call('c') end)")[0]
    assert text == b"ERR attempt to yield across metamethod/C-call boundary"
    assert lua("return redis.call('c')") == b"5"


def test_run_after_a_failed_script_starts_anew(lua: Runner) -> None:
    lua.server.reply = b"5"
    for _ in range(3):
        assert isinstance(lua("redis.call('c') error('x')"), Failure)
        assert lua("return redis.call('c')") == b"5"


def test_run_server_that_raises_leaves_the_engine_usable(lua: Runner) -> None:
    lua.server.reply = object()
    lua.server.failure = RuntimeError("broken handler")
    with pytest.raises(RuntimeError, match="broken handler"):
        lua("return redis.call('c')")
    lua.server.failure = None
    lua.server.reply = b"5"
    assert lua("return redis.call('c')") == b"5"


def test_call_without_arguments_after_values_in_lots_is_an_error(lua: Runner) -> None:
    lua("return 1", *[b"x"] * 9001)
    assert lua.error("redis.call()")[0] == b"ERR Please specify at least one argument for this redis lib call"
    assert lua.server.called == []


def test_log_levels_and_words_reach_the_server(lua: Runner) -> None:
    lua("redis.log(redis.LOG_NOTICE, 'a', 1, nil, {}, 'b')")
    assert lua.server.logged == [(2, b"a 1 b")]


def test_acl_check_cmd_asks_the_server(lua: Runner) -> None:
    assert lua("return {tostring(redis.acl_check_cmd('GET', 'k')), tostring(redis.acl_check_cmd('SET', 'k', 1))}") == [
        b"true",
        b"false",
    ]
    assert lua.error("redis.acl_check_cmd('NOPE')")[0] == b"ERR Invalid command passed to redis.acl_check_cmd()"


@pytest.mark.parametrize(
    "script",
    [
        "x = 1",
        "redis = nil",
        "redis.call = nil",
        "string.format = nil",
        "cjson = 1",
        "rawset(_G, 'x', 1)",
        "rawset(string, 'x', 1)",
        "table.insert(table, 1)",
        "table.sort(_G)",
        "setmetatable(_G, nil)",
        "setmetatable(redis, {})",
        "getmetatable(_G).__index = nil",
        "getmetatable('').__index = {}",
        "rawset(getmetatable(''), '__index', {})",
        "getfenv(0).x = 1",
        "getfenv(redis.call).x = 1",
        "local f = loadstring('x = 1') f()",
        "coroutine.wrap(function() x = 1 end)()",
    ],
)
def test_environment_writing_to_it_is_refused(lua: Runner, script: str) -> None:
    text, source, _ = lua.error(script)
    assert text is not None
    assert text.endswith(b"Attempt to modify a readonly table")
    assert b"coordkit" not in source


@pytest.mark.parametrize(
    "name",
    ["os", "io", "debug", "package", "require", "module", "dofile", "loadfile", "print", "python", "newproxy", "x"],
)
def test_environment_what_is_not_offered_is_absent(lua: Runner, name: str) -> None:
    missing = b"Script attempted to access nonexistent global variable '" + name.encode() + b"'"
    for script in (f"return {name}", f"return getfenv(0).{name}", f"return loadstring('return {name}')()"):
        text = lua.error(script)[0]
        assert text is not None
        assert text.endswith(missing)
    assert lua(f"return rawget(_G, '{name}') == nil") == 1


@pytest.mark.parametrize(
    "script",
    [
        "return loadstring(string.dump(function() return 1 end))",
        "local n = 0 return load(function() n = n + 1 if n == 1 then return '\\27Lua' end end)",
        "string.dump(redis.call)",
        "setfenv(0, {})",
        "setfenv(redis.call, {})",
        "setfenv(3, {})",
        "setfenv(4, {})",
        "for level = 1, 9 do local env = getfenv(level) if env ~= _G then error('found') end end",
    ],
)
def test_environment_ways_out_are_closed(lua: Runner, script: str) -> None:
    result = lua(script)
    assert result is None or (isinstance(result, Failure) and result.text != b"ERR user_script:1: found")


def test_environment_no_value_is_a_python_object(lua: Runner) -> None:
    lua.server.reply = [b"x", 1, None, [Simple(b"s")]]
    assert (
        lua(
            """
        local seen, strange = {}, {}
        local function walk(value, path)
          local kind = type(value)
          if kind == 'userdata' and value ~= cjson.null then strange[#strange + 1] = path end
          if kind ~= 'table' or seen[value] then return end
          seen[value] = true
          for k, v in pairs(value) do
            walk(k, path .. '.' .. tostring(k))
            walk(v, path .. '.' .. tostring(k))
          end
          walk(getmetatable(value), path .. '.meta')
        end
        walk(_G, '_G')
        walk(getmetatable(''), 'string')
        walk(redis.call('c'), 'reply')
        return strange
        """
        )
        == []
    )


def test_pairs_over_a_library_lists_a_copy(lua: Runner) -> None:
    assert lua("local n = 0 for k, v in pairs(redis) do n = n + 1 end return n > 10") == 1
    assert lua("local f, s = pairs(redis) s.call = nil return type(redis.call)") == b"function"
    assert lua("local key = next(redis) return type(redis[key]) == 'nil'") is None
    assert lua("local seen = {} for k in pairs(_G) do seen[k] = true end return seen.KEYS and seen.redis") == 1
    assert lua("local odd = 0 for k in pairs(_G) do if k:find('[. ]') then odd = odd + 1 end end return odd") == 0
    assert lua("return rawget(_G, 'redis.call checked') == nil") == 1


def test_pcall_server_error_is_text_and_other_errors_are_kept(lua: Runner) -> None:
    lua.server.reply = ErrorReply(b"BAD thing")
    assert lua("local ok, e = pcall(redis.call, 'c') return {tostring(ok), e}") == [b"false", b"BAD thing"]
    assert lua("local ok, e = pcall(error, {a = 5}) return e.a") == 5
    assert lua("return {pcall(function(...) return ... end, 1, 2)}") == [1, 1, 2]


def test_random_is_seeded_alike_on_every_machine(lua: Runner) -> None:
    script = "math.randomseed(10) return {math.random(1000), math.random(1000), math.random(5, 10)}"
    assert lua(script) == lua(script)
    assert lua("math.randomseed(0) return math.random(1000000)") == 170829


def test_compile_wrong_source_returns_the_message(lua: Runner) -> None:
    assert lua.engine.compile(b"return +") == b"user_script:1: unexpected symbol near '+'"
    assert isinstance(lua.engine.compile(b"\x1bLua"), bytes)
