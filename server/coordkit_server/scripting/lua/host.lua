-- host: the border between the server and scripts: `redis.*`, conversion of replies, running a script.
--
-- Scripts run one after the other in one coroutine, which yields to the server each time a script calls a command: a
-- resume costs half of a callback.  What is yielded is the number of a site (sites.py) and the arguments that it does
-- not know; a command's name and arguments; or `true` and a script's result.  A coroutine cannot yield while a C
-- function or a metamethod runs a script's function (pcall, table.sort...), so scripts that may do that (rewrite.py
-- judges) call the server back.
--
-- Values cross the border as plain arguments and results, because a table costs a microsecond and its parts some more.
-- A reply arrives as one value (string, number, boolean, nil) or as `payload, kind, parts...`:
--   STATUS text     ERROR text, counted     ARRAY parts: its elements     SHAPED shape, parts     STAGED shape, count
-- A shape spells a nested value, one character a token: `.` next part; `+` `-` `,` `(` status, error, double, big
-- number from the next part; `!` an error that the statistics know; `=` verbatim string from two; `[ ]` array, `{ }`
-- map (key, value...), `< >` set.
-- STAGED: there are too many parts for one call; `take()` returns the next lot.  A script's result leaves alike, its
-- parts in lots through `give`.
--
-- Arguments: the table of sandbox.lua, then functions of the server.
local sandbox, call_server, take, give, prepare, log, set_protocol, set_targets, is_allowed, sha1hex,
  version, version_number = ...
local STATUS, ERROR, ARRAY, SHAPED, STAGED = 1, 2, 3, 4, 5
local LOT = 4000    -- parts that `take` returns: a C function may hold 8000 values
local FEW = 24      -- values that a yield may carry: lupa makes no room for more than the 40 that a stack starts with
local MANY = 100    -- values that `give` takes: for the callback of n values lupa builds n tuples

local globals, env, hot, load_text, throw =
  sandbox.globals, sandbox.env, sandbox.hot, sandbox.load_text, sandbox.throw
local type, select, unpack, tostring, tonumber = type, select, unpack, tostring, tonumber
local rawget, next, floor, getmetatable = rawget, next, math.floor, getmetatable
local byte, sub, find, gsub, concat = string.byte, string.sub, string.find, string.gsub, table.concat
local loadstring, dump, setfenv, getinfo = loadstring, string.dump, setfenv, debug.getinfo
local yield, running = coroutine.yield, coroutine.running

-- server to script ---------------------------------------------------------------------------------------------------

local shape, at, parts, used    -- of the value that is being built

local function part()
  used = used + 1
  return parts[used]
end

local build

local BUILDERS = {
  [byte "."] = part,
  [byte "+"] = function() return {ok = part()} end,
  [byte "-"] = function() return {err = part(), ignore_error_stats_update = true} end,
  [byte ","] = function() return {double = part()} end,
  [byte "("] = function() return {big_number = part()} end,
  [byte "="] = function()
    local format = part()
    return {verbatim_string = {format = format, string = part()}}
  end,
  [byte "["] = function()
    local result, count = {}, 0
    while byte(shape, at) ~= 93 do
      count = count + 1
      result[count] = build()
    end
    at = at + 1
    return result
  end,
  [byte "{"] = function()
    local map = {}
    while byte(shape, at) ~= 125 do
      local key = build()
      map[key] = build()
    end
    at = at + 1
    return {map = map}
  end,
  [byte "<"] = function()
    local set = {}
    while byte(shape, at) ~= 62 do
      set[build()] = true
    end
    at = at + 1
    return {set = set}
  end,
}

function build()
  local builder = BUILDERS[byte(shape, at)]
  at = at + 1
  return builder()
end

local function collect(count)
  local result = {}
  local filled = 0
  while filled < count do
    local lot = {take()}
    for i = 1, LOT do result[filled + i] = lot[i] end
    filled = filled + LOT
  end
  return result
end

local function build_shaped(payload, kind, ...)
  if kind == STAGED then
    parts = collect((...))
  else
    parts = {...}
  end
  if payload == "*" then return parts end
  shape, at, used = payload, 1, 0
  local result = build()
  parts = nil
  return result
end

local function finish_pcall(value, kind, ...)
  if kind == nil then return value end
  if kind == STATUS then return {ok = value} end
  if kind == ARRAY then return {...} end
  if kind == ERROR then return {err = value, ignore_error_stats_update = (...) or nil} end
  return build_shaped(value, kind, ...)
end

local function finish_call(value, kind, ...)
  if kind == nil then return value end
  if kind == STATUS then return {ok = value} end
  if kind == ARRAY then return {...} end
  if kind == ERROR then throw({err = value, ignore_error_stats_update = (...) or nil}) end
  return build_shaped(value, kind, ...)
end

-- Passes `values` to the server, `count` of them, in lots.
local function give_all(values, count)
  give(true)
  for from = 1, count, MANY do
    local to = from + MANY - 1
    give(false, unpack(values, from, to < count and to or count))
  end
end

-- redis.* ------------------------------------------------------------------------------------------------------------

local redis = {
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
  REDIS_VERSION = version, REDIS_VERSION_NUM = version_number,
}

local cannot_yield = false   -- the running script calls the server back

local function call_back(count, ...)
  if count <= MANY then return call_server(...) end
  give_all({...}, count)
  return call_server()
end

function redis.call(...)
  local count, name = select("#", ...), ...
  if cannot_yield or count > FEW or type(name) ~= "string" then return finish_call(call_back(count, ...)) end
  return finish_call(yield(...))
end

function redis.pcall(...)
  local count, name = select("#", ...), ...
  if cannot_yield or count > FEW or type(name) ~= "string" then return finish_pcall(call_back(count, ...)) end
  return finish_pcall(yield(...))
end

-- What rewritten scripts call in place of redis.call and redis.pcall, with the number of a site: `unused` where nobody
-- wants the reply, `returned` where it is the script's result.  An error ends the script at once, as no script that
-- yields can catch it.
hot["redis.call checked"] = function(...)
  return finish_call(yield(...))
end

hot["redis.call unused"] = yield

hot["redis.pcall checked"] = function(...)
  return finish_pcall(yield(...))
end

hot["redis.pcall unused"] = yield

local NEXT = {}   -- what a script returns to say that the server has its result and has sent the next script

local function finish_returned(first, ...)
  if first == false then return finish_call(...) end
  return NEXT, first, ...
end

hot["redis.call returned"] = function(...)
  return finish_returned(yield(...))
end

local function raise(text)
  throw({err = "ERR " .. text})
end

-- Returns the error table for `text`, which may start with a code or not, and with `-` or not.
function redis.error_reply(...)
  local text = ...
  if select("#", ...) ~= 1 or type(text) ~= "string" then
    return {err = "ERR wrong number or type of arguments"}
  end
  if byte(text) == 45 then text = sub(text, 2) end
  local code, message = "ERR", text
  local space = find(text, " ", 1, true)
  if space then code, message = sub(text, 1, space - 1), sub(text, space + 1) end
  message = gsub(gsub(message, "^[\r\n]+", ""), "[\r\n]+$", "")
  return {err = code .. " " .. message}
end

function redis.status_reply(...)
  local text = ...
  if select("#", ...) ~= 1 or type(text) ~= "string" then
    return {err = "ERR wrong number or type of arguments"}
  end
  return {ok = text}
end

function redis.sha1hex(...)
  if select("#", ...) ~= 1 then raise("wrong number of arguments") end
  local text = ...
  local kind = type(text)
  if kind ~= "string" and kind ~= "number" then text = "" end
  return sha1hex(tostring(text))
end

function redis.log(...)
  local count = select("#", ...)
  if count < 2 then raise("redis.log() requires two arguments or more.") end
  local level = tonumber((...))
  if not level then raise("First argument must be a number (log level).") end
  level = floor(level)
  if level < 0 or level > 3 then raise("Invalid debug level.") end
  local words = {}
  for i = 2, count do
    local word = select(i, ...)
    local kind = type(word)
    if kind == "string" or kind == "number" then words[#words + 1] = tostring(word) end
  end
  log(level, concat(words, " "))
end

function redis.setresp(...)
  if select("#", ...) ~= 1 then raise("redis.setresp() requires one argument.") end
  local protocol = tonumber((...))
  if protocol ~= 2 and protocol ~= 3 then raise("RESP version must be 2 or 3.") end
  set_protocol(protocol)
end

function redis.set_repl(...)
  if select("#", ...) ~= 1 then raise("redis.set_repl() requires one argument.") end
  local flags = tonumber((...)) or 0
  if flags < 0 or flags > 3 then
    raise("Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
  end
  set_targets(floor(flags))
end

function redis.acl_check_cmd(...)
  local allowed, message = is_allowed(...)
  if message then raise(message) end
  return allowed
end

if not sandbox.runs_functions then
  function redis.replicate_commands()
    return true
  end

  function redis.breakpoint()
    return false
  end

  function redis.debug()
  end
end

globals.redis = sandbox.protect(redis)

-- script to server ---------------------------------------------------------------------------------------------------

local DEPTH = 200   -- nesting of a result; beyond it stands the error that Redis gives at some 8000 levels
local tokens, values, filled

local function put(token, value)
  tokens[#tokens + 1] = token
  filled = filled + 1
  values[filled] = value
end

local function field_of(t, name, kind)
  local value = rawget(t, name)
  return type(value) == kind and value or nil
end

local flatten

local function flatten_table(t, depth)
  if depth > DEPTH then return put("-", "ERR reached lua stack limit") end
  local found = field_of(t, "err", "string")
  if found then return put(rawget(t, "ignore_error_stats_update") == true and "!" or "-", found) end
  found = field_of(t, "ok", "string")
  if found then return put("+", found) end
  found = field_of(t, "double", "number")
  if found then return put(",", found) end
  found = field_of(t, "big_number", "string")
  if found then return put("(", found) end
  found = field_of(t, "verbatim_string", "table")
  if found and field_of(found, "format", "string") and field_of(found, "string", "string") then
    put("=", found.format)
    filled = filled + 1
    values[filled] = found.string
    return
  end
  found = field_of(t, "map", "table")
  if found then
    tokens[#tokens + 1] = "{"
    for key, value in next, found do
      flatten(key, depth + 1)
      flatten(value, depth + 1)
    end
    tokens[#tokens + 1] = "}"
    return
  end
  found = field_of(t, "set", "table")
  if found then
    tokens[#tokens + 1] = "<"
    for key in next, found do flatten(key, depth + 1) end
    tokens[#tokens + 1] = ">"
    return
  end
  tokens[#tokens + 1] = "["
  local i = 1
  local value = rawget(t, i)
  while value ~= nil do
    flatten(value, depth + 1)
    i = i + 1
    value = rawget(t, i)
  end
  tokens[#tokens + 1] = "]"
end

function flatten(value, depth)
  local kind = type(value)
  if kind == "table" then return flatten_table(value, depth) end
  if kind == "string" or kind == "number" or kind == "boolean" then return put(".", value) end
  put(".", nil)
end

local function send_shaped(t)
  tokens, values, filled = {}, {}, 0
  flatten_table(t, 1)
  local text, sent, count = concat(tokens), values, filled
  tokens, values = nil, nil
  if count <= FEW - 3 then return true, text, SHAPED, unpack(sent, 1, count) end
  give_all(sent, count)
  return true, text, STAGED
end

local function send_table(t)
  if getmetatable(t) ~= nil then return send_shaped(t) end
  if t.ok ~= nil then
    if type(t.ok) == "string" and t.err == nil then return true, t.ok, STATUS end
    return send_shaped(t)
  end
  if t.err ~= nil or t.double ~= nil or t.big_number ~= nil or t.verbatim_string ~= nil or t.map ~= nil or t.set ~= nil
  then
    return send_shaped(t)
  end
  local count, value = 0, t[1]
  while value ~= nil do
    local kind = type(value)
    if kind ~= "string" and kind ~= "number" then return send_shaped(t) end
    count = count + 1
    value = t[count + 1]
  end
  if count > FEW - 3 then return send_shaped(t) end
  return true, nil, ARRAY, unpack(t, 1, count)
end

-- running ------------------------------------------------------------------------------------------------------------

local function set_arguments(key_count, ...)
  if key_count == 1 then
    hot.KEYS = {(...)}
    hot.ARGV = {select(2, ...)}
  elseif key_count == 0 then
    hot.KEYS = {}
    hot.ARGV = {...}
  else
    hot.KEYS = {unpack({...}, 1, key_count)}
    hot.ARGV = {select(key_count + 1, ...)}
  end
end

local function set_staged(key_count, count)
  local all = collect(count)
  local keys, rest = {}, {}
  for i = 1, key_count do keys[i] = all[i] end
  for i = key_count + 1, count do rest[i - key_count] = all[i] end
  hot.KEYS, hot.ARGV = keys, rest
end

local scripts = {}      -- number -> function; those of libraries are added by functions.lua
local server_thread

-- The server is no coroutine of the script, which therefore cannot yield to it.
function sandbox.coroutines.yield(...)
  if running() == server_thread then throw("attempt to yield across metamethod/C-call boundary") end
  return yield(...)
end

local serve

-- Yields the result of a script, and goes on with the next.
local function conclude(result, ...)
  if result == NEXT then return serve(...) end
  cannot_yield = false
  local kind = type(result)
  if kind == "string" or kind == "number" or kind == "boolean" then return serve(yield(true, result)) end
  if kind == "table" then return serve(yield(send_table(result))) end
  return serve(yield(true, nil))
end

-- Runs function `id` of a library with two tables as its arguments, for ever.
local function serve_function(id, key_count, first, ...)
  if first == nil then return conclude(scripts[id]({}, {})) end
  if key_count >= 0 then
    set_arguments(key_count, first, ...)
  else
    set_staged(first, ...)
  end
  local keys, arguments = hot.KEYS, hot.ARGV
  hot.KEYS, hot.ARGV = nil, nil
  return conclude(scripts[id](keys, arguments))
end

-- KEYS and ARGV of scripts that only look into them, at most two keys and six values in all.
local shared_keys, shared_arguments = {0, 0}, {0, 0, 0, 0, 0, 0}

local function share(key_count, a, b, c, d, e, f)
  local keys, arguments = shared_keys, shared_arguments
  if key_count == 1 then
    keys[1], keys[2] = a, nil
    arguments[1], arguments[2], arguments[3], arguments[4], arguments[5], arguments[6] = b, c, d, e, f, nil
  elseif key_count == 0 then
    keys[1], keys[2] = nil, nil
    arguments[1], arguments[2], arguments[3], arguments[4], arguments[5], arguments[6] = a, b, c, d, e, f
  else
    keys[1], keys[2] = a, b
    arguments[1], arguments[2], arguments[3], arguments[4], arguments[5], arguments[6] = c, d, e, f, nil, nil
  end
  hot.KEYS, hot.ARGV = keys, arguments
end

-- Runs script `id`, for ever: all calls here are tail calls.  It may need neither KEYS nor ARGV; `key_count` true: what
-- follows is for `share`; -1: two counts, the values are to be taken.
local function serve_script(id, key_count, first, ...)
  if key_count == nil then
    -- nothing to set
  elseif key_count == true then
    share(first, ...)
  elseif first == nil then
    hot.KEYS = {}
    hot.ARGV = {}
  elseif key_count >= 0 then
    set_arguments(key_count, first, ...)
  else
    set_staged(first, ...)
  end
  return conclude(scripts[id]())
end

serve = sandbox.runs_functions and serve_function or serve_script

-- The body of the coroutine.
local function start()
  server_thread = running()
  cannot_yield = false
  sandbox.arm()
  return serve(yield())
end

-- Returns a function that runs `script`, which cannot yield.
local function calling_back(script)
  return function(...)
    cannot_yield = true
    return script(...)
  end
end

-- Returns the number of a script and how it uses KEYS and ARGV, or nil and the compiler's message.
local function compile(source)
  local chunk, message = load_text(source, "@user_script")
  if not chunk then return nil, message end
  local code, calls_back, sets_globals, uses = prepare(dump(chunk), true)
  local script = setfenv(loadstring(code, "@user_script"), sets_globals and env or hot)
  local id = #scripts + 1
  scripts[id] = script
  if calls_back then scripts[id] = calling_back(script) end
  return id, uses
end

-- Returns where the coroutine that has died was: the information on a function of a script, or nil.
local function place_of_death()
  local level = 0
  local info = getinfo(server_thread, level, "Sl")
  if info and info.what == "C" then
    level = 1
    info = getinfo(server_thread, level, "Sl")
  end
  while info and (info.what == "tail" or sub(info.source, 1, 9) == "=coordkit") do
    level = level + 1
    info = getinfo(server_thread, level, "Sl")
  end
  if info and info.what ~= "C" then return info end
end

local function text_of(value)
  local kind = type(value)
  return (kind == "string" or kind == "number") and tostring(value) or nil
end

-- Returns text, source, line and `counted` of the error that ended the coroutine; `message` is empty if the error was
-- no text.
local function describe(message)
  local err = message
  if message == "" then err = sandbox.raised() end
  local info = place_of_death() or {}
  local text, counted = nil, false
  if type(err) == "table" then
    text = text_of(rawget(err, "err")) or "ERR unknown error"
    counted = rawget(err, "ignore_error_stats_update") == true
  else
    text = "ERR " .. tostring(err)
  end
  return text, info.source, info.currentline, counted
end

-- Returns source and line of the call for which the coroutine waits.
local function locate()
  local info = place_of_death() or {}
  return info.source, info.currentline
end

sandbox.calling_back = calling_back
sandbox.scripts, sandbox.redis, sandbox.prepare, sandbox.give_all = scripts, redis, prepare, give_all
return start, compile, describe, locate
