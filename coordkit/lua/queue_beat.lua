-- queue_beat: extend the leases of running jobs, many in one call.
-- KEYS[1] jobs       hash: id -> record, id:in -> payload, id:out -> result or last error
-- KEYS[2] leased     zset: id by the ms at which its lease ends
-- ARGV[1] lease_ms   the new lease, counted from now
-- ARGV[2...] held    two words a job: id, fence
-- returns for each job 1: extended, 0: the lease is lost, or the job was cancelled
-- include: now_ms
local until_ms = string.format('%.0f', now_ms() + tonumber(ARGV[1]))
local held = {}
for at = 2, #ARGV, 2 do
  local record = redis.call('HGET', KEYS[1], ARGV[at])
  local mine = record and string.match(record, '^leased (%d+) ') == ARGV[at + 1]
  if mine then
    redis.call('ZADD', KEYS[2], until_ms, ARGV[at])
  end
  held[#held + 1] = mine and 1 or 0
end
return held
