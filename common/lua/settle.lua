-- Apply what was committed: a completion (charge, free the hold) and rows that got a slot or lost one.
-- Idempotent, and independent of the order of arrival: every row numbers its moves, and the highest number counts.
--
-- KEYS  1 budget:{user}:<period>   2 wait:{user}:<id>   3 allowances:{user} ("-": no API key's allowance counts it)
-- ARGV  1 message for the waiters ("" = none)
--       2 id that was completed ("" = none)   3 its charge   4 number of its last move   5 the slot it had (0 = waiting)
--       6, 7 the day and the month that its usage row is in (Unix time; they matter with KEYS 3 alone)
--       then triples: id, number of its move, slot (0, -1 = waiting, as hold.lua has it)
-- Answers  {missed, active, granted, charged before, charged after}   {missed, active} no completion, or one known already
--          active: how many rows have a slot now   missed: 1 = an earlier move never arrived: rebuild
if ARGV[1] ~= '' and redis.call('EXISTS', KEYS[2]) == 1 then redis.call('PUBLISH', 'invocations', ARGV[1]) end
local ended, charge = ARGV[2], ARGV[3]
-- A rebuild may be between its snapshot and its install: record the move, so that the install does not bring back what the snapshot saw.
local rebuilding = redis.call('HEXISTS', KEYS[1], 'rebuilding') == 1
local active, missed, answer = 0, 0, {}
-- What an API key with a max_concurrency has of the slots, when one of its holds goes from `was` to `slot`.
local function count(key, was, slot)
  local by = (slot ~= '0' and 1 or 0) - (was ~= '0' and 1 or 0)
  if key == '' or by == 0 then return end
  if redis.call('HSETNX', KEYS[1], 'a:' .. key, 0) == 1 then redis.call('HINCRBY', KEYS[1], 'capped', 1) end
  redis.call('HINCRBY', KEYS[1], 'a:' .. key, by)
end

if ended ~= '' then
  if rebuilding then redis.call('HSET', KEYS[1], 'e:' .. ended, charge) end
  local b = redis.call('HMGET', KEYS[1], 'granted', 'charged', 'h:' .. ended)
  if b[3] then
    local amount, slot, _, before, key = string.match(b[3], '^(%d+),(-?%d+),(%d+),(%d+),?(.*)$')
    -- Another row may have got the slot that this one has here, or one that it had in between.
    if tonumber(slot) > 0 and ARGV[5] == '0' or tonumber(before) + 1 < tonumber(ARGV[4]) then missed = 1 end
    redis.call('HDEL', KEYS[1], 'h:' .. ended)
    redis.call('HINCRBY', KEYS[1], 'held', string.format('%.0f', 0 - amount))
    redis.call('HINCRBY', KEYS[1], 'charged', charge)
    if tonumber(slot) > 0 then active = active - 1 end
    count(key, slot, '0')
    answer = {b[1], b[2], string.format('%.0f', tonumber(b[2]) + tonumber(charge))}
  end
end

if ended ~= '' and string.sub(KEYS[3], 1, 1) ~= '-' then
  local start = {total = '0', day = ARGV[6], month = ARGV[7]}
  if redis.call('HEXISTS', KEYS[3], 'rebuilding') == 1 then
    redis.call('HSET', KEYS[3], 'e:' .. ended, charge .. ',' .. ARGV[6] .. ',' .. ARGV[7])
  end
  local amount, keys = string.match(redis.call('HGET', KEYS[3], 'h:' .. ended) or '', '^(%d+),%d+,(.+)$')
  for key in string.gmatch(keys or '', '%S+') do
    local entry = redis.call('HGET', KEYS[3], 'k:' .. key) or ''
    local window, since, charged, held = string.match(entry, '^(%a+),(%d+),(%d+),(%d+)$')
    if window then
      local new = start[window]
      if tonumber(new) > tonumber(since) then since, charged = new, 0 end
      if new == since then charged = tonumber(charged) + tonumber(charge) end
      redis.call('HSET', KEYS[3], 'k:' .. key,
        string.format('%s,%s,%.0f,%.0f', window, since, charged, tonumber(held) - tonumber(amount)))
    end
  end
  if amount then redis.call('HDEL', KEYS[3], 'h:' .. ended) end
end

for i = 8, #ARGV, 3 do
  local id, moves, slot = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  if rebuilding then
    local word = redis.call('HGET', KEYS[1], 'p:' .. id)
    if not word or tonumber(string.match(word, '^%d+')) <= moves then
      redis.call('HSET', KEYS[1], 'p:' .. id, ARGV[i + 1] .. ',' .. slot)
    end
  end
  local hold = redis.call('HGET', KEYS[1], 'h:' .. id)
  if hold then -- or else it has ended meanwhile
    local amount, was, at, before, key = string.match(hold, '^(%d+),(-?%d+),(%d+),(%d+),?(.*)$')
    if tonumber(before) + 1 < moves then missed = 1 end
    if tonumber(before) < moves then -- one that is known already must not undo what reserve_slot.lua counted since
      local behind = key ~= '' and ',' .. key or ''
      redis.call('HSET', KEYS[1], 'h:' .. id, amount .. ',' .. slot .. ',' .. at .. ',' .. ARGV[i + 1] .. behind)
      if tonumber(was) <= 0 and tonumber(slot) > 0 then active = active + 1 end
      if tonumber(was) > 0 and tonumber(slot) <= 0 then active = active - 1 end
      count(key, was, slot)
    end
  end
end
if missed == 1 and active < 0 then active = 0 end -- rather too many than too few, until it is rebuilt
local slots = tonumber(redis.call('HGET', KEYS[1], 'active') or 0)
if active ~= 0 then slots = redis.call('HINCRBY', KEYS[1], 'active', active) end
return {missed, slots, unpack(answer)}
