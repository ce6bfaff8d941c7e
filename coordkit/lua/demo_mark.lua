-- demo_mark: write down what a worker does, with the server's time, for the referee of the demo.
-- KEYS[1] marks      list: "time_us words..."
-- ARGV[1] words      what happened
-- returns time_us
-- include: now_ms
local moment_us = now_us()
redis.call('RPUSH', KEYS[1], string.format('%.0f ', moment_us) .. ARGV[1])
return moment_us
