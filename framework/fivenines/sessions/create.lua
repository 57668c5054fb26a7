-- Write a new session. Repeatable: the id is random and nobody else knows it yet.
-- KEYS[1] session   ARGV[1] idle time, ms   ARGV[2] absolute time, ms   ARGV[3] principal   ARGV[4] generation
-- ARGV[5...] field, value, ...
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('HSET', KEYS[1], 'c', now, 'a', now + ARGV[2], 'u', ARGV[3], 'g', ARGV[4])
for i = 5, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[1], math.min(tonumber(ARGV[1]), tonumber(ARGV[2])))
return 1
