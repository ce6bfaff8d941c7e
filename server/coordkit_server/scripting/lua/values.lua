-- values: builds plain tables from what the server's readers of JSON and MessagePack return: a shape, whether its parts
-- come in lots, and the parts.  One character a value: `.` next part, `-` nil, `0` null, `[ ]` array, `{ }` table.
--
-- Arguments: the table of sandbox.lua, take.  Returns nothing; adds `build` and `build_all`.
local sandbox, take = ...
local null, throw = sandbox.null, sandbox.throw
local byte, unpack = string.byte, unpack
local LOT = 4000

local tokens, at, parts, used

local value

local function table_of()
  local result = {}
  local token = tokens[at]
  while token ~= 125 do
    at = at + 1
    local key, content
    if token == 46 then
      used = used + 1
      key = parts[used]
    else
      key = value(token)
    end
    token = tokens[at]
    at = at + 1
    if token == 46 then
      used = used + 1
      content = parts[used]
    else
      content = value(token)
    end
    if key == nil then throw("table index is nil") end
    result[key] = content
    token = tokens[at]
  end
  at = at + 1
  return result
end

local function array_of()
  local result, count = {}, 0
  local token = tokens[at]
  while token ~= 93 do
    at = at + 1
    count = count + 1
    if token == 46 then
      used = used + 1
      result[count] = parts[used]
    else
      result[count] = value(token)
    end
    token = tokens[at]
  end
  at = at + 1
  return result
end

-- Returns the value that starts with `token`, which has been passed.
function value(token)
  if token == 46 then
    used = used + 1
    return parts[used]
  elseif token == 123 then
    return table_of()
  elseif token == 91 then
    return array_of()
  elseif token == 48 then
    return null
  end
  return nil
end

-- Returns the characters of `text` as numbers.
local function characters(text)
  local size = #text
  if size <= LOT then return {byte(text, 1, size)} end
  local result = {}
  for first = 1, size, LOT do
    local lot = {byte(text, first, first + LOT - 1)}
    for i = 1, #lot do result[first + i - 1] = lot[i] end
  end
  return result
end

local function start(spelt, in_lots, ...)
  tokens, at, used = characters(spelt), 1, 0
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

local function finish()
  tokens, parts = nil, nil
end

-- Returns the value that `...` describes; if there is no description, what `otherwise(document, settings)` returns.
function sandbox.build(otherwise, document, settings, spelt, ...)
  if not spelt then return otherwise(document, settings) end
  start(spelt, ...)
  at = 2
  local result = value(tokens[1])
  finish()
  return result
end

-- Returns all values that `...` describes, and how many there are, as an array with holes.
function sandbox.build_all(spelt, ...)
  start(spelt, ...)
  local results, count = {}, 0
  local token = tokens[at]
  while token do
    at = at + 1
    count = count + 1
    results[count] = value(token)
    token = tokens[at]
  end
  finish()
  return results, count
end
