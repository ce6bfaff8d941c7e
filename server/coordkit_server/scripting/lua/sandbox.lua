-- sandbox: what a script can reach.  All scripts share one environment, and every table in it is read-only.
--
-- A read-only table is an empty proxy: reads fall through `__index` to the real table, writes raise.  Functions that
-- work on a table behind its metatable's back (rawset, table.insert, setmetatable...) are wrapped, so that a proxy
-- stays empty.  The state's own global table is emptied at the end and never reached: functions of this file keep it
-- as their environment, which is how they are told from functions of scripts.
--
-- Functions that never assign to a global read them from `hot` instead: a plain copy of the environment, no table that
-- scripts reach, with KEYS, ARGV and what rewritten code names.
--
-- Arguments: whether libraries of functions will run here and not scripts; a chunk that joins its arguments, and how
-- many it takes.  Returns a table of what the other files need; see its end.
local runs_functions, join_code, join_count = ...
local state_globals = getfenv(0)
local getfenv, setfenv, getmetatable, setmetatable = getfenv, setfenv, getmetatable, setmetatable
local rawget, rawset, next, pairs, ipairs = rawget, rawset, next, pairs, ipairs
local insert, remove, sort, concat, foreach = table.insert, table.remove, table.sort, table.concat, table.foreach
local pcall, xpcall, loadstring, dump = pcall, xpcall, loadstring, string.dump
local byte, match, sub = string.byte, string.match, string.sub
local type, error, select, tostring, tonumber, floor = type, error, select, tostring, tonumber, math.floor
local getinfo = debug.getinfo

local READONLY = "Attempt to modify a readonly table"
local real_of = {}      -- proxy -> the table behind it
local shown_meta = {}   -- proxy -> what getmetatable returns for it

-- The value of the last error: the host gets only the text of one that ends a script.
local raised

local function throw(value)
  raised = value
  error(value, 0)
end

-- Raises a text with the place where a script called the server's Lua in front, as a C function would.
local function complain(message)
  local level = 2
  local info = getinfo(level, "Sl")
  while info and (info.what == "tail" or sub(info.source, 1, 9) == "=coordkit") do
    level = level + 1
    info = getinfo(level, "Sl")
  end
  if info and info.what ~= "C" then
    message = info.short_src .. ":" .. info.currentline .. ": " .. message
  end
  throw(message)
end

-- Raises what the C function `name` would raise for a wrong argument.
local function bad_argument(position, name, expected, count, value)
  local got = count >= position and type(value) or "no value"
  complain("bad argument #" .. position .. " to '" .. name .. "' (" .. expected .. " expected, got " .. got .. ")")
end

local function refuse_write()
  complain(READONLY)
end

-- Returns a read-only proxy of `real`.
local function protect(real)
  local proxy = setmetatable({}, {__index = real, __newindex = refuse_write})
  real_of[proxy] = real
  return proxy
end

-- cjson.null is a null pointer in Redis.
local null = newproxy(true)
getmetatable(null).__tostring = function() return "userdata: (nil)" end

local hot = {}

local function missing_global(_, name)
  if name == "KEYS" or name == "ARGV" then
    local value = rawget(hot, name)
    if value ~= nil then return value end
  end
  local kind = type(name)
  if kind ~= "string" and kind ~= "number" then
    complain("Second argument to luaProtectedTableError must be a string or number")
  end
  name = match(name, "^redis%.(%a+) ") or name    -- what rewritten code names
  complain("Script attempted to access nonexistent global variable '" .. name .. "'")
end

local globals = setmetatable({}, {__index = missing_global})
local env = protect(globals)
shown_meta[env] = protect({__index = missing_global})
setmetatable(hot, getmetatable(globals))
local string_meta = getmetatable("")
local shown_string_meta

-- basic functions --------------------------------------------------------------------------------------------------

function globals.setmetatable(...)
  local t, meta = ...
  local count = select("#", ...)
  if type(t) ~= "table" then bad_argument(1, "setmetatable", "table", count, t) end
  if count < 2 or meta ~= nil and type(meta) ~= "table" then
    complain("bad argument #2 to 'setmetatable' (nil or table expected)")
  end
  if real_of[t] then throw(READONLY) end
  local old = getmetatable(t)
  if old ~= nil and (type(old) ~= "table" or rawget(old, "__metatable") ~= nil) then
    complain("cannot change a protected metatable")
  end
  return setmetatable(t, meta)
end

function globals.getmetatable(...)
  local value = ...
  if select("#", ...) == 0 then complain("bad argument #1 to 'getmetatable' (value expected)") end
  if type(value) == "string" then return shown_string_meta end
  if value == null then return nil end
  if real_of[value] then return shown_meta[value] end
  return getmetatable(value)
end

function globals.rawset(...)
  local t, key, value = ...
  local count = select("#", ...)
  if type(t) ~= "table" then bad_argument(1, "rawset", "table", count, t) end
  if count < 3 then complain("bad argument #" .. count + 1 .. " to 'rawset' (value expected)") end
  if real_of[t] then throw(READONLY) end
  return rawset(t, key, value)
end

function globals.rawget(...)
  local t, key = ...
  local count = select("#", ...)
  if type(t) ~= "table" then bad_argument(1, "rawget", "table", count, t) end
  if count < 2 then complain("bad argument #2 to 'rawget' (value expected)") end
  if t == env and (key == "KEYS" or key == "ARGV") then return rawget(hot, key) end
  return rawget(real_of[t] or t, key)
end

local function copy(t)
  local result = {}
  for name, value in pairs(t) do result[name] = value end
  return result
end

-- Returns what is behind a proxy, as a table of its own; other tables as they are.
local function contents(t)
  local real = real_of[t]
  if not real then return t end
  local result = copy(real)
  if t == env then result.KEYS, result.ARGV = rawget(hot, "KEYS"), rawget(hot, "ARGV") end
  return result
end

function globals.next(...)
  local t, key = ...
  if type(t) ~= "table" then bad_argument(1, "next", "table", select("#", ...), t) end
  local ok, found, value = pcall(next, contents(t), key)
  if not ok then complain(found) end
  return found, value
end

function globals.pairs(...)
  local t = ...
  if type(t) ~= "table" then bad_argument(1, "pairs", "table", select("#", ...), t) end
  return next, contents(t), nil
end

-- Returns the function running at `level` of the script that called the caller of this function.
local function function_at(level, name)
  if level < 0 then complain("bad argument #1 to '" .. name .. "' (level must be non-negative)") end
  local info = getinfo(level + 2, "f")
  if not info then complain("bad argument #1 to '" .. name .. "' (invalid level)") end
  return info.func
end

function globals.getfenv(target)
  if target == nil then target = 1 end
  if target == 0 then return env end
  if type(target) == "number" then target = function_at(target, "getfenv") end
  if type(target) ~= "function" then bad_argument(1, "getfenv", "number", 1, target) end
  local found = getfenv(target)
  return (found == state_globals or found == hot) and env or found
end

function globals.setfenv(...)
  local target, new = ...
  if type(new) ~= "table" then bad_argument(2, "setfenv", "table", select("#", ...), new) end
  if type(target) == "number" and target ~= 0 then target = function_at(target, "setfenv") end
  if target ~= 0 and type(target) ~= "function" then bad_argument(1, "setfenv", "number", 1, target) end
  if target == 0 or getfenv(target) == state_globals then
    complain("'setfenv' cannot change environment of given object")
  end
  return setfenv(target, new)
end

local OUT_OF_MEMORY = "not enough memory"

-- A script that has used up the memory ends, whatever it protects.
local function not_out_of_memory(ok, err, ...)
  if not ok and err == OUT_OF_MEMORY then throw(err) end
  return ok, err, ...
end

-- pcall returns the text of a server error in place of its table, as it was before errors became tables.
local function plain_error(ok, err, ...)
  if ok then return ok, err, ... end
  if err == OUT_OF_MEMORY then throw(err) end
  if type(err) == "table" then
    local text = rawget(err, "err")
    if type(text) == "string" or type(text) == "number" then return false, text end
  end
  return false, err
end

function globals.pcall(...)
  if select("#", ...) == 0 then return false, "attempt to call a boolean value" end
  return plain_error(pcall(...))
end

function globals.xpcall(...)
  if select("#", ...) < 2 then complain("bad argument #2 to 'xpcall' (value expected)") end
  return not_out_of_memory(xpcall(...))
end

-- Returns a function with the environment of scripts, or nil and a message.  Source text only: bytecode is not
-- verified by the interpreter.
local function load_text(source, name)
  if byte(source, 1) == 27 then return nil, "bytecode is not allowed" end
  local chunk, message = loadstring(source, name)
  if not chunk then return nil, message end
  return setfenv(chunk, env)
end

function globals.loadstring(...)
  local source, name = ...
  local kind = type(source)
  if kind ~= "string" and kind ~= "number" then bad_argument(1, "loadstring", "string", select("#", ...), source) end
  source = tostring(source)
  return load_text(source, name or source)
end

function globals.load(...)
  local reader, name = ...
  if type(reader) ~= "function" then bad_argument(1, "load", "function", select("#", ...), reader) end
  local parts = {}
  while true do
    local part = reader()
    if part == nil or part == "" then break end
    if type(part) ~= "string" then return nil, "reader function must return a string" end
    parts[#parts + 1] = part
  end
  return load_text(concat(parts), name or "=(load)")
end

function globals.error(...)
  local value, level = ...
  raised = value
  level = tonumber(level) or 1
  error(value, level > 0 and level + 1 or level)
end

for _, name in ipairs {
  "assert", "collectgarbage", "gcinfo", "ipairs", "rawequal", "select", "tonumber", "tostring", "type",
  "unpack", "_VERSION",
} do
  globals[name] = state_globals[name]
end
globals._G = env

-- libraries --------------------------------------------------------------------------------------------------------

local string_library = copy(string)
function string_library.dump(...)
  local target = ...
  if type(target) ~= "function" then bad_argument(1, "dump", "function", select("#", ...), target) end
  if getfenv(target) == state_globals then complain("unable to dump given function") end
  return dump(target)
end
globals.string = protect(string_library)
string_meta.__index = string_library
shown_string_meta = protect({__index = globals.string})

local BAD_ORDER = "invalid order function for sorting"
local table_library = copy(table)
function table_library.insert(t, ...)
  if real_of[t] then throw(READONLY) end
  local count = select("#", ...)
  if type(t) ~= "table" then bad_argument(1, "insert", "table", t == nil and count or 1, t) end
  if count ~= 1 and count ~= 2 then complain("wrong number of arguments to 'insert'") end
  if count == 2 and not tonumber((...)) then bad_argument(2, "insert", "number", 2, (...)) end
  insert(t, ...)
end
function table_library.remove(t, ...)
  if real_of[t] then throw(READONLY) end
  if type(t) ~= "table" then bad_argument(1, "remove", "table", t == nil and select("#", ...) or 1, t) end
  return remove(t, ...)
end
function table_library.sort(t, ...)
  if real_of[t] then throw(READONLY) end
  if type(t) ~= "table" then bad_argument(1, "sort", "table", t == nil and select("#", ...) or 1, t) end
  local comes_before = ...
  if comes_before ~= nil and type(comes_before) ~= "function" then
    bad_argument(2, "sort", "function", 2, comes_before)
  end
  local ok, err = pcall(sort, t, comes_before)
  if ok then return end
  if err == BAD_ORDER then complain(err) end
  throw(err)
end
function table_library.foreach(t, ...)
  return foreach(contents(t), ...)
end
globals.table = protect(table_library)
local coroutine_library = copy(coroutine)
local resume = coroutine.resume
function coroutine_library.resume(...)
  return not_out_of_memory(resume(...))
end
globals.coroutine = protect(coroutine_library)

-- The generator of math.random is Redis's: x = (0x5DEECE66D x + 0xB) mod 2^48, here in two halves of 24 bits; a draw
-- is the top 31 bits.
local HALF = 16777216
local high, low = 0x1234AB, 0xCD330E

local function random_fraction()
  local bottom = low * 0xECE66D + 0xB
  high = (high * 0xECE66D + low * 0x5DE + floor(bottom / HALF)) % HALF
  low = bottom % HALF
  return (high * 128 + floor(low / 131072)) % 2147483647 / 2147483647
end

local function check_integer(position, name, count, value)
  local number = tonumber(value)
  if not number then bad_argument(position, name, "number", count, value) end
  -- what a C int makes of it
  if not (number >= -9223372036854775808 and number < 9223372036854775808) then return 0 end
  number = (number < 0 and -floor(-number) or floor(number)) % 4294967296
  return number < 2147483648 and number or number - 4294967296
end

local math_library = copy(math)
function math_library.random(...)
  local fraction = random_fraction()
  local count = select("#", ...)
  if count == 0 then return fraction end
  local lower, upper = 1, nil
  local first, second = ...
  if count == 1 then
    upper = check_integer(1, "random", count, first)
  elseif count == 2 then
    lower = check_integer(1, "random", count, first)
    upper = check_integer(2, "random", count, second)
  else
    complain("wrong number of arguments")
  end
  if lower > upper then complain("bad argument #" .. count .. " to 'random' (interval is empty)") end
  return floor(fraction * (upper - lower + 1)) + lower
end
function math_library.randomseed(...)
  local seed = check_integer(1, "randomseed", select("#", ...), (...)) % 4294967296
  high, low = floor(seed / 256), seed % 256 * 65536 + 0x330E
end
globals.math = protect(math_library)

-- Returns the value that a chunk of the server's makes.
local function construct(code)
  local make, message = loadstring(code)
  if not make then throw(message) end
  return make(null)
end

local join = loadstring(join_code)
local unpack = unpack

-- Returns the first `count` of `pieces` as one string: what table.concat does, in half the time.
local function joined(pieces, count)
  if count < join_count then return concat(pieces, "", 1, count) end
  local lots, filled, from = {}, 0, 1
  while from + join_count - 1 <= count do
    filled = filled + 1
    lots[filled] = join(unpack(pieces, from, from + join_count - 1))
    from = from + join_count
  end
  lots[filled + 1] = concat(pieces, "", from, count)
  return concat(lots)
end

return {
  globals = globals,            -- behind the environment of scripts: the libraries are put here
  env = env,                    -- the environment of scripts
  hot = hot,                    -- the same, for functions that never assign to a global
  seal = function()             -- to be called when everything has been added
    for name, value in pairs(globals) do hot[name] = value end
    for name in pairs(state_globals) do state_globals[name] = nil end
  end,
  protect = protect,            -- table -> read-only proxy
  joined = joined,              -- array, count -> string
  construct = construct,        -- chunk of the server's -> the value that it makes
  load_text = load_text,        -- source, chunk name -> function in `env`, or nil and a message
  coroutines = coroutine_library,
  bad_argument = bad_argument,
  complain = complain,          -- raises a text with the place in front, as a C function does
  null = null,                  -- cjson.null
  runs_functions = runs_functions,
  throw = throw,                -- raises a value
  raised = function() return raised end,
}
