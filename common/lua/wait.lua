-- Register a worker thread that waits for a wake-up (in the same slot as its queue's list).
--
-- KEYS  1 {<queue>}:waiting   sorted set: thread → when its wait is over, in milliseconds
-- ARGV  1 thread   2 milliseconds that it waits
-- Answers  1
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], 60000)
return 1
