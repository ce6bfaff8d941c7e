-- ratelimit_sliding_window: admit a hit if the window that ends now has room for its cost.  Every hit counts for one window.
-- KEYS[1] hits       list of pairs: moment_us of a hit, total of all costs up to it; the first pair is not a hit but
--                    where the totals start.  Moments and totals rise, so both can be searched by halving.
-- ARGV[1] limit      costs that one window admits
-- ARGV[2] window_us  its length
-- ARGV[3] cost       of this hit, 0 or more and at most the limit
-- ARGV[4] consume    1: take it, 0: only look
-- returns {used, us until the window is empty, 0} | {-1 - used, the same, us until there is room for this cost}
-- include: now_ms
local limit, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local hits = KEYS[1]
local clock = now_us()

-- Which of the pairs from `low` (which holds) up to `high` (which does not) is the last for which `holds` is true.
local function last_pair(low, high, holds)
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
local function moment_of(pair)
  return tonumber(redis.call('LINDEX', hits, 2 * pair))
end
local function total_of(pair)
  return tonumber(redis.call('LINDEX', hits, 2 * pair + 1))
end

-- What the window holds: pairs after `gone`, whose total is `base`, up to the newest.
local now, newest, gone, base, total = clock, nil, 0, 0, 0
local head = redis.call('LRANGE', hits, 0, 2)
if head[3] then
  local tail = redis.call('LRANGE', hits, -2, -1)
  newest, total, base = tonumber(tail[1]), tonumber(tail[2]), tonumber(head[2])
  now = math.max(clock, newest) -- a clock that was set back stands still until it has caught up
  local edge = now - window
  if newest <= edge then
    newest, base, total = nil, 0, 0
    if cost > 0 and ARGV[4] == '1' then
      redis.call('DEL', hits)
    end
  elseif tonumber(head[3]) <= edge then
    gone = last_pair(1, redis.call('LLEN', hits) / 2 - 1, function(pair) return moment_of(pair) <= edge end)
    base = total_of(gone)
  end
end
local used = total - base

if newest and newest - clock > window then -- set back by more than a window: as if all hits had come now
  redis.call('DEL', hits)
  redis.call('RPUSH', hits, 0, 0, clock, used)
  redis.call('PEXPIRE', hits, math.ceil(1.25 * window / 1000) + 1)
  now, newest, gone, base, total = clock, clock, 0, 0, used
end

if used + cost <= limit then
  if cost > 0 and ARGV[4] == '1' then
    if gone > 0 then
      redis.call('LTRIM', hits, 2 * gone, -1)
    end
    if not newest then
      redis.call('RPUSH', hits, 0, 0, now, cost)
    elseif newest == now then
      redis.call('LSET', hits, -1, total + cost)
    else
      redis.call('RPUSH', hits, now, total + cost)
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
local last = redis.call('LLEN', hits) / 2 - 1
local leaving = last_pair(gone, last, function(pair) return total_of(pair) < enough end) + 1
return {-1 - used, newest + window - clock, moment_of(leaving) + window - clock}
