-- watch: lets the server look up while a script runs.
--
-- Every COUNT instructions `tick()` is asked; a text that it returns ends the script with that error, again and again
-- until the script has left every pcall.  A hook belongs to a coroutine, so each arms itself.
--
-- Arguments: the table of sandbox.lua, tick.  Returns nothing; adds `arm` to the table, and to what scripts' coroutines
-- run.
local sandbox, tick = ...
local sethook, getinfo, sub, type = debug.sethook, debug.getinfo, string.sub, type
local create, wrap, throw = coroutine.create, coroutine.wrap, sandbox.throw
local COUNT = 100000    -- a millisecond or two

local watch

-- Raises at every instruction of a script, and leaves the server's own Lua alone, which handles the error.
local function insist()
  if sub(getinfo(2, "S").source, 1, 9) == "=coordkit" then return end
  local text = tick()
  if text then throw({err = text}) end
  sethook(watch, "", COUNT)
end

function watch()
  local text = tick()
  if text then
    sethook(insist, "", 1)
    throw({err = text})
  end
end

local function arm()
  sethook(watch, "", COUNT)
end

sandbox.arm = arm

-- Returns a function that does what `body` does, watched.
local function watched(name, body)
  if type(body) ~= "function" or getinfo(body, "S").what == "C" then
    sandbox.complain("bad argument #1 to '" .. name .. "' (Lua function expected)")
  end
  return function(...)
    arm()
    return body(...)
  end
end

function sandbox.coroutines.create(body)
  return create(watched("create", body))
end

function sandbox.coroutines.wrap(body)
  return wrap(watched("wrap", body))
end
