-- now_ms: the server's clock.  now_us() and now_ms() return whole numbers; each call asks the server once.
local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function now_ms()
  return math.floor(now_us() / 1000)
end
