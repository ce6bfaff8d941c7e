-- queue_job: a queue's records and the moves between its places, for scripts whose KEYS[1..9] are those of a queue.
-- A job is in exactly one place at any time: ready, scheduled, leased, ended or dead.  Its record is one line of words:
--   state fence attempts failures crashes retries crash_limit backoff_ms backoff_max_ms seq enqueued_ms unique_key
-- The fence is that of the last lease; '0' once that lease was taken away, so that a late settlement is recognised.
-- include: now_ms
local META, JOBS, READY, SCHEDULED, LEASED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local ENDED, DEAD, UNIQUE, IDLE = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local RECORD = '^(%a+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (.*)$'

local function text_of(number)
  return string.format('%.0f', number)
end

-- The record as a table, nil if there is none.
local function parse_job(record)
  if not record then
    return nil
  end
  local job = {}
  job.state, job.fence, job.attempts, job.failures, job.crashes, job.retries, job.crash_limit, job.backoff_ms,
    job.backoff_max_ms, job.seq, job.enqueued_ms, job.key = string.match(record, RECORD)
  return job
end

local function load_job(id)
  return parse_job(redis.call('HGET', JOBS, id))
end

local function save_job(id, job)
  redis.call('HSET', JOBS, id, table.concat({ job.state, job.fence, job.attempts, job.failures, job.crashes,
    job.retries, job.crash_limit, job.backoff_ms, job.backoff_max_ms, job.seq, job.enqueued_ms, job.key }, ' '))
end

-- Puts the job where workers fetch: in the order of enqueueing, so that what comes back goes before younger jobs.
local function make_ready(id, job)
  job.state = 'ready'
  save_job(id, job)
  redis.call('ZADD', READY, job.seq, id)
end

-- Puts the job where it waits until `due_ms`.
local function schedule(id, job, due_ms)
  job.state = 'scheduled'
  save_job(id, job)
  redis.call('ZADD', SCHEDULED, text_of(due_ms), id)
end

-- Ends the job as done, cancelled or dead; its unique key is free from now on, and who waits for the result is told.
local function end_job(id, job, state, outcome, now)
  job.state = state
  save_job(id, job)
  redis.call('HSET', JOBS, id .. ':out', outcome)
  if job.key ~= '' and redis.call('HGET', UNIQUE, job.key) == id then
    redis.call('HDEL', UNIQUE, job.key)
  end
  if state == 'dead' then
    redis.call('ZADD', DEAD, text_of(now), id) -- keeps its payload: it may be enqueued again
  else
    redis.call('HDEL', JOBS, id .. ':in')
    redis.call('ZADD', ENDED, text_of(now), id)
  end
  redis.call('PUBLISH', META .. ':ended:' .. id, state)
end

-- Wakes one idle worker for each of `count` jobs, the one that has waited longest first.  Who does not hear is gone.
local function wake(count)
  while count > 0 do
    local inbox = redis.call('ZPOPMIN', IDLE)[1]
    if not inbox then
      return
    end
    if redis.call('PUBLISH', inbox, 'ready') > 0 then
      count = count - 1
    end
  end
end
