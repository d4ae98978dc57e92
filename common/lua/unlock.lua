-- Give a lock back, if it is still ours.
--
-- KEYS  1 the lock, "<owner> <anything>"      ARGV  1 the owner
-- Answers  1 given back, 0 it was somebody else's, or nobody's
if string.match(redis.call('GET', KEYS[1]) or '', '^%S+') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
