-- now_us: the server's clock, as `now`, in whole microseconds.  Costs less than the functions of now_ms.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
