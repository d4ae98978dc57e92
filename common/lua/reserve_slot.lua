-- Ask for a slot for a waiting hold, before its row gets it. Idempotent. (What became of the row is told by settle.lua.)
-- One that waits for its API key is counted there first; then it may still have to wait for a slot.
--
-- KEYS  1 budget:{user}:<period>
-- ARGV  1 id   2 number of the move that waiting it   3 max_concurrency (-1 = unlimited)   4 that of its API key (-1 = none)
-- Answers  {slot (0 = none is free, -1 = only its API key has one), epoch, server}   {"unknown"} nothing is known here: rebuild from PostgreSQL
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local id, moves, cap = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local b = redis.call('HMGET', KEYS[1], 'run', 'epoch', 'active', 'h:' .. id, 'server')
if not b[2] or not b[5] or b[1] ~= run or not b[4] then return {'unknown'} end
local epoch, active = tonumber(b[2]), tonumber(b[3])
local amount, slot, at, heard, key = string.match(b[4], '^(%d+),(-?%d+),(%d+),(%d+),?(.*)$')
heard = tonumber(heard)
-- The gate is behind the row: the row that got this one's slot is not counted here either.
if heard < moves then return {'unknown'} end
if heard > moves then return {0, epoch, b[5]} end
if tonumber(slot) > 0 then return {tonumber(slot), epoch, b[5]} end
if key ~= '' and slot == '0' then
  local most = tonumber(ARGV[4])
  if most >= 0 and tonumber(redis.call('HGET', KEYS[1], 'a:' .. key) or 0) >= most then return {0, epoch, b[5]} end
  if redis.call('HSETNX', KEYS[1], 'a:' .. key, 0) == 1 then redis.call('HINCRBY', KEYS[1], 'capped', 1) end
  redis.call('HINCRBY', KEYS[1], 'a:' .. key, 1)
end
slot = key ~= '' and -1 or 0
if cap < 0 or active < cap then
  redis.call('HINCRBY', KEYS[1], 'active', 1)
  slot = active + 1
end
local behind = key ~= '' and ',' .. key or ''
redis.call('HSET', KEYS[1], 'h:' .. id, amount .. ',' .. slot .. ',' .. at .. ',' .. heard .. behind)
return {slot, epoch, b[5]}
