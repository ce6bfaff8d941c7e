-- queue_discard: forget jobs that were given up.
-- KEYS[1] jobs       hash: id -> record, id:in -> payload, id:out -> result or last error
-- KEYS[2] dead       zset: id by the ms at which it was given up
-- ARGV[1...] ids     of the jobs
-- returns how many of them are gone
local gone = 0
for _, id in ipairs(ARGV) do
  if redis.call('ZREM', KEYS[2], id) == 1 then
    redis.call('HDEL', KEYS[1], id, id .. ':in', id .. ':out')
  end
  if redis.call('HEXISTS', KEYS[1], id) == 0 then
    gone = gone + 1
  end
end
return gone
