-- queue_enqueue: put jobs into the queue, unless a unique key is held by an unfinished job, and wake workers for them.
-- KEYS[1] meta       hash: counters of what happened, last fence, last sequence number
-- KEYS[2] jobs       hash: id -> record, id:in -> payload, id:out -> result or last error
-- KEYS[3] ready      zset: id by sequence number
-- KEYS[4] scheduled  zset: id by the ms at which it is due
-- KEYS[5] leased     zset: id by the ms at which its lease ends
-- KEYS[6] ended      zset: id by the ms at which it was done or cancelled
-- KEYS[7] dead       zset: id by the ms at which it was given up
-- KEYS[8] unique     hash: unique key -> id of the job that holds it
-- KEYS[9] idle       zset: inbox of a worker that waits for jobs, by the ms of its last turn
-- ARGV[1...] jobs    eight words a job: id, payload, retries, crash limit, backoff ms, longest backoff ms, delay ms, unique key or ''
-- returns for each job {id, 1} or, if its unique key is held, {id of the holder, 0}
-- include: now_ms, queue_job
local now = now_ms()
local count = #ARGV / 8
local seq = redis.call('HINCRBY', META, 'seq', count) - count
local added, ready = 0, 0
local replies = {}
for index = 1, count do
  local at = 8 * (index - 1)
  local id, key, delay_ms = ARGV[at + 1], ARGV[at + 8], tonumber(ARGV[at + 7])
  local holder = key ~= '' and redis.call('HGET', UNIQUE, key) or id
  replies[index] = { holder, holder == id and 1 or 0 }
  if holder == id and redis.call('HEXISTS', JOBS, id) == 0 then -- a repeated call finds its job and leaves it alone
    local job = { fence = '0', attempts = 0, failures = 0, crashes = 0, retries = ARGV[at + 3],
      crash_limit = ARGV[at + 4], backoff_ms = ARGV[at + 5], backoff_max_ms = ARGV[at + 6], seq = text_of(seq + index),
      enqueued_ms = text_of(now), key = key }
    redis.call('HSET', JOBS, id .. ':in', ARGV[at + 2])
    if key ~= '' then
      redis.call('HSET', UNIQUE, key, id)
    end
    added = added + 1
    if delay_ms > 0 then
      schedule(id, job, now + delay_ms)
    else
      make_ready(id, job)
      ready = ready + 1
    end
  end
end
redis.call('HINCRBY', META, 'enqueued', added)
-- A delayed job may now be the first that is due: one idle worker has to look when that is.
wake(ready > 0 and ready or math.min(added, 1))
return replies
