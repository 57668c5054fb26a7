-- Merge the fields that one request changed; a session that has ended stays ended.
-- KEYS[1] session   ARGV[1] how many values to set   ARGV[2...] field, value, ...; then the fields to remove
if redis.call('HEXISTS', KEYS[1], 'c') == 0 then return 0 end
local last = 1 + 2 * tonumber(ARGV[1])
for i = 2, last, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
for i = last + 1, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[i])
end
return 1
