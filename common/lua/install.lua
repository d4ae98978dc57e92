-- Install what PostgreSQL says, as a whole: a set, never an add.
--
-- KEYS  1 budget:{user}:<period>
-- ARGV  1 epoch   2 granted   3 charged   4 seconds to live, then fours: id, amount, place (0 = parked), moves
-- Answers  1 installed, 0 not ours to install any more (wiped in between, or a newer rebuild): begin again
if redis.call('HGET', KEYS[1], 'rebuilding') ~= ARGV[1] then return 0 end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local now = redis.call('TIME')[1]
local charged, held, active = tonumber(ARGV[3]), 0, 0
-- What ended or moved between the snapshot and now: settle.lua left word. Older words say nothing new.
local ends, moved = {}, {}
local words = redis.call('HGETALL', KEYS[1])
for i = 1, #words, 2 do
  local kind, id = string.match(words[i], '^([ep]):(.+)$')
  if kind == 'e' then ends[id] = words[i + 1] end
  if kind == 'p' then moved[id] = words[i + 1] end
end
local fields = {}
for i = 5, #ARGV, 4 do
  local id, amount, place, moves = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if ends[id] then
    charged = charged + tonumber(ends[id])
  else
    local number, to = string.match(moved[id] or '', '^(%d+),(%d+)')
    if number and tonumber(number) > tonumber(moves) then moves, place = number, to end
    held = held + tonumber(amount)
    if place ~= '0' then active = active + 1 end
    fields[#fields + 1] = 'h:' .. id
    fields[#fields + 1] = amount .. ',' .. place .. ',' .. now .. ',' .. moves
  end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'run', run, 'epoch', ARGV[1], 'granted', ARGV[2],
  'charged', string.format('%.0f', charged), 'held', string.format('%.0f', held), 'active', active)
for i = 1, #fields, 1000 do
  redis.call('HSET', KEYS[1], unpack(fields, i, math.min(i + 999, #fields)))
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
