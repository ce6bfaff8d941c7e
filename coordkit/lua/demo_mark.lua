-- demo_mark: write down what a worker does, with the server's time, for the referee of the demo.
-- KEYS[1] marks      list: "time_us words..."
-- KEYS[2] written    hash: request -> time_us
-- ARGV[1] words      what happened
-- ARGV[2] request    names this mark: the same one is written once
-- returns time_us
-- include: now_ms
local moment_us = string.format('%.0f', now_us())
if redis.call('HSETNX', KEYS[2], ARGV[2], moment_us) == 1 then
  redis.call('RPUSH', KEYS[1], moment_us .. ' ' .. ARGV[1])
end
return tonumber(redis.call('HGET', KEYS[2], ARGV[2]))
