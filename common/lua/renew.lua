-- Keep the lock of a rebuild, and what was gathered under it.
--
-- KEYS  1 rebuild:{user}:<period>            the lock: "<owner> <seconds that the rebuild may still take>"
--       2… staging:…, staged:…               as stage.lua and stage_allowances.lua left them, if they have begun
-- ARGV  1 owner of the lock   2 milliseconds that the lock is kept   3 seconds that the others are kept
--       4 seconds that the rebuild may still take ("" = as before)
-- Answers  1 kept, 0 another process has the lock now, or nobody
local owner, left = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%d+)')
if owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], owner .. ' ' .. (ARGV[4] ~= '' and ARGV[4] or left), 'PX', ARGV[2])
for i = 2, #KEYS do redis.call('EXPIRE', KEYS[i], ARGV[3]) end
return 1
