-- cjson: JSON as Lua CJSON 2.1 reads and writes it, with its settings and its error texts.
--
-- `read_json` of the server decodes what is plain; what it declines (unusual settings, numbers such as 0x10 or nan, wrong
-- documents) is decoded here, which also finds the errors.  null is a userdata, as a table could not hold nil.
--
-- Arguments: the table of sandbox.lua, read_json, finish_json.  Returns nothing; adds `cjson` to the environment.
local sandbox, read_json, finish_json = ...
local null = sandbox.null
local complain, bad_argument, construct = sandbox.complain, sandbox.bad_argument, sandbox.construct
local joined = sandbox.joined
local type, select, next, rawget, tonumber, tostring = type, select, next, rawget, tonumber, tostring
local setmetatable = setmetatable
local floor, huge = math.floor, math.huge
local byte, char, find, format, gsub, lower, sub = string.byte, string.char, string.find, string.format, string.gsub,
  string.lower, string.sub
local concat = table.concat

local ESCAPES = {['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/"}
for code = 0, 31 do ESCAPES[char(code)] = format("\\u%04x", code) end
for code, letter in next, {[8] = "b", [9] = "t", [10] = "n", [12] = "f", [13] = "r"} do
  ESCAPES[char(code)] = "\\" .. letter
end
ESCAPES["\127"] = "\\u007f"
local UNESCAPES = {[34] = '"', [92] = "\\", [47] = "/", [98] = "\b", [116] = "\t", [110] = "\n", [102] = "\f", [114] = "\r"}
local SINGLE = {
  [123] = "T_OBJ_BEGIN", [125] = "T_OBJ_END", [91] = "T_ARR_BEGIN", [93] = "T_ARR_END", [44] = "T_COMMA",
  [58] = "T_COLON", [0] = "T_END",
}

local DEEPEST = 7998    -- nested values for which C's stack has room in Redis, whatever the settings allow

-- encoding -----------------------------------------------------------------------------------------------------------

local function quote(text)
  if find(text, '[%c"\\/]') then text = gsub(text, '[%c"\\/]', ESCAPES) end
  return '"' .. text .. '"'
end

local function refuse(value, reason)
  complain("Cannot serialise " .. type(value) .. ": " .. reason)
end

local function number_text(settings, number)
  if number ~= number or number == huge or number == -huge then
    local mode = settings.encode_invalid_numbers
    if mode == "off" then refuse(number, "must not be NaN or Inf") end
    if mode == "null" then return "null" end
    if number ~= number then return "nan" end
  end
  return format(settings.number_format, number)
end

-- Returns how long `t` is as an array, nil if it is an object.
local function array_length(settings, t)
  local longest, count = 0, 0
  for key in next, t do
    if type(key) ~= "number" or key < 1 or key % 1 ~= 0 then return nil end
    if key > longest then longest = key end
    count = count + 1
  end
  local ratio = settings.sparse_ratio
  if ratio > 0 and longest > count * ratio and longest > settings.sparse_safe then
    if not settings.sparse_convert then refuse(t, "excessively sparse array") end
    return nil
  end
  return longest > 0 and longest or nil
end

-- Documents are written into `out`, pieces that are joined at the end.  Strings go in as they are, between two marks, and
-- the server escapes them all at once.  If there is a mark in one of them, all is written again carefully.  A mark that
-- ends a string is written by what comes next, which makes a piece of it and what that needs.
local out, filled
local settings_of_out, is_plain    -- the settings; whether they write numbers as Lua does
local WORDS = {[true] = "true", [false] = "false", [null] = "null"}
local WORDS_AND_NUMBERS = {[true] = "true", [false] = "false", [null] = "null"}    -- small ones, as Lua writes them
for number = 1, 255 do WORDS_AND_NUMBERS[number] = format("%d", number) end
local known    -- one of these two
local MARK = "\1"
local careful    -- strings are escaped one by one, names as well
local string_count    -- names and strings that have been written

-- Names with what stands in front of them and behind: by what stands in front (the opening brace, a comma, a comma
-- behind a string) and then by whether a string follows.  They are kept from one document to the next.
local KEPT = 65536    -- bytes, about
local kept
local first_name, first_of_string, next_name, next_of_string, name_behind, name_behind_of_string

local function names(front, back)
  return setmetatable({}, {__index = function(made, key)
    local kind = type(key)
    if kind == "string" then
      local name = front .. (careful and quote(key) or MARK .. key .. MARK) .. back
      made[key] = name
      kept = kept + #name
      return name
    end
    if kind ~= "number" then refuse(key, "table key must be a number or string") end
    local mark = careful and '"' or MARK
    return front .. mark .. number_text(settings_of_out, key) .. mark .. back
  end})
end

local function forget_names()
  kept = 0
  first_name, first_of_string = names("{", ":"), names("{", ":" .. MARK)
  next_name, next_of_string = names(",", ":"), names(",", ":" .. MARK)
  name_behind, name_behind_of_string = names(MARK .. ",", ":"), names(MARK .. ",", ":" .. MARK)
end

forget_names()

local encode_table

-- Returns the text of what is no string, no table and not in `known`.
local function scalar_text(value, kind)
  if kind == "number" then
    -- joining writes numbers as Lua does
    if is_plain and value > -huge and value < huge then return value end
    return number_text(settings_of_out, value)
  elseif value == nil then
    return "null"
  end
  refuse(value, "type not supported")
end

local function encode_array(t, length, depth, is_whole)
  local out, filled_, strings = out, filled, 0
  local opening, opening_of_string = "[", "[\1"
  for i = 1, length do
    local value
    if is_whole then value = t[i] else value = rawget(t, i) end
    local kind = type(value)
    if kind == "string" and not careful then
      out[filled_ + 1], out[filled_ + 2] = opening_of_string, value
      filled_ = filled_ + 2
      strings = strings + 1
      opening, opening_of_string = "\1,", "\1,\1"
    else
      filled_ = filled_ + 1
      out[filled_] = opening
      if kind == "table" then
        filled = filled_
        encode_table(value, depth + 1)
        filled_ = filled
      else
        filled_ = filled_ + 1
        out[filled_] = kind == "string" and quote(value) or known[value] or scalar_text(value, kind)
      end
      opening, opening_of_string = ",", ",\1"
    end
  end
  filled = filled_ + 1
  out[filled] = opening == "\1," and "\1]" or "]"
  string_count = string_count + strings
end

local function encode_object(t, depth)
  local out, filled_, strings = out, filled, 0
  local name, name_of_string = first_name, first_of_string
  for key, value in next, t do
    local kind = type(value)
    strings = strings + 1
    if kind == "string" and not careful then
      out[filled_ + 1], out[filled_ + 2] = name_of_string[key], value
      filled_ = filled_ + 2
      strings = strings + 1
      name, name_of_string = name_behind, name_behind_of_string
    else
      filled_ = filled_ + 1
      out[filled_] = name[key]
      if kind == "table" then
        filled = filled_
        encode_table(value, depth + 1)
        filled_ = filled
      else
        filled_ = filled_ + 1
        out[filled_] = kind == "string" and quote(value) or known[value] or scalar_text(value, kind)
      end
      name, name_of_string = next_name, next_of_string
    end
  end
  filled = filled_ + 1
  out[filled] = name == name_behind and "\1}" or name == first_name and "{}" or "}"
  string_count = string_count + strings
end

function encode_table(t, depth)
  if depth > settings_of_out.encode_max_depth or depth > DEEPEST then
    complain("Cannot serialise, excessive nesting (" .. depth .. ")")
  end
  local first = next(t)
  if first == 1 then
    -- most arrays give their elements in order
    local length = 0
    for key in next, t do
      length = length + 1
      if key ~= length then
        length = nil
        break
      end
    end
    if length then return encode_array(t, length, depth, true) end
  end
  local length = type(first) == "number" and array_length(settings_of_out, t)
  if length then return encode_array(t, length, depth, false) end
  return encode_object(t, depth)
end

local function write(value)
  out, filled, string_count = {}, 0, 0
  local kind = type(value)
  if kind == "table" then
    encode_table(value, 1)
  else
    filled = 1
    out[1] = kind == "string" and quote(value) or known[value] or scalar_text(value, kind)
  end
  local text = joined(out, filled)
  out = nil
  return text, kind == "table"
end

local function encode(settings, value)
  if careful or kept > KEPT then
    careful = false
    forget_names()
  end
  settings_of_out, is_plain = settings, settings.number_format == "%.14g"
  known = is_plain and WORDS_AND_NUMBERS or WORDS
  local text, has_strings = write(value)
  if not has_strings then return text end
  local finished = finish_json(text, string_count)
  if not finished then
    careful = true
    forget_names()
    finished = write(value)
  end
  return finished
end

-- decoding -----------------------------------------------------------------------------------------------------------

local text, position, settings    -- of the document that is being read

-- Each reader returns the type of the token at `position` and its value, and moves on; or T_ERROR and what is wrong,
-- with the place in `wrong_at`.
local wrong_at

local function wrong(reason)
  wrong_at = position
  return "T_ERROR", reason
end

local function hexadecimal(at)
  local digits = sub(text, at, at + 3)
  return find(digits, "^%x%x%x%x$") and tonumber(digits, 16)
end

local function utf8(code)
  if code < 0x80 then return char(code) end
  local last = 0x80 + code % 64
  local rest = floor(code / 64)
  if code < 0x800 then return char(0xC0 + rest, last) end
  local middle = 0x80 + rest % 64
  rest = floor(rest / 64)
  if code < 0x10000 then return char(0xE0 + rest, middle, last) end
  return char(0xF0 + floor(rest / 64), 0x80 + rest % 64, middle, last)
end

-- Returns the character that the escape \uXXXX at `position` stands for (a surrogate pair takes two), nil if wrong.
local function unicode_escape()
  local code = hexadecimal(position + 2)
  if not code then return nil end
  local length = 6
  if code >= 0xD800 and code < 0xE000 then
    local low = sub(text, position + 6, position + 7) == "\\u" and hexadecimal(position + 8)
    if code >= 0xDC00 or not low or low < 0xDC00 or low > 0xDFFF then return nil end
    code = (code - 0xD800) * 1024 + low - 0xDC00 + 0x10000
    length = 12
  end
  position = position + length
  return utf8(code)
end

local function read_string()
  local out = {}
  position = position + 1
  while true do
    local stop = find(text, '["\\%z]', position) or #text + 1
    out[#out + 1] = sub(text, position, stop - 1)
    position = stop
    local code = byte(text, stop)
    if code == 34 then
      position = stop + 1
      return "T_STRING", concat(out)
    elseif code ~= 92 then
      return wrong("unexpected end of string")
    end
    local escaped = byte(text, stop + 1)
    if escaped == 117 then
      local character = unicode_escape()
      if not character then return wrong("invalid unicode escape code") end
      out[#out + 1] = character
    elseif UNESCAPES[escaped] then
      out[#out + 1] = UNESCAPES[escaped]
      position = stop + 2
    else
      return wrong("invalid escape code")
    end
  end
end

-- Returns the end of the number at `position` as C's strtod reads it, and its value.
local function number_end()
  local sign, from = 1, position
  local first = byte(text, from)
  if first == 43 or first == 45 then
    sign = first == 45 and -1 or 1
    from = from + 1
  end
  local word = lower(sub(text, from, from + 7))
  if word == "infinity" then return from + 8, sign * huge end
  if sub(word, 1, 3) == "inf" then return from + 3, sign * huge end
  if sub(word, 1, 3) == "nan" then return from + 3, sign * tonumber("nan") end
  if find(word, "^0x%x") then
    local _, stop = find(text, "^%x+", from + 2)
    return stop + 1, sign * tonumber(sub(text, from, stop))
  end
  local _, stop = find(text, "^%d+%.?%d*", from)
  if not stop then _, stop = find(text, "^%.%d+", from) end
  if not stop then return nil end
  local _, exponent_stop = find(text, "^[eE][+-]?%d+", stop + 1)
  stop = exponent_stop or stop
  return stop + 1, sign * tonumber(sub(text, from, stop))
end

-- Returns whether what is at `position` is a number that JSON does not know: +1, 01, 0x1, inf, nan.
local function is_odd_number()
  if byte(text, position) == 43 then return true end
  local rest = lower(sub(text, position, position + 3))
  return find(rest, "^%-?0[x%d]") ~= nil or find(rest, "^%-?inf") ~= nil or find(rest, "^%-?nan") ~= nil
end

local function read_number()
  if not settings.decode_invalid_numbers and is_odd_number() then return wrong("invalid number") end
  local stop, value = number_end()
  if not stop then return wrong("invalid number") end
  position = stop
  return "T_NUMBER", value
end

local function next_token()
  position = find(text, "[^ \t\n\r]", position) or #text + 1
  wrong_at = position
  local code = byte(text, position) or 0
  local single = SINGLE[code]
  if single then
    if code ~= 0 then position = position + 1 end
    return single
  end
  if code == 34 then return read_string() end
  if code == 45 or code >= 48 and code <= 57 then return read_number() end
  if sub(text, position, position + 3) == "true" then
    position = position + 4
    return "T_BOOLEAN", true
  elseif sub(text, position, position + 4) == "false" then
    position = position + 5
    return "T_BOOLEAN", false
  elseif sub(text, position, position + 3) == "null" then
    position = position + 4
    return "T_NULL"
  end
  if find(char(code), "[+iInN]") and settings.decode_invalid_numbers and is_odd_number() then return read_number() end
  return wrong("invalid token")
end

local function unexpected(expected, kind, value)
  local found = kind == "T_ERROR" and value or kind
  complain("Expected " .. expected .. " but found " .. found .. " at character " .. wrong_at)
end

local decode_value

local function decode_object(depth)
  local result = {}
  local kind, key = next_token()
  if kind == "T_OBJ_END" then return result end
  while true do
    if kind ~= "T_STRING" then unexpected("object key string", kind, key) end
    local separator, reason = next_token()
    if separator ~= "T_COLON" then unexpected("colon", separator, reason) end
    result[key] = decode_value(depth, next_token())
    kind, key = next_token()
    if kind == "T_OBJ_END" then return result end
    if kind ~= "T_COMMA" then unexpected("comma or object end", kind, key) end
    kind, key = next_token()
  end
end

local function decode_array(depth)
  local result = {}
  local kind, value = next_token()
  if kind == "T_ARR_END" then return result end
  local count = 0
  while true do
    count = count + 1
    result[count] = decode_value(depth, kind, value)
    kind, value = next_token()
    if kind == "T_ARR_END" then return result end
    if kind ~= "T_COMMA" then unexpected("comma or array end", kind, value) end
    kind, value = next_token()
  end
end

function decode_value(depth, kind, value)
  if kind == "T_STRING" or kind == "T_NUMBER" or kind == "T_BOOLEAN" then return value end
  if kind == "T_NULL" then return null end
  if kind == "T_OBJ_BEGIN" or kind == "T_ARR_BEGIN" then
    if depth >= settings.decode_max_depth or depth >= DEEPEST then
      complain("Found too many nested data structures (" .. depth + 1 .. ") at character " .. position - 1)
    end
    if kind == "T_OBJ_BEGIN" then return decode_object(depth + 1) end
    return decode_array(depth + 1)
  end
  unexpected("value", kind, value)
end

local function decode_slowly(document, with)
  text, position, settings = document, 1, with
  local result = decode_value(0, next_token())
  local kind, value = next_token()
  if kind ~= "T_END" then unexpected("the end", kind, value) end
  text, settings = nil, nil
  return result
end

-- settings -----------------------------------------------------------------------------------------------------------

local function check_count(name, allowed, count)
  if count > allowed then
    complain("bad argument #" .. allowed + 1 .. " to '" .. name .. "' (found too many arguments)")
  end
end

local function integer_setting(name, position_, value, lowest, highest, old)
  if value == nil then return old end
  local number = tonumber(value)
  if not number then bad_argument(position_, name, "number", position_, value) end
  number = number < 0 and -floor(-number) or floor(number)
  if number < lowest or number > highest then
    complain("bad argument #1 to '" .. name .. "' (expected integer between " .. lowest .. " and " .. highest .. ")")
  end
  return number
end

local function switch_setting(name, value, old)
  if value == nil then return old end
  if type(value) == "boolean" then return value end
  if value == "on" then return true end
  if value == "off" then return false end
  if type(value) ~= "string" then bad_argument(1, name, "string", 1, value) end
  complain("bad argument #1 to '" .. name .. "' (invalid option '" .. value .. "')")
end

local MAX = 2147483647

local function new()
  local own = {
    encode_invalid_numbers = "off", decode_invalid_numbers = true, encode_max_depth = 1000, decode_max_depth = 1000,
    number_format = "%.14g", precision = 14, keep_buffer = true, sparse_convert = false, sparse_ratio = 2,
    sparse_safe = 10,
  }
  local library = {_NAME = "cjson", _VERSION = "2.1.0", null = null}

  function library.encode(...)
    if select("#", ...) ~= 1 then complain("bad argument #1 to 'encode' (expected 1 argument)") end
    return encode(own, (...))
  end

  function library.decode(...)
    if select("#", ...) ~= 1 then complain("bad argument #1 to 'decode' (expected 1 argument)") end
    local document = ...
    local kind = type(document)
    if kind ~= "string" and kind ~= "number" then bad_argument(1, "decode", "string", 1, document) end
    document = tostring(document)
    local first, second = byte(document, 1, 2)
    if second and (first == 0 or second == 0) then complain("JSON parser does not support UTF-16 or UTF-32") end
    if own.decode_invalid_numbers and own.decode_max_depth == 1000 then
      local code = read_json(document)
      if code then return construct(code) end
    end
    return decode_slowly(document, own)
  end

  function library.encode_sparse_array(...)
    check_count("encode_sparse_array", 3, select("#", ...))
    local convert, ratio, safe = ...
    own.sparse_convert = switch_setting("encode_sparse_array", convert, own.sparse_convert)
    own.sparse_ratio = integer_setting("encode_sparse_array", 2, ratio, 0, MAX, own.sparse_ratio)
    own.sparse_safe = integer_setting("encode_sparse_array", 3, safe, 0, MAX, own.sparse_safe)
    return own.sparse_convert, own.sparse_ratio, own.sparse_safe
  end

  function library.encode_max_depth(...)
    check_count("encode_max_depth", 1, select("#", ...))
    own.encode_max_depth = integer_setting("encode_max_depth", 1, (...), 1, MAX, own.encode_max_depth)
    return own.encode_max_depth
  end

  function library.decode_max_depth(...)
    check_count("decode_max_depth", 1, select("#", ...))
    own.decode_max_depth = integer_setting("decode_max_depth", 1, (...), 1, MAX, own.decode_max_depth)
    return own.decode_max_depth
  end

  function library.encode_number_precision(...)
    check_count("encode_number_precision", 1, select("#", ...))
    own.precision = integer_setting("encode_number_precision", 1, (...), 1, 14, own.precision)
    own.number_format = "%." .. own.precision .. "g"
    return own.precision
  end

  function library.encode_keep_buffer(...)
    check_count("encode_keep_buffer", 1, select("#", ...))
    own.keep_buffer = switch_setting("encode_keep_buffer", (...), own.keep_buffer)
    return own.keep_buffer
  end

  function library.encode_invalid_numbers(...)
    check_count("encode_invalid_numbers", 1, select("#", ...))
    local value = ...
    if value == "null" then
      own.encode_invalid_numbers = "null"
    else
      local on = switch_setting("encode_invalid_numbers", value, nil)
      if on ~= nil then own.encode_invalid_numbers = on and "on" or "off" end
    end
    local mode = own.encode_invalid_numbers
    if mode == "null" then return mode end
    return mode == "on"
  end

  function library.decode_invalid_numbers(...)
    check_count("decode_invalid_numbers", 1, select("#", ...))
    own.decode_invalid_numbers = switch_setting("decode_invalid_numbers", (...), own.decode_invalid_numbers)
    return own.decode_invalid_numbers
  end

  library.new = new
  return library
end

sandbox.globals.cjson = sandbox.protect(new())
