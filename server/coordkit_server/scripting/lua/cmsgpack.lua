-- cmsgpack: MessagePack as lua-cmsgpack 0.4 reads and writes it.
--
-- Arguments: the table of sandbox.lua, pack_double and read_messages of the server.  Returns nothing; adds `cmsgpack`.
local sandbox, pack_double, read_messages = ...
local complain, bad_argument, build_all = sandbox.complain, sandbox.bad_argument, sandbox.build_all
local type, select, next, tonumber, tostring, unpack = type, select, next, tonumber, tostring, unpack
local char, concat, floor = string.char, table.concat, math.floor
local MAX_NESTING = 16
local MAX_RESULTS = 7900

-- Returns `value` as `count` bytes, the highest first; negative ones in two's complement.
local function bytes(value, count)
  if value < 0 then
    if count == 8 then
      -- 2^64 + value would lose digits: the halves one by one
      local low = value % 4294967296
      return bytes((value - low) / 4294967296 + 4294967296, 4) .. bytes(low, 4)
    end
    value = value + 256 ^ count
  end
  if count == 1 then return char(value) end
  if count == 2 then return char(floor(value / 256), value % 256) end
  if count == 4 then
    return char(floor(value / 16777216), floor(value / 65536) % 256, floor(value / 256) % 256, value % 256)
  end
  return bytes(floor(value / 4294967296), 4) .. bytes(value % 4294967296, 4)
end

local BYTES = {}    -- 0 to 255 -> that byte
for value = 0, 255 do BYTES[value] = char(value) end

local function pack_integer(value)
  if value >= 0 then
    if value <= 0xFF then return "\204" .. BYTES[value] end
    if value <= 0xFFFF then return "\205" .. bytes(value, 2) end
    if value <= 0xFFFFFFFF then return "\206" .. bytes(value, 4) end
    return "\207" .. bytes(value, 8)
  end
  if value >= -32 then return BYTES[256 + value] end
  if value >= -128 then return "\208" .. bytes(value, 1) end
  if value >= -32768 then return "\209" .. bytes(value, 2) end
  if value >= -2147483648 then return "\210" .. bytes(value, 4) end
  return "\211" .. bytes(value, 8)
end

local function pack_number(value)
  if value % 1 == 0 and value >= -9223372036854775808 and value < 9223372036854775808 then
    return pack_integer(value)
  end
  return pack_double(value)
end

-- Returns what stands in front of `count` elements: one byte up to `few`, else a type byte and two or four.
local function head(count, fixed, few, two, four)
  if count <= few then return BYTES[fixed + count] end
  if count <= 0xFFFF then return BYTES[two] .. bytes(count, 2) end
  return BYTES[four] .. bytes(count, 4)
end

local function string_head(size)
  if size <= 0xFF then return "\217" .. BYTES[size] end
  return head(size, 0, -1, 218, 219)
end

-- Returns how long `t` is if it is an array, nil if not, and how many elements it has.
local function measure(t)
  local longest, count, is_array = 0, 0, true
  for key in next, t do
    if type(key) ~= "number" or key <= 0 or key > 2147483647 or key % 1 ~= 0 then
      is_array = false
    elseif key > longest then
      longest = key
    end
    count = count + 1
  end
  return is_array and longest == count and count or nil, count
end

local out, filled    -- what has been written

local pack_value

local function pack_table(t, level)
  local length, count = measure(t)
  filled = filled + 1
  if length then
    out[filled] = head(length, 144, 15, 220, 221)
    for i = 1, length do pack_value(t[i], level + 1) end
    return
  end
  out[filled] = head(count, 128, 15, 222, 223)
  for key, value in next, t do
    pack_value(key, level + 1)
    pack_value(value, level + 1)
  end
end

function pack_value(value, level)
  local kind = type(value)
  if kind == "string" then
    local size = #value
    out[filled + 1] = size < 32 and BYTES[160 + size] or string_head(size)
    out[filled + 2] = value
    filled = filled + 2
    return
  end
  if kind == "table" and level < MAX_NESTING then return pack_table(value, level) end
  filled = filled + 1
  if kind == "number" then
    out[filled] = value >= 0 and value <= 127 and BYTES[value] or pack_number(value)
  elseif kind == "boolean" then
    out[filled] = value and "\195" or "\194"
  else
    out[filled] = "\192"
  end
end

local cmsgpack = {
  _NAME = "cmsgpack",
  _VERSION = "lua-cmsgpack 0.4.0",
  _COPYRIGHT = "Copyright (C) 2012, Salvatore Sanfilippo",
  _DESCRIPTION = "MessagePack C implementation for Lua",
}

function cmsgpack.pack(...)
  local count = select("#", ...)
  if count == 0 then complain("bad argument #0 to 'pack' (MessagePack pack needs input.)") end
  out, filled = {}, 0
  for i = 1, count do pack_value((select(i, ...)), 0) end
  local packed = concat(out, "", 1, filled)
  out = nil
  return packed
end

local function integer(name, position, count, value, default)
  if value == nil and default then return default end
  local number = tonumber(value)
  if not number then bad_argument(position, name, "number", count, value) end
  return number < 0 and -floor(-number) or floor(number)
end

-- Returns the values in `data`: all of them, or the next offset and at most `limit` from `offset` on.
local function unpack_values(name, count, data, limit, offset)
  local kind = type(data)
  if kind ~= "string" and kind ~= "number" then bad_argument(1, name, "string", count, data) end
  data = tostring(data)
  if offset < 0 or limit < 0 then
    complain("Invalid request to unpack with offset of " .. offset .. " and limit of " .. #data .. ".")
  elseif offset > #data then
    complain("Start offset " .. offset .. " greater than input length " .. #data .. ".")
  end
  local all = limit == 0 and offset == 0
  local problem, following, results, found = nil, nil, nil, nil
  local function receive(first, second, ...)
    if not first then
      problem = second
    else
      following = second
      results, found = build_all(first, ...)
    end
  end
  receive(read_messages(data, all and -1 or limit, offset))
  if problem then complain(problem) end
  if found > MAX_RESULTS then
    complain("stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)")
  end
  if all then return unpack(results, 1, found) end
  return following, unpack(results, 1, found)
end

function cmsgpack.unpack(...)
  return unpack_values("unpack", select("#", ...), (...), 0, 0)
end

function cmsgpack.unpack_one(...)
  local data, offset = ...
  local count = select("#", ...)
  return unpack_values("unpack_one", count, data, 1, integer("unpack_one", 2, count, offset, 0))
end

function cmsgpack.unpack_limit(...)
  local data, limit, offset = ...
  local count = select("#", ...)
  return unpack_values("unpack_limit", count, data, integer("unpack_limit", 2, count, limit),
    integer("unpack_limit", 3, count, offset, 0))
end

sandbox.globals.cmsgpack = sandbox.protect(cmsgpack)
