-- functions: libraries of functions (FUNCTION LOAD).  While a library's chunk runs, it sees nothing but a small `redis`
-- with register_function; its functions see everything afterwards.
--
-- Both sights are of the same table, `hot`, as a function keeps the environment in which it was made: its contents are
-- exchanged.
--
-- Arguments: the table of sandbox.lua and, from the server, what tells that loading takes too long.
-- Returns a function that loads a library and one that forgets functions.
local sandbox, is_late = ...
local hot, throw, complain, scripts, prepare = sandbox.hot, sandbox.throw, sandbox.complain, sandbox.scripts, sandbox.prepare
local type, next, select, tostring, pcall, setmetatable = type, next, select, tostring, pcall, setmetatable
local lower, match, sub = string.lower, string.match, string.sub
local setfenv, loadstring, dump, sethook, getinfo = setfenv, loadstring, string.dump, debug.sethook, debug.getinfo
local COUNT = 100000

local FLAGS = {
  ["no-writes"] = 1, ["allow-oom"] = 2, ["allow-stale"] = 4, ["no-cluster"] = 8, ["allow-cross-slot-keys"] = 16,
}
local BAD_NAME = "Library names can only contain letters, numbers, or underscores(_) and must be at least one "
  .. "character long"

local registered    -- functions of the library that is being loaded, in order: name, description, flags, number
local names

local function refuse(text)
  throw({err = "ERR " .. text})
end

-- Returns a string or a number as a string, nil for anything else.
local function text_of(value)
  local kind = type(value)
  return (kind == "string" or kind == "number") and tostring(value) or nil
end

local function read_flags(list)
  local flags, i = 0, 1
  while list[i] ~= nil do
    local flag = FLAGS[lower(text_of(list[i]) or "")]
    if not flag then refuse("unknown flag given") end
    if flags % (2 * flag) < flag then flags = flags + flag end
    i = i + 1
  end
  return flags
end

local READERS = {
  function_name = function(result, value)
    result.name = text_of(value) or refuse("function_name argument given to redis.register_function must be a string")
  end,
  description = function(result, value)
    result.description = text_of(value)
      or refuse("description argument given to redis.register_function must be a string")
  end,
  callback = function(result, value)
    if type(value) ~= "function" then
      refuse("callback argument given to redis.register_function must be a function")
    end
    result.callback = value
  end,
  flags = function(result, value)
    if type(value) ~= "table" then
      refuse("flags argument to redis.register_function must be a table representing function flags")
    end
    result.flags = read_flags(value)
  end,
}

local function read_named(arguments)
  if type(arguments) ~= "table" then
    refuse("calling redis.register_function with a single argument is only applicable to Lua table (representing "
      .. "named arguments).")
  end
  local result = {flags = 0}
  for key, value in next, arguments do
    if not text_of(key) then refuse("named argument key given to redis.register_function is not a string") end
    local reader = READERS[lower(tostring(key))]
    if not reader then refuse("unknown argument given to redis.register_function") end
    reader(result, value)
  end
  if not result.name then refuse("redis.register_function must get a function name argument") end
  if not result.callback then refuse("redis.register_function must get a callback argument") end
  return result
end

local function register_function(...)
  if not registered then refuse("redis.register_function can only be called on FUNCTION LOAD command") end
  local count = select("#", ...)
  if count < 1 or count > 2 then refuse("wrong number of arguments to redis.register_function") end
  local first, second = ...
  local found
  if count == 1 then
    found = read_named(first)
  else
    if not text_of(first) then refuse("first argument to redis.register_function must be a string") end
    if type(second) ~= "function" then refuse("second argument to redis.register_function must be a function") end
    found = {name = text_of(first), callback = second, flags = 0}
  end
  if not match(found.name, "^[%w_]+$") then refuse(BAD_NAME) end
  if names[found.name] then refuse("Function already exists in the library") end
  names[found.name] = true
  local number = #scripts + 1
  scripts[number] = found.callback
  local at = #registered
  registered[at + 1], registered[at + 2] = found.name, found.description or false
  registered[at + 3], registered[at + 4] = found.flags, number
end

local function missing(_, name)
  complain("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'")
end

-- What a library sees while its chunk runs.
local loading_redis = setmetatable({register_function = register_function}, {__index = missing})
for _, name in next, {
  "log", "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING", "REDIS_VERSION", "REDIS_VERSION_NUM",
} do
  loading_redis[name] = sandbox.redis[name]
end
local loading = {redis = sandbox.protect(loading_redis)}
local full    -- what is in `hot` otherwise
-- the environment of libraries that assign to globals
local strict = sandbox.protect(hot)

local function show(contents)
  for name in next, hot do hot[name] = nil end
  for name, value in next, contents do hot[name] = value end
end

local function stop_if_late()
  if sub(getinfo(2, "S").source, 1, 9) ~= "=coordkit" and is_late() then
    sethook(stop_if_late, "", 1)
    throw({err = "ERR FUNCTION LOAD timeout"})
  end
end

-- Runs the chunk of a library; returns true, and passes the parts of its functions on; or false and a text.
local function load(source)
  local chunk, message = sandbox.load_text(source, "@user_function")
  if not chunk then return false, "Error compiling function: " .. message end
  local code, calls_back, sets_globals = prepare(dump(chunk), false)
  chunk = setfenv(loadstring(code, "@user_function"), sets_globals and strict or hot)
  if not full then
    full = {}
    for name, value in next, hot do full[name] = value end
  end
  registered, names = {}, {}
  show(loading)
  sethook(stop_if_late, "", COUNT)
  local ok, err = pcall(chunk)
  sethook()
  show(full)
  local parts = registered
  registered, names = nil, nil
  if not ok then
    local text = type(err) == "table" and text_of(err.err) or "ERR " .. tostring(err)
    return false, "Error registering functions: " .. text
  end
  for at = 4, #parts, 4 do
    if calls_back then scripts[parts[at]] = sandbox.calling_back(scripts[parts[at]]) end
  end
  sandbox.give_all(parts, #parts)
  return true
end

local function forget(number)
  scripts[number] = false
end

return load, forget
