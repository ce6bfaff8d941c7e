-- now_us: the server's clock, as `now`, in whole microseconds, and as `time`, {seconds, us}, in text.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
