-- What is remembered about one credential of an account; when nothing is, leave to remember it.
-- KEYS[1] auth:{user}  hash: a field per credential, `generation`, and `run` of the server that it was made on
-- ARGV[1] the field   ARGV[2] a nonce   ARGV[3] seconds that anything may be remembered
-- Answer: {value or nil, generation or ''}. Read PostgreSQL when there is no value; install what you found only
-- under that generation, and if no change was on its way in PostgreSQL before you read.
-- A promoted replica may lack the last changes of its primary, and so drops what it has from there.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local found = redis.call('HMGET', KEYS[1], ARGV[1], 'run')
if found[1] and found[2] == run then
  return {found[1], ''}
end
if found[2] ~= run then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'run', run, 'generation', ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return {false, redis.call('HGET', KEYS[1], 'generation')}
