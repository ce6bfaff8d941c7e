-- ratelimit_gcra: admit a hit if the bucket has room for its cost.  A hit fills the bucket, and it drains evenly.
-- KEYS[1] bucket     string: "moment_us level token request", the level after the last admitted hit, at its moment, how
--                    many units a token was then, and the hit's name
-- ARGV[1] token      units that one token fills
-- ARGV[2] drain      units that leave in one microsecond
-- ARGV[3] capacity   units that the bucket holds
-- ARGV[4] cost       tokens of this hit, 0 or more
-- ARGV[5] consume    1: take them, 0: only look
-- ARGV[6] request    names this hit; the last hit that was admitted gets the same reply again and takes nothing more
-- ARGV[7...] age_us  only if this hit may have been run before: how long ago it was sent for the first time
-- returns level afterwards, in units | -1 - level: there is no room, and nothing was taken
-- All numbers are whole and stay below 2^53, so nothing is ever rounded.          include: now_ms
-- A hit that is sent again when others came after it fails with OUTCOMEUNKNOWN: it may have been run.
local token, drain, capacity = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_us()
local level, mended, request = 0, false, ARGV[6]

local state = redis.call('GET', KEYS[1])
if state then
  local moment, stored, unit, last = string.match(state, '^(%d+) (%d+) (%d+) (.*)$')
  moment, level, unit = tonumber(moment), tonumber(stored), tonumber(unit)
  if last == request and request ~= '' then
    return level
  elseif ARGV[7] and moment >= now - tonumber(ARGV[7]) then
    return redis.error_reply('OUTCOMEUNKNOWN another hit came after this one, whose reply is forgotten')
  end
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
  state = string.format('%.0f %.0f %.0f %s', now, level, token, request)
  -- When the bucket is empty it needs no key; one more millisecond, since expiry counts in whole ones.
  redis.call('SET', KEYS[1], state, 'PX', math.ceil(level / drain / 1000) + 1)
end
return admitted and level or -1 - level
