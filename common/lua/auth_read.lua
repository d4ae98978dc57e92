-- What is remembered about one credential of an account; when nothing is, leave to remember it.
-- KEYS[1] auth:{user}           hash: a field per credential, and `generation`
-- KEYS[2] auth:{user}:changing  set: changes that are being committed
-- ARGV[1] the field   ARGV[2] a nonce   ARGV[3] seconds that anything may be remembered
-- Answer: {value or nil, generation or ''}. Read PostgreSQL when there is no value; install what you found only
-- under that generation ('': do not install, a change is on its way).
local found = redis.call('HGET', KEYS[1], ARGV[1])
if found then
  return {found, ''}
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  return {false, ''}
end
if redis.call('HSETNX', KEYS[1], 'generation', ARGV[2]) == 1 then
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return {false, redis.call('HGET', KEYS[1], 'generation')}
