-- queue_cancel: end jobs before they are done; a running one loses its lease, and its worker hears that at its next beat.
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
-- returns for each job 1: cancelled, 0: it had ended before, or is unknown
-- include: now_ms, queue_job
local now = now_ms()
local cancelled = {}
for index, id in ipairs(ARGV) do
  local job = load_job(id)
  cancelled[index] = job and job.state == 'cancelled' and 1 or 0
  if job and (job.state == 'ready' or job.state == 'scheduled' or job.state == 'leased') then
    redis.call('ZREM', READY, id)
    redis.call('ZREM', SCHEDULED, id)
    redis.call('ZREM', LEASED, id)
    job.fence = '0'
    end_job(id, job, 'cancelled', '', now)
    redis.call('HINCRBY', META, 'cancelled', 1)
    cancelled[index] = 1
  end
end
return cancelled
