-- Put what API keys have used, and the holds that count against them, where a rebuild gathers them; keep its lock.
--
-- KEYS  1 staged:{user}:<period>:<epoch>   hash k:<API key>, h:<id> as hold.lua has them
--       2 rebuild:{user}:<period>          the lock: "<owner> <seconds that the rebuild may still take>"
-- ARGV  1 owner of the lock   2 milliseconds that the lock is kept   3 seconds that the staging hash is kept
--       then pairs: field, value; a hold's value without its time: "amount,keys"
-- Answers  1 go on, 0 another process has the lock now: give up
local owner, left = string.match(redis.call('GET', KEYS[2]) or '', '^(%S+) (%d+)')
if owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. left, 'PX', ARGV[2])
local now = redis.call('TIME')[1]
redis.call('HSET', KEYS[1], 'staged', '1')
for i = 4, #ARGV, 2 do
  local field, value = ARGV[i], ARGV[i + 1]
  if string.sub(field, 1, 2) == 'h:' then value = string.gsub(value, ',', ',' .. now .. ',', 1) end
  redis.call('HSET', KEYS[1], field, value)
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
