-- Install the state computed from PostgreSQL, as a whole: never an increment.
--
-- KEYS  1 budget:{user}:<period>   2 staging:{user}:<period>:<epoch>, as stage.lua left it
--       3 allowances:{user}         4 staged:{user}:<period>:<epoch>, as stage_allowances.lua left it ("-", "-": not these)
-- ARGV  1 epoch   2 granted   3 charged   4 seconds to live   5 which run of PostgreSQL was asked
-- Answers  1 installed, 0 not ours to install any more (wiped in between, or a newer rebuild): begin again
if redis.call('HGET', KEYS[1], 'rebuilding') ~= ARGV[1] or redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local sums = redis.call('HMGET', KEYS[2], 'held', 'active')
local charged, held, active = tonumber(ARGV[3]), tonumber(sums[1]), tonumber(sums[2])

local function count(key, was, slot) -- as in settle.lua
  local by = (slot ~= '0' and 1 or 0) - (was ~= '0' and 1 or 0)
  if key == '' or by == 0 then return end
  if redis.call('HSETNX', KEYS[2], 'a:' .. key, 0) == 1 then redis.call('HINCRBY', KEYS[2], 'capped', 1) end
  redis.call('HINCRBY', KEYS[2], 'a:' .. key, by)
end

-- What ended or moved between the snapshot and now: settle.lua has recorded it. Older records say nothing new.
local cursor = '0'
repeat
  local found = redis.call('HSCAN', KEYS[1], cursor, 'MATCH', '[ep]:*', 'COUNT', 1000)
  cursor = found[1]
  for i = 1, #found[2], 2 do
    local kind, id = string.match(found[2][i], '^([ep]):(.+)$')
    local word, hold = found[2][i + 1], redis.call('HGET', KEYS[2], 'h:' .. id)
    if hold then
      local amount, slot, at, moves, key = string.match(hold, '^(%d+),(-?%d+),(%d+),(%d+),?(.*)$')
      if kind == 'e' then
        redis.call('HDEL', KEYS[2], 'h:' .. id)
        charged, held = charged + tonumber(word), held - tonumber(amount)
        if tonumber(slot) > 0 then active = active - 1 end
        count(key, slot, '0')
      else
        local number, to = string.match(word, '^(%d+),(-?%d+)')
        if tonumber(number) > tonumber(moves) then
          local behind = key ~= '' and ',' .. key or ''
          redis.call('HSET', KEYS[2], 'h:' .. id, amount .. ',' .. to .. ',' .. at .. ',' .. number .. behind)
          if tonumber(slot) <= 0 and tonumber(to) > 0 then active = active + 1 end
          if tonumber(slot) > 0 and tonumber(to) <= 0 then active = active - 1 end
          count(key, slot, to)
        end
      end
    end
  end
until cursor == '0'

redis.call('HSET', KEYS[2], 'run', run, 'epoch', ARGV[1], 'server', ARGV[5], 'granted', ARGV[2],
  'charged', string.format('%.0f', charged), 'held', string.format('%.0f', held), 'active', active)
redis.call('UNLINK', KEYS[1])
redis.call('RENAME', KEYS[2], KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[4])

-- The same for what API keys have used, unless the gate of a newer period has taken that over.
local made = string.match(KEYS[1], '[^:]+$') .. ':' .. ARGV[1]
if string.sub(KEYS[3], 1, 1) == '-' or redis.call('HGET', KEYS[3], 'rebuilding') ~= made or redis.call('EXISTS', KEYS[4]) == 0 then return 1 end
cursor = '0'
repeat
  local found = redis.call('HSCAN', KEYS[3], cursor, 'MATCH', 'e:*', 'COUNT', 1000)
  cursor = found[1]
  for i = 1, #found[2], 2 do
    local id = string.sub(found[2][i], 3)
    local charge, day, month = string.match(found[2][i + 1], '^(%d+),(%d+),(%d+)$')
    local start = {total = '0', day = day, month = month}
    local amount, keys = string.match(redis.call('HGET', KEYS[4], 'h:' .. id) or '', '^(%d+),%d+,(.+)$')
    for key in string.gmatch(keys or '', '%S+') do
      local entry = redis.call('HGET', KEYS[4], 'k:' .. key) or ''
      local window, since, charged, held = string.match(entry, '^(%a+),(%d+),(%d+),(%d+)$')
      if window then
        local new = start[window]
        if tonumber(new) > tonumber(since) then since, charged = new, 0 end
        if new == since then charged = tonumber(charged) + tonumber(charge) end
        redis.call('HSET', KEYS[4], 'k:' .. key,
          string.format('%s,%s,%.0f,%.0f', window, since, charged, tonumber(held) - tonumber(amount)))
      end
    end
    redis.call('HDEL', KEYS[4], 'h:' .. id)
  end
until cursor == '0'
redis.call('HDEL', KEYS[4], 'staged')
redis.call('HSET', KEYS[4], 'run', run, 'made', made .. ':' .. ARGV[5])
redis.call('UNLINK', KEYS[3])
redis.call('RENAME', KEYS[4], KEYS[3])
redis.call('EXPIRE', KEYS[3], ARGV[4])
return 1
