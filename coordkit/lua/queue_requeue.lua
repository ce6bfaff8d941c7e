-- queue_requeue: make jobs that were given up ready again, with all their retries.
-- KEYS[1] meta       hash: counters of what happened, last fence, last sequence number
-- KEYS[2] jobs       hash: id -> record, id:in -> payload, id:out -> result or last error
-- KEYS[3] ready      zset: id by sequence number
-- KEYS[4] scheduled  zset: id by the ms at which it is due
-- KEYS[5] leased     zset: id by the ms at which its lease ends
-- KEYS[6] ended      zset: id by the ms at which it was done or cancelled
-- KEYS[7] dead       zset: id by the ms at which it was given up
-- KEYS[8] unique     hash: unique key -> id of the job that holds it
-- KEYS[9] idle       zset: inbox of a worker that waits for jobs, by the ms of its last turn
-- ARGV[1...] ids     of the jobs
-- returns for each job 1: it is not dead any more, 0: it is unknown, or its unique key is held by another job
-- include: now_ms, queue_job
local revived, ready = {}, 0
for index, id in ipairs(ARGV) do
  local job = load_job(id)
  local holder = job and job.key ~= '' and redis.call('HGET', UNIQUE, job.key) or id
  revived[index] = job and holder == id and 1 or 0
  if job and job.state == 'dead' and holder == id then
    if job.key ~= '' then
      redis.call('HSET', UNIQUE, job.key, id)
    end
    redis.call('ZREM', DEAD, id)
    redis.call('HDEL', JOBS, id .. ':out')
    job.failures, job.crashes, job.fence = 0, 0, '0'
    make_ready(id, job)
    redis.call('HINCRBY', META, 'requeued', 1)
    ready = ready + 1
  end
end
wake(ready)
return revived
