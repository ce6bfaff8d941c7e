-- queue_job: what is known about one job.
-- KEYS[1] jobs       hash: id -> record, id:in -> payload, id:out -> result or last error
-- ARGV[1] id         of the job
-- returns {record, payload or nil, result or error or nil}; the record is '' if the job is unknown or forgotten
local found = redis.call('HMGET', KEYS[1], ARGV[1], ARGV[1] .. ':in', ARGV[1] .. ':out')
return { found[1] or '', found[2], found[3] }
