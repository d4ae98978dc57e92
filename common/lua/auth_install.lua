-- Remember what PostgreSQL said about one credential, unless the account changed since the generation was handed out.
-- KEYS[1] auth:{user}
-- ARGV[1] generation   ARGV[2] the field   ARGV[3] the value
-- Answer: 1 installed, 0 too late.
if redis.call('HGET', KEYS[1], 'generation') == ARGV[1] then
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
  return 1
end
return 0
