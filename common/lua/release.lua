-- Undo a hold whose row was certainly not committed: budget, allowances, concurrency, rate and idempotency mark.
-- Once for each hold that was answered: the rate was counted then, even if a rebuild has dropped the hold since.
--
-- KEYS  as hold.lua        ARGV  1 id
-- Answers  1 released, 0 there was nothing
local id = ARGV[1]
if string.sub(KEYS[3], 1, 1) ~= '-' and redis.call('GET', KEYS[3]) == id then redis.call('DEL', KEYS[3]) end
local function uncount(key)
  local start, count = string.match(redis.call('GET', key) or '', '(%d+) (%d+)')
  if count and tonumber(count) > 0 then
    redis.call('SET', key, start .. ' ' .. (tonumber(count) - 1), 'EX', 60)
  end
end
uncount(KEYS[2])
for i = 5, #KEYS do uncount(KEYS[i]) end
if string.sub(KEYS[4], 1, 1) ~= '-' then
  local amount, keys = string.match(redis.call('HGET', KEYS[4], 'h:' .. id) or '', '^(%d+),%d+,(.+)$')
  for key in string.gmatch(keys or '', '%S+') do
    local before, held = string.match(redis.call('HGET', KEYS[4], 'k:' .. key) or '', '^(%a+,%d+,%d+),(%d+)$')
    if before then
      redis.call('HSET', KEYS[4], 'k:' .. key, string.format('%s,%.0f', before, tonumber(held) - tonumber(amount)))
    end
  end
  redis.call('HDEL', KEYS[4], 'h:' .. id)
end
local h = redis.call('HGET', KEYS[1], 'h:' .. id)
if not h then return 0 end
local amount, slot, key = string.match(h, '^(%d+),(-?%d+),%d+,%d+,?(.*)$')
redis.call('HDEL', KEYS[1], 'h:' .. id)
redis.call('HINCRBY', KEYS[1], 'held', string.format('%.0f', 0 - amount))
if tonumber(slot) > 0 then redis.call('HINCRBY', KEYS[1], 'active', -1) end
if key ~= '' and slot ~= '0' then redis.call('HINCRBY', KEYS[1], 'a:' .. key, -1) end
return 1
