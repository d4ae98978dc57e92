-- Register a worker thread that waits for a wake-up. If messages lie in its queue, it is told at once to leave instead.
--
-- KEYS  1 {<queue>}:waiting   sorted set: thread → when its wait is over, in milliseconds
--       2 the list of the queue   3 the list that the thread blocks on (all in one slot)
-- ARGV  1 thread   2 milliseconds that it waits
-- Answers  1 registered, 0 messages lie there
if redis.call('LLEN', KEYS[2]) > 0 then
  redis.call('RPUSH', KEYS[3], 'stop')
  redis.call('PEXPIRE', KEYS[3], 5000)
  return 0
end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], 60000)
return 1
