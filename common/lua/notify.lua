-- Publish a message, unless enough of them wait already.
--
-- KEYS  1 the list that the workers listen to
-- ARGV  1 so many are enough   2 the message
-- Answers  1 published, 0 enough wait
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('LPUSH', KEYS[1], ARGV[2])
return 1
