-- host: the border between the server and scripts: `redis.*`, conversion of replies, running a script.
--
-- Values cross the border as plain arguments and results, because a table costs a microsecond and its parts some more.
-- A server reply arrives as one value (string, number, boolean, nil) or as `payload, kind, parts...`:
--   STATUS text     ERROR text, counted     ARRAY parts: its elements     SHAPED shape, parts     STAGED shape, count
-- A shape spells a nested value, one character a token: `.` next part; `+` `-` `,` `(` status, error, double, big
-- number from the next part; `=` verbatim string from two; `[ ]` array, `{ }` map (key, value...), `< >` set.
-- STAGED: there are too many parts for one call; `take()` returns the next lot.
-- A script's result leaves in the same way; FAILED is message, source, line, counted.
--
-- Arguments: the table of sandbox.lua, then functions of the server.
local sandbox, call_server, take, give, patch, log, set_protocol, is_allowed, sha1hex, version, version_number = ...
local STATUS, ERROR, ARRAY, SHAPED, STAGED, FAILED = 1, 2, 3, 4, 5, 6
local LOT = 4000    -- parts in one call: a C function may hold 8000 values
local MANY = 100    -- arguments of a command are passed in lots of so many: one call with n costs n * n

local globals, env, load_text = sandbox.globals, sandbox.env, sandbox.load_text
local type, error, select, unpack, xpcall, tostring, tonumber = type, error, select, unpack, xpcall, tostring, tonumber
local rawget, next, floor, getmetatable = rawget, next, math.floor, getmetatable
local byte, sub, find, gsub, concat = string.byte, string.sub, string.find, string.gsub, table.concat
local loadstring, dump, setfenv, getinfo = loadstring, string.dump, setfenv, debug.getinfo

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
  if kind == ERROR then error({err = value, ignore_error_stats_update = (...) or nil}, 0) end
  return build_shaped(value, kind, ...)
end

-- Passes `...` to the server in lots; the last one stays for the call itself.
local function give_many(first, ...)
  local arguments = {...}
  local count = select("#", ...)
  give(true, first)
  for from = 1, count, MANY do
    local to = from + MANY - 1
    if to > count then to = count end
    give(false, unpack(arguments, from, to))
  end
end

-- redis.* ------------------------------------------------------------------------------------------------------------

local redis = {
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
  REDIS_VERSION = version, REDIS_VERSION_NUM = version_number,
}

function redis.call(...)
  if select("#", ...) > MANY then
    give_many(...)
    return finish_call(call_server())
  end
  return finish_call(call_server(...))
end

function redis.pcall(...)
  if select("#", ...) > MANY then
    give_many(...)
    return finish_pcall(call_server())
  end
  return finish_pcall(call_server(...))
end

local function raise(text)
  error({err = "ERR " .. text}, 0)
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
end

function redis.acl_check_cmd(...)
  local allowed, message = is_allowed(...)
  if message then raise(message) end
  return allowed
end

function redis.replicate_commands()
  return true
end

function redis.breakpoint()
  return false
end

function redis.debug()
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
  if found then return put("-", found) end
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
  if count <= LOT then return text, SHAPED, unpack(sent, 1, count) end
  give(true)
  for from = 1, count, LOT do
    local to = from + LOT - 1
    give(false, unpack(sent, from, to < count and to or count))
  end
  return text, STAGED
end

local function send_table(t)
  if getmetatable(t) ~= nil then return send_shaped(t) end
  if t.ok ~= nil then
    if type(t.ok) == "string" and t.err == nil then return t.ok, STATUS end
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
  if count > LOT then return send_shaped(t) end
  return nil, ARRAY, unpack(t, 1, count)
end

-- Returns the error as a table with the place in the script where it was raised.
local function locate(err)
  local level = 2
  local info = getinfo(level, "Sl")
  if info and info.what == "C" then
    level = level + 1
    info = getinfo(level, "Sl")
  end
  while info and (info.what == "tail" or sub(info.source, 1, 9) == "=coordkit") do
    level = level + 1
    info = getinfo(level, "Sl")
  end
  if type(err) ~= "table" then err = {err = "ERR " .. tostring(err)} end
  if info and info.what ~= "C" then
    err.source = info.source
    err.line = info.currentline
  end
  return err
end

local function text_of(value)
  local kind = type(value)
  return (kind == "string" or kind == "number") and tostring(value) or nil
end

local function conclude(ok, result)
  local kind = type(result)
  if ok then
    if kind == "string" or kind == "number" or kind == "boolean" then return result end
    if kind == "table" then return send_table(result) end
    return nil
  end
  if kind ~= "table" then return text_of(result) or "execution failure", FAILED end
  return text_of(result.err) or "ERR unknown error", FAILED, text_of(result.source), text_of(result.line),
    result.ignore_error_stats_update == true
end

local function set_one_key(key, ...)
  globals.KEYS = {key}
  globals.ARGV = {...}
end

local function set_arguments(key_count, ...)
  if key_count == 0 then
    globals.KEYS = {}
    globals.ARGV = {...}
  elseif key_count == 1 then
    set_one_key(...)
  else
    globals.KEYS = {unpack({...}, 1, key_count)}
    globals.ARGV = {select(key_count + 1, ...)}
  end
end

local function set_staged(key_count, count)
  local all = collect(count)
  local keys, rest = {}, {}
  for i = 1, key_count do keys[i] = all[i] end
  for i = key_count + 1, count do rest[i - key_count] = all[i] end
  globals.KEYS, globals.ARGV = keys, rest
end

-- Returns a function that runs the script: number of keys, then keys and arguments, or -1 and two counts if they
-- are to be taken in lots.
local function make_entry(script)
  return function(key_count, ...)
    if key_count < 0 then
      set_staged(...)
    elseif key_count == 1 then
      set_one_key(...)
    else
      set_arguments(key_count, ...)
    end
    return conclude(xpcall(script, locate))
  end
end

-- Returns the entry of a script, or nil and the compiler's message.  `patch` turns those tail calls that would lose
-- the line number of an error into plain calls.
local function compile(source)
  local chunk, message = load_text(source, "@user_script")
  if not chunk then return nil, message end
  return make_entry(setfenv(loadstring(patch(dump(chunk)), "@user_script"), env))
end

for name in next, sandbox.state_globals do sandbox.state_globals[name] = nil end
return compile
