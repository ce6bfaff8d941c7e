-- lock_record: reads and writes of a lock's record, for scripts whose KEYS are record, queue, tickets.
-- The lock is held while until_ms lies in the future.  A released record keeps its owner and has until_ms = 0: a release
-- that is sent twice is recognised by it, and an acquire that arrives after its own release is refused.
-- The key itself lives on for KEEP_MS, so that fences go on from the last one; after that they go on from the clock.
local KEEP_MS = 3600000
-- A waiter that was handed the lock confirms it within this time, or the next one gets it.
local CLAIM_MS = 2000

-- Whole numbers as text: what a server makes of a Lua number by itself may be 1.8e+12.
local function text_of(number)
  return string.format('%.0f', number)
end

-- The fence of the next grant: above every earlier one, also when the record had expired meanwhile.
local function next_fence(record, now_us)
  return math.max((tonumber(record[2]) or 0) + 1, now_us)
end

-- Writes that `owner` holds the lock for `lease_ms` from now.
local function grant(record, owner, fence, now, lease_ms)
  local until_ms = now + lease_ms
  redis.call('HSET', KEYS[1], 'owner', owner, 'fence', text_of(fence), 'until_ms', text_of(until_ms))
  if (tonumber(record[5]) or 0) < until_ms + KEEP_MS / 2 then
    local expires_ms = text_of(until_ms + KEEP_MS)
    redis.call('HSET', KEYS[1], 'expires_ms', expires_ms)
    redis.call('PEXPIREAT', KEYS[1], expires_ms)
  end
end

-- Takes waiters off the queue until one is alive: `me` (may be ''), or one whose client hears the wake-up.
-- Returns that owner, or nil when the queue is empty.
local function next_waiter(me, now)
  local owner = nil
  while not owner do
    local head = redis.call('ZPOPMIN', KEYS[2])[1]
    if not head then
      break
    end
    local ticket = redis.call('HGET', KEYS[3], head)
    redis.call('HDEL', KEYS[3], head)
    if head == me then
      owner = head
    elseif ticket then
      local deadline_ms, inbox = string.match(ticket, '^(%d+) (.*)$')
      -- Nobody listening means that the client is gone, or that it will ask again once it listens.
      if tonumber(deadline_ms) > now and redis.call('PUBLISH', inbox, head) > 0 then
        owner = head
      end
    end
  end
  redis.call('HSET', KEYS[1], 'waiters', redis.call('ZCARD', KEYS[2]))
  return owner
end
