-- Undo a hold whose row was certainly not committed: budget, concurrency, rate and idempotency mark.
-- Once for each hold that was answered: the rate was counted then, even if a rebuild has dropped the hold since.
--
-- KEYS  as hold.lua        ARGV  1 id
-- Answers  1 released, 0 there was nothing
local id = ARGV[1]
if KEYS[3] ~= '-' and redis.call('GET', KEYS[3]) == id then redis.call('DEL', KEYS[3]) end
local start, count = string.match(redis.call('GET', KEYS[2]) or '', '(%d+) (%d+)')
if count and tonumber(count) > 0 then
  redis.call('SET', KEYS[2], start .. ' ' .. (tonumber(count) - 1), 'EX', 60)
end
local h = redis.call('HGET', KEYS[1], 'h:' .. id)
if not h then return 0 end
local amount, slot = string.match(h, '^(%d+),(%d+)')
redis.call('HDEL', KEYS[1], 'h:' .. id)
redis.call('HINCRBY', KEYS[1], 'held', '-' .. amount)
if slot ~= '0' then redis.call('HINCRBY', KEYS[1], 'active', -1) end
return 1
