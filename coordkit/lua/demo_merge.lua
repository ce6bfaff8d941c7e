-- demo_merge: add one file's counts to the totals, once a job, and only for the latest holder of the lock.
-- KEYS[1] record     hash: fence, files, lines, words, bytes, refused, repeated
-- KEYS[2] merged     hash: job id -> fence with which it was merged
-- ARGV[1] fence      of the lock's holder
-- ARGV[2] job        its id
-- ARGV[3] lines      to add
-- ARGV[4] words      to add
-- ARGV[5] bytes      to add
-- returns {1 merged | 2 merged before | 0 refused, highest fence, files, words}
local fence, job = ARGV[1], ARGV[2]
local highest = tonumber(redis.call('HGET', KEYS[1], 'fence')) or 0
local verdict
if tonumber(fence) < highest then
  redis.call('HINCRBY', KEYS[1], 'refused', 1)
  verdict = 0 -- another holder has written since: whoever sends this has lost the lock
else
  highest = tonumber(fence)
  redis.call('HSET', KEYS[1], 'fence', fence)
  local merged = redis.call('HGET', KEYS[2], job)
  if not merged then
    redis.call('HSET', KEYS[2], job, fence)
    redis.call('HINCRBY', KEYS[1], 'files', 1)
    redis.call('HINCRBY', KEYS[1], 'lines', ARGV[3])
    redis.call('HINCRBY', KEYS[1], 'words', ARGV[4])
    redis.call('HINCRBY', KEYS[1], 'bytes', ARGV[5])
    verdict = 1
  elseif merged == fence then
    verdict = 1 -- the same call, sent again
  else
    redis.call('HINCRBY', KEYS[1], 'repeated', 1)
    verdict = 2 -- an earlier attempt got so far and died before it could say so
  end
end
local totals = redis.call('HMGET', KEYS[1], 'files', 'words')
return { verdict, highest, tonumber(totals[1]) or 0, tonumber(totals[2]) or 0 }
