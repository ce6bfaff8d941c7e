"""Scripts that attack: each ends with a value or a clean error, and the engine goes on as before."""

from collections.abc import Iterator

import pytest

from coordkit_server.resp.reply import ErrorReply
from coordkit_server.scripting.engine import Engine, Failure
from coordkit_server.testing import RecordedScriptServer

LIMIT_BYTES = 64 << 20
NO_MEMORY = b"ERR not enough memory"
NODES = "while true do t = {t, {}, {}, {}} end"


@pytest.fixture(name="engine", scope="module")
def engine_fixture() -> Engine:
    return Engine(RecordedScriptServer(), memory_limit=LIMIT_BYTES)


def run(engine: Engine, source: str) -> object:
    """The reply of a script, the text of its error, or the compiler's message."""
    number = engine.compile(source.encode("latin-1"))
    if not isinstance(number, int):
        return number
    reply = engine.run(number, 0, [])
    return reply.text if isinstance(reply, (Failure, ErrorReply)) else reply


@pytest.fixture(autouse=True)
def _goes_on(engine: Engine) -> Iterator[None]:
    yield
    assert run(engine, "return {#KEYS, type(string), redis.call('x')}") == [0, b"table", None]
    assert run(engine, "local n = 0 for i = 1, 3 do n = n + i end return n") == 6


@pytest.mark.parametrize(
    "source",
    [
        f"local t {NODES}",
        f"local t pcall(function() {NODES} end) return 1",
        f"local t xpcall(function() {NODES} end, function() return 2 end) return 1",
        f"local t pcall(pcall, pcall, function() {NODES} end) return 1",
        f"local t local c = coroutine.create(function() {NODES} end) coroutine.resume(c) return 1",
        f"local t local f = coroutine.wrap(function() {NODES} end) pcall(f) return 1",
        f"local t table.foreach({{1}}, function() {NODES} end)",
        f"local t ('x'):gsub('x', function() {NODES} end)",
        "local s = 'x' while true do s = s .. s end",
        "local s = 'x' pcall(function() while true do s = s .. s end end) return #s",
        "return #string.rep('x', 1e8)",
        "return #(('x'):rep(1e6)):gsub('x', ('y'):rep(1000))",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local t = {} for i = 1, 64 do t[i] = ('x'):rep(1e6) end return #table.concat(t)",
        "return cjson.encode({('x'):rep(3e7), ('y'):rep(2e7)})",
        "return #cmsgpack.pack(('x'):rep(3e7), ('y'):rep(2e7))",
    ],
)
def test_memory_bomb_ends_the_script_whatever_it_protects(engine: Engine, source: str) -> None:
    assert run(engine, source) == NO_MEMORY


@pytest.mark.parametrize("call", ["redis.call('get')", "redis.pcall('get')", "call('get')", "redis.call(name)"])
def test_replies_that_a_script_keeps_are_no_way_around_the_limit(call: str) -> None:
    server = RecordedScriptServer()
    server.reply = b"x" * (1 << 20)
    engine = Engine(server, memory_limit=LIMIT_BYTES)
    for prefix in ("", "local f = pcall "):
        source = f"{prefix} local call, name, t = redis.call, 'get', {{}} while true do t[#t + 1] = {call} .. #t end"
        found = run(engine, source)
        assert found == NO_MEMORY or (prefix and found == b"ERR user_script:1: attempt to concatenate a table value")
    server.reply = [b"x" * 1000] * 100_000
    assert run(engine, "return #redis.call('get')") == NO_MEMORY
    server.reply = b"x"
    assert run(engine, "return redis.call('get')") == b"x"


def test_arguments_without_room_are_refused() -> None:
    engine = Engine(RecordedScriptServer(), memory_limit=LIMIT_BYTES)
    number = engine.compile(b"return #ARGV[1]")
    assert isinstance(number, int)
    refused = engine.run(number, 0, [b"x" * LIMIT_BYTES])
    assert isinstance(refused, Failure)
    assert refused.text == NO_MEMORY
    assert engine.run(number, 0, [b"x" * 1000]) == 1000
    assert engine.compile(b"return '" + b"x" * LIMIT_BYTES + b"'") == NO_MEMORY[4:]


@pytest.mark.parametrize(
    "source,expected",
    [
        ("local function f() return f() + 1 end return f()", b"ERR user_script:1: stack overflow"),
        ("local function f() return pcall(f) end return f()", 1),
        ("local function f() local ok, err = pcall(f) return ok end return f()", 1),
        (
            "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) return t[1]",
            b"ERR user_script:1",
        ),
        ("local t t = setmetatable({}, {__tostring = function() return tostring(t) end}) return tostring(t)", b"ERR "),
        (
            "local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x",
            b"ERR user_script:1: loop in gettable",
        ),
        ("local function f() coroutine.wrap(f)() end f()", b"ERR user_script:1: "),
        ("local c c = coroutine.wrap(function() c() end) c()", b"ERR user_script:1: "),
        ("local t = {} t[1] = t return cjson.encode(t)", b"ERR user_script:1: Cannot serialise, excessive nesting"),
        ("return cjson.decode(('['):rep(1e5))", b"ERR user_script:1: Found too many nested data structures"),
        ("return cjson.decode(('{\"a\":'):rep(1e5))", b"ERR user_script:1: Found too many nested data structures"),
        ("return cmsgpack.unpack(('\\145'):rep(1e5))", b"ERR user_script:1: stack overflow"),
        ("return cmsgpack.unpack('\\221\\255\\255\\255\\255')", b"ERR user_script:1: Missing bytes in input."),
        ("return struct.unpack(('i'):rep(1e5), ('x'):rep(4e5))", b"ERR user_script:1: stack overflow"),
        ("return struct.pack('i33', 1)", b"ERR user_script:1: integral size 33 is larger than limit of 32"),
        ("return string.format('%99999d', 1)", b"ERR user_script:1: invalid format (width or precision too long)"),
        ("local s = ('('):rep(1000) return type(loadstring('return ' .. s))", b"nil"),
        ("local s = ('local a '):rep(300) return select(2, loadstring(s)):sub(-20)", b"200 local variables"),
        ("local t = {} for i = 1, 1000 do t = {t} end return t", None),
    ],
)
def test_deep_recursion_and_nesting_end_cleanly(engine: Engine, source: str, expected: object) -> None:
    found = run(engine, source)
    if isinstance(expected, bytes):
        assert isinstance(found, bytes)
        assert expected in found
    elif expected is None:
        assert isinstance(found, list)
    else:
        assert found == expected


def test_unpack_doubling_under_pcall_finds_the_limit(engine: Engine) -> None:
    source = """local t = {} for i = 1, 20000 do t[i] = i end
    local n = 1
    while true do
      local ok, err = pcall(unpack, t, 1, n)
      if not ok then return {n, err} end
      n = n * 2
    end"""
    found = run(engine, source)
    assert isinstance(found, list)
    assert found[1:] == [b"too many results to unpack"]
    assert run(engine, source.replace("unpack, t, 1, n", "string.byte, ('x'):rep(n), 1, n")) == [
        found[0],
        b"stack overflow (string slice too long)",
    ]


@pytest.mark.parametrize(
    "source,expected",
    [
        ("error()", b"ERR nil"),
        ("error(nil)", b"ERR nil"),
        ("error({})", b"ERR unknown error"),
        ("error({err = {}})", b"ERR unknown error"),
        ("error({err = 'MINE x'})", b"MINE x"),
        ("error(setmetatable({}, {__tostring = error, __index = error}))", b"ERR unknown error"),
        ("error(setmetatable({}, {__index = function() while true do end end}))", b"ERR unknown error"),
        ("error(true)", b"ERR true"),
        ("error(1.5)", b"ERR user_script:1: 1.5"),
        ("error('x\\0y\\r\\n', 0)", b"ERR x\x00y\r\n"),
        ("return setmetatable({}, {__index = function() return 'x' end})", []),
        ("return setmetatable({ok = nil}, {__index = {ok = 'fine'}})", []),
        ("return setmetatable({1, 2}, {__len = error, __index = error})", [1, 2]),
        ("return tostring(setmetatable({}, {__tostring = function() return 'mine' end}))", b"mine"),
        (
            "return tostring(setmetatable({}, {__tostring = function() return {} end}))",
            [],
        ),
        ("coroutine.yield(1)", b"ERR attempt to yield across metamethod/C-call boundary"),
        ("coroutine.yield(true, 1)", b"ERR attempt to yield across metamethod/C-call boundary"),
        ("coroutine.yield('flushall')", b"ERR attempt to yield across metamethod/C-call boundary"),
        ("return select(2, pcall(coroutine.yield, 7))", b"attempt to yield across metamethod/C-call boundary"),
        ("return coroutine.wrap(function() return coroutine.yield(5) end)()", 5),
        ("return coroutine.status(coroutine.running())", b"running"),
        ("return select(2, coroutine.resume(coroutine.running()))", b"cannot resume running coroutine"),
        ("return ('abc'):gsub('%w', function(c) error(c) end)", b"ERR user_script:1: a"),
        ("return (('abc'):gsub('%w', {a = 'x', b = true}))", b"invalid replacement value"),
        ("return type(loadstring(string.dump(function() return 1 end)))", b"nil"),
        ("return type(load(coroutine.wrap(function() coroutine.yield('\\27') coroutine.yield('Lua') end)))", b"nil"),
        ("return string.dump(string.rep)", b"unable to dump given function"),
        ("return string.dump(redis.call)", b"unable to dump given function"),
        ("return string.dump(pcall)", b"unable to dump given function"),
    ],
)
def test_odd_errors_and_values_end_cleanly(engine: Engine, source: str, expected: object) -> None:
    found = run(engine, source)
    if isinstance(expected, bytes) and isinstance(found, bytes):
        assert expected in found
    else:
        assert found == expected


# every value that a script can reach from its environment, functions called with odd arguments included
CRAWL = """
local seen, found, stack = {}, {}, {}
local function visit(value, path)
  local kind = type(value)
  if kind == 'userdata' or kind == 'thread' or tostring(value):find('[Pp]ython') then found[#found + 1] = path end
  if (kind == 'table' or kind == 'function') and not seen[value] then
    seen[value] = true
    stack[#stack + 1] = {value, path}
  end
end
visit(_G, '_G')
visit(getmetatable(''), 'string metatable')
local SKIPPED = {yield = true, wrap = true, create = true, resume = true, collectgarbage = true, load = true,
  randomseed = true, setfenv = true, sort = true, rep = true}
local ODD = {false, true, 0, -1, 2 ^ 53, '', 'x', {}, print_nothing}
while #stack > 0 do
  local value, path = unpack(table.remove(stack))
  if type(value) == 'table' then
    visit(getmetatable(value), path .. ' metatable')
    for k, v in pairs(value) do
      visit(k, path)
      visit(v, path .. '.' .. tostring(k))
    end
  elseif not SKIPPED[path:match('[%w_]+$') or ''] then
    visit(getfenv(value), path .. ' environment')
    for i = 0, #ODD do
      local results = {pcall(value, ODD[i], ODD[#ODD - i])}
      for _, result in pairs(results) do visit(result, path .. '()') end
    end
  end
end
return found
"""


def test_nothing_that_a_script_reaches_is_a_python_object(engine: Engine) -> None:
    found = run(engine, CRAWL.replace(", print_nothing", ""))
    assert isinstance(found, list), found
    assert set(found) <= {b"_G.cjson.null", b"_G.cjson.new().null", b"_G.cjson.decode()", b"_G.coroutine.running()"}


@pytest.mark.parametrize(
    "source",
    [
        "return cjson.decode(nil)",
        "return cjson.decode({})",
        "return cjson.decode('')",
        "return cmsgpack.unpack('\\193')",
        "return cmsgpack.unpack('')",
        "return cmsgpack.unpack_limit('\\1', 2 ^ 60)",
        "return cmsgpack.unpack_limit('\\1', 1, 2 ^ 60)",
        "return cmsgpack.unpack_one('\\1', -2 ^ 70)",
        "return struct.unpack('d', 'x', 2 ^ 62)",
        "return struct.unpack('i', ('x'):rep(8), -5)",
        "return struct.pack('i', 2 ^ 70)",
        "return struct.pack('d', {})",
        "return struct.pack(('!'):rep(100), 1)",
        "return bit.tohex(2 ^ 70, 2 ^ 70)",
        "return bit.lshift(0 / 0, 1 / 0)",
        "return redis.sha1hex({})",
        "return redis.log(2 ^ 70, 'x')",
        "return redis.setresp(2 ^ 70)",
        "return redis.call(('x'):rep(1e6))",
        "return redis.call(unpack({}, 1, 7000))",
        "return math.random(0)",
        "return math.random(-2 ^ 70, 2 ^ 70)",
        "return math.randomseed(0 / 0)",
        "return collectgarbage('step', 2 ^ 40)",
        "return collectgarbage('setpause', -2 ^ 40)",
        "return table.concat({}, 'x', 1, 2 ^ 31)",
        "return select(-2 ^ 31, 1)",
        "return ('x'):rep(2 ^ 40)",
        "return tonumber('1', 2 ^ 40)",
        "return os.clock() < 0",
    ],
)
def test_odd_arguments_are_answered(engine: Engine, source: str) -> None:
    found = run(engine, source)
    if isinstance(found, bytes):
        assert b"rror" not in found.replace(b"ERR error", b"")
        assert b"Python" not in found
