-- Compare and set one field. No JSON value is empty, so '' stands for a field that is absent.
-- KEYS[1] session   ARGV[1] field   ARGV[2] value it is expected to have   ARGV[3] value to set
-- Returns {1} (set), {0, the value it has now}, or nil when the session has ended.
if redis.call('HEXISTS', KEYS[1], 'c') == 0 then return false end
local now = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if now ~= ARGV[2] then return {0, now} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return {1}
