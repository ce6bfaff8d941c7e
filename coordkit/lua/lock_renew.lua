-- lock_renew: give held locks a fresh lease, many in one call.
-- KEYS[1...] records hash: owner, fence, until_ms, waiters, expires_ms
-- ARGV[1...] owner_lease_ms  for each record its owner and the new lease in ms, counted from now
-- returns for each record 1: renewed, 0: the lease had ended or another owner holds it
-- include: now_ms, lock_record
local now = now_ms()
local renewed = {}
for index, key in ipairs(KEYS) do
  local owner, lease_ms = ARGV[2 * index - 1], tonumber(ARGV[2 * index])
  local record = redis.call('HMGET', key, 'owner', 'until_ms', 'expires_ms')
  renewed[index] = 0
  if record[1] == owner and tonumber(record[2]) > now then
    local until_ms = now + lease_ms
    local expires_ms = tonumber(record[3])
    if expires_ms < until_ms + KEEP_MS / 2 then
      expires_ms = until_ms + KEEP_MS
      redis.call('HSET', key, 'until_ms', text_of(until_ms), 'expires_ms', text_of(expires_ms))
      redis.call('PEXPIREAT', key, text_of(expires_ms))
    else
      redis.call('HSET', key, 'until_ms', text_of(until_ms))
    end
    renewed[index] = 1
  end
end
return renewed
