-- queue_stats: how many jobs are where, and how often what has happened.
-- KEYS[1] meta       hash: counters of what happened, last fence, last sequence number
-- KEYS[2] ready      zset: id by sequence number
-- KEYS[3] scheduled  zset: id by the ms at which it is due
-- KEYS[4] leased     zset: id by the ms at which its lease ends
-- KEYS[5] dead       zset: id by the ms at which it was given up
-- KEYS[6] idle       zset: inbox of a worker that waits for jobs, by the ms of its last turn
-- ARGV[1...] counters  names of the counters
-- returns {ready, scheduled, leased, dead, idle workers, counters in their order...}
local stats = {}
for index = 2, 6 do
  stats[index - 1] = redis.call('ZCARD', KEYS[index])
end
for index, value in ipairs(redis.call('HMGET', KEYS[1], unpack(ARGV))) do
  stats[5 + index] = tonumber(value) or 0
end
return stats
