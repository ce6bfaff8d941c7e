-- ratelimit_gcra: admit a hit if the bucket has room for its cost.  A hit fills the bucket, and it drains evenly.
-- KEYS[1] bucket     string: "moment_us level token", the level at that moment and how many units a token was then
-- ARGV[1] token      units that one token fills
-- ARGV[2] drain      units that leave in one microsecond
-- ARGV[3] capacity   units that the bucket holds
-- ARGV[4] cost       tokens of this hit, 0 or more
-- ARGV[5] consume    1: take them, 0: only look
-- returns level afterwards, in units | -1 - level: there is no room, and nothing was taken
-- All numbers are whole and stay below 2^53, so nothing is ever rounded.          include: now_ms
local token, drain, capacity = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_us()
local level, mended = 0, false

local state = redis.call('GET', KEYS[1])
if state then
  local moment, stored, unit = string.match(state, '^(%d+) (%d+) (%d+)$')
  moment, level, unit = tonumber(moment), tonumber(stored), tonumber(unit)
  if unit ~= token then -- the limit was changed: what was taken stays taken
    level = math.ceil(level / unit * token)
  end
  -- A clock that was set back (after a failover, say) must not stop the draining until it has caught up.
  mended = moment > now
  level = math.max(0, level - math.max(0, now - moment) * drain)
  level = math.min(level, capacity)
end

local after = level + tonumber(ARGV[4]) * token
local admitted = after <= capacity
if admitted and ARGV[5] == '1' then
  mended = mended or after > level
  level = after
end
if mended then
  state = string.format('%d %d %d', now, level, token)
  -- When the bucket is empty it needs no key; one more millisecond, since expiry counts in whole ones.
  redis.call('SET', KEYS[1], state, 'PX', math.ceil(level / drain / 1000) + 1)
end
return admitted and level or -1 - level
