-- cmsgpack: MessagePack as lua-cmsgpack 0.4 reads and writes it.
--
-- Arguments: the table of sandbox.lua, pack_double and read_messages of the server.  Returns nothing; adds `cmsgpack`.
local sandbox, pack_double, read_messages = ...
local complain, bad_argument, construct = sandbox.complain, sandbox.bad_argument, sandbox.construct
local joined = sandbox.joined
local type, select, next, tonumber, tostring, unpack = type, select, next, tonumber, tostring, unpack
local throw = sandbox.throw
local char, find, sub, floor = string.char, string.find, string.sub, math.floor
local frexp = math.frexp
local MAX_NESTING = 16

local BYTES = {}    -- 0 to 255 -> that byte
for value = 0, 255 do BYTES[value] = char(value) end
local TEXT_HEADS = {}    -- size of a short string -> what stands in front of it
for size = 0, 255 do TEXT_HEADS[size] = size < 32 and BYTES[160 + size] or "\217" .. BYTES[size] end
local MAP_HEADS = {[0] = "\144"}    -- count of a small map -> what stands in front of it; an empty table is an array
for count = 1, 15 do MAP_HEADS[count] = BYTES[128 + count] end
local WORD_HEADS = {}    -- the higher byte of an integer of two -> it, with what stands in front
for value = 0, 255 do WORD_HEADS[value] = "\205" .. BYTES[value] end
local SMALL = {[true] = "\195", [false] = "\194"}    -- integers of one or two bytes, booleans
for value = 0, 255 do SMALL[value] = value < 128 and BYTES[value] or "\204" .. BYTES[value] end
for value = -128, -1 do SMALL[value] = value >= -32 and BYTES[256 + value] or "\208" .. BYTES[256 + value] end

-- Returns an integer from 0 to 2^32 - 1 behind `kind` as four bytes.
local function four(kind, value)
  return char(kind, floor(value / 16777216), floor(value / 65536) % 256, floor(value / 256) % 256, value % 256)
end

-- Returns an integer that SMALL does not have.
local function pack_integer(value)
  local low = value % 256
  if value >= 0 then
    if value <= 0xFFFF then return WORD_HEADS[(value - low) / 256] .. BYTES[low] end
    if value <= 0xFFFFFFFF then return four(206, value) end
  else
    if value >= -32768 then return char(209, (value - low) / 256 + 256, low) end
    if value >= -2147483648 then return four(210, value + 4294967296) end
  end
  -- 2^64 + value would lose digits: the halves one by one
  low = value % 4294967296
  local high = (value - low) / 4294967296
  return value >= 0 and four(207, high) .. sub(four(0, low), 2) or four(211, high + 4294967296) .. sub(four(0, low), 2)
end

-- Returns a number that SMALL does not have; one that is no integer as the shortest float that holds it.
local function pack_number(value)
  if value % 1 == 0 and value >= -9223372036854775808 and value < 9223372036854775808 then
    return pack_integer(value)
  end
  local fraction, exponent = frexp(value)
  local sign = 0
  if value < 0 then fraction, sign = -fraction, 128 end
  local digits = fraction * 16777216 - 8388608
  if digits % 1 == 0 and exponent > -126 and exponent <= 128 then
    exponent = exponent + 126
    local odd, low, middle = exponent % 2, digits % 256, digits % 65536
    return char(202, sign + (exponent - odd) / 2, odd * 128 + (digits - middle) / 65536, (middle - low) / 256, low)
  end
  return pack_double(value)
end

-- Returns what stands in front of `count` elements: one byte up to 15, else a type byte and two or four.
local function head(count, fixed, two, four_)
  if count <= 15 then return BYTES[fixed + count] end
  if count <= 0xFFFF then return char(two, floor(count / 256), count % 256) end
  return four(four_, count)
end

local function text_head(size)
  if size <= 0xFFFF then return char(218, floor(size / 256), size % 256) end
  return four(219, size)
end

-- Packed names, kept from one call to the next.
local KEPT = 65536    -- bytes, about
local known_names, kept = {}, 0

local function name_of(key)
  local size = #key
  local name = (TEXT_HEADS[size] or text_head(size)) .. key
  known_names[key] = name
  kept = kept + #name
  return name
end

-- Returns how long `t` is if it is an array, nil if not, and how many elements it has.
local function measure(t)
  local count = 0
  for key in next, t do
    count = count + 1
    if key ~= count then
      count = nil
      break
    end
  end
  if count then return count, count end
  local longest, is_array = 0, true
  count = 0
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

local pack_table

-- Packs what has no entry in SMALL.
local function pack_value(value, kind, level)
  if kind == "string" then
    local size = #value
    out[filled + 1], out[filled + 2] = TEXT_HEADS[size] or text_head(size), value
    filled = filled + 2
    return
  end
  if kind == "table" and level < MAX_NESTING then return pack_table(value, level + 1) end
  filled = filled + 1
  out[filled] = kind == "number" and pack_number(value) or "\192"
end

local function pack_any(value, level)
  local text = SMALL[value]
  if not text then return pack_value(value, type(value), level) end
  filled = filled + 1
  out[filled] = text
end

-- Packs a table that is none with names; `level` is that of its elements.
local function pack_elements(t, level)
  local length, count = measure(t)
  filled = filled + 1
  if length then
    out[filled] = head(length, 144, 220, 221)
    for i = 1, length do
      local value = t[i]
      local text = SMALL[value]
      if text then
        filled = filled + 1
        out[filled] = text
      else
        pack_value(value, type(value), level)
      end
    end
    return
  end
  out[filled] = head(count, 128, 222, 223)
  for key, value in next, t do
    pack_any(key, level)
    pack_any(value, level)
  end
end

-- Packs a table, whose first key tells if it can be an array; `level` is that of its elements.
function pack_table(t, level)
  local out, filled_, count = out, filled + 1, 0
  local head_at = filled_
  for key, value in next, t do
    count = count + 1
    local name = known_names[key] or type(key) == "string" and name_of(key)
    if name then
      filled_ = filled_ + 1
      out[filled_] = name
    elseif count == 1 then
      return pack_elements(t, level)
    else
      filled = filled_
      pack_any(key, level)
      filled_ = filled
    end
    local text = SMALL[value]
    if text then
      filled_ = filled_ + 1
      out[filled_] = text
    else
      local kind = type(value)
      if kind == "string" then
        local size = #value
        out[filled_ + 1], out[filled_ + 2] = TEXT_HEADS[size] or text_head(size), value
        filled_ = filled_ + 2
      elseif kind == "number" then
        if value > 255 and value <= 0xFFFF and value % 1 == 0 then
          local low = value % 256
          out[filled_ + 1], out[filled_ + 2] = WORD_HEADS[(value - low) / 256], BYTES[low]
          filled_ = filled_ + 2
        else
          filled_ = filled_ + 1
          out[filled_] = pack_number(value)
        end
      elseif kind == "table" and level < MAX_NESTING then
        filled = filled_
        pack_table(value, level + 1)
        filled_ = filled
      else
        filled_ = filled_ + 1
        out[filled_] = "\192"
      end
    end
  end
  out[head_at] = MAP_HEADS[count] or head(count, 128, 222, 223)
  filled = filled_
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
  if kept > KEPT then known_names, kept = {}, 0 end
  out, filled = {}, 0
  for i = 1, count do pack_any((select(i, ...)), 0) end
  local packed = joined(out, filled)
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
  local code, found, following = read_messages(data, all and -1 or limit, offset)
  if not code then
    if find(found, "^table index") then throw(found) end    -- raised by no function, as in C
    complain(found)
  end
  local results = construct(code)
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
