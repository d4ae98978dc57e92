-- Put some of an account's open holds where a rebuild gathers them, and keep the rebuild's lock.
--
-- KEYS  1 staging:{user}:<period>:<epoch>   hash h:<id>, a:<API key> as hold.lua has them, and the sums held, active, capped
--       2 rebuild:{user}:<period>           the lock: "<owner> <seconds that the rebuild may still take>"
-- ARGV  1 owner of the lock   2 milliseconds that the lock is kept   3 seconds that the rebuild may still take
--       4 seconds that the staging hash is kept, then fives: id, amount, slot (0, -1 = waiting), moves,
--       API key ("" = none)
-- Answers  1 go on, 0 another process has the lock now: give up
if string.match(redis.call('GET', KEYS[2]) or '', '^%S+') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. ARGV[3], 'PX', ARGV[2])
local now = redis.call('TIME')[1]
local fields, held, active, keys = {}, 0, 0, {}
for i = 5, #ARGV, 5 do
  local key = ARGV[i + 4]
  fields[#fields + 1] = 'h:' .. ARGV[i]
  fields[#fields + 1] = ARGV[i + 1] .. ',' .. ARGV[i + 2] .. ',' .. now .. ',' .. ARGV[i + 3] .. (key ~= '' and ',' .. key or '')
  held = held + tonumber(ARGV[i + 1])
  if tonumber(ARGV[i + 2]) > 0 then active = active + 1 end
  if key ~= '' and ARGV[i + 2] ~= '0' then keys[key] = (keys[key] or 0) + 1 end
end
for i = 1, #fields, 1000 do
  redis.call('HSET', KEYS[1], unpack(fields, i, math.min(i + 999, #fields)))
end
redis.call('HINCRBY', KEYS[1], 'held', string.format('%.0f', held))
redis.call('HINCRBY', KEYS[1], 'active', active)
for key, n in pairs(keys) do
  if redis.call('HSETNX', KEYS[1], 'a:' .. key, 0) == 1 then redis.call('HINCRBY', KEYS[1], 'capped', 1) end
  redis.call('HINCRBY', KEYS[1], 'a:' .. key, n)
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
