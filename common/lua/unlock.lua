-- Release a lock, if it is still held by this owner.
--
-- KEYS  1 the lock, "<owner> <anything>"      ARGV  1 the owner
-- Answers  1 released, 0 it was free or held by another owner
if string.match(redis.call('GET', KEYS[1]) or '', '^%S+') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
