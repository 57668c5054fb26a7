-- Add to one JSON integer, exactly, whoever else adds to it.
-- KEYS[1] session   ARGV[1] field   ARGV[2] by
-- Returns the new value as text (a Lua number is exact to 2^53 only), nil when the session has ended.
if redis.call('HEXISTS', KEYS[1], 'c') == 0 then return false end
local answer = redis.pcall('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
if type(answer) == 'table' then return 'refused' end
return redis.call('HGET', KEYS[1], ARGV[1])
