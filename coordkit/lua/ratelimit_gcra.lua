-- ratelimit_gcra: admit a hit if the bucket has room for its cost.  A hit fills the bucket, and it drains evenly.
-- KEYS[1] bucket     string: "seconds us level token request since_us others...", the level after the last admitted hit,
--                    at its moment, how many units a token was then, the hit's name, and those of the hits between it
--                    and since_us, the moment of an earlier hit; forgotten when there are 20 or a second was quiet
-- ARGV[1] token      units that one token fills
-- ARGV[2] drain      units that leave in one microsecond
-- ARGV[3] capacity   units that the bucket holds
-- ARGV[4] cost       tokens of this hit, 0 or more
-- ARGV[5] consume    1: take them, 0: only look
-- ARGV[6] request    names this hit; a hit whose name is there was admitted, and takes nothing more
-- ARGV[7...] age_us  only if this hit may have been run before: how long ago it was sent for the first time
-- returns level afterwards, in units | -1 - level: there is no room, and nothing was taken
-- All numbers are whole and stay below 2^53, so nothing is ever rounded.          include: now_us
-- A hit that is sent again and may be among those that are forgotten fails with OUTCOMEUNKNOWN: it may have been run.
-- This runs once for each request of an application: numbers that come as text are counted with and kept as text, for Lua
-- converts them quicker by itself than with tonumber() and back with format(), of which '%.0f' takes longest.
local token, drain, capacity, request = ARGV[1], ARGV[2], ARGV[3] + 0, ARGV[6]
local level, mended, since, last, before = 0, false, '0', '', ''

local state = redis.call('GET', KEYS[1])
if state then
  local seconds, us, stored, unit, names
  seconds, us, stored, unit, last, since, names = string.match(state, '^(%d+) (%d+) (%d+) (%d+) (%S*) (%d+)()')
  before = string.sub(state, names)
  local moment = seconds * 1000000 + us
  level = stored + 0
  if request ~= '' and (last == request or ARGV[7] and string.find(before .. ' ', ' ' .. request .. ' ', 1, true)) then
    return level
  elseif ARGV[7] and request ~= '' and since + 0 >= now - ARGV[7] then
    return redis.error_reply('OUTCOMEUNKNOWN other hits came after this one, whose reply is forgotten')
  elseif now - moment > 1000000 or #before > 400 then
    since, last, before = string.format('%.0f', moment), '', ''
  end
  if unit ~= token then -- the limit was changed: what was taken stays taken
    level = math.ceil(level / unit * token)
  end
  if moment > now then -- a clock that was set back must not stop the draining until it has caught up
    mended = true
  else
    level = level - (now - moment) * drain
  end
  if level < 0 then
    level = 0
  elseif level > capacity then
    level = capacity
  end
end

local after = level + ARGV[4] * token
local admitted = after <= capacity
if admitted and ARGV[5] == '1' then
  mended = mended or after > level
  level = after
end
if mended then
  local whole = level < 2147483648 and '%d' or '%.0f' -- '%d' has 32 bits on some machines
  -- One chain: each piece that is joined on its own is a string more, of up to 400 bytes.
  state = time[1] .. ' ' .. time[2] .. ' ' .. string.format(whole, level) .. ' ' .. token .. ' ' .. request .. ' ' ..
    since .. ' ' .. last .. before
  -- When the bucket is empty it needs no key; one more millisecond, since expiry counts in whole ones.
  redis.call('PSETEX', KEYS[1], string.format(whole, math.ceil(level / drain / 1000) + 1), state)
end
return admitted and level or -1 - level
