-- bits: the libraries `bit` (BitOp 1.0) and `struct` (struct 0.2), whose work is done by the server.
--
-- Arguments: the table of sandbox.lua, bit_operation, struct_pack, struct_unpack, struct_size.  Returns nothing.
local sandbox, bit_operation, struct_pack, struct_unpack, struct_size = ...
local complain, bad_argument = sandbox.complain, sandbox.bad_argument
local type, select, tonumber, tostring = type, select, tonumber, tostring

local bit = {}

-- Adds the function `name` of `operands` numbers; with 0 operands of one or more, folded two by two.
local function add(name, operands)
  bit[name] = function(...)
    local count = select("#", ...)
    local result = nil
    for i = 1, operands == 0 and (count > 0 and count or 1) or operands do
      local value = tonumber((select(i, ...)))
      if not value then bad_argument(i, name, "number", count, (select(i, ...))) end
      if operands == 0 then result = i == 1 and bit_operation("tobit", value, 0) or bit_operation(name, result, value) end
    end
    if operands == 0 then return result end
    local first, second = ...
    return bit_operation(name, tonumber(first), operands == 2 and tonumber(second) or 0)
  end
end

for _, name in ipairs {"band", "bor", "bxor"} do add(name, 0) end
for _, name in ipairs {"tobit", "bnot", "bswap"} do add(name, 1) end
for _, name in ipairs {"lshift", "rshift", "arshift", "rol", "ror"} do add(name, 2) end

function bit.tohex(...)
  local count = select("#", ...)
  local value, digits = ...
  if not tonumber(value) then bad_argument(1, "tohex", "number", count, value) end
  if count > 1 and not tonumber(digits) then bad_argument(2, "tohex", "number", count, digits) end
  return bit_operation("tohex", tonumber(value), count > 1 and tonumber(digits) or 8)
end

sandbox.globals.bit = sandbox.protect(bit)

-- Passes the results of a server function on; nil, a text and maybe a position are an error.
local function results(name, first, message, position, ...)
  if first ~= nil then return first, message, position, ... end
  if position then message = "bad argument #" .. position .. " to '" .. name .. "' (" .. message .. ")" end
  complain(message)
end

local function format_text(name, ...)
  local value = ...
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" then bad_argument(1, name, "string", select("#", ...), value) end
  return tostring(value)
end

local struct = {}

function struct.pack(...)
  return (results("pack", struct_pack(format_text("pack", ...), select(2, ...))))
end

function struct.unpack(...)
  local shape = format_text("unpack", ...)
  local count = select("#", ...)
  local _, data, position = ...
  local kind = type(data)
  if kind ~= "string" and kind ~= "number" then bad_argument(2, "unpack", "string", count, data) end
  if position ~= nil and not tonumber(position) then bad_argument(3, "unpack", "number", count, position) end
  return results("unpack", struct_unpack(shape, tostring(data), tonumber(position or 1)))
end

function struct.size(...)
  return (results("size", struct_size(format_text("size", ...))))
end

sandbox.globals.struct = sandbox.protect(struct)
