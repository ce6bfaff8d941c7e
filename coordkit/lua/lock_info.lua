-- lock_info: who holds the lock, with which fence and for how long, and how many wait.
-- KEYS[1] record     hash: owner, fence, until_ms, waiters, expires_ms
-- returns {owner, fence, lease left in ms, waiters}; the owner is '' and the lease 0 when the lock is free
-- include: now_ms
local record = redis.call('HMGET', KEYS[1], 'owner', 'fence', 'until_ms', 'waiters')
local left_ms = math.max(0, (tonumber(record[3]) or 0) - now_ms())
return {left_ms > 0 and record[1] or '', tonumber(record[2]) or 0, left_ms, tonumber(record[4]) or 0}
