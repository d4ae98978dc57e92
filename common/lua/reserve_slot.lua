-- Ask for a slot for a waiting hold, before its row gets it. Idempotent. (What became of the row is told by settle.lua.)
--
-- KEYS  1 budget:{user}:<period>
-- ARGV  1 id   2 number of the move that waiting it   3 max_concurrency (-1 = unlimited)
-- Answers  {slot (0 = no slot is free), epoch, server}   {"unknown"} nothing is known here: rebuild from PostgreSQL
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local id, moves, cap = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local b = redis.call('HMGET', KEYS[1], 'run', 'epoch', 'active', 'h:' .. id, 'server')
if not b[2] or not b[5] or b[1] ~= run or not b[4] then return {'unknown'} end
local epoch, active = tonumber(b[2]), tonumber(b[3])
local amount, slot, at, heard = string.match(b[4], '^(%d+),(%d+),(%d+),(%d+)')
heard = tonumber(heard)
-- The gate is behind the row: the row that got this one's slot is not counted here either.
if heard < moves then return {'unknown'} end
if heard > moves then return {0, epoch, b[5]} end
if slot ~= '0' then return {tonumber(slot), epoch, b[5]} end
if cap >= 0 and active >= cap then return {0, epoch, b[5]} end
redis.call('HINCRBY', KEYS[1], 'active', 1)
redis.call('HSET', KEYS[1], 'h:' .. id, amount .. ',' .. (active + 1) .. ',' .. at .. ',' .. heard)
return {active + 1, epoch, b[5]}
