-- Take a hold: the gate that every submit passes. Idempotent by invocation id.
--
-- KEYS  1 budget:{user}:<period>   hash run, epoch, server, granted, charged, held, active, h:<id> = "amount,slot,since,moves",
--                                  with ",<API key>" behind it if that key has a max_concurrency; a:<API key> = how many of its
--                                  holds have a slot or -1; capped = how many a: there are.
--                                  slot: 0 waits (for its API key, if it has one here), -1 its API key has counted it, and it
--                                  waits for a slot of the account
--       2 rate:{user}              string "<window start> <count>", one window of 60 s
--       3 idem:{user}:<key hash>   the id that an Idempotency-Key is being made under ("-" = no key)
--       4 allowances:{user}        hash run, made, k:<API key> = "window,start,charged,held", h:<id> = "amount,since,keys";
--                                  made = "<period>:<epoch>:<server>" of the gate that it goes with ("-" = nobody's counts)
--       5… rate:{user}:<API key>   as 2, one for each API key that is named below
--       and at the end auth:{user} hash of `auth_read.lua` ("-" = the caller has been looked up already)
-- ARGV  1 id   2 amount   3 max_concurrency (-1 = unlimited)   4 rate_limit_per_minute (-1 = none)
--       5 an API key with a max_concurrency ("" = none)   6 that max_concurrency
--       7 a field of auth:{user}   8 what it is if the caller may still do this
--       then fives, one for each API key that is asked too, the nearest first: its id, its tokens (-1 = no allowance),
--       window (total, day, month), start of the window (Unix time; 0 = total), rate_limit_per_minute (-1 = none)
-- Answers  {"changed"}                                  of the caller something else is known, or nothing: look them up
--          {"unknown"}                                  nothing is known here: rebuild from PostgreSQL
--          {"same", id}                                 that idempotency key is being made under another id
--          {"limited", limit, 0, seconds}               rate: come back in so many seconds
--          {"exhausted", available, API key or ""}      the allowance of that key, or the budget, does not cover the amount
--          {"held", epoch, slot (0, -1 = waiting), remaining (-1 = none), seconds to reset, server, limit}   the tightest rate
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if string.sub(KEYS[#KEYS], 1, 1) ~= '-' then
  local known = redis.call('HMGET', KEYS[#KEYS], ARGV[7], 'run')
  if known[1] ~= ARGV[8] or known[2] ~= run then return {'changed'} end
end
local id, amount, cap = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local b = redis.call('HMGET', KEYS[1], 'run', 'epoch', 'granted', 'charged', 'held', 'active', 'h:' .. id, 'server')
for _, figure in ipairs({b[2] or '0', b[8] or '0'}) do -- (an answer would end there)
  if not tonumber(figure) then return redis.error_reply('ERR in a script: the gate is garbled') end
end
if not b[2] or not b[8] or b[1] ~= run then return {'unknown'} end

if string.sub(KEYS[3], 1, 1) ~= '-' then
  local other = redis.call('GET', KEYS[3])
  if other and other ~= id then return {'same', other} end
end

local now = tonumber(redis.call('TIME')[1])
local rates = {}
local function rate(key, limit)
  local start, count = now, 0
  local window = redis.call('GET', key)
  if window then
    local s, c = string.match(window, '(%d+) (%d+)')
    if now - tonumber(s) < 60 and now >= tonumber(s) then start, count = tonumber(s), tonumber(c) end
  end
  rates[#rates + 1] = {key = key, start = start, count = count, limit = limit, reset = 60 - (now - start)}
end
rate(KEYS[2], tonumber(ARGV[4]))
for i = 9, #ARGV, 5 do
  if ARGV[i + 4] ~= '-1' then rate(KEYS[5 + (i - 9) / 5], tonumber(ARGV[i + 4])) end
end
local function held(slot)
  local tightest = rates[1]
  for _, r in ipairs(rates) do
    if r.limit >= 0 and (tightest.limit < 0 or r.limit - r.count < tightest.limit - tightest.count) then tightest = r end
  end
  local remaining = tightest.limit < 0 and -1 or math.max(0, tightest.limit - tightest.count)
  return {'held', tonumber(b[2]), slot, remaining, tightest.reset, b[8], tightest.limit}
end

if b[7] then return held(tonumber(string.match(b[7], ',(-?%d+)'))) end
for _, r in ipairs(rates) do
  if r.limit >= 0 and r.count >= r.limit then return {'limited', r.limit, 0, r.reset} end
end

local counts = {}
if string.sub(KEYS[4], 1, 1) ~= '-' then
  local made = string.match(KEYS[1], '[^:]+$') .. ':' .. b[2] .. ':' .. b[8]
  local a = redis.call('HMGET', KEYS[4], 'run', 'made')
  if a[1] ~= run or a[2] ~= made then return {'unknown'} end
  for i = 9, #ARGV, 5 do
    local key, tokens, window, start = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
    if tokens >= 0 then
      -- One that is not there was made after the rows were read, or has used nothing.
      local charged, held = 0, 0
      local entry = redis.call('HGET', KEYS[4], 'k:' .. key)
      if entry then
        local s, c, h = string.match(entry, '^%a+,(%d+),(%d+),(%d+)$')
        if not s then return {'unknown'} end
        held = tonumber(h)
        if s == start then charged = tonumber(c) end
        -- What the earlier window was charged is not known any more.
        if tonumber(s) > tonumber(start) then return {'unknown'} end
      end
      if charged + held + amount > tokens then return {'exhausted', math.max(0, tokens - charged - held), key} end
      counts[#counts + 1] = {key, string.format('%s,%s,%.0f,%.0f', window, start, charged, held + amount)}
    end
  end
end

local granted, charged = tonumber(b[3]), tonumber(b[4])
if charged + tonumber(b[5]) + amount > granted then
  return {'exhausted', math.max(0, granted - charged - tonumber(b[5])), ''}
end

local active, slot, key = tonumber(b[6]), 0, ARGV[5]
if key == '' or tonumber(redis.call('HGET', KEYS[1], 'a:' .. key) or 0) < tonumber(ARGV[6]) then
  if cap < 0 or active < cap then
    slot = active + 1
    redis.call('HINCRBY', KEYS[1], 'active', 1)
  elseif key ~= '' then
    slot = -1
  end
  if key ~= '' then
    if redis.call('HSETNX', KEYS[1], 'a:' .. key, 0) == 1 then redis.call('HINCRBY', KEYS[1], 'capped', 1) end
    redis.call('HINCRBY', KEYS[1], 'a:' .. key, 1)
  end
end
redis.call('HINCRBY', KEYS[1], 'held', ARGV[2])
redis.call('HSET', KEYS[1], 'h:' .. id, ARGV[2] .. ',' .. slot .. ',' .. now .. ',0' .. (key ~= '' and ',' .. key or ''))
if #counts > 0 then
  local keys = {}
  for i, count in ipairs(counts) do
    redis.call('HSET', KEYS[4], 'k:' .. count[1], count[2])
    keys[i] = count[1]
  end
  redis.call('HSET', KEYS[4], 'h:' .. id, ARGV[2] .. ',' .. now .. ',' .. table.concat(keys, ' '))
end
if string.sub(KEYS[3], 1, 1) ~= '-' then redis.call('SET', KEYS[3], id, 'EX', 30) end
for _, r in ipairs(rates) do
  r.count = r.count + 1
  redis.call('SET', r.key, r.start .. ' ' .. r.count, 'EX', 60)
end
return held(slot)
