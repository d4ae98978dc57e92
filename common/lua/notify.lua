-- Wake a worker thread that waits, or else publish a message, unless enough of them wait already.
-- The one that began to wait last is woken: the others may leave when nothing comes for them.
--
-- KEYS  1 the list that the workers listen to
--       2 {<list>}:waiting   sorted set of threads that wait, as wait.lua has it
-- ARGV  1 so many messages are enough   2 the message   3 '1': threads are woken, otherwise only messages published
-- Writes  {<list>}:wake-up:<thread>   list that the thread blocks on (its name begins with the same tag)
-- Answers  2 a thread was woken, 1 published, 0 enough wait
local thread = ARGV[3] == '1' and redis.call('ZPOPMAX', KEYS[2]) or {}
if thread[1] then
  local time = redis.call('TIME')
  if tonumber(thread[2]) > time[1] * 1000 + math.floor(time[2] / 1000) then
    local list = '{' .. KEYS[1] .. '}:wake-up:' .. thread[1]
    redis.call('LPUSH', list, 'work')
    redis.call('PEXPIRE', list, 5000)
    return 2
  end
  redis.call('DEL', KEYS[2])
end
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('LPUSH', KEYS[1], ARGV[2])
return 1
