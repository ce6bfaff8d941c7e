-- ratelimit_sliding_window: admit a hit if the window that ends now has room for its cost.  Every hit counts for one window.
-- KEYS[1] hits       list of triples: moment_us of a hit, total of all costs up to it, the hit's name; the first triple is
--                    where the totals start, no hit.  Moments and totals rise, so both can be searched by halving.
-- ARGV[1] limit      costs that one window admits
-- ARGV[2] window_us  its length
-- ARGV[3] cost       of this hit, 0 or more and at most the limit
-- ARGV[4] consume    1: take it, 0: only look
-- ARGV[5] request    names this hit; a hit of this name that the window holds already is admitted and takes nothing more
-- ARGV[6...] age_us  only if this hit may have been run before: how long ago it was sent for the first time
-- returns {used, us until the window is empty, 0} | {-1 - used, the same, us until there is room for this cost}
-- include: now_ms
local limit, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local hits, request = KEYS[1], ARGV[5]
local clock = now_us()

-- Which of the triples from `low` (which holds) up to `high` (which does not) is the last for which `holds` is true.
local function last_hit(low, high, holds)
  local step = 1
  while low + step < high and holds(low + step) do
    low, step = low + step, 2 * step
  end
  high = math.min(high, low + step)
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if holds(middle) then
      low = middle
    else
      high = middle
    end
  end
  return low
end
local function moment_of(hit)
  return tonumber(redis.call('LINDEX', hits, 3 * hit))
end
local function total_of(hit)
  return tonumber(redis.call('LINDEX', hits, 3 * hit + 1))
end

-- What the window holds: hits after `gone`, whose total is `base`, up to the newest.
local now, newest, gone, base, total, again = clock, nil, 0, 0, 0, false
local head = redis.call('LRANGE', hits, 0, 3)
if head[4] then
  local tail = redis.call('LRANGE', hits, -3, -1)
  newest, total, base = tonumber(tail[1]), tonumber(tail[2]), tonumber(head[2])
  again = tail[3] == request and request ~= ''
  now = math.max(clock, newest) -- a clock that was set back stands still until it has caught up
  local edge = now - window
  if newest <= edge then
    newest, base, total = nil, 0, 0
    if cost > 0 and ARGV[4] == '1' then
      redis.call('DEL', hits)
    end
  elseif tonumber(head[4]) <= edge then
    gone = last_hit(1, redis.call('LLEN', hits) / 3 - 1, function(hit) return moment_of(hit) <= edge end)
    base = total_of(gone)
  end
end
local used = total - base
if ARGV[6] and not again then -- look among the hits since it was first sent, the newest first
  local since, low = now - tonumber(ARGV[6]), newest and redis.call('LLEN', hits) or 0
  while low > 0 and not again do
    local page = redis.call('LRANGE', hits, math.max(0, low - 192), low - 1)
    for at = #page, 3, -3 do
      again = again or page[at] == request and tonumber(page[at - 2]) >= since
    end
    low = tonumber(page[1]) < since and 0 or low - 192
  end
  if not again and tonumber(ARGV[6]) >= window then
    return redis.error_reply('OUTCOMEUNKNOWN this hit was first sent more than a window ago')
  end
end
if again and newest then
  return {used, newest + window - clock, 0}
end

if newest and newest - clock > window then -- set back by more than a window: as if all hits had come now
  redis.call('DEL', hits)
  redis.call('RPUSH', hits, 0, 0, '', clock, used, '')
  redis.call('PEXPIRE', hits, math.ceil(1.25 * window / 1000) + 1)
  now, newest, gone, base, total = clock, clock, 0, 0, used
end

if used + cost <= limit then
  if cost > 0 and ARGV[4] == '1' then
    if gone > 0 then
      redis.call('LTRIM', hits, 3 * gone, -1)
    end
    if newest then
      redis.call('RPUSH', hits, now, total + cost, request)
    else
      redis.call('RPUSH', hits, 0, 0, '', now, cost, request)
    end
    -- The first hit in each quarter of a window lets the key live a quarter longer than the window: the others need not.
    local quarter = window / 4
    if not newest or math.floor(now / quarter) > math.floor(newest / quarter) then
      redis.call('PEXPIRE', hits, math.ceil((now - clock + window + quarter) / 1000) + 1)
    end
    used, newest = used + cost, now
  end
  return {used, newest and newest + window - clock or 0, 0}
end

-- There is room when enough of the oldest hits have left: the first pair whose total reaches what must go.
local enough = base + used + cost - limit
local last = redis.call('LLEN', hits) / 3 - 1
local leaving = last_hit(gone, last, function(hit) return total_of(hit) < enough end) + 1
return {-1 - used, newest + window - clock, moment_of(leaving) + window - clock}
