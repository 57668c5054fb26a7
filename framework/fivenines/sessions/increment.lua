-- Add to one JSON integer, exactly, whoever else adds to it.
-- KEYS[1] session   ARGV[1] field   ARGV[2] by
-- Returns the new value as text (a Lua number is exact to 2^53 only), nil when the session has ended.
if redis.call('HEXISTS', KEYS[1], 'c') == 0 then return false end
local answer = redis.pcall('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
if type(answer) == 'table' then
  -- Anything else (out of memory, a demoted primary) is no matter of the value.
  if string.find(answer.err, 'integer', 1, true) or string.find(answer.err, 'overflow', 1, true) then return 'refused' end
  return answer
end
return redis.call('HGET', KEYS[1], ARGV[1])
