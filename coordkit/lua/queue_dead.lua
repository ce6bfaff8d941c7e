-- queue_dead: a page of the jobs that were given up, the latest first.
-- KEYS[1] jobs       hash: id -> record, id:in -> payload, id:out -> result or last error
-- KEYS[2] dead       zset: id by the ms at which it was given up
-- ARGV[1] offset     jobs to skip
-- ARGV[2] limit      jobs to return at most
-- returns for each job {id, record, payload, error}
local offset, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local page = {}
for index, id in ipairs(redis.call('ZREVRANGE', KEYS[2], offset, offset + limit - 1)) do
  local found = redis.call('HMGET', KEYS[1], id, id .. ':in', id .. ':out')
  page[index] = { id, found[1], found[2], found[3] }
end
return page
