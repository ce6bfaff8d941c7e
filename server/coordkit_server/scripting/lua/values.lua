-- values: builds plain tables from what the server's readers of JSON and MessagePack return: a shape, whether its parts
-- come in lots, and the parts.  One character a value: `.` next part, `-` nil, `0` null, `[ ]` array, `{ }` table.
--
-- Arguments: the table of sandbox.lua, take.  Returns nothing; adds `build` and `build_all`.
local sandbox, take = ...
local null, throw = sandbox.null, sandbox.throw
local byte, unpack = string.byte, unpack
local LOT = 4000

local shape, at, parts, used

local function value()
  local token = byte(shape, at)
  at = at + 1
  if token == 46 then
    used = used + 1
    return parts[used]
  elseif token == 123 then
    local result = {}
    while byte(shape, at) ~= 125 do
      local key = value()
      local content = value()
      if key == nil then throw("table index is nil") end
      result[key] = content
    end
    at = at + 1
    return result
  elseif token == 91 then
    local result, count = {}, 0
    while byte(shape, at) ~= 93 do
      count = count + 1
      result[count] = value()
    end
    at = at + 1
    return result
  elseif token == 48 then
    return null
  end
  return nil
end

local function start(spelt, in_lots, ...)
  shape, at, used = spelt, 1, 0
  if not in_lots then
    parts = {...}
    return
  end
  local count = ...
  parts = {}
  for filled = 0, count - 1, LOT do
    local lot = {take()}
    for i = 1, LOT do parts[filled + i] = lot[i] end
  end
end

-- Returns the value that `...` describes; if there is no description, what `otherwise(document, settings)` returns.
function sandbox.build(otherwise, document, settings, spelt, ...)
  if not spelt then return otherwise(document, settings) end
  start(spelt, ...)
  local result = value()
  parts = nil
  return result
end

-- Returns all values that `...` describes, and how many there are, as an array with holes.
function sandbox.build_all(spelt, ...)
  start(spelt, ...)
  local results, count = {}, 0
  while at <= #shape do
    count = count + 1
    results[count] = value()
  end
  parts = nil
  return results, count
end
