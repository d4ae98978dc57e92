-- Ring a doorbell, unless enough of them wait unheard.
--
-- KEYS  1 the list that the workers listen to
-- ARGV  1 so many are enough   2 the message
-- Answers  1 rung, 0 enough
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('LPUSH', KEYS[1], ARGV[2])
return 1
