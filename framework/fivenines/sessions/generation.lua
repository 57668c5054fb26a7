-- The generation in which a principal's sessions are valid; made at the first login, gone at a logout everywhere.
-- It outlives every session that names it: each login lets it live longer, nothing makes it shorter.
-- KEYS[1] generation   ARGV[1] a fresh random one   ARGV[2] how long it must live, ms
local generation = redis.call('GET', KEYS[1])
if not generation then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return generation
