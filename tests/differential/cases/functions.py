"""Libraries of functions: loading, listing, calling, errors."""

from tests.differential.case import Argument, Case, CommandLine


def library(body: str, name: str = "lib") -> list[Argument]:
    """The command that loads a library."""
    return ["FUNCTION", "LOAD", f"#!lua name={name}\n{body}"]


def register(name: str, body: str) -> str:
    """The call that registers a function."""
    return f"redis.register_function('{name}', function(keys, args) {body} end)\n"


def named(fields: str) -> str:
    """The call that registers a function by named arguments."""
    return f"redis.register_function{{{fields}}}\n"


FLUSH: CommandLine = ["FUNCTION", "FLUSH"]


def loaded(ident: str, *commands: CommandLine, unordered: bool = False) -> Case:
    """A case that starts without libraries and leaves none."""
    return Case(ident, [FLUSH, *commands, FLUSH], unordered=unordered)


CASES = [
    loaded(
        "fcall",
        library(register("f", "return {keys, args}")),
        ["FCALL", "f", 1, "k", "a", "b"],
        ["FCALL", "F", 0],
        ["FCALL", "f", 2, "a"],
        ["FCALL", "f", -1],
        ["FCALL", "f", "x"],
        ["FCALL", "g", 0],
        ["FCALL", "f", 3, *range(9000)],
    ),
    loaded(
        "list",
        library(register("f", "return 1")),
        ["FUNCTION", "LIST"],
        ["FUNCTION", "LIST", "WITHCODE"],
        ["FUNCTION", "LIST", "LIBRARYNAME", "LI*"],
        ["FUNCTION", "LIST", "LIBRARYNAME", "x*"],
        ["FUNCTION", "LIST", "LIBRARYNAME"],
        ["FUNCTION", "LIST", "FOO"],
        ["FUNCTION", "LIST", "WITHCODE", "WITHCODE"],
        ["FUNCTION", "DELETE", "lib"],
        ["FUNCTION", "DELETE", "lib"],
        ["FUNCTION", "LIST"],
        ["FCALL", "f", 0],
    ),
    loaded(
        "replace",
        library(register("f", "return 1")),
        library(register("f", "return 2")),
        ["FUNCTION", "LOAD", "REPLACE", "#!lua name=lib\n" + register("f", "return 3")],
        ["FCALL", "f", 0],
        ["FUNCTION", "LOAD", "REPLACE", "#!lua name=lib\nx x"],
        ["FCALL", "f", 0],
        library(register("f", "return 4"), "other"),
        ["FUNCTION", "LOAD", "FOO", "#!lua name=lib\nx"],
        ["FUNCTION", "LOAD", "REPLACE", "#!lua name=lib\n" + register("g", "return 5")],
        ["FCALL", "f", 0],
        ["FCALL", "g", 0],
    ),
    loaded(
        "metadata",
        ["FUNCTION", "LOAD", "x"],
        ["FUNCTION", "LOAD", "#!lua"],
        ["FUNCTION", "LOAD", "#!lua\nx"],
        ["FUNCTION", "LOAD", "#!lua name=a-b\nx"],
        ["FUNCTION", "LOAD", "#!lua name=\nx"],
        ["FUNCTION", "LOAD", "#!foo name=a\nx"],
        ["FUNCTION", "LOAD", "#!LUA name=a\nx x"],
        ["FUNCTION", "LOAD", "#!lua name=a name=b\nx"],
        ["FUNCTION", "LOAD", "#!lua name=a foo=b\nx"],
        ["FUNCTION", "LOAD", "#!lua NAME=a\nlocal x = 1"],
    ),
    loaded(
        "errors",
        ["FUNCTION"],
        ["FUNCTION", "NOPE"],
        ["FUNCTION", "LOAD"],
        ["FUNCTION", "LOAD", "REPLACE"],
        ["FUNCTION", "FLUSH", "x"],
        ["FUNCTION", "FLUSH", "SYNC", "x"],
        ["FUNCTION", "KILL"],
    ),
    loaded(
        "loading",
        library("return 1"),
        library("redis.call('get', 'x')"),
        library("x = 1"),
        library("local x = string"),
        library("redis.log(redis.LOG_DEBUG, 'x')"),
        library("local v = redis.REDIS_VERSION .. redis.REDIS_VERSION_NUM"),
        library("local v = redis.pcall"),
        library("redis.foo = 1"),
        library("for i, k in pairs({}) do end"),
        library("local t = {} t.x = 1 return t.y.z"),
        library("local function f() return redis.call('get', 'x') end f()"),
        library("local n = 0 " + register("count", "n = n + 1 return n")),
        ["FCALL", "count", 0],
        ["FCALL", "count", 0],
    ),
    loaded(
        "register",
        library("redis.register_function()"),
        library("redis.register_function(1, 2, 3)"),
        library("redis.register_function('x')"),
        library("redis.register_function('x', 1)"),
        library("redis.register_function({}, function() end)"),
        library("redis.register_function(1, function() return 5 end)"),
        ["FCALL", "1", 0],
    ),
    loaded(
        "register-names",
        library(register("a b", "")),
        library(register("", "")),
        library(register("f", "") + register("f", "")),
    ),
    loaded(
        "register-named",
        library(named("")),
        library(named("function_name = 'x'")),
        library(named("callback = function() end")),
        library(named("function_name = {}, callback = function() end")),
        library(named("function_name = 'x', callback = 1")),
        library(named("function_name = 'x', callback = function() end, foo = 1")),
        library(named("function_name = 'x', callback = function() end, flags = 1")),
        library(named("function_name = 'x', callback = function() end, flags = {'x'}")),
        library(named("function_name = 'x', callback = function() end, flags = {{}}")),
        library(named("function_name = 'x', callback = function() end, description = {}")),
        library(named("[{}] = 'x', callback = function() end")),
        library(
            named(
                "FUNCTION_NAME = 'x', Callback = function() return 7 end, flags = {'no-writes', 'ALLOW-OOM'}, "
                "description = 'hello'"
            )
        ),
        ["FUNCTION", "LIST"],
        ["FCALL", "x", 0],
        ["FCALL_RO", "x", 0],
    ),
    loaded(
        "writes",
        library(
            register("w", "return redis.call('set', keys[1], args[1])")
            + named(
                "function_name = 'r', callback = function(k) return redis.call('get', k[1]) end, flags = {'no-writes'}"
            )
            + named(
                "function_name = 'rw', callback = function(k) return redis.call('del', k[1]) end, flags = {'no-writes'}"
            )
        ),
        ["FCALL", "w", 1, "k", "v"],
        ["FCALL", "r", 1, "k"],
        ["FCALL_RO", "r", 1, "k"],
        ["FCALL_RO", "w", 1, "k", "v"],
        ["FCALL", "rw", 1, "k"],
        ["GET", "k"],
    ),
    loaded(
        "running",
        library(
            register("e", "error('boom')")
            + register("n", "return redis.call('nosuch')")
            + register("g", "return KEYS")
            + register("h", "x = 1")
            + register("i", "return redis.register_function")
            + register("j", "return redis.replicate_commands")
            + register("k", "return string.format('%d', 5)")
            + register("m", "local ok, e = pcall(redis.call, 'incr', 'a', 'b') return {tostring(ok), type(e)}")
            + register("r", "redis.setresp(3) redis.call('hset', 'h', 'f', 'v') return redis.call('hgetall', 'h')")
        ),
        *(("FCALL", name, 0) for name in "enghijkmr"),
        ["MULTI"],
        ["FCALL", "k", 0],
        ["EXEC"],
        ["EVAL", "return redis.call('fcall', 'k', '0')", 0],
        ["EVAL", "return redis.call('function', 'list')", 0],
    ),
]
