-- lock_acquire: take the lock if it is free and nobody waits before us; else stand in the queue and say when to ask again.
-- KEYS[1] record     hash: owner, fence, until_ms, waiters, expires_ms
-- KEYS[2] queue      zset: waiting owner -> arrival
-- KEYS[3] tickets    hash: waiting owner -> deadline and inbox
-- ARGV[1] owner      token of this attempt; the same token gets the same grant again, with a fresh lease
-- ARGV[2] lease_ms   how long the lock is held without renewal
-- ARGV[3] wait_ms    0: don't queue; else how long the caller will wait at most
-- ARGV[4] inbox      channel on which the caller hears that the lock was handed to it; the payload is the owner
-- returns {1, fence} | {0, ask again after ms, lease left in ms, waiters before us, holder}
-- include: now_ms, lock_record
local owner, lease_ms, wait_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local record = redis.call('HMGET', KEYS[1], 'owner', 'fence', 'until_ms', 'waiters', 'expires_ms')
local until_ms, waiters = tonumber(record[3]) or 0, tonumber(record[4]) or 0
local arrived_us = now_us()
local now = math.floor(arrived_us / 1000)
local holder = record[1]

if holder == owner then
  if until_ms == 0 then
    return {0, 0, 0, 0, ''} -- this attempt was released before this copy of it arrived
  elseif until_ms > now then -- a repeated call, or the confirmation of a hand-over
    grant(record, owner, tonumber(record[2]), now, lease_ms)
    return {1, tonumber(record[2])}
  end
end

if until_ms <= now then
  local heir = nil
  if waiters > 0 then
    heir = next_waiter(owner, now)
  end
  local fence = next_fence(record, arrived_us)
  if heir == nil or heir == owner then
    grant(record, owner, fence, now, lease_ms)
    return {1, fence}
  end
  grant(record, heir, fence, now, CLAIM_MS)
  holder, until_ms = heir, now + CLAIM_MS
end

local before = 0
local ask_again_ms = until_ms - now
if wait_ms > 0 then
  if redis.call('ZADD', KEYS[2], 'NX', text_of(arrived_us), owner) == 1 then
    redis.call('HINCRBY', KEYS[1], 'waiters', 1)
  end
  before = redis.call('ZRANK', KEYS[2], owner)
  -- The push is what wakes a waiter; asking again only covers holders and heirs that died.  The first in line asks when
  -- the lease ends, those far behind it less and less often.
  ask_again_ms = math.min(ask_again_ms, 30000, 5000 + 25 * before)
  local deadline_ms = now + math.min(wait_ms + 1000, 2 * ask_again_ms + 5000)
  redis.call('HSET', KEYS[3], owner, text_of(deadline_ms) .. ' ' .. ARGV[4])
  redis.call('PEXPIRE', KEYS[2], 120000)
  redis.call('PEXPIRE', KEYS[3], 120000)
end
return {0, math.max(1, ask_again_ms), until_ms - now, before, holder}
