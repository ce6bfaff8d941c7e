-- queue_turn: settle the jobs a worker has finished and lease it the next ones; also moves what is due and what was lost.
-- KEYS[1] meta       hash: counters of what happened, last fence, last sequence number
-- KEYS[2] jobs       hash: id -> record, id:in -> payload, id:out -> result or last error
-- KEYS[3] ready      zset: id by sequence number
-- KEYS[4] scheduled  zset: id by the ms at which it is due
-- KEYS[5] leased     zset: id by the ms at which its lease ends
-- KEYS[6] ended      zset: id by the ms at which it was done or cancelled
-- KEYS[7] dead       zset: id by the ms at which it was given up
-- KEYS[8] unique     hash: unique key -> id of the job that holds it
-- KEYS[9] idle       zset: inbox of a worker that waits for jobs, by the ms of its last turn
-- KEYS[10] turn      string: the worker's last turn: number, settlements, leases
-- ARGV[1] number     of this turn, rising; the same number gets the same answer, a lower one came late and does nothing
-- ARGV[2] inbox      channel on which the worker is woken
-- ARGV[3] wanted     how many jobs at most; 0 for none, then the worker is not woken either
-- ARGV[4] lease_ms   how long a job is the worker's without a beat
-- ARGV[5] keep_ms    how long the results of ended jobs are kept
-- ARGV[6] keep_jobs  how many of them at most
-- ARGV[7...] settled five words a job: id, fence, done|failed|rejected|released, result or error, delay ms or ''
-- returns {for each settlement 1 or, if the lease was lost, 0; for each lease {id, fence, attempt, failures, crashes, payload}; ms until the next look}
-- include: now_ms, queue_job
local MOVES = 64 -- due and lost jobs moved by one turn: bounds its time; the rest waits for the next
local STAGGER_MS = 50 -- the idle worker that waited longest looks when a job is due, the next one so much later, ...
local STAGGER_MAX_MS = 500
local GHOST_MS = 60000 -- idle workers take a turn far more often
local TRIM_SAFE_MS = 30000 -- no job is forgotten while a repeated call about it can still arrive
local number, inbox, wanted, lease_ms = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local keep_ms, keep_jobs = tonumber(ARGV[5]), tonumber(ARGV[6])
local turned_us = now_us()
local now = math.floor(turned_us / 1000)
local counts = {}
local moved, delayed = 0, 0 -- jobs that became ready for anybody, that got a time at which they are due

local function count(what)
  counts[what] = (counts[what] or 0) + 1
end

-- Schedules the next attempt of a failed job: exponential, half of it random; or buries it after its last retry.
local function retry(id, job, fence, delay_ms, why)
  job.failures = job.failures + 1
  count('failed')
  if job.failures > tonumber(job.retries) then
    count('dead')
    return end_job(id, job, 'dead', why, now)
  end
  redis.call('HSET', JOBS, id .. ':out', why)
  local pause_ms = tonumber(delay_ms)
  if not pause_ms then
    pause_ms = math.min(tonumber(job.backoff_ms) * 2 ^ (job.failures - 1), tonumber(job.backoff_max_ms))
    local random = (turned_us + 7919 * (tonumber(fence) % 1000003)) % 1000 / 1000
    pause_ms = math.floor(pause_ms * (0.5 + 0.5 * random))
  end
  schedule(id, job, now + pause_ms)
  delayed = delayed + 1
end

local function settle(id, fence, outcome, data, delay_ms)
  local job = load_job(id)
  if not job or job.fence ~= fence or redis.call('ZREM', LEASED, id) == 0 then
    return 0
  end
  if outcome == 'done' then
    count('completed')
    end_job(id, job, 'done', data, now)
  elseif outcome == 'failed' then
    retry(id, job, fence, delay_ms, data)
  elseif outcome == 'rejected' then
    count('failed')
    count('dead')
    job.failures = job.failures + 1
    end_job(id, job, 'dead', data, now)
  else
    count('released')
    job.attempts = job.attempts - 1
    job.fence = '0'
    make_ready(id, job)
    moved = moved + 1
  end
  return 1
end

-- Moves jobs whose time has come to the ready ones.
local function move_due()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', SCHEDULED, '-inf', text_of(now), 'LIMIT', 0, MOVES)) do
    redis.call('ZREM', SCHEDULED, id)
    make_ready(id, load_job(id))
    moved = moved + 1
  end
end

-- Takes back jobs whose lease has ended without a settlement: their worker crashed, froze or is cut off.
local function move_lost()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASED, '-inf', text_of(now), 'LIMIT', 0, MOVES)) do
    redis.call('ZREM', LEASED, id)
    local job = load_job(id)
    job.fence = '0'
    job.crashes = job.crashes + 1
    count('crashed')
    if job.crashes > tonumber(job.crash_limit) then
      count('dead')
      end_job(id, job, 'dead', 'its lease ended without an answer ' .. job.crashes ..
        ' times: it may be killing its workers, or blocking them', now)
    else
      make_ready(id, job)
      moved = moved + 1
    end
  end
end

local function lease()
  local leases = {}
  local taken = wanted > 0 and redis.call('ZPOPMIN', READY, wanted) or {}
  if #taken == 0 then
    return leases
  end
  local last = math.max(tonumber(redis.call('HGET', META, 'fence')) or 0, turned_us)
  for index = 1, #taken, 2 do
    local id = taken[index]
    local found = redis.call('HMGET', JOBS, id, id .. ':in')
    local job = parse_job(found[1])
    last = last + 1
    job.state, job.fence, job.attempts = 'leased', text_of(last), job.attempts + 1
    save_job(id, job)
    redis.call('ZADD', LEASED, text_of(now + lease_ms), id)
    leases[#leases + 1] = { id, last, job.attempts, tonumber(job.failures), tonumber(job.crashes), found[2] }
  end
  redis.call('HSET', META, 'fence', text_of(last))
  return leases
end

-- Forgets ended jobs, oldest first: a bounded number a turn, more than a turn can end.
local function trim(limit)
  local surplus = redis.call('ZCARD', ENDED) - keep_jobs
  local before = now - (surplus > 0 and math.min(keep_ms, TRIM_SAFE_MS) or keep_ms)
  local old = redis.call('ZRANGEBYSCORE', ENDED, '-inf', text_of(before), 'LIMIT', 0, limit)
  for _, id in ipairs(old) do
    redis.call('HDEL', JOBS, id, id .. ':in', id .. ':out')
    redis.call('ZREM', ENDED, id)
  end
end

-- How long an idle worker may wait: until a job is due or a lease ends.  -1: nothing is in sight.
local function next_look_ms()
  redis.call('ZREMRANGEBYSCORE', IDLE, '-inf', text_of(now - GHOST_MS))
  redis.call('ZADD', IDLE, text_of(now), inbox)
  local due = tonumber(redis.call('ZRANGE', SCHEDULED, 0, 0, 'WITHSCORES')[2])
  local lost = tonumber(redis.call('ZRANGE', LEASED, 0, 0, 'WITHSCORES')[2])
  local first = math.min(due or math.huge, lost or math.huge)
  if first == math.huge then
    return -1
  end
  return math.max(0, first - now) + math.min(STAGGER_MS * redis.call('ZRANK', IDLE, inbox), STAGGER_MAX_MS)
end

-- What the same turn was answered the first time, without the leases that were lost since.
local function answer_again(settled, granted)
  local marks, leases = {}, {}
  for mark in string.gmatch(settled, '%d') do
    marks[#marks + 1] = tonumber(mark)
  end
  for id, fence in string.gmatch(granted, '(%S+) (%d+)') do
    local found = redis.call('HMGET', JOBS, id, id .. ':in')
    local job = parse_job(found[1])
    if job and job.fence == fence and job.state == 'leased' then
      leases[#leases + 1] = { id, tonumber(fence), tonumber(job.attempts), tonumber(job.failures),
        tonumber(job.crashes), found[2] }
    end
  end
  return { marks, leases, 0 }
end

local last_number, last_settled, last_granted = string.match(redis.call('GET', KEYS[10]) or '0 - ', '^(%d+) (%S+) ?(.*)$')
if tonumber(last_number) == number then
  return answer_again(last_settled, last_granted)
elseif tonumber(last_number) > number then
  return { {}, {}, 0 }
end

local settled = {}
for at = 7, #ARGV, 5 do
  settled[#settled + 1] = settle(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
end
move_due()
move_lost()
local leases = lease()
local look_ms = 0
if wanted > 0 and #leases < wanted then
  look_ms = next_look_ms()
else
  redis.call('ZREM', IDLE, inbox)
  if moved + delayed > 0 then -- somebody idle has to look when the delayed ones are due
    wake(math.max(math.min(moved, redis.call('ZCARD', READY)), math.min(delayed, 1)))
  end
end
trim(8 + 2 * #settled)
for what, times in pairs(counts) do
  redis.call('HINCRBY', META, what, times)
end
local granted = {}
for index, row in ipairs(leases) do
  granted[index] = row[1] .. ' ' .. text_of(row[2])
end
redis.call('SET', KEYS[10], table.concat({ number, '-' .. table.concat(settled), table.concat(granted, ' ') }, ' '),
  'PX', 3600000)
return { settled, leases, look_ms }
