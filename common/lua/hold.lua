-- Take a hold: the gate that every submit passes. Idempotent by invocation id.
--
-- KEYS  1 budget:{user}:<period>   hash run, epoch, server, granted, charged, held, active, h:<id> = "amount,slot,since,moves"
--       2 rate:{user}              string "<window start> <count>", one window of 60 s
--       3 idem:{user}:<key hash>   the id that an Idempotency-Key is being made under ("-" = no key)
-- ARGV  1 id   2 amount   3 max_concurrency (-1 = unlimited)   4 rate_limit_per_minute (-1 = none)
-- Answers  {"unknown"}                                  nothing is known here: rebuild from PostgreSQL
--          {"same", id}                                 that idempotency key is being made under another id
--          {"limited", limit, 0, seconds}               rate: come back in so many seconds
--          {"exhausted", available}                     the budget does not cover the amount
--          {"held", epoch, slot (0 = waiting), remaining (-1 = none), seconds to reset, server}
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local id, amount = ARGV[1], tonumber(ARGV[2])
local cap, limit = tonumber(ARGV[3]), tonumber(ARGV[4])
local b = redis.call('HMGET', KEYS[1], 'run', 'epoch', 'granted', 'charged', 'held', 'active', 'h:' .. id, 'server')
if not b[2] or not b[8] or b[1] ~= run then return {'unknown'} end

if KEYS[3] ~= '-' then
  local other = redis.call('GET', KEYS[3])
  if other and other ~= id then return {'same', other} end
end

local now = tonumber(redis.call('TIME')[1])
local start, count = now, 0
local window = redis.call('GET', KEYS[2])
if window then
  local s, c = string.match(window, '(%d+) (%d+)')
  if now - tonumber(s) < 60 and now >= tonumber(s) then start, count = tonumber(s), tonumber(c) end
end
local reset = 60 - (now - start)
local function remaining() return limit < 0 and -1 or math.max(0, limit - count) end

if b[7] then
  return {'held', tonumber(b[2]), tonumber(string.match(b[7], ',(%d+)')), remaining(), reset, b[8]}
end
if limit >= 0 and count >= limit then return {'limited', limit, 0, reset} end
local granted, charged, held = tonumber(b[3]), tonumber(b[4]), tonumber(b[5])
if charged + held + amount > granted then
  return {'exhausted', math.max(0, granted - charged - held)}
end

local active, slot = tonumber(b[6]), 0
if cap < 0 or active < cap then
  slot = active + 1
  redis.call('HINCRBY', KEYS[1], 'active', 1)
end
redis.call('HINCRBY', KEYS[1], 'held', ARGV[2])
redis.call('HSET', KEYS[1], 'h:' .. id, ARGV[2] .. ',' .. slot .. ',' .. now .. ',0')
if KEYS[3] ~= '-' then redis.call('SET', KEYS[3], id, 'EX', 30) end
count = count + 1
redis.call('SET', KEYS[2], start .. ' ' .. count, 'EX', 60)
return {'held', tonumber(b[2]), slot, remaining(), reset, b[8]}
