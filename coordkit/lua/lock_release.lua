-- lock_release: free the lock if it is ours and hand it to the next waiter; also gives up a place in the queue.
-- KEYS[1] record     hash: owner, fence, until_ms, waiters, expires_ms
-- KEYS[2] queue      zset: waiting owner -> arrival
-- KEYS[3] tickets    hash: waiting owner -> deadline and inbox
-- ARGV[1] owner      token of the attempt that took the lock, or waits for it
-- returns 1: it was ours until now, 0: it was not (the lease had ended and somebody else took it, or it never was)
-- include: now_ms, lock_record
local owner = ARGV[1]
local state = redis.call('HMGET', KEYS[1], 'owner', 'until_ms', 'waiters')
local waiters = tonumber(state[3]) or 0

if state[1] ~= owner then
  if waiters > 0 and redis.call('ZREM', KEYS[2], owner) == 1 then
    redis.call('HDEL', KEYS[3], owner)
    redis.call('HINCRBY', KEYS[1], 'waiters', -1)
  end
  return 0
end
if waiters > 0 and state[2] ~= '0' then
  local released_us = now_us()
  local now = math.floor(released_us / 1000)
  local heir = next_waiter('', now)
  if heir then
    local record = redis.call('HMGET', KEYS[1], 'owner', 'fence', 'until_ms', 'waiters', 'expires_ms')
    grant(record, heir, next_fence(record, released_us), now, CLAIM_MS)
    return 1
  end
end
redis.call('HSET', KEYS[1], 'until_ms', '0')
return 1
