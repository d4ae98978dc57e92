-- A rebuild under a new epoch starts: the gate's state is dropped, and from here on completions are recorded (settle.lua).
-- What the account's API keys have used goes with the gate of its open period.
--
-- KEYS  1 budget:{user}:<period>   2 allowances:{user} ("-": another period has taken over, they go with its gate)
-- ARGV  1 epoch
-- Answers  1 go on, 0 a newer rebuild is under way or done
local b = redis.call('HMGET', KEYS[1], 'epoch', 'rebuilding', 'run')
local epoch = tonumber(ARGV[1])
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if b[3] == run and b[1] and tonumber(b[1]) >= epoch then return 0 end
if b[2] and tonumber(b[2]) > epoch then return 0 end
redis.call('UNLINK', KEYS[1])
redis.call('HSET', KEYS[1], 'rebuilding', ARGV[1])
redis.call('EXPIRE', KEYS[1], 5184000)
if string.sub(KEYS[2], 1, 1) ~= '-' then
  redis.call('UNLINK', KEYS[2])
  redis.call('HSET', KEYS[2], 'rebuilding', string.match(KEYS[1], '[^:]+$') .. ':' .. ARGV[1])
  redis.call('EXPIRE', KEYS[2], 5184000)
end
return 1
